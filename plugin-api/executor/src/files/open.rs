//! Opening without being led astray.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::File,
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat},
    io::Errno,
    process::geteuid,
};

use super::FileError;

/// As many links as the kernel itself follows.
const MOST_LINKS: usize = 40;

/// Opens a regular file of this user for reading. Blocks, but never for a pipe that nobody writes to.
///
/// # Errors
/// When it is not there, is not a regular file, belongs to someone else, or is reached over a symbolic
/// link that neither root nor this process's user made.
pub fn open_file(path: &Path, owner: u32) -> Result<File, FileError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open(path, flags, LastLink::Never).map_err(|source| FileError::of(path, source))?;
    let stat = fstat(&file).map_err(|source| FileError::of(path, source))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(FileError::forbidden(path, "it is not a regular file"));
    }
    if stat.st_uid != owner {
        return Err(FileError::forbidden(path, format!("it does not belong to user {owner}")));
    }
    // Root's files are worth linking to, where the kernel lets users do so.
    if owner == 0 && stat.st_nlink > 1 {
        return Err(FileError::forbidden(path, "it is root's and has a second name"));
    }
    Ok(File::from(file))
}

/// Opens a directory as a place to work in, not for reading, with the same care. Blocks.
///
/// # Errors
/// When it is not there, is not a directory, or is reached over a user's symbolic link.
pub fn open_directory(path: &Path) -> Result<OwnedFd, FileError> {
    open(path, OFlags::PATH | OFlags::DIRECTORY, LastLink::Trusted)
        .map_err(|source| FileError::of(path, source))
}

/// Whether the last part of a path may be a link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LastLink {
    Never,
    /// Like any other part.
    Trusted,
}

/// Opens what this absolute path names.
pub(super) fn open(path: &Path, flags: OFlags, last: LastLink) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if !path.is_absolute() {
        return Err(Errno::INVAL);
    }
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(CWD, path, flags, Mode::empty(), resolve) {
        // Over a link, which may be one of root's; or there is no such call here.
        Err(Errno::LOOP | Errno::NOTDIR | Errno::NOSYS | Errno::PERM) => walk(path, flags, last),
        other => other,
    }
}

/// The same step by step, following links made by root or by this process's own user.
fn walk(path: &Path, flags: OFlags, last: LastLink) -> rustix::io::Result<OwnedFd> {
    let step = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = || openat(CWD, c"/", step | OFlags::DIRECTORY, Mode::empty());
    let mut place = root()?;
    let mut todo: VecDeque<OsString> = parts(path).collect();
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        let found = openat(&place, name.as_os_str(), step, Mode::empty())?;
        let stat = fstat(&found)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            if todo.is_empty() {
                return openat(&place, name.as_os_str(), flags, Mode::empty());
            }
            place = found;
            continue;
        }
        links += 1;
        let trusted = stat.st_uid == 0 || stat.st_uid == geteuid().as_raw();
        if (todo.is_empty() && last == LastLink::Never) || !trusted || links > MOST_LINKS {
            return Err(Errno::LOOP);
        }
        let target = OsString::from_vec(readlinkat(&found, c"", Vec::new())?.into_bytes());
        let target = Path::new(&target);
        if target.is_absolute() {
            place = root()?;
        }
        parts(target).rev().for_each(|part| todo.push_front(part));
    }
    openat(&place, c".", flags, Mode::empty())
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::from_bytes(b"..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{chown, symlink},
    };

    use super::*;

    /// Whether this test runs as root, and so can play both sides.
    fn is_root() -> bool {
        geteuid().is_root()
    }

    fn owner() -> u32 {
        geteuid().as_raw()
    }

    #[test]
    fn only_the_users_own_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "text").unwrap();
        assert!(open_file(&path("file"), owner()).is_ok());
        assert!(matches!(open_file(&path("none"), owner()), Err(FileError::Missing { .. })));
        assert!(matches!(open_file(&path("file"), owner() + 1), Err(FileError::Forbidden { .. })));
        assert!(matches!(open_file(folder.path(), owner()), Err(FileError::Forbidden { .. })));
        symlink(path("file"), path("link")).unwrap();
        assert!(matches!(open_file(&path("link"), owner()), Err(FileError::Forbidden { .. })));
        rustix::fs::mkfifoat(CWD, path("pipe"), Mode::RWXU).unwrap();
        assert!(matches!(open_file(&path("pipe"), owner()), Err(FileError::Forbidden { .. })));
        if is_root() {
            fs::hard_link(path("file"), path("second")).unwrap();
            assert!(matches!(open_file(&path("second"), 0), Err(FileError::Forbidden { .. })));
        }
    }

    #[test]
    fn directories_that_are_links_lead_on_only_when_they_are_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("real")).unwrap();
        fs::write(path("real/file"), "text").unwrap();
        symlink("real", path("alias")).unwrap();
        symlink(path("alias"), path("far")).unwrap();
        symlink("round", path("round")).unwrap();
        for good in ["real/file", "alias/file", "far/file", "real/../alias/file"] {
            assert!(open_file(&path(good), owner()).is_ok(), "{good}");
        }
        assert!(matches!(open_file(&path("round/file"), owner()), Err(FileError::Forbidden { .. })));
        assert!(open_directory(&path("alias/../real")).is_ok());
        assert!(open_directory(&path("far")).is_ok());
        assert!(open_directory(&path("real/file")).is_err());
        if is_root() {
            symlink("real", path("evil")).unwrap();
            rustix::fs::chownat(
                CWD,
                path("evil"),
                Some(rustix::process::Uid::from_raw(65534)),
                None,
                rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
            )
            .unwrap();
            assert!(matches!(open_file(&path("evil/file"), 0), Err(FileError::Forbidden { .. })));
            assert!(matches!(open_directory(&path("evil")), Err(FileError::Forbidden { .. })));
            chown(path("real/file"), Some(65534), None).unwrap();
            assert!(open_file(&path("real/file"), 65534).is_ok());
        }
    }
}
