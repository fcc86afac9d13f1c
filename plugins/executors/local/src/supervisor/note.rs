//! What children tell their supervisor on the way to becoming a job: lines in one pipe.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
};

use berth_executor_api::AttemptName;
use serde::{Deserialize, Serialize};

use super::journal::Start;

/// Longer writes to a pipe could mix with those of other children.
const LONGEST: usize = 4000;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Note {
    /// It is in the journal, and the program comes next.
    Started { attempt: AttemptName, start: Start },
    /// It could not be prepared.
    NotLaunched { attempt: AttemptName, words: String },
    /// It began, but its program cannot be executed.
    NotExecuted { attempt: AttemptName, words: String },
}

/// Tells it. When nobody listens any more, nobody needs to know.
pub(super) fn write(pipe: impl AsFd, note: &Note) {
    let mut line = match serde_json::to_vec(note) {
        Ok(line) if line.len() < LONGEST => line,
        _ => match note {
            Note::NotLaunched { attempt, words } | Note::NotExecuted { attempt, words } => {
                let words = words.chars().take(500).collect();
                serde_json::to_vec(&Note::NotLaunched { attempt: attempt.clone(), words }).unwrap_or_default()
            }
            Note::Started { .. } => return,
        },
    };
    line.push(b'\n');
    let _ = rustix::io::write(pipe, &line);
}

/// The supervisor's end.
pub(super) struct Notes {
    pub pipe: File,
    rest: Vec<u8>,
}

impl Notes {
    /// With the end that children write to.
    pub fn open() -> io::Result<(Self, File)> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read, true)?;
        Ok((Self { pipe: File::from(read), rest: Vec::new() }, File::from(write)))
    }

    /// What was told since the last time.
    pub fn take(&mut self) -> Vec<Note> {
        let mut buffer = [0; 16 << 10];
        loop {
            match (&self.pipe).read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => self.rest.extend(buffer.get(..got).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let lines: Vec<u8> = self.rest.drain(..=end).collect();
        lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}
