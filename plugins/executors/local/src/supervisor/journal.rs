//! What the supervisor knows, on disk: one JSON record per line, appended before it is acted upon.
//!
//! Records are also appended by children that are about to become a job, each with a single write to a
//! descriptor opened for appending, so that lines never mix. Every record begins with a line break:
//! whatever a full disk cut off then stands on a line of its own and is skipped.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use berth_executor_api::{AttemptName, Exit, Resources, Usage, UtcMs};
use serde::{Deserialize, Serialize};

/// What is known of an attempt before it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub attempt: AttemptName,
    /// Whom it runs as.
    pub uid: u32,
    pub stdout: String,
    pub stderr: String,
    #[serde(default)]
    pub time_limit: Option<Duration>,
    pub grace: Duration,
    /// It has a control group.
    #[serde(default)]
    pub grouped: bool,
    /// The CPUs it has for itself.
    #[serde(default)]
    pub cpus: Vec<usize>,
    /// What it has of this machine while it runs.
    #[serde(default)]
    pub needs: Resources,
}

/// The moment at which a process told that it is about to become the job.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Start {
    pub pid: i32,
    /// Milliseconds since boot.
    pub since_boot_ms: u64,
    pub at: UtcMs,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub exit: Exit,
    #[serde(default)]
    pub usage: Option<Usage>,
    #[serde(default)]
    pub message: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Record {
    /// What follows happened while this boot was up.
    Boot {
        id: String,
    },
    Claimed(Claim),
    Started {
        attempt: AttemptName,
        start: Start,
    },
    Stopping {
        attempt: AttemptName,
        kill_since_boot_ms: u64,
    },
    /// It may run so long, in place of what was claimed.
    Limited {
        attempt: AttemptName,
        time_limit: Duration,
    },
    Exited {
        attempt: AttemptName,
        ended: Ended,
    },
    /// Ran, and nobody saw how it ended.
    Unknown {
        attempt: AttemptName,
        words: String,
    },
    Removed {
        attempt: AttemptName,
    },
}

impl Record {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![b'\n'];
        // Every record can be written as JSON; were one not to be, its attempt would be uncertain.
        if serde_json::to_writer(&mut bytes, self).is_err() {
            bytes.truncate(1);
        }
        bytes
    }
}

/// What the journal says about one attempt.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub claim: Claim,
    /// The start, and the boot it happened in.
    pub start: Option<(Start, String)>,
    pub kill_since_boot_ms: Option<u64>,
    pub ended: Option<Ended>,
    pub unknown: Option<String>,
}

/// The file.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Not written yet.
    waiting: Vec<u8>,
    /// Records in the file.
    records: usize,
}

impl Journal {
    /// Opens it and tells what it says, in no particular order.
    pub fn open(spool: &Path, boot: &str) -> io::Result<(Self, Vec<Past>)> {
        let path = spool.join("journal");
        let (past, records) = match File::open(&path) {
            Ok(file) => replay(BufReader::new(file))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), 0),
            Err(error) => return Err(error),
        };
        let file = append_to(&path)?;
        let mut journal = Self { path, file, waiting: Vec::new(), records };
        journal.add(&Record::Boot { id: boot.to_owned() });
        journal.flush()?;
        Ok((journal, past))
    }

    /// Adds a record to those that the next [`Self::flush`] writes.
    pub fn add(&mut self, record: &Record) {
        self.waiting.extend(record.bytes());
        self.records += 1;
    }

    /// Writes what waits, with one write. After an error it still waits.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.file.write_all(&self.waiting)?;
            self.waiting.clear();
            self.waiting.shrink_to(1 << 16);
        }
        Ok(())
    }

    /// Writes these now, or not at all as far as anyone will read.
    pub fn write_now(&mut self, records: &[Record]) -> io::Result<()> {
        self.flush()?;
        let bytes: Vec<u8> = records.iter().flat_map(Record::bytes).collect();
        self.records += records.len();
        self.file.write_all(&bytes)
    }

    /// For those who are to be launched. Of no use after [`Self::rewrite`].
    pub fn appender(&self) -> io::Result<Appender> {
        self.file.try_clone().map(Appender)
    }

    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether so few of its records still matter that it should be written anew.
    pub fn is_mostly_old(&self, attempts: usize) -> bool {
        self.records > 20_000 && self.records > 8 * attempts
    }

    /// Writes it anew with these records only. Nothing may be about to append to the old one.
    pub fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        self.flush()?;
        let new = self.path.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut file = append_to(&new)?;
        for chunk in records.chunks(1000) {
            let bytes: Vec<u8> = chunk.iter().flat_map(Record::bytes).collect();
            file.write_all(&bytes)?;
        }
        file.sync_data()?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        self.records = records.len();
        Ok(())
    }
}

