//! Opening a database: what it must be, and what is said when it is not.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{ErrorKind, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{
    fault::Fault,
    migrate::{STEPS, migrate},
};
use crate::{StoreError, lock::Ownership};

/// The first bytes of every SQLite database.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Up to this size every page is checked when the database is opened: that takes some 100 ms. A larger
/// one would keep the site waiting; its size and header are checked, and each page when it is read.
const CHECKED_WHOLE_BYTES: u64 = 64 << 20;

/// How long another program's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens the one connection that writes, with the newest schema.
pub(super) fn open_writer(
    path: &Path,
    cluster: &str,
    most_bytes: Option<u64>,
    ownership: &mut Ownership,
) -> Result<Connection, Fault> {
    let bytes = prepare_file(path, ownership)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Unreadable(format!("it cannot have a write-ahead log, only journal mode {mode}")));
    }
    // A commit is on the disk when it returns. Checkpoints have a thread of their own. The log keeps its
    // 64 MiB: to write over them is quicker than to have them given anew.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864; \
         PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF;",
    )?;
    if bytes > 0 && bytes <= CHECKED_WHOLE_BYTES {
        quick_check(&connection)?;
    }
    if let Some(most) = most_bytes {
        let page: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        connection.query_row(
            &format!("PRAGMA max_page_count = {}", most / u64::from(page.max(1))),
            [],
            |_| Ok(()),
        )?;
    }
    migrate(&mut connection, path, STEPS)?;
    claim(&connection, path, cluster)?;
    super::accounts::forget_old(&connection)?;
    ownership.set_in_use(true)?;
    Ok(connection)
}

/// Opens a connection that reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch("PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

/// Opens a connection that moves what was committed from the log into the database.
pub(super) fn open_checkpointer(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;")?;
    Ok(connection)
}

/// Looks at the file before SQLite does, makes it if need be, and gives its size.
fn prepare_file(path: &Path, ownership: &mut Ownership) -> Result<u64, Fault> {
    let io = |source: std::io::Error| StoreError::Io {
        path: path.to_owned(),
        verb: "opened",
        source: source.into(),
    };
    let corrupt = |what: &str| StoreError::Corrupt { path: path.to_owned(), what: what.to_owned() };
    match File::open(path) {
        Ok(mut file) => {
            let bytes = file.metadata().map_err(io)?.len();
            let mut start = Vec::new();
            (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(io)?;
            if bytes == 0 && has_log(path) {
                return Err(corrupt("it is empty, but its write-ahead log is not").into());
            }
            // A file that a first start made and did not come to fill is fine; one that was full once is not.
            if bytes == 0 && ownership.in_use() {
                return Err(corrupt("it is empty, though Berth has kept jobs in it").into());
            }
            if bytes > 0 && start != MAGIC {
                return Err(corrupt("it does not begin as a SQLite database does").into());
            }
            // It holds what people run; nobody else is to read it.
            std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io)?;
            Ok(bytes)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if has_log(path) {
                return Err(corrupt("it is gone, but its write-ahead log is there").into());
            }
            // Somebody has moved it away to begin anew.
            ownership.set_in_use(false)?;
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
            Ok(0)
        }
        Err(error) => Err(io(error).into()),
    }
}

fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(PathBuf::from(log)).is_ok_and(|log| log.len() > 0)
}

fn quick_check(connection: &Connection) -> Result<(), Fault> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(Fault::Unreadable(found)) }
}

/// Makes the database this cluster's, once; refuses it when it is another's.
fn claim(connection: &Connection, path: &Path, cluster: &str) -> Result<(), Fault> {
    let stored: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE key = 'cluster'", [], |row| row.get(0))
        .optional()?;
    match stored {
        None => {
            connection.execute("INSERT INTO meta (key, value) VALUES ('cluster', ?1)", [cluster])?;
            Ok(())
        }
        Some(stored) if stored == cluster => Ok(()),
        Some(stored) => {
            let (path, given) = (path.to_owned(), cluster.to_owned());
            Err(StoreError::OtherCluster { path, stored, given }.into())
        }
    }
}
