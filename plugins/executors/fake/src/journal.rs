//! The simulated back end on disk: what it was asked, one line each, so that it can go on from there
//! when the process has died, and so that a test can count.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use berth_executor_api::{Action, AttemptName, NodeState, UtcMs};
use serde::{Deserialize, Serialize};

use crate::entry::Facts;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Record {
    Launched {
        attempt: AttemptName,
        at: UtcMs,
        facts: Facts,
    },
    Asked {
        attempt: AttemptName,
        at: UtcMs,
        action: Asked,
    },
    Removed {
        attempt: AttemptName,
        at: UtcMs,
    },
    Node {
        name: String,
        at: UtcMs,
        state: NodeState,
    },
    /// Follows from the others; it is there to be counted.
    Ended {
        attempt: AttemptName,
        at: UtcMs,
    },
}

/// [`Action`] as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Asked {
    Suspend,
    Resume,
    Signal(i32),
    Terminate { grace: Duration },
    TimeLimit { limit: Duration },
}

impl From<Action> for Asked {
    fn from(action: Action) -> Self {
        match action {
            Action::Suspend => Self::Suspend,
            Action::Resume => Self::Resume,
            Action::Signal(signal) => Self::Signal(signal),
            Action::Terminate { grace } => Self::Terminate { grace },
            Action::TimeLimit { limit } => Self::TimeLimit { limit },
        }
    }
}

impl From<Asked> for Action {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Suspend => Self::Suspend,
            Asked::Resume => Self::Resume,
            Asked::Signal(signal) => Self::Signal(signal),
            Asked::Terminate { grace } => Self::Terminate { grace },
            Asked::TimeLimit { limit } => Self::TimeLimit { limit },
        }
    }
}

/// The open file, with lines that are not written yet.
pub(crate) struct Journal {
    file: File,
    waiting: Vec<u8>,
}

impl Journal {
    /// Opens or makes the file and reads what is in it. A line cut off by a crash was never answered
    /// for, and is dropped.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<Record>)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        text.truncate(whole);
        let records = records(text.as_slice()).collect::<io::Result<_>>()?;
        Ok((Self { file, waiting: Vec::new() }, records))
    }

    pub(crate) fn note(&mut self, record: &Record) {
        let before = self.waiting.len();
        match serde_json::to_writer(&mut self.waiting, record) {
            Ok(()) => self.waiting.push(b'\n'),
            Err(_) => self.waiting.truncate(before),
        }
    }

    /// Hands all lines to the kernel in one write: a killed process loses none of them.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.file.write_all(&std::mem::take(&mut self.waiting))
    }
}

fn records<R: Read>(text: R) -> impl Iterator<Item = io::Result<Record>> {
    let parse = |line: io::Result<String>| serde_json::from_str(&line?).map_err(io::Error::from);
    BufReader::new(text).lines().map(parse)
}

/// How often an attempt was run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Times that a run was begun.
    pub launched: u32,
    /// Times that a run ended.
    pub ended: u32,
}

impl Runs {
    pub(crate) fn count(all: &mut BTreeMap<AttemptName, Self>, record: &Record) {
        match record {
            Record::Launched { attempt, .. } => all.entry(attempt.clone()).or_default().launched += 1,
            Record::Ended { attempt, .. } => all.entry(attempt.clone()).or_default().ended += 1,
            Record::Asked { .. } | Record::Removed { .. } | Record::Node { .. } => {}
        }
    }
}

/// Counts the runs of each attempt from the file of [`crate::FakeConfig::state`].
///
/// # Errors
/// When the file cannot be read or is not one of these.
pub fn read_runs(path: &Path) -> io::Result<BTreeMap<AttemptName, Runs>> {
    let mut text = std::fs::read(path)?;
    text.truncate(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    let mut all = BTreeMap::new();
    for record in records(text.as_slice()) {
        Runs::count(&mut all, &record?);
    }
    Ok(all)
}
