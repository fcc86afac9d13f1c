//! What the daemon's loop hears of executors.

use std::sync::Arc;

use berth_executor_api::{Action, AttemptName, AttemptReport, Launched, Node, Truth, UtcMs};

use crate::CallError;

/// Something that an executor did, said or failed at.
#[derive(Debug)]
pub enum HostEvent {
    /// A launch is answered: one answer per attempt, in order, or none at all.
    LaunchAnswered {
        /// Which executor.
        executor: Arc<str>,
        /// What was to be launched.
        attempts: Vec<AttemptName>,
        /// The answers. Not tried again by the host; [`CallError::may_be_done`] says what to do first.
        answer: Result<Vec<Launched>, CallError>,
    },
    /// The truth that was asked for. Tried until the back end answers, so errors are the plugin's faults.
    Reconciled {
        /// Which executor.
        executor: Arc<str>,
        /// What was asked about.
        attempts: Vec<AttemptName>,
        /// The truths, in order.
        answer: Result<Vec<Truth>, CallError>,
    },
    /// All attempts of this cluster that the back end has. Tried until it answers.
    Listed {
        /// Which executor.
        executor: Arc<str>,
        /// The attempts, or the plugin's fault.
        answer: Result<Vec<AttemptName>, CallError>,
    },
    /// Something was asked of an attempt. `Terminate` is tried again a number of times before an
    /// error comes; what it does to the attempt is reported.
    ControlAnswered {
        /// Which executor.
        executor: Arc<str>,
        /// Of which attempt.
        attempt: AttemptName,
        /// What.
        action: Action,
        /// Whether it was taken.
        answer: Result<(), CallError>,
    },
    /// Attempts are forgotten by the back end. Tried until it answers.
    Removed {
        /// Which executor.
        executor: Arc<str>,
        /// Which attempts.
        attempts: Vec<AttemptName>,
        /// Whether it was taken.
        answer: Result<(), CallError>,
    },
    /// What became of attempts, oldest first.
    Reports {
        /// Which executor.
        executor: Arc<str>,
        /// What it says.
        reports: Vec<AttemptReport>,
    },
    /// The nodes, all of them. Comes first of all, after each return, and when something changed.
    Capacity {
        /// Which executor.
        executor: Arc<str>,
        /// Its nodes.
        nodes: Vec<Node>,
    },
    /// The back end cannot be reached; its jobs are unreachable, not failed. Told once until `Back`.
    Away {
        /// Which executor.
        executor: Arc<str>,
        /// Since when.
        since: UtcMs,
        /// In its words.
        words: String,
    },
    /// The back end can be reached again.
    Back {
        /// Which executor.
        executor: Arc<str>,
    },
    /// Something may not have been reported: every attempt that this executor has must be reconciled.
    ReconcileNeeded {
        /// Which executor.
        executor: Arc<str>,
        /// Why.
        why: &'static str,
    },
}

impl HostEvent {
    /// Which executor it is about.
    #[must_use]
    pub fn executor(&self) -> &Arc<str> {
        match self {
            Self::LaunchAnswered { executor, .. }
            | Self::Reconciled { executor, .. }
            | Self::Listed { executor, .. }
            | Self::ControlAnswered { executor, .. }
            | Self::Removed { executor, .. }
            | Self::Reports { executor, .. }
            | Self::Capacity { executor, .. }
            | Self::Away { executor, .. }
            | Self::Back { executor }
            | Self::ReconcileNeeded { executor, .. } => executor,
        }
    }
}

/// Whether a back end can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As far as is known.
    Reachable,
    /// It cannot.
    Away {
        /// Since when.
        since: UtcMs,
        /// In its words.
        words: String,
        /// When it is looked for again.
        next_try: UtcMs,
    },
}
