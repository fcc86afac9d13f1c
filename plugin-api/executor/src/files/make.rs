//! The directories of jobs: made so that no user can turn the rights of whoever makes them against others.

use std::{
    fs::{self, DirBuilder},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags, fchown, fstat, mkdirat, openat, renameat_with, unlinkat},
    io::Errno,
    process::{Gid, Uid, getpid},
};

use super::{FileError, open_directory};

/// A new directory for this user, made by root; one that the user has already is left as it is.
///
/// `false` when it is not root's place to do so, because the directory around it is a user's: then it
/// has to be made as the user. Missing directories around it are made for root. Blocks.
///
/// # Errors
/// When it is someone else's, or the system says no.
pub fn make_as_root(path: &Path, uid: u32, gid: u32) -> io::Result<bool> {
    let (Some(around), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no name"));
    };
    let Some(around) = roots_own(around)? else { return Ok(false) };
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let existing = match openat(&around, name, flags | OFlags::PATH, Mode::empty()) {
        Err(Errno::NOENT) => None,
        other => Some(other?),
    };
    if let Some(existing) = existing {
        return belongs_to(&existing, uid).map(|()| true);
    }
    // Under another name until it has its owner, so that nobody ever sees it half-made.
    let draft = draft(&around, &name.to_string_lossy())?;
    let made = openat(&around, draft.as_str(), flags | OFlags::RDONLY, Mode::empty())?;
    fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    match renameat_with(&around, draft.as_str(), &around, name, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(error) => {
            let _ = unlinkat(&around, draft.as_str(), AtFlags::REMOVEDIR);
            // Another task of the same array was quicker.
            if error != Errno::EXIST {
                return Err(error.into());
            }
            let existing = openat(&around, name, flags | OFlags::PATH, Mode::empty())?;
            belongs_to(&existing, uid).map(|()| true)
        }
    }
}

/// A new directory under a name that nobody else has: neither another thread, nor one that was killed in the
/// midst of this.
fn draft(around: &OwnedFd, name: &str) -> io::Result<String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let draft = format!(".{name}.{}.{count}", getpid().as_raw_nonzero());
        match mkdirat(around, draft.as_str(), Mode::RWXU) {
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
            Ok(()) => return Ok(draft),
        }
    }
}

/// The directory, if it is root's; made if it is missing and what is around it is root's.
fn roots_own(path: &Path) -> io::Result<Option<OwnedFd>> {
    let found = match open_directory(path) {
        Ok(found) => found,
        Err(FileError::Missing { .. }) => {
            let (Some(around), Some(name)) = (path.parent(), path.file_name()) else {
                return Ok(None);
            };
            let Some(around) = roots_own(around)? else { return Ok(None) };
            match mkdirat(&around, name, Mode::from_raw_mode(0o755)) {
                Err(error) if error != Errno::EXIST => return Err(error.into()),
                _ => {}
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(&around, name, flags, Mode::empty())?
        }
        // Over a link of a user's: what that leads to is for the user's own rights to decide.
        Err(FileError::Forbidden { .. }) => return Ok(None),
        Err(FileError::Unreadable { source, .. }) => return Err(source),
    };
    Ok((fstat(&found)?.st_uid == 0).then_some(found))
}

fn belongs_to(directory: &OwnedFd, uid: u32) -> io::Result<()> {
    let owner = fstat(directory)?.st_uid;
    if owner == uid { Ok(()) } else { Err(someone_elses(owner)) }
}

fn someone_elses(owner: u32) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, format!("it exists and belongs to user {owner}"))
}

/// A new directory for the calling thread's own user; one that the user has already is left as it is. Blocks.
///
/// # Errors
/// When it is someone else's, or the system says no.
pub fn make_as_user(path: &Path, uid: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().mode(0o700).recursive(true).create(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let existing = fs::symlink_metadata(path)?;
            match (existing.is_dir(), existing.uid()) {
                (true, owner) if owner == uid => Ok(()),
                (true, owner) => Err(someone_elses(owner)),
                (false, _) => Err(io::Error::from(io::ErrorKind::NotADirectory)),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn a_directory_of_ones_own_is_private_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let me = rustix::process::geteuid().as_raw();
        let path = folder.path().join("a/b");
        make_as_user(&path, me).unwrap();
        make_as_user(&path, me).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(make_as_user(&path, me + 1).is_err());
        symlink(&path, folder.path().join("link")).unwrap();
        assert!(make_as_user(&folder.path().join("link"), me).is_err());
    }

    #[test]
    fn many_tasks_make_the_directory_of_their_array_at_once() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        for array in 0..100 {
            let path = folder.path().join(array.to_string());
            let all = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                let make = || {
                    all.wait();
                    make_as_root(&path, 65534, 65534).unwrap()
                };
                let tasks: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
                assert!(tasks.into_iter().all(|task| task.join().unwrap()));
            });
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 100, "nothing half-made is left");
    }

    #[test]
    fn root_makes_directories_for_users_only_in_its_own() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(make_as_root(&path("users/alice/12"), 65534, 65534).unwrap());
        let made = fs::metadata(path("users/alice/12")).unwrap();
        assert_eq!((made.uid(), made.permissions().mode() & 0o777), (65534, 0o700));
        assert_eq!(fs::metadata(path("users/alice")).unwrap().uid(), 0);
        assert!(make_as_root(&path("users/alice/12"), 65534, 65534).unwrap(), "again is no error");
        assert!(make_as_root(&path("users/alice/12"), 65533, 65533).is_err(), "someone else's");
        assert_eq!(fs::read_dir(path("users/alice")).unwrap().count(), 1, "nothing half-made is left");
        assert!(!make_as_root(&path("users/alice/12/3"), 65534, 65534).unwrap(), "inside a user's");

        symlink("/etc", path("users/alice/12/link")).unwrap();
        std::os::unix::fs::lchown(path("users/alice/12/link"), Some(65534), None).unwrap();
        assert!(!make_as_root(&path("users/alice/12/link/x"), 65534, 65534).unwrap(), "over a user's link");
        assert!(!Path::new("/etc/x").exists());
        chown(path("users"), Some(65534), None).unwrap();
        assert!(!make_as_root(&path("users/bob"), 65534, 65534).unwrap());
    }
}
