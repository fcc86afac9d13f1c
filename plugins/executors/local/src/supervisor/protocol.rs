//! What the executor and the supervisor say to each other: frames of JSON, each behind its length.
//!
//! JSON because a supervisor outlives the Berth that started it and may have to talk with the next
//! version's executor: what one side does not know, it skips.

use std::sync::Arc;

use berth_executor_api::{
    AttemptName, AttemptReport, JobId, Launch, LaunchSpec, Launched, NamedGrant, Resources, Task, Truth,
    Usage,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Enforce;

/// Told in the first request and answer. It changes when older ones would misunderstand.
pub(crate) const PROTOCOL: u32 = 1;

/// No frame is longer.
const LONGEST_FRAME: usize = 256 << 20;

/// What the supervisor has to know beside what each request says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub cluster: String,
    pub node: String,
    pub enforce: Enforce,
    pub data: Option<String>,
    /// What attempts may have at once; further ones wait. An older executor does not say.
    #[serde(default)]
    pub capacity: Option<Resources>,
}

/// From the executor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Comes back with the answer.
    pub id: u64,
    pub ask: Ask,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Hello { protocol: u32, settings: Settings },
    Launch { specs: Vec<Arc<LaunchSpec>>, items: Vec<Item> },
    Reconcile { attempts: Vec<AttemptName> },
    Attempts,
    Control { attempt: AttemptName, order: Order },
    Stats { attempt: AttemptName },
    Find { attempt: AttemptName },
    Remove { attempts: Vec<AttemptName> },
    Cleanup { dry_run: bool },
}

/// One launch of a batch; what it shares with others is sent once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    attempt: AttemptName,
    job: JobId,
    attempt_number: u32,
    task: Option<Task>,
    directory: String,
    array_directory: Option<String>,
    stdout: String,
    stderr: String,
    /// An older executor does not say.
    #[serde(default)]
    granted: Vec<NamedGrant>,
    /// Which of the batch's specs.
    spec: usize,
}

/// A batch as it is sent.
pub(crate) fn pack(batch: &[Launch]) -> Ask {
    let mut specs: Vec<Arc<LaunchSpec>> = Vec::new();
    let items = batch
        .iter()
        .map(|launch| {
            // Those of one array share their spec and come one after the other.
            let known = specs.iter().rposition(|spec| Arc::ptr_eq(spec, &launch.spec));
            let spec = known.unwrap_or_else(|| {
                specs.push(Arc::clone(&launch.spec));
                specs.len() - 1
            });
            Item {
                attempt: launch.attempt.clone(),
                job: launch.job,
                attempt_number: launch.attempt_number,
                task: launch.task,
                directory: launch.directory.clone(),
                array_directory: launch.array_directory.clone(),
                stdout: launch.stdout.clone(),
                stderr: launch.stderr.clone(),
                granted: launch.granted.clone(),
                spec,
            }
        })
        .collect();
    Ask::Launch { specs, items }
}

impl Item {
    /// The launch that was packed; `None` when its spec was not sent along.
    pub fn unpack(self, specs: &[Arc<LaunchSpec>], node: &str) -> Option<Launch> {
        Some(Launch {
            attempt: self.attempt,
            job: self.job,
            attempt_number: self.attempt_number,
            task: self.task,
            node: Some(node.to_owned()),
            directory: self.directory,
            array_directory: self.array_directory,
            stdout: self.stdout,
            stderr: self.stderr,
            granted: self.granted,
            spec: Arc::clone(specs.get(self.spec)?),
        })
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Suspend,
    Resume,
    Signal(i32),
    Terminate { grace_ms: u64 },
    TimeLimit { limit_ms: u64 },
}

/// From the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    Answer { id: u64, answer: Answer },
    Reports(Vec<AttemptReport>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Hello {
        protocol: u32,
        notes: Vec<String>,
    },
    Launched(Vec<Launched>),
    Truths(Vec<Truth>),
    Attempts(Vec<AttemptName>),
    Usage(Usage),
    Found(Found),
    Lines(Vec<String>),
    Done,
    /// No such attempt, or it does not run.
    Unknown,
    /// It could not be done, in words.
    Failed(String),
}

/// Where an attempt's output is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub stdout: String,
    pub stderr: String,
    /// Whose the files have to be.
    pub uid: u32,
    /// The files exist now, if they ever will.
    pub started: bool,
    pub ended: bool,
}

/// A frame, ready to be sent.
pub(crate) fn encode<T: Serialize>(message: &T) -> serde_json::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len().saturating_sub(4)).unwrap_or(u32::MAX);
    if let Some(head) = frame.first_chunk_mut() {
        *head = length.to_le_bytes();
    }
    Ok(frame)
}

/// Bytes that cannot be frames, or not ones of this protocol.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {0} bytes is longer than any that is sent")]
    TooLong(usize),
    #[error("a frame is not what it should be")]
    Malformed(#[from] serde_json::Error),
}

/// Takes bytes as they come and gives frames.
#[derive(Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    taken: usize,
}

impl Frames {
    /// Adds what was received.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.taken > 0 && self.taken >= self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
            self.bytes.shrink_to(1 << 16);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let waiting = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((head, rest)) = waiting.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if length > LONGEST_FRAME {
            return Err(FrameError::TooLong(length));
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(frame)?;
        self.taken += 4 + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_whole_however_they_are_cut() {
        let sent: Vec<Request> =
            (0..50).map(|id| Request { id, ask: Ask::Cleanup { dry_run: id % 2 == 0 } }).collect();
        let bytes: Vec<u8> = sent.iter().flat_map(|request| encode(request).unwrap()).collect();
        for size in [1, 3, 7, 64, bytes.len()] {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for piece in bytes.chunks(size) {
                frames.extend(piece);
                while let Some(request) = frames.next::<Request>().unwrap() {
                    got.push(request.id);
                }
            }
            assert_eq!(got, (0..50).collect::<Vec<_>>(), "pieces of {size}");
        }
    }

    #[test]
    fn a_frame_that_is_too_long_or_garbage_is_an_error() {
        let mut frames = Frames::default();
        frames.extend(&u32::MAX.to_le_bytes());
        assert!(matches!(frames.next::<Request>(), Err(FrameError::TooLong(_))));
        let mut frames = Frames::default();
        frames.extend(b"\x03\0\0\0abc");
        assert!(matches!(frames.next::<Request>(), Err(FrameError::Malformed(_))));
    }
}
