//! Reading a pack. It is its owner's to write, too, so that what stands in it is believed no more than what stands in
//! a directory.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
    time::{Duration, Instant},
};

use berth_executor_api::files::{Entry, FileError, FileStream, open_file};
use futures::{StreamExt, stream};
use tar::{Archive, EntryType};
use tokio::sync::{mpsc, oneshot};
use zstd::Decoder;

/// The longest path that is read.
const MOST_PATH_BYTES: u64 = 1 << 16;
/// The most memory that decompressing takes, as a power of two.
const WINDOW: u32 = 23;
/// How long one looks through a pack for something.
const PATIENCE: Duration = Duration::from_secs(120);
/// The size of a piece.
const PIECE_BYTES: usize = 64 << 10;

/// A job's pack, and where in it the job's own part is.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The file.
    pub pack: PathBuf,
    /// The task's folder; empty for a job that is no task.
    pub within: PathBuf,
    /// Whose it is.
    pub owner: u32,
}

/// One file of a pack.
pub struct ReadPart {
    /// All of it.
    pub size: u64,
    /// What was asked for of it.
    pub bytes: FileStream,
}

impl std::fmt::Debug for ReadPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadPart").field("size", &self.size).finish_non_exhaustive()
    }
}

/// What stands in a pack, as far as it is shown.
type Stored<'a> = tar::Entry<'a, Decoder<'static, io::BufReader<File>>>;

/// Whether to go on.
type Enough = bool;

impl Packed {
    /// The owner's files and folders in a folder, by name, as `files::list` has them of a directory. Blocks.
    ///
    /// # Errors
    /// When there is no such folder, or the pack cannot be read.
    pub fn list(&self, folder: &Path, limit: usize) -> Result<Vec<Entry>, FileError> {
        let mut all = Vec::new();
        let mut found = folder.as_os_str().is_empty() && self.within.as_os_str().is_empty();
        let wanted = self.within.join(folder);
        self.walk(|path, stored| {
            let kind = stored.header().entry_type();
            found |= path == wanted && kind.is_dir();
            let name = path.file_name().and_then(OsStr::to_str);
            if path.parent() == Some(&wanted)
                && let Some(name) = name
                && (kind.is_dir() || kind.is_file())
            {
                all.push(Entry {
                    name: name.to_owned(),
                    directory: kind.is_dir(),
                    bytes: stored.header().size().unwrap_or(0),
                    modified: stored.header().mtime().unwrap_or(0),
                });
            }
            Ok(all.len() >= limit)
        })?;
        if !found {
            return Err(FileError::Missing { path: folder.to_owned() });
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// One of the owner's files, or its last `tail_bytes`.
    ///
    /// # Errors
    /// When there is no such file, or the pack cannot be read.
    pub async fn read(self, file: &Path, tail_bytes: Option<u64>) -> Result<ReadPart, FileError> {
        let wanted = self.within.join(file);
        let missing = FileError::Missing { path: file.to_owned() };
        let (told, size) = oneshot::channel();
        let (pieces, taken) = mpsc::channel(4);
        tokio::task::spawn_blocking(move || self.send(&wanted, tail_bytes, told, &pieces));
        match size.await {
            Ok(size) => {
                let next = |mut taken: mpsc::Receiver<_>| async { Some((taken.recv().await?, taken)) };
                Ok(ReadPart { size: size?, bytes: stream::unfold(taken, next).boxed() })
            }
            // It was gone through to its end.
            Err(_) => Err(missing),
        }
    }

    fn send(
        &self,
        wanted: &Path,
        tail_bytes: Option<u64>,
        told: oneshot::Sender<Result<u64, FileError>>,
        pieces: &mpsc::Sender<Result<Vec<u8>, FileError>>,
    ) {
        let mut told = Some(told);
        let done = self.walk(|path, stored| {
            if path != wanted || !stored.header().entry_type().is_file() {
                // Whoever asked may have gone.
                return Ok(told.as_ref().is_none_or(oneshot::Sender::is_closed));
            }
            let size = stored.header().size()?;
            if let Some(told) = told.take() {
                let _ = told.send(Ok(size));
            }
            let skip = tail_bytes.map_or(0, |tail| size.saturating_sub(tail));
            io::copy(&mut stored.take(skip), &mut io::sink())?;
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let read = stored.read(&mut piece)?;
                let part = piece.get(..read).unwrap_or_default();
                if part.is_empty() || pieces.blocking_send(Ok(part.to_vec())).is_err() {
                    return Ok(true);
                }
            }
        });
        if let Err(error) = done {
            match told.take() {
                Some(told) => drop(told.send(Err(error))),
                None => drop(pieces.blocking_send(Err(error))),
            }
        }
    }

    /// Goes through what the owner has in the pack, until there was enough.
    fn walk(
        &self,
        mut each: impl FnMut(&Path, &mut Stored<'_>) -> io::Result<Enough>,
    ) -> Result<(), FileError> {
        let unreadable = |source: io::Error| FileError::Unreadable { path: self.pack.clone(), source };
        let file = open_file(&self.pack, self.owner)?;
        let mut decoder = Decoder::new(file).map_err(unreadable)?;
        decoder.window_log_max(WINDOW).map_err(unreadable)?;
        let mut archive = Archive::new(decoder);
        let until = Instant::now() + PATIENCE;
        let mut long_name = None;
        // Raw, because long names are otherwise read whole, however long they are.
        for stored in archive.entries().map_err(unreadable)?.raw(true) {
            let mut stored = stored.map_err(unreadable)?;
            if Instant::now() > until {
                return Err(unreadable(io::ErrorKind::TimedOut.into()));
            }
            let kind = stored.header().entry_type();
            if kind == EntryType::GNULongName {
                long_name = Some(name_in(&mut stored).map_err(unreadable)?);
                continue;
            }
            if kind == EntryType::GNULongLink {
                continue;
            }
            let path = long_name.take().unwrap_or_else(|| path_of(&stored));
            let is_owners = stored.header().uid().is_ok_and(|uid| uid == u64::from(self.owner));
            let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
            if is_owners && is_plain && each(&path, &mut stored).map_err(unreadable)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn path_of(stored: &Stored<'_>) -> PathBuf {
    let bytes = stored.header().path_bytes();
    PathBuf::from(OsStr::from_bytes(&bytes).to_owned()).components().collect()
}

/// A name too long for a header, which stands before what it names.
fn name_in(stored: &mut Stored<'_>) -> io::Result<PathBuf> {
    if stored.header().size()? > MOST_PATH_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a name in it is too long"));
    }
    let mut name = Vec::new();
    stored.read_to_end(&mut name)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(PathBuf::from(OsStr::from_bytes(name).to_owned()).components().collect())
}
