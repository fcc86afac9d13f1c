//! What is remembered of attempts that have a service. All of it can be had from the Swarm again; it is
//! kept to tell what is news.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use berth_executor_api::{AttemptName, UtcMs, files::Phase};
use tokio::{sync::watch, task::AbortHandle};

use crate::task::{Standing, State};

/// Where the task of an attempt stands, for those who read what it writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub phase: Phase,
    /// The task's number.
    pub task: Option<String>,
    /// Whether it ever had a container, and so may have written something.
    pub container: bool,
}

/// Whether all that the attempt has written is in its files: with words where it is not.
pub(crate) type Written = Option<Result<(), String>>;

/// One attempt.
#[derive(Debug)]
pub(crate) struct Entry {
    /// An end was asked for.
    pub stopped: bool,
    /// What was told last; a later look that finds the same is no news.
    told: Option<Standing>,
    /// The time of the last report. Clocks of nodes differ; reports do not run backwards.
    last_at: UtcMs,
    /// Its end is being told, or was.
    pub ending: bool,
    /// Its end was told.
    pub over: bool,
    /// It was told that it runs.
    pub ran: bool,
    /// Berth was told to ask about it, since its node is away for too long.
    pub given_up: bool,
    pub progress: watch::Sender<Progress>,
    pub written: watch::Receiver<Written>,
    writer: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Entry {
    pub fn new(
        stopped: bool,
        progress: watch::Sender<Progress>,
        written: watch::Receiver<Written>,
        writer: AbortHandle,
    ) -> Self {
        let (told, last_at) = (None, UtcMs::default());
        let [ending, over, ran, given_up] = [false; 4];
        Self { stopped, told, last_at, ending, over, ran, given_up, progress, written, writer }
    }

    /// Takes over what a look has found; whether it is news.
    pub fn note(&mut self, standing: &Standing) -> bool {
        let phase = match standing.state {
            State::Starting => Phase::Waiting,
            State::Running => Phase::Writing,
            State::Exited(_) | State::NodeGone | State::Lost => Phase::Ended,
        };
        let now = Progress { phase, task: standing.task.clone(), container: standing.container.is_some() };
        self.progress.send_if_modified(|progress| {
            let forward = rank(now.phase) >= rank(progress.phase) && *progress != now;
            if forward {
                *progress = now;
            }
            forward
        });
        let known = self.told.as_ref().is_some_and(|told| {
            told.state == standing.state && told.message == standing.message && told.node == standing.node
        });
        if !known {
            self.told = Some(standing.clone());
        }
        self.ran |= standing.state == State::Running;
        !known
    }

    /// A time that does not run backwards.
    pub fn time(&mut self, at: UtcMs) -> UtcMs {
        self.last_at = self.last_at.max(at);
        self.last_at
    }

    /// Whether more is to come, and on which node.
    pub fn live(&self) -> Option<Option<&str>> {
        (!self.ending).then(|| self.told.as_ref().and_then(|told| told.node.as_deref()))
    }
}

fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Waiting => 0,
        Phase::Writing => 1,
        Phase::Ended => 2,
    }
}

/// All attempts.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<HashMap<AttemptName, Entry>>);

impl Book {
    pub fn entries(&self) -> MutexGuard<'_, HashMap<AttemptName, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with an entry, if there is one.
    pub fn with<T>(&self, attempt: &AttemptName, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.entries().get_mut(attempt).map(act)
    }

    /// Whether there was one.
    pub fn forget(&self, attempt: &AttemptName) -> bool {
        self.entries().remove(attempt).is_some()
    }

    /// Attempts whose ends were not told yet.
    pub fn live(&self) -> Vec<AttemptName> {
        let entries = self.entries();
        entries.iter().filter(|(_, entry)| !entry.ending).map(|(attempt, _)| attempt.clone()).collect()
    }

    /// Whether something may happen that the engine of this node does not tell of.
    pub fn needs_looking(&self, own_node: Option<&str>) -> bool {
        let entries = self.entries();
        entries.values().any(|entry| entry.live().is_some_and(|node| node.is_none() || node != own_node))
    }
}
