//! What is known of attempts at the moment. After a restart it is made again from the engine and the notes.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use berth_executor_api::{AttemptName, AttemptReport, AttemptState, UtcMs, files::Phase};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    facts::{Facts, OnDemand},
    notes::Note,
    shares::Shares,
};

/// Something that whoever tends an attempt should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nudge {
    /// All its processes were frozen.
    Paused(UtcMs),
    /// They go on.
    Unpaused(UtcMs),
    /// Its first process has ended.
    Died(Died),
    /// Its container is gone.
    Destroyed,
    /// It is to be ended; the note says how.
    Stop,
    /// Something may have been missed.
    Look,
}

/// What the engine's event tells of an end: all that is left where the container is removed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Died {
    pub code: i32,
    pub at: UtcMs,
}

/// One attempt.
pub(crate) struct Entry {
    /// What was told of it last.
    pub last: AttemptReport,
    /// That was its end.
    pub over: bool,
    pub facts: Arc<Facts>,
    pub note: Note,
    /// Whether its container was made.
    pub made: bool,
    /// Signals that are known to have been sent to it.
    pub signals: BTreeSet<i32>,
    pub nudge: mpsc::UnboundedSender<Nudge>,
    /// For those who follow its outputs.
    pub phase: watch::Sender<Phase>,
    /// Ends whoever tends it.
    pub life: CancellationToken,
}

impl Entry {
    pub fn nudge(&self, nudge: Nudge) {
        // Nobody tends what is over.
        let _ = self.nudge.send(nudge);
    }
}

/// All attempts, and what they have for themselves.
#[derive(Default)]
pub(crate) struct Books {
    pub entries: HashMap<AttemptName, Entry>,
    pub shares: Shares,
}

/// What a new entry is made of.
pub(crate) struct New {
    pub first: AttemptReport,
    pub facts: Arc<Facts>,
    pub note: Note,
    pub made: bool,
}

/// What the tender of an entry needs.
pub(crate) struct Reins {
    pub nudges: mpsc::UnboundedReceiver<Nudge>,
    pub life: CancellationToken,
}

impl Books {
    /// Enters an attempt that is not there yet.
    pub fn enter(&mut self, attempt: &AttemptName, new: New, life: CancellationToken) -> Reins {
        let (nudge, nudges) = mpsc::unbounded_channel();
        let entry = Entry {
            over: is_end(&new.first.state),
            last: new.first,
            facts: new.facts,
            note: new.note,
            made: new.made,
            signals: BTreeSet::new(),
            nudge,
            phase: watch::Sender::new(Phase::Waiting),
            life: life.clone(),
        };
        if entry.over {
            entry.phase.send_replace(Phase::Ended);
        } else {
            self.shares.hold(attempt, entry.facts.share());
        }
        self.entries.insert(attempt.clone(), entry);
        Reins { nudges, life }
    }

    /// The networks that attempts need which were made for them.
    pub fn networks(&self) -> impl Iterator<Item = &OnDemand> {
        self.entries.values().filter_map(|entry| entry.facts.network.as_ref())
    }

    /// Whether an attempt needs the network of this name.
    pub fn needs_network(&self, name: &str) -> bool {
        self.networks().any(|network| network.name == name)
    }

    /// Takes note of a report; what says nothing new, or comes after the end, is not told.
    pub fn note(&mut self, mut report: AttemptReport) -> Option<AttemptReport> {
        let entry = self.entries.get_mut(&report.attempt)?;
        let repeats = entry.last.state == report.state
            && entry.last.message == report.message
            && entry.last.ports == report.ports;
        if entry.over || repeats {
            return None;
        }
        report.at = report.at.max(entry.last.at);
        entry.last = report.clone();
        entry.over = is_end(&report.state);
        let phase = match &report.state {
            AttemptState::Starting => Phase::Waiting,
            AttemptState::Running | AttemptState::Suspended => Phase::Writing,
            AttemptState::Exited(_) | AttemptState::NoRoom | AttemptState::NodeGone => Phase::Ended,
        };
        entry.phase.send_if_modified(|now| {
            let forward = *now != phase && *now != Phase::Ended;
            if forward {
                *now = phase;
            }
            forward
        });
        Some(report)
    }
}

fn is_end(state: &AttemptState) -> bool {
    matches!(state, AttemptState::Exited(_))
}
