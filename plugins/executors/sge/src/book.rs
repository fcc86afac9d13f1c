//! What is known of each attempt, in memory and on disk.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use berth_executor_api::{AttemptName, AttemptReport, AttemptState, UtcMs, files::Phase};
use tokio::sync::watch;

use crate::journal::{Ended, Journal, Kept, Note};

/// One attempt.
#[derive(Debug)]
pub(crate) struct Entry {
    pub kept: Kept,
    pub state: AttemptState,
    pub since: UtcMs,
    pub node: Option<String>,
    pub message: Option<String>,
    /// Since when it is not in the cell's list any more.
    pub gone: Option<Instant>,
    /// It has been seen in the list.
    pub seen: bool,
    pub phase: watch::Sender<Phase>,
}

impl Entry {
    fn new(kept: Kept) -> Self {
        let since = kept.at;
        let mut entry = Self {
            kept,
            state: AttemptState::Starting,
            since,
            node: None,
            message: None,
            gone: None,
            seen: false,
            phase: watch::Sender::default(),
        };
        if let Some(ended) = entry.kept.ended.clone() {
            entry.end(ended);
        }
        entry
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, AttemptState::Exited(_))
    }

    pub fn report(&self) -> AttemptReport {
        AttemptReport {
            node: self.node.clone(),
            message: self.message.clone(),
            usage: self.kept.ended.as_ref().and_then(|ended| ended.usage),
            ..AttemptReport::new(self.kept.attempt.clone(), self.state.clone(), self.since)
        }
    }

    fn end(&mut self, ended: Ended) {
        self.state = AttemptState::Exited(ended.exit.clone());
        self.since = self.since.max(ended.exit.at);
        self.node = ended.node.clone().or(self.node.take());
        self.message.clone_from(&ended.message);
        self.kept.ended = Some(ended);
        self.phase.send_replace(Phase::Ended);
    }
}

/// All attempts that SGE was, or is about to be, given.
#[derive(Debug)]
pub(crate) struct Book {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub entries: BTreeMap<AttemptName, Entry>,
    journal: Journal,
}

impl Book {
    pub fn open(state: &Path) -> io::Result<Self> {
        let (journal, kept) = Journal::open(state)?;
        let entries = kept.into_iter().map(|(attempt, kept)| (attempt, Entry::new(kept))).collect();
        Ok(Self { inner: Mutex::new(Inner { entries, journal }) })
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of one attempt.
    pub fn kept(&self, attempt: &AttemptName) -> Option<Kept> {
        self.lock().entries.get(attempt).map(|entry| entry.kept.clone())
    }

    /// Whether there is anything to watch.
    pub fn has_work(&self) -> bool {
        self.lock().entries.values().any(|entry| !entry.is_over())
    }
}

impl Inner {
    /// Notes what is about to be submitted. On disk when it returns.
    pub fn intend(&mut self, all: Vec<Kept>) -> io::Result<()> {
        self.journal.note(&Note::Intends(all.clone()), true)?;
        self.entries.extend(all.into_iter().map(|kept| (kept.attempt.clone(), Entry::new(kept))));
        Ok(())
    }

    /// Their number in SGE is known.
    pub fn number(&mut self, attempts: Vec<AttemptName>, number: u64) {
        for attempt in &attempts {
            if let Some(entry) = self.entries.get_mut(attempt) {
                entry.kept.number = Some(number);
            }
        }
        self.try_note(&Note::Numbered { attempts, number });
    }

    /// Their end is asked for.
    pub fn stop(&mut self, attempt: &AttemptName, at: UtcMs) -> io::Result<()> {
        if let Some(entry) = self.entries.get_mut(attempt)
            && entry.kept.stopped.is_none()
        {
            self.journal.note(&Note::Stopped { attempt: attempt.clone(), at }, true)?;
            entry.kept.stopped = Some(at);
        }
        Ok(())
    }

    /// It is over; what is to be reported, unless that was known.
    pub fn end(&mut self, attempt: &AttemptName, ended: Ended) -> Option<AttemptReport> {
        let entry = self.entries.get_mut(attempt).filter(|entry| !entry.is_over())?;
        entry.end(ended.clone());
        let report = entry.report();
        self.try_note(&Note::Ended { attempt: attempt.clone(), ended });
        Some(report)
    }

    /// Nothing of them is kept any more.
    pub fn forget(&mut self, attempts: Vec<AttemptName>) -> io::Result<()> {
        self.journal.note(&Note::Forgotten(attempts.clone()), true)?;
        for attempt in &attempts {
            self.entries.remove(attempt);
        }
        Ok(())
    }

    /// What can be found out again is not worth failing for.
    fn try_note(&mut self, note: &Note) {
        if let Err(error) = self.journal.note(note, false) {
            tracing::warn!(%error, "not noted");
        }
    }
}
