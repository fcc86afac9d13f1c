//! One Berth per database: a lock that ends with its process, however that ends.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::StoreError;

/// Sole ownership of a database, from [`Ownership::take`] to its drop.
#[derive(Debug)]
pub(crate) struct Ownership {
    _file: File,
}

impl Ownership {
    /// Takes the database at `path` for this process; the file `PATH.lock` says which has it.
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
            let mut text = String::new();
            // The owner may be about to write its number; not knowing it changes nothing.
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(StoreError::Owned { path: path.to_owned(), pid });
        }
        // On a full disk the lock still holds, and its file names nobody.
        let named = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = named {
            tracing::warn!(path = %lock.display(), %error, "the lock file does not name this process");
        }
        Ok(Self { _file: file })
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
