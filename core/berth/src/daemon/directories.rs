//! What jobs' directories take, measured without being led astray by those who own them.

use std::{
    collections::HashSet,
    ffi::CStr,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use berth_policy_host::DirectorySize;
use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, statat},
    io::Errno,
};
use tokio::sync::Semaphore;

use super::places::{self, Whose};

/// How many are measured at a time. A file system that does not answer keeps its threads until it does.
const AT_ONCE: usize = 4;

/// How long a measurement is waited for, and its turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far a directory is looked through.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    entries: u64,
    depth: usize,
    time: Duration,
}

const BOUNDS: Bounds = Bounds { entries: 1_000_000, depth: 200, time: Duration::from_secs(10) };

/// Measures jobs' directories.
pub struct Directories {
    jobs: PathBuf,
    turns: Arc<Semaphore>,
}

impl Directories {
    /// Of the jobs that have theirs in this folder.
    pub fn new(jobs: &Path) -> Self {
        Self { jobs: jobs.to_owned(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// What a job's directory takes; `None` when it cannot be opened, or there is no answer in time.
    pub async fn measure(&self, whose: Whose) -> Option<DirectorySize> {
        self.look(whose).await?.ok()
    }

    /// The same in bytes, as far as it could be looked through; one that is not there takes none.
    pub async fn bytes(&self, whose: Whose) -> Option<u64> {
        match self.look(whose).await? {
            Ok(size) => Some(size.bytes),
            Err(Errno::NOENT) => Some(0),
            Err(_) => None,
        }
    }

    /// What any directory takes in bytes, as far as it could be looked through; `None` when there is no answer in time,
    /// or it cannot be opened.
    pub async fn bytes_of(&self, path: PathBuf) -> Option<u64> {
        self.look_at(path).await?.ok().map(|size| size.bytes)
    }

    async fn look(&self, whose: Whose) -> Option<rustix::io::Result<DirectorySize>> {
        self.look_at(places::directory(&self.jobs, whose)).await
    }

    async fn look_at(&self, path: PathBuf) -> Option<rustix::io::Result<DirectorySize>> {
        let turns = Arc::clone(&self.turns);
        let measured = async move {
            let turn = turns.acquire_owned().await.ok()?;
            let measured = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                measure(&path, BOUNDS)
            });
            measured.await.ok()
        };
        tokio::time::timeout(PATIENCE, measured).await.ok()?
    }
}

/// A walk through one directory. Folders are kept open on the way down, so that one that is moved meanwhile leads
/// nowhere else.
struct Walk {
    bounds: Bounds,
    until: Instant,
    device: u64,
    entries: u64,
    size: DirectorySize,
    /// Files that have several names and were counted by one.
    counted: HashSet<u64>,
}

fn measure(path: &Path, bounds: Bounds) -> rustix::io::Result<DirectorySize> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    let of_top = fstat(&top)?;
    let mut walk = Walk {
        bounds,
        until: Instant::now() + bounds.time,
        device: of_top.st_dev,
        entries: 0,
        size: DirectorySize { bytes: allocated(&of_top), whole: true },
        counted: HashSet::new(),
    };
    walk.go(Dir::new(top)?);
    Ok(walk.size)
}

impl Walk {
    fn go(&mut self, top: Dir) {
        let mut open = vec![top];
        loop {
            let depth = open.len();
            let Some(folder) = open.last_mut() else { return };
            let Some(entry) = folder.next() else {
                open.pop();
                continue;
            };
            if self.entries == self.bounds.entries || Instant::now() > self.until {
                self.size.whole = false;
                return;
            }
            self.entries += 1;
            let Ok(entry) = entry else {
                self.size.whole = false;
                open.pop();
                continue;
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(fd) = folder.fd() else { continue };
            let folder = match entry.file_type() {
                FileType::Directory => self.folder(fd, name, depth),
                FileType::Unknown => match statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                        self.folder(fd, name, depth)
                    }
                    _ => self.file(fd, name),
                },
                _ => self.file(fd, name),
            };
            open.extend(folder);
        }
    }

    /// Counts a folder and opens it. One that cannot be opened leaves something out.
    fn folder(&mut self, parent: impl AsFd, name: &CStr, depth: usize) -> Option<Dir> {
        match open_within(&parent, name) {
            Ok(folder) => {
                let stat = fstat(&folder).ok().filter(|stat| stat.st_dev == self.device)?;
                self.size.bytes = self.size.bytes.saturating_add(allocated(&stat));
                if depth >= self.bounds.depth {
                    self.size.whole = false;
                    return None;
                }
                Dir::new(folder).ok()
            }
            // Something is mounted there, or it is gone, or has become something else.
            Err(Errno::XDEV | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
            Err(_) => {
                self.size.whole = false;
                None
            }
        }
    }

    fn file(&mut self, parent: impl AsFd, name: &CStr) -> Option<Dir> {
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            Ok(stat) if stat.st_dev == self.device => {
                if stat.st_nlink < 2 || self.counted.insert(stat.st_ino) {
                    self.size.bytes = self.size.bytes.saturating_add(allocated(&stat));
                }
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(_) => self.size.whole = false,
        }
        None
    }
}

/// Opens a folder that is no link and no mount, not even one of the same file system.
fn open_within(parent: impl AsFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match openat2(&parent, name, flags, Mode::empty(), within) {
        // Linux before 5.6, or a sandbox that does not know it: other file systems are found by their device.
        Err(Errno::NOSYS) => rustix::fs::openat(parent, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// Space on the disk: files with holes take less than their length.
fn allocated(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

#[cfg(test)]
#[path = "directories_tests.rs"]
mod tests;
