//! Why a job has not started.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClosureKind, Hold, JobId, StateKind, UtcMs};

/// One reason that a job waits, with its evidence. A job may have several at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum WaitReason {
    /// A person holds it.
    Held {
        /// Owner or administrator.
        hold: Hold,
    },
    /// Its begin time has not come.
    BeginTime {
        /// When it comes.
        begin: UtcMs,
    },
    /// It waits for another job.
    Dependency {
        /// That job.
        on: JobId,
        /// Where that job stands, when it is known to the engine.
        state: Option<StateKind>,
        /// What is waited for: `after-ok`, `after-any`, `after-not-ok`.
        kind: String,
    },
    /// Nodes that it may run on are closed to it, and the others have no room.
    Closed {
        /// What closes them: `drain`, `maintenance` or `reservation`.
        kind: ClosureKind,
        /// What is closed, for whom, until when and why.
        words: String,
        /// Which administrator has set it.
        by: String,
        /// It has not begun; its time limit would let the job reach into it.
        ahead: bool,
    },
    /// It is to avoid nodes where it failed before.
    Avoids {
        /// These.
        nodes: Vec<String>,
    },
    /// No node has enough free.
    NoRoom {
        /// What is short and by how much, for the node that comes nearest.
        evidence: String,
    },
    /// As many tasks of its array run as may.
    ArrayBound {
        /// The bound after `%`.
        at_once: u32,
    },
    /// An account that it counts for has not enough left of its quota.
    Quota {
        /// `user alice`, `project p`, `group g`.
        account: String,
        /// What it may use and has used.
        words: String,
    },
    /// The scheduler passed it over, in its words.
    Scheduler {
        /// The policy.
        policy: String,
        /// What it said.
        words: String,
    },
    /// No plan has been made since it became eligible.
    NotPlannedYet,
    /// Its executor cannot be reached.
    Unreachable {
        /// The executor.
        executor: String,
        /// What it said last.
        words: String,
    },
    /// The back end had no room and gave it back.
    GivenBack {
        /// The executor's words.
        words: String,
    },
    /// A plugin that it needs is benched.
    Benched {
        /// The plugin.
        plugin: String,
    },
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { hold: Hold::Administrator } => f.write_str("held by an administrator"),
            Self::Held { .. } => f.write_str("held by its owner; `berth release` lets it go"),
            Self::BeginTime { begin } => write!(f, "begins at {begin}"),
            Self::Dependency { on, state: Some(state), kind } => {
                write!(f, "waits for job {on} ({kind}), which is {state}")
            }
            Self::Dependency { on, state: None, kind } => write!(f, "waits for job {on} ({kind})"),
            Self::Closed { kind, words, by, ahead: false } => write!(f, "{kind} by {by}: {words}"),
            Self::Closed { kind, words, by, ahead: true } => {
                write!(f, "its time limit would reach into a {kind} by {by}: {words}")
            }
            Self::Avoids { nodes } => write!(f, "avoids nodes where it failed before: {}", nodes.join(", ")),
            Self::NoRoom { evidence } => write!(f, "no room: {evidence}"),
            Self::ArrayBound { at_once } => {
                write!(f, "{at_once} tasks of its array run, as many as may at once")
            }
            Self::Quota { account, words } => write!(f, "quota of {account}: {words}"),
            Self::Scheduler { policy, words } => write!(f, "scheduler {policy}: {words}"),
            Self::NotPlannedYet => f.write_str("the scheduler has not looked at it yet"),
            Self::Unreachable { executor, words } => {
                write!(f, "executor {executor} cannot be reached: {words}")
            }
            Self::GivenBack { words } => write!(f, "the back end had no room: {words}"),
            Self::Benched { plugin } => write!(f, "plugin {plugin} is benched; see `berth plugin list`"),
        }
    }
}
