//! One Berth per database: a lock that ends with its process, however that ends.

use std::{
    fs::{File, OpenOptions},
    io::Read,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::StoreError;

/// The first line: the owner's number, always this long, so that writing it moves nothing.
const OWNER_BYTES: u64 = 11;
/// The second line, once the database has been set up.
const IN_USE: &str = "in use\n";

/// Sole ownership of a database, from [`Ownership::take`] to its drop.
#[derive(Debug)]
pub(crate) struct Ownership {
    file: File,
    lock: PathBuf,
    in_use: bool,
}

impl Ownership {
    /// Takes the database at `path` for this process; the file `PATH.lock` says which has it, and whether the
    /// database has ever been in use.
    ///
    /// The file itself stays when the lock is gone: removing it could remove another one's lock.
    pub(crate) fn take(path: &Path) -> Result<Self, StoreError> {
        let lock = lock_path(path);
        let io = |source: std::io::Error| StoreError::Io {
            path: lock.clone(),
            verb: "opened",
            source: source.into(),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock)
            .map_err(io)?;
        if let Err(refused) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if refused != rustix::io::Errno::WOULDBLOCK {
                return Err(io(refused.into()));
            }
            // The owner may be about to write its number; not knowing it changes nothing.
            let pid = lines(&mut file).0.and_then(|line| line.trim().parse().ok());
            return Err(StoreError::Owned { path: path.to_owned(), pid });
        }
        let in_use = lines(&mut file).1;
        // On a full disk the lock still holds, and its file names nobody.
        let length = if in_use { OWNER_BYTES + IN_USE.len() as u64 } else { OWNER_BYTES };
        let named = file
            .set_len(length)
            .and_then(|()| file.write_all_at(format!("{:<10}\n", std::process::id()).as_bytes(), 0))
            .and_then(|()| match in_use {
                true => file.write_all_at(IN_USE.as_bytes(), OWNER_BYTES),
                false => Ok(()),
            });
        if let Err(error) = named {
            tracing::warn!(path = %lock.display(), %error, "the lock file does not name this process");
        }
        Ok(Self { file, lock, in_use })
    }

    /// Whether the database has been set up before: one that is empty has lost everything.
    pub(crate) fn in_use(&self) -> bool {
        self.in_use
    }

    /// Notes, durably, that the database has been set up, or that a new one is about to be.
    pub(crate) fn set_in_use(&mut self, in_use: bool) -> Result<(), StoreError> {
        if self.in_use == in_use {
            return Ok(());
        }
        let written = match in_use {
            true => self.file.write_all_at(IN_USE.as_bytes(), OWNER_BYTES),
            false => self.file.set_len(OWNER_BYTES),
        };
        let folder = self.lock.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        written.and_then(|()| self.file.sync_all()).and_then(|()| File::open(folder)?.sync_all()).map_err(
            |source| StoreError::Io { path: self.lock.clone(), verb: "written", source: source.into() },
        )?;
        self.in_use = in_use;
        Ok(())
    }
}

/// The first line of a lock file, and whether it says that the database is in use.
fn lines(file: &mut File) -> (Option<String>, bool) {
    let mut text = String::new();
    // What is no text is not Berth's, and says nothing.
    if file.take(1024).read_to_string(&mut text).is_err() {
        return (None, false);
    }
    let mut lines = text.lines();
    (lines.next().map(str::to_owned), lines.next() == Some(IN_USE.trim()))
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
