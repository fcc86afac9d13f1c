//! Writing a pack.

use std::{
    collections::VecDeque,
    ffi::{CStr, OsStr},
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use berth_executor_api::files::{FileError, open_directory};
use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat, statat,
    },
    io::Errno,
};
use tar::{Builder, EntryType, Header};
use zstd::Encoder;

use super::PackError;

/// How hard it tries; more costs much time for little room.
const LEVEL: i32 = 3;

/// How much is packed. Files with holes count with their length.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of all files together.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
    /// Folders within folders.
    pub depth: usize,
}

impl Bounds {
    /// With what the site says, and what no job's directory needs.
    pub fn new(bytes: u64) -> Self {
        Self { bytes, entries: 1_000_000, depth: 200 }
    }
}

/// What has become of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Files and links.
    pub files: u64,
    /// Of the files, before they were compressed.
    pub bytes: u64,
    /// What its owner may not read, and what has no contents, such as sockets.
    pub left_out: u64,
    entries: u64,
}

type Pack<'a> = Builder<Encoder<'static, &'a File>>;

struct Packing<'a> {
    pack: Pack<'a>,
    /// Its name, for what goes wrong.
    name: &'a Path,
    from: &'a Path,
    bounds: Bounds,
    device: u64,
    contents: Contents,
}

/// Writes what the calling thread may read of a directory. Blocks.
pub(super) fn write(from: &Path, part: &File, name: &Path, bounds: Bounds) -> Result<Contents, PackError> {
    let unreadable = |source: io::Error| PackError::system(from, "read")(source);
    let top = open_directory(from).map_err(|error| match error {
        FileError::Unreadable { source, .. } => unreadable(source),
        other => unreadable(io::Error::other(other)),
    })?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = openat(&top, c".", flags, Mode::empty()).map_err(|error| unreadable(error.into()))?;
    let device = fstat(&top).map_err(|error| unreadable(error.into()))?.st_dev;
    let failed = || PackError::system(name, "written");
    let mut encoder = Encoder::new(part, LEVEL).map_err(failed())?;
    encoder.include_checksum(true).map_err(failed())?;
    let pack = Builder::new(encoder);
    let mut packing = Packing { pack, name, from, bounds, device, contents: Contents::default() };
    packing.go(top)?;
    let encoder = packing.pack.into_inner().map_err(failed())?;
    encoder.finish().map_err(failed())?;
    Ok(packing.contents)
}

/// A folder that is open, and its path in the pack.
struct Folder {
    dir: Dir,
    path: PathBuf,
    depth: usize,
}