/// Adds to the same file from another process.
pub(super) struct Appender(File);

impl Appender {
    /// Called by a child about to become the job: from now on it counts as having run.
    pub fn append_start(&self, attempt: &AttemptName, start: Start) -> io::Result<()> {
        let bytes = Record::Started { attempt: attempt.clone(), start }.bytes();
        match (&self.0).write(&bytes)? {
            written if written == bytes.len() => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::WriteZero)),
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// What these lines say about each attempt, and how many records there are.
fn replay(mut lines: impl BufRead) -> io::Result<(Vec<Past>, usize)> {
    let mut all: HashMap<AttemptName, Past> = HashMap::new();
    let (mut boot, mut records, mut line) = (String::new(), 0, Vec::new());
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok((all.into_values().collect(), records));
        }
        let Ok(record) = serde_json::from_slice::<Record>(&line) else { continue };
        records += 1;
        match record {
            Record::Boot { id } => boot = id,
            Record::Claimed(claim) => {
                let past = Past { claim, start: None, kill_since_boot_ms: None, ended: None, unknown: None };
                all.insert(past.claim.attempt.clone(), past);
            }
            Record::Started { attempt, start } => {
                if let Some(past) = all.get_mut(&attempt) {
                    past.start = Some((start, boot.clone()));
                }
            }
            Record::Stopping { attempt, kill_since_boot_ms } => {
                if let Some(past) = all.get_mut(&attempt) {
                    past.kill_since_boot_ms = Some(kill_since_boot_ms);
                }
            }
            Record::Limited { attempt, time_limit } => {
                if let Some(past) = all.get_mut(&attempt) {
                    past.claim.time_limit = Some(time_limit);
                }
            }
            Record::Exited { attempt, ended } => {
                if let Some(past) = all.get_mut(&attempt) {
                    past.ended = Some(ended);
                }
            }
            Record::Unknown { attempt, words } => {
                if let Some(past) = all.get_mut(&attempt) {
                    past.unknown = Some(words);
                }
            }
            Record::Removed { attempt } => {
                all.remove(&attempt);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(name: &str) -> Record {
        let attempt = serde_json::from_value(name.into()).unwrap();
        Record::Claimed(Claim {
            attempt,
            uid: 0,
            stdout: "/o".into(),
            stderr: "/e".into(),
            time_limit: None,
            grace: Duration::from_secs(1),
            grouped: false,
            cpus: vec![],
            needs: Resources::default(),
        })
    }

    #[test]
    fn what_was_written_is_known_again_and_garbage_is_skipped() {
        let spool = tempfile::tempdir().unwrap();
        let (mut journal, past) = Journal::open(spool.path(), "boot-1").unwrap();
        assert!(past.is_empty());
        journal.write_now(&[claim("c-1-1"), claim("c-2-1"), claim("c-3-1")]).unwrap();
        let name = |text: &str| serde_json::from_value::<AttemptName>(text.into()).unwrap();
        let start = Start { pid: 7, since_boot_ms: 1, at: UtcMs(1000) };
        journal.appender().unwrap().append_start(&name("c-1-1"), start).unwrap();
        // What a full disk leaves behind.
        journal.file.write_all(b"\n{\"started\":{\"attem").unwrap();
        journal.appender().unwrap().append_start(&name("c-2-1"), start).unwrap();
        journal.add(&Record::Removed { attempt: name("c-3-1") });
        let time_limit = Duration::from_secs(90);
        journal.add(&Record::Limited { attempt: name("c-2-1"), time_limit });
        let ended = Ended { exit: Exit { code: Some(3), ..Exit::default() }, usage: None, message: None };
        journal.add(&Record::Exited { attempt: name("c-1-1"), ended: ended.clone() });
        journal.flush().unwrap();

        let (mut journal, mut past) = Journal::open(spool.path(), "boot-2").unwrap();
        past.sort_by_key(|past| past.claim.attempt.clone());
        assert_eq!(past.len(), 2, "the removed one is gone");
        assert_eq!(past[0].ended.as_ref(), Some(&ended));
        assert_eq!(past[1].start, Some((start, "boot-1".into())));
        assert_eq!(past[1].claim.time_limit, Some(time_limit), "the latest one counts");

        journal.rewrite(&[Record::Boot { id: "boot-2".into() }, claim("c-2-1")]).unwrap();
        journal.appender().unwrap().append_start(&name("c-2-1"), start).unwrap();
        let (_, past) = Journal::open(spool.path(), "boot-2").unwrap();
        assert_eq!(past.len(), 1);
        assert_eq!(past[0].start, Some((start, "boot-2".into())));
    }
}
