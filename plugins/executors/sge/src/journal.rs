//! What was handed to SGE, durably: SGE forgets jobs that ended, and its names need not be unique.
//!
//! A file of lines, each a note. What is about to be submitted is on disk before `qsub` runs.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use berth_executor_api::{AttemptName, Exit, Usage, UtcMs, files::Person};
use serde::{Deserialize, Serialize};

/// So many lines more than attempts make the file worth writing anew, at the next start.
const FILE: &str = "attempts.jsonl";
/// How many notes that say nothing any more the file may have.
const MOST_STALE: usize = 50_000;

/// What is kept of an attempt from before its submission until it is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub attempt: AttemptName,
    /// What its job is called in SGE: the attempt itself, or its array.
    pub name: String,
    /// Its task there.
    pub task: Option<u64>,
    pub user: String,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub directory: PathBuf,
    pub stdout: PathBuf,
    pub stderr: PathBuf,
    /// What SGE holds it to; 0 for nothing.
    pub memory_bytes: u64,
    pub grace_ms: u64,
    /// When it was about to be submitted.
    pub at: UtcMs,
    /// Its number in SGE, once that is known.
    #[serde(default)]
    pub number: Option<u64>,
    /// When its end was first asked for.
    #[serde(default)]
    pub stopped: Option<UtcMs>,
    /// How it ended.
    #[serde(default)]
    pub ended: Option<Ended>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub exit: Exit,
    pub usage: Option<Usage>,
    pub node: Option<String>,
    pub message: Option<String>,
}

impl Kept {
    pub fn person(&self) -> Person {
        Person { uid: self.uid, gid: self.gid, groups: self.groups.clone() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Note {
    Intends(Vec<Kept>),
    Numbered { attempts: Vec<AttemptName>, number: u64 },
    Stopped { attempt: AttemptName, at: UtcMs },
    Ended { attempt: AttemptName, ended: Ended },
    Forgotten(Vec<AttemptName>),
}

/// The file, open at its end.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Reads what is there, and writes it anew where most of it says nothing any more.
    pub fn open(state: &Path) -> io::Result<(Self, BTreeMap<AttemptName, Kept>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(state)?;
        let path = state.join(FILE);
        let (kept, lines) = match File::open(&path) {
            Ok(file) => read(BufReader::new(file))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (BTreeMap::new(), 0),
            Err(error) => return Err(error),
        };
        if lines > kept.len() + MOST_STALE {
            let draft = path.with_extension("new");
            let mut file = create(&draft, true)?;
            write(&mut file, &Note::Intends(kept.values().cloned().collect()))?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
        }
        let mut file = create(&path, false)?;
        // A crash may have left half a line; what follows is not to be part of it.
        file.write_all(b"\n")?;
        file.sync_all()?;
        File::open(state)?.sync_all()?;
        Ok((Self { file, path }, kept))
    }

    /// Adds a note. `durable` waits until it is on disk.
    pub fn note(&mut self, note: &Note, durable: bool) -> io::Result<()> {
        let about =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
        write(&mut self.file, note).map_err(about)?;
        if durable { self.file.sync_data().map_err(about) } else { Ok(()) }
    }
}

fn create(path: &Path, anew: bool) -> io::Result<File> {
    OpenOptions::new().create(true).append(!anew).write(true).truncate(anew).mode(0o600).open(path)
}

fn write(file: &mut File, note: &Note) -> io::Result<()> {
    let mut line = serde_json::to_vec(note)?;
    line.push(b'\n');
    file.write_all(&line)
}

fn read(lines: impl BufRead) -> io::Result<(BTreeMap<AttemptName, Kept>, usize)> {
    let mut kept: BTreeMap<AttemptName, Kept> = BTreeMap::new();
    let mut count = 0;
    for line in lines.split(b'\n') {
        // Half a line is what a crash leaves: it was not yet relied upon.
        let Ok(note) = serde_json::from_slice::<Note>(&line?) else { continue };
        count += 1;
        apply(&mut kept, note);
    }
    Ok((kept, count))
}

fn apply(kept: &mut BTreeMap<AttemptName, Kept>, note: Note) {
    match note {
        Note::Intends(some) => kept.extend(some.into_iter().map(|one| (one.attempt.clone(), one))),
        Note::Numbered { attempts, number } => {
            for attempt in attempts {
                if let Some(one) = kept.get_mut(&attempt) {
                    one.number = Some(number);
                }
            }
        }
        Note::Stopped { attempt, at } => {
            if let Some(one) = kept.get_mut(&attempt) {
                one.stopped.get_or_insert(at);
            }
        }
        Note::Ended { attempt, ended } => {
            if let Some(one) = kept.get_mut(&attempt) {
                one.ended = Some(ended);
            }
        }
        Note::Forgotten(attempts) => attempts.iter().for_each(|attempt| drop(kept.remove(attempt))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use berth_executor_api::{Attempt, JobId};

    use super::*;

    pub(crate) fn kept(job: u64) -> Kept {
        let attempt = AttemptName::new("c", JobId(job), Attempt { number: 1, returned: 0 });
        Kept {
            name: attempt.to_string(),
            attempt,
            task: None,
            user: "nobody".into(),
            uid: 65534,
            gid: 65534,
            groups: Vec::new(),
            directory: "/none".into(),
            stdout: "/none/stdout".into(),
            stderr: "/none/stderr".into(),
            memory_bytes: 0,
            grace_ms: 5000,
            at: UtcMs(1),
            number: None,
            stopped: None,
            ended: None,
        }
    }

    #[test]
    fn what_was_noted_is_there_after_a_crash_and_half_a_line_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (mut journal, kept_before) = Journal::open(&state).unwrap();
        assert!(kept_before.is_empty());
        let [one, two, three] = [kept(1), kept(2), kept(3)];
        journal.note(&Note::Intends(vec![one.clone(), two.clone(), three.clone()]), true).unwrap();
        journal.note(&Note::Numbered { attempts: vec![one.attempt.clone()], number: 7 }, false).unwrap();
        journal.note(&Note::Stopped { attempt: one.attempt.clone(), at: UtcMs(9) }, false).unwrap();
        journal.note(&Note::Forgotten(vec![three.attempt.clone()]), false).unwrap();
        let mut file = OpenOptions::new().append(true).open(state.join(FILE)).unwrap();
        file.write_all(b"{\"forgotten\":[\"c-1-1\"").unwrap();
        drop(journal);

        let (mut journal, there) = Journal::open(&state).unwrap();
        let wanted = Kept { number: Some(7), stopped: Some(UtcMs(9)), ..one };
        assert_eq!(there.values().cloned().collect::<Vec<_>>(), [wanted, two.clone()]);
        // What comes after the half line counts again.
        journal.note(&Note::Forgotten(vec![two.attempt]), true).unwrap();
        assert_eq!(Journal::open(&state).unwrap().1.len(), 1);
    }
}