impl Packing<'_> {
    /// Folders are kept open until they are done, so that one that is moved meanwhile leads nowhere else.
    fn go(&mut self, top: OwnedFd) -> Result<(), PackError> {
        let mut open = VecDeque::from([self.folder(top, PathBuf::new(), 0)?]);
        while let Some(folder) = open.back_mut() {
            let Some(entry) = folder.dir.next() else {
                open.pop_back();
                continue;
            };
            let entry = entry.map_err(|error| self.unreadable(&folder.path, error))?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            let path = folder.path.join(OsStr::from_bytes(entry.file_name().to_bytes()));
            let within = folder.dir.fd().map_err(|error| self.unreadable(&path, error))?;
            let deeper = folder.depth + 1;
            let opened = self.entry(within, entry.file_name(), &path)?;
            if let Some(opened) = opened {
                if deeper > self.bounds.depth {
                    return Err(self.too_much(format!("its folders go deeper than {}", self.bounds.depth)));
                }
                open.push_back(self.folder(opened, path, deeper)?);
            }
        }
        Ok(())
    }

    fn folder(&self, opened: OwnedFd, path: PathBuf, depth: usize) -> Result<Folder, PackError> {
        let dir = Dir::new(opened).map_err(|error| self.unreadable(&path, error))?;
        Ok(Folder { dir, path, depth })
    }

    /// Packs one entry; gives a folder to be gone through.
    fn entry(&mut self, within: impl AsFd, name: &CStr, path: &Path) -> Result<Option<OwnedFd>, PackError> {
        self.contents.entries += 1;
        if self.contents.entries > self.bounds.entries {
            return Err(self.too_much(format!("it holds more than {} files", self.bounds.entries)));
        }
        let stat = match statat(&within, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            Ok(stat) => stat,
            Err(error) => return self.passed_over(path, error).map(|()| None),
        };
        if stat.st_dev != self.device {
            return Err(PackError::Mounted { path: self.from.join(path) });
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.directory(within, name, path),
            FileType::RegularFile => self.file(within, name, path).map(|()| None),
            FileType::Symlink => self.link(within, name, path, &stat).map(|()| None),
            // Pipes, sockets and devices hold nothing.
            _ => {
                self.contents.left_out += 1;
                Ok(None)
            }
        }
    }

    fn directory(
        &mut self,
        within: impl AsFd,
        name: &CStr,
        path: &Path,
    ) -> Result<Option<OwnedFd>, PackError> {
        let opened = match open_within(&within, name, OFlags::DIRECTORY) {
            Ok(opened) => opened,
            Err(error) => return self.passed_over(path, error).map(|()| None),
        };
        let stat = fstat(&opened).map_err(|error| self.unreadable(path, error))?;
        if stat.st_dev != self.device {
            return Err(PackError::Mounted { path: self.from.join(path) });
        }
        let mut header = header(&stat, EntryType::Directory, 0);
        self.append(&mut header, path, io::empty())?;
        Ok(Some(opened))
    }

    fn file(&mut self, within: impl AsFd, name: &CStr, path: &Path) -> Result<(), PackError> {
        // It may have become a pipe by now, and is not waited for then.
        let opened = match open_within(&within, name, OFlags::NONBLOCK | OFlags::NOCTTY) {
            Ok(opened) => opened,
            Err(error) => return self.passed_over(path, error),
        };
        let stat = fstat(&opened).map_err(|error| self.unreadable(path, error))?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        // Root's files are worth linking to, where the kernel lets users do so.
        if !is_file || (stat.st_uid == 0 && stat.st_nlink > 1) {
            self.contents.left_out += 1;
            return Ok(());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size > self.bounds.bytes.saturating_sub(self.contents.bytes) {
            let most = berth_model::format_bytes(self.bounds.bytes);
            return Err(self.too_much(format!("it holds more than {most}")));
        }
        self.contents.bytes += size;
        self.contents.files += 1;
        let mut header = header(&stat, EntryType::Regular, size);
        // As long as its header says, even where somebody still writes to it.
        self.append(&mut header, path, File::from(opened).chain(io::repeat(0)).take(size))
    }

    /// Where it leads to is nobody's business here.
    fn link(&mut self, within: impl AsFd, name: &CStr, path: &Path, stat: &Stat) -> Result<(), PackError> {
        let target = match readlinkat(&within, name, Vec::new()) {
            Ok(target) => target.into_bytes(),
            Err(error) => return self.passed_over(path, error),
        };
        let target = PathBuf::from(std::ffi::OsString::from_vec(target));
        let mut header = header(stat, EntryType::Symlink, 0);
        self.contents.files += 1;
        let written = self.pack.append_link(&mut header, path, target);
        written.map_err(PackError::system(self.name, "written"))
    }

    fn append(&mut self, header: &mut Header, path: &Path, bytes: impl Read) -> Result<(), PackError> {
        let written = self.pack.append_data(header, path, bytes);
        written.map_err(PackError::system(self.name, "written"))
    }

    /// What the owner may not read is left out; anything else keeps the directory from being removed.
    fn passed_over(&mut self, path: &Path, error: Errno) -> Result<(), PackError> {
        match error {
            Errno::ACCESS | Errno::PERM => self.contents.left_out += 1,
            Errno::XDEV => return Err(PackError::Mounted { path: self.from.join(path) }),
            // It is gone, or has become something else: its owner is at it.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO => {}
            other => return Err(self.unreadable(path, other)),
        }
        Ok(())
    }

    fn unreadable(&self, path: &Path, error: Errno) -> PackError {
        PackError::system(&self.from.join(path), "read")(error.into())
    }

    #[allow(clippy::unused_self, reason = "reads as the others do")]
    fn too_much(&self, what: String) -> PackError {
        PackError::TooMuch { what }
    }
}

fn header(stat: &Stat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(u64::from(stat.st_uid));
    header.set_gid(u64::from(stat.st_gid));
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(size);
    header
}

/// Opens what is no link and no mount, not even one of the same file system.
fn open_within(within: impl AsFd, name: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match openat2(&within, name, flags, Mode::empty(), resolve) {
        // Linux before 5.6, or a sandbox that does not know it: other file systems are found by their device.
        Err(Errno::NOSYS) => openat(within, name, flags, Mode::empty()),
        opened => opened,
    }
}
