//! Reading and making files that belong to users, as a process that may be root.
//!
//! A job's directory is its user's: anything in it may at any moment be replaced by a link to something
//! that only root can read. So nothing here follows a link that a user could have made, and what was
//! opened has to be a regular file of that user before a byte of it is given to anyone.

mod as_user;
mod follow;
mod make;
mod open;
mod prepare;

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, OFlags, fstat, statat},
    io::Errno,
};

pub use self::{
    as_user::{Person, as_user},
    follow::{FileStream, Phase, follow, read},
    make::{make_as_root, make_as_user},
    open::{open_directory, open_file},
    prepare::prepare,
};

/// Why a user's file is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is not there.
    #[error("{} does not exist", path.display())]
    Missing {
        /// What was asked for.
        path: PathBuf,
    },
    /// It is there, and reading it could show what its user may not see.
    #[error("{} is not read: {reason}", path.display())]
    Forbidden {
        /// What was asked for.
        path: PathBuf,
        /// What it is.
        reason: String,
    },
    /// The system said no.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// What was asked for.
        path: PathBuf,
        /// In its words.
        #[source]
        source: io::Error,
    },
}

impl FileError {
    fn forbidden(path: &Path, reason: impl Into<String>) -> Self {
        Self::Forbidden { path: path.to_owned(), reason: reason.into() }
    }

    fn of(path: &Path, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.to_owned(), source.into());
        match source.raw_os_error() {
            Some(code) if code == Errno::NOENT.raw_os_error() => Self::Missing { path },
            Some(code) if code == Errno::LOOP.raw_os_error() => Self::Forbidden {
                path,
                reason: "it is, or is reached over, a symbolic link of a user".into(),
            },
            _ => Self::Unreadable { path, source },
        }
    }
}

/// One thing in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// Its size in bytes.
    pub bytes: u64,
    /// When its contents last changed, in seconds since 1970.
    pub modified: u64,
}

/// The regular files and directories in a directory of this user, by name, no more than `limit`. Links and
/// things of other users are left out, as are names that are not UTF-8. Blocks.
///
/// # Errors
/// When it is not there, or not the user's.
pub fn list(directory: &Path, owner: u32, limit: usize) -> Result<Vec<Entry>, FileError> {
    let failed = |source: Errno| FileError::of(directory, source);
    let handle =
        open::open(directory, OFlags::RDONLY | OFlags::DIRECTORY, open::LastLink::Trusted).map_err(failed)?;
    if fstat(&handle).map_err(failed)?.st_uid != owner {
        return Err(FileError::forbidden(directory, format!("it does not belong to user {owner}")));
    }
    let mut all = Vec::new();
    for entry in Dir::read_from(&handle).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if matches!(name, "." | "..") {
            continue;
        }
        // It may be gone by now.
        let Ok(stat) = statat(&handle, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if stat.st_uid != owner || !matches!(kind, FileType::RegularFile | FileType::Directory) {
            continue;
        }
        all.push(Entry {
            name: name.to_owned(),
            directory: kind == FileType::Directory,
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified: u64::try_from(stat.st_mtime).unwrap_or(0),
        });
        if all.len() >= limit {
            break;
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_directory_shows_what_is_its_users() {
        let folder = tempfile::tempdir().unwrap();
        let me = rustix::process::geteuid().as_raw();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("a"), "12345").unwrap();
        symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let all = list(folder.path(), me, 100).unwrap();
        let shown: Vec<_> = all.iter().map(|entry| (entry.name.as_str(), entry.directory)).collect();
        assert_eq!(shown, [("a", false), ("b", true)]);
        assert_eq!(all[0].bytes, 5);
        assert!(all[0].modified > 1_600_000_000);
        assert_eq!(list(folder.path(), me, 1).unwrap().len(), 1);
        assert!(matches!(list(folder.path(), me + 1, 100), Err(FileError::Forbidden { .. })));
        assert!(matches!(list(&folder.path().join("none"), me, 100), Err(FileError::Missing { .. })));
    }
}
