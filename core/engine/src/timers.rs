//! Instants at which something is due.

use std::collections::BTreeSet;

use berth_model::{Attempt, JobId, UtcMs};

/// What is due. A timer whose reason has gone is ignored when it fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A job's begin time.
    Begin(JobId),
    /// A job that was given back may be tried again.
    TryAgain(JobId),
    /// A job's time limit.
    TimeLimit(JobId, Attempt),
    /// A stop has not been confirmed.
    StopAgain(JobId, Attempt),
    /// The policy asked for it, or could not answer.
    Plan,
    /// Use falls out of the period that limits hold for.
    Roll,
    /// A closure is over.
    Opening,
}

/// All timers.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    all: BTreeSet<(UtcMs, Due)>,
}

impl Timers {
    pub(crate) fn set(&mut self, at: UtcMs, due: Due) {
        self.all.insert((at, due));
    }

    /// Takes out one that is due.
    pub(crate) fn pop(&mut self, now: UtcMs) -> Option<Due> {
        let &(at, _) = self.all.first()?;
        if at > now {
            return None;
        }
        self.all.pop_first().map(|(_, due)| due)
    }

    /// The earliest.
    pub(crate) fn next(&self) -> Option<UtcMs> {
        self.all.first().map(|&(at, _)| at)
    }
}
