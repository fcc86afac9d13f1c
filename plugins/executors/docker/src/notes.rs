//! What is written down of attempts, one file for each: what the engine does not keep for Berth.
//!
//! An attempt without a container lives by its note alone: while its image is pulled, and when it ended before
//! it ever had one. Of one with a container it is noted that Berth has asked it to end, before it does so:
//! otherwise nobody could tell later whether it ended by itself.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use berth_executor_api::{AttemptName, AttemptReport, Launch, UtcMs};
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, task::spawn_blocking};

/// The form of the files.
const VERSION: u32 = 1;

/// One attempt's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub version: u32,
    /// Its container is yet to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<Box<Launch>>,
    /// Berth has asked it to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// It is suspended by a signal, which the engine knows nothing of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<UtcMs>,
    /// How it ended, where no container tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Box<AttemptReport>>,
}

impl Default for Note {
    fn default() -> Self {
        Self { version: VERSION, launch: None, stop: None, suspended: None, ended: None }
    }
}

impl Note {
    /// Whether there is anything in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// That an attempt was asked to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stop {
    /// What was sent, or was about to be.
    pub signals: BTreeSet<i32>,
    /// When it is to be killed, by this machine's clock.
    pub kill_at: UtcMs,
}

/// The folder. One change at a time: what was decided last is what is written last.
#[derive(Debug)]
pub(crate) struct Notes {
    folder: PathBuf,
    turn: Mutex<()>,
}

impl Notes {
    /// Makes the folder where there is none.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder, turn: Mutex::new(()) })
    }

    fn path(&self, attempt: &AttemptName) -> PathBuf {
        self.folder.join(format!("{attempt}.json"))
    }

    /// All notes by the names that their files have. What cannot be read is told and left alone.
    pub async fn read(&self) -> io::Result<Vec<(String, Note)>> {
        let folder = self.folder.clone();
        run(move || read_all(&folder)).await
    }

    /// Writes several down for good: they are on the disk when this returns. What is noted is asked for when it
    /// is their turn; without anything in it, a note goes.
    pub async fn write(&self, notes: impl FnOnce() -> Vec<(AttemptName, Note)>) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        let all: Vec<(PathBuf, Note)> =
            notes().into_iter().map(|(attempt, note)| (self.path(&attempt), note)).collect();
        let folder = self.folder.clone();
        run(move || {
            for (path, note) in &all {
                if note.is_empty() { forget(path) } else { replace(path, note) }?;
            }
            if all.iter().any(|(_, note)| !note.is_empty()) { File::open(folder)?.sync_all() } else { Ok(()) }
        })
        .await
    }

    /// Throws several away.
    pub async fn remove(&self, attempts: Vec<AttemptName>) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        let paths: Vec<PathBuf> = attempts.iter().map(|attempt| self.path(attempt)).collect();
        run(move || paths.iter().try_for_each(|path| forget(path))).await
    }
}

async fn run<T: Send + 'static>(act: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(act).await.map_err(io::Error::other)?
}

fn forget(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whole or not at all.
fn replace(path: &Path, note: &Note) -> io::Result<()> {
    let json = serde_json::to_vec(note).map_err(io::Error::other)?;
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&json)?;
    file.sync_data()?;
    fs::rename(&draft, path)
}

fn read_all(folder: &Path) -> io::Result<Vec<(String, Note)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"));
        let Some(name) = name else { continue };
        match fs::read(&path).and_then(|json| serde_json::from_slice(&json).map_err(io::Error::other)) {
            Ok(note) => all.push((name.to_owned(), note)),
            Err(error) => {
                tracing::warn!(path = %path.display(), error = %error, "a note of an attempt cannot be read");
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use berth_executor_api::{Attempt, JobId};

    use super::*;

    #[tokio::test]
    async fn what_was_written_is_read_and_what_is_empty_goes() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::open(folder.path().join("notes")).unwrap();
        let name = AttemptName::new("c", JobId(7), Attempt { number: 1, returned: 0 });
        let stop = Stop { signals: [15].into(), kill_at: UtcMs(9) };
        let note = Note { stop: Some(stop), ..Note::default() };
        notes.write(|| vec![(name.clone(), note.clone())]).await.unwrap();
        fs::write(folder.path().join("notes/broken.json"), "{").unwrap();
        fs::write(folder.path().join("notes/c-8-1.new"), "half").unwrap();
        assert_eq!(notes.read().await.unwrap(), [("c-7-1".to_owned(), note)]);
        notes.write(|| vec![(name.clone(), Note::default())]).await.unwrap();
        notes.remove(vec![name]).await.unwrap();
        assert_eq!(notes.read().await.unwrap(), []);
    }
}
