//! What the supervisor knows of one attempt.

use std::os::fd::OwnedFd;

use berth_executor_api::{AttemptName, AttemptReport, AttemptState, Exit, Truth, UtcMs};

use super::{
    clock,
    journal::{Claim, Ended, Past, Record, Start},
    procfs,
};

/// Where an attempt stands.
pub(super) enum Phase {
    /// In the journal, and its turn has not come.
    Queued,
    /// Given to a launcher; whether it gets to run is not known yet.
    Launching,
    Running(Start),
    Over(Box<Ended>),
    /// It ran, and nobody saw how it ended.
    Unknown {
        words: String,
    },
    /// The supervisor ended before its turn came.
    NeverRan,
}

pub(super) struct Attempt {
    pub claim: Claim,
    pub phase: Phase,
    pub since: UtcMs,
    pub suspended: bool,
    /// It was asked to end.
    pub stopped: bool,
    /// It was its time limit that did.
    pub at_time_limit: bool,
    /// When it is killed, in milliseconds since boot, if it runs that long.
    pub time_limit_at: Option<u64>,
    /// When it is killed after it was asked to end.
    pub kill_at: Option<u64>,
    /// The most memory that was seen in use, in bytes.
    pub memory_seen: u64,
    /// It was swept away once before it ran, with what an ended launcher had left behind.
    pub swept: bool,
    /// Why its program could not be executed.
    pub failure: Option<String>,
}

impl Attempt {
    pub fn new(claim: Claim, phase: Phase) -> Self {
        Self {
            claim,
            phase,
            since: clock::now(),
            suspended: false,
            stopped: false,
            at_time_limit: false,
            time_limit_at: None,
            kill_at: None,
            memory_seen: 0,
            swept: false,
            failure: None,
        }
    }

    /// From the journal, as things are now that another supervisor has ended; with its process, if that
    /// still runs.
    pub fn recall(past: Past, boot: &str) -> (Self, Option<OwnedFd>) {
        let Past { claim, start, kill_since_boot_ms, ended, unknown } = past;
        let limit = claim.time_limit;
        let mut process = None;
        let phase = match (ended, unknown, start) {
            (Some(ended), ..) => Phase::Over(Box::new(ended)),
            (None, Some(words), _) => Phase::Unknown { words },
            (None, None, None) => Phase::NeverRan,
            (None, None, Some((_, its_boot))) if its_boot != boot => {
                Phase::Unknown { words: "the machine was started anew while it ran".into() }
            }
            (None, None, Some((start, _))) => {
                process = same_process(start);
                match process {
                    Some(_) => Phase::Running(start),
                    None => Phase::Unknown { words: UNSEEN.into() },
                }
            }
        };
        let mut attempt = Self::new(claim, phase);
        match &attempt.phase {
            Phase::Running(start) => {
                attempt.since = start.at;
                attempt.time_limit_at = limit.map(|limit| start.since_boot_ms.saturating_add(millis(limit)));
                attempt.stopped = kill_since_boot_ms.is_some();
                attempt.kill_at = kill_since_boot_ms;
                attempt.suspended = procfs::process(start.pid).is_some_and(|process| process.state == 'T');
            }
            Phase::Over(ended) => attempt.since = ended.exit.at,
            _ => {}
        }
        (attempt, process)
    }

    /// Its main process, as long as it has one.
    pub fn pid(&self) -> Option<i32> {
        match &self.phase {
            Phase::Running(start) => Some(start.pid),
            _ => None,
        }
    }

    pub fn is_launching(&self) -> bool {
        matches!(self.phase, Phase::Launching)
    }

    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Queued | Phase::Launching | Phase::Running(_))
    }

    pub fn state(&self) -> AttemptState {
        match &self.phase {
            Phase::Queued | Phase::Launching => AttemptState::Starting,
            Phase::Running(_) if self.suspended => AttemptState::Suspended,
            Phase::Running(_) => AttemptState::Running,
            Phase::Over(ended) => AttemptState::Exited(ended.exit.clone()),
            Phase::Unknown { .. } => {
                AttemptState::Exited(Exit { before_stop: !self.stopped, at: self.since, ..Exit::default() })
            }
            Phase::NeverRan => AttemptState::NoRoom,
        }
    }

    pub fn report(&self, node: &str) -> AttemptReport {
        let mut report = AttemptReport::new(self.claim.attempt.clone(), self.state(), self.since);
        report.node = Some(node.to_owned());
        match &self.phase {
            Phase::Over(ended) => {
                report.usage = ended.usage;
                report.message.clone_from(&ended.message);
            }
            Phase::Unknown { words } => report.message = Some(words.clone()),
            Phase::NeverRan => {
                report.message = Some("the supervisor ended before it could be started".into());
            }
            _ => {}
        }
        report
    }

    pub fn truth(&self, node: &str) -> Truth {
        match &self.phase {
            Phase::Unknown { words } => Truth::Uncertain { words: words.clone() },
            _ => Truth::Known(self.report(node)),
        }
    }

    /// The records that a journal needs to know the same.
    pub fn records(&self) -> Vec<Record> {
        let name = || -> AttemptName { self.claim.attempt.clone() };
        let mut records = vec![Record::Claimed(self.claim.clone())];
        match &self.phase {
            Phase::Running(start) => records.push(Record::Started { attempt: name(), start: *start }),
            Phase::Over(ended) => {
                records.push(Record::Exited { attempt: name(), ended: ended.as_ref().clone() });
            }
            Phase::Unknown { words } => {
                records.push(Record::Unknown { attempt: name(), words: words.clone() });
            }
            Phase::Queued | Phase::Launching | Phase::NeverRan => {}
        }
        if let Some(kill_since_boot_ms) = self.kill_at {
            records.push(Record::Stopping { attempt: name(), kill_since_boot_ms });
        }
        records
    }
}

/// What is said of an attempt whose end was missed.
pub(super) const UNSEEN: &str = "it ended while no supervisor was there to see how";

/// The process, if it still is the one: it told its start when it had its number already, so whoever has
/// the number now and began no later is the very same.
fn same_process(start: Start) -> Option<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(start.pid)?;
    let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
    let now = procfs::process(start.pid)?;
    (now.start_ms() <= start.since_boot_ms && !matches!(now.state, 'Z' | 'X')).then_some(process)
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
