//! Files as streams of bytes, also while somebody still writes them.

use std::{
    fs::File,
    io::SeekFrom,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{StreamExt, stream, stream::BoxStream};
use inotify::{EventStream, Inotify, WatchMask};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt},
    sync::watch,
    task::spawn_blocking,
};

use super::{FileError, open_file};

/// The bytes of a file, in pieces.
pub type FileStream = BoxStream<'static, Result<Vec<u8>, FileError>>;

/// Where the writer of a file stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It has not begun; what is there now is from someone before it.
    #[default]
    Waiting,
    /// It writes.
    Writing,
    /// It will write no more.
    Ended,
}

/// The size of a piece.
const PIECE_BYTES: usize = 64 << 10;
/// How often a file is looked at where the kernel cannot tell of changes.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What is in a user's file now, or only its last `tail_bytes`. Empty when there is no such file.
#[must_use]
pub fn read(path: PathBuf, owner: u32, tail_bytes: Option<u64>) -> FileStream {
    streamed(Reader { path, owner, tail_bytes, phase: None, open: None, over: false })
}

/// The same, and then what is written later, until `phase` says `Ended` (or its sender is gone) and all
/// was read. Wakes on changes only.
#[must_use]
pub fn follow(
    path: PathBuf,
    owner: u32,
    tail_bytes: Option<u64>,
    phase: watch::Receiver<Phase>,
) -> FileStream {
    streamed(Reader { path, owner, tail_bytes, phase: Some(phase), open: None, over: false })
}

fn streamed(reader: Reader) -> FileStream {
    stream::unfold(reader, |mut reader| async move {
        let piece = reader.next().await.transpose()?;
        reader.over = piece.is_err();
        Some((piece, reader))
    })
    .boxed()
}

struct Reader {
    path: PathBuf,
    owner: u32,
    tail_bytes: Option<u64>,
    /// The writer, where it is followed.
    phase: Option<watch::Receiver<Phase>>,
    open: Option<Open>,
    over: bool,
}

struct Open {
    file: tokio::fs::File,
    position: u64,
    /// Where reading ends; `None` when following.
    end: Option<u64>,
    changes: Option<EventStream<[u8; 512]>>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, FileError> {
        if self.over {
            return Ok(None);
        }
        self.writer_has_begun().await;
        if self.open.is_none() {
            match self.open().await {
                Err(FileError::Missing { .. }) => return Ok(None),
                opened => self.open = Some(opened?),
            }
        }
        loop {
            // Asked before reading: what was written until the end is then read for sure.
            let ended = self.phase.as_mut().is_none_or(has_ended);
            let Some(open) = &mut self.open else { return Ok(None) };
            let piece = open.piece().await.map_err(|source| FileError::of(&self.path, source))?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
            if ended {
                return Ok(None);
            }
            open.start_over_if_cut().await.map_err(|source| FileError::of(&self.path, source))?;
            if let Some(phase) = &mut self.phase {
                tokio::select! {
                    () = change(&mut open.changes) => {}
                    _ = phase.changed() => {}
                }
            }
        }
    }

    async fn writer_has_begun(&mut self) {
        if let Some(phase) = &mut self.phase {
            // An error means that nobody is there to tell; then what there is has to do.
            let _ = phase.wait_for(|phase| *phase != Phase::Waiting).await;
        }
    }

    async fn open(&self) -> Result<Open, FileError> {
        let (path, owner, following) = (self.path.clone(), self.owner, self.phase.is_some());
        let failed = |source| FileError::of(&self.path, source);
        let opened = spawn_blocking(move || {
            let file = open_file(&path, owner)?;
            let changes = following.then(|| watch_changes(&file)).flatten();
            let bytes = file.metadata().map_err(|source| FileError::of(&path, source))?.len();
            Ok::<_, FileError>((file, changes, bytes))
        });
        let (file, changes, bytes) = opened.await.map_err(|gone| failed(std::io::Error::other(gone)))??;
        let position = self.tail_bytes.map_or(0, |tail| bytes.saturating_sub(tail));
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(PIECE_BYTES);
        file.seek(SeekFrom::Start(position)).await.map_err(failed)?;
        let changes = changes.and_then(|inotify| inotify.into_event_stream([0; 512]).ok());
        Ok(Open { file, position, end: (!following).then_some(bytes), changes })
    }
}

impl Open {
    async fn piece(&mut self) -> std::io::Result<Vec<u8>> {
        let wanted = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.position));
        let size = usize::try_from(wanted).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut piece = vec![0; size];
        let got = self.file.read(&mut piece).await?;
        piece.truncate(got);
        self.position += got as u64;
        Ok(piece)
    }

    /// A job may empty its own output file; what it writes then begins at the front.
    async fn start_over_if_cut(&mut self) -> std::io::Result<()> {
        if self.file.metadata().await?.len() < self.position {
            self.position = self.file.seek(SeekFrom::Start(0)).await?;
        }
        Ok(())
    }
}

fn has_ended(phase: &mut watch::Receiver<Phase>) -> bool {
    *phase.borrow_and_update() == Phase::Ended || phase.has_changed().is_err()
}

/// Watches the very file that was opened, whatever its name leads to by now.
fn watch_changes(file: &File) -> Option<Inotify> {
    let inotify = Inotify::init().ok()?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    inotify.watches().add(Path::new(&path), WatchMask::MODIFY).ok()?;
    Some(inotify)
}

async fn change(changes: &mut Option<EventStream<[u8; 512]>>) {
    let told = match changes {
        Some(changes) => matches!(changes.next().await, Some(Ok(_))),
        None => false,
    };
    if !told {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::Write};

    use super::*;

    fn owner() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    async fn all(stream: FileStream) -> Vec<u8> {
        stream.map(Result::unwrap).concat().await
    }

    #[tokio::test]
    async fn a_file_is_read_in_pieces_or_from_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let text: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &text).unwrap();
        let pieces: Vec<_> = read(path.clone(), owner(), None).map(Result::unwrap).collect().await;
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
        assert_eq!(pieces.concat(), text);
        assert_eq!(all(read(path.clone(), owner(), Some(10))).await, &text[text.len() - 10..]);
        assert_eq!(all(read(path, owner(), Some(u64::MAX))).await, text);
        assert_eq!(all(read(folder.path().join("none"), owner(), None)).await, b"");
    }

    #[tokio::test]
    async fn a_file_is_followed_from_before_it_exists_until_its_writer_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "from an earlier attempt").unwrap();
        let (phase, watched) = watch::channel(Phase::Waiting);
        let mut stream = follow(path.clone(), owner(), None, watched);
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one ").unwrap();
        phase.send_replace(Phase::Writing);
        assert_eq!(stream.next().await.unwrap().unwrap(), b"one ");
        let (next, ()) = tokio::join!(stream.next(), async {
            tokio::task::yield_now().await;
            file.write_all(b"two ").unwrap();
        });
        assert_eq!(next.unwrap().unwrap(), b"two ");
        file.write_all(b"three").unwrap();
        phase.send_replace(Phase::Ended);
        assert_eq!(all(stream).await, b"three");
    }

    #[tokio::test]
    async fn a_file_that_its_writer_empties_is_followed_from_its_new_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let (phase, watched) = watch::channel(Phase::Writing);
        let mut stream = follow(path, owner(), None, watched);
        file.write_all(b"much of it").unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), b"much of it");
        file.set_len(0).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), b"new");
        drop(phase);
        assert_eq!(all(stream).await, b"");
    }
}
