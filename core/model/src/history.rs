//! What happened to a job: who, what, when, why.

use serde::{Deserialize, Serialize};

use crate::{Attempt, End, Exit, Hold, JobId, UtcMs};

/// One kind of entry in a job's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// Accepted and durable.
    Submitted {
        /// By whom.
        by: String,
    },
    /// Kept back.
    Held {
        /// For what reason.
        hold: Hold,
        /// By whom, when a person did.
        by: Option<String>,
    },
    /// No longer kept back so.
    Released {
        /// Which hold was lifted.
        hold: Hold,
        /// By whom, when a person did.
        by: Option<String>,
    },
    /// Resources were set aside.
    Starting {
        /// The execution.
        attempt: Attempt,
        /// Where.
        node: String,
    },
    /// Runs.
    Running {
        /// The execution.
        attempt: Attempt,
    },
    /// Suspended.
    Suspended,
    /// Runs again.
    Resumed,
    /// An end was asked for.
    Stopping {
        /// By whom and why, in words.
        cause: String,
    },
    /// The back end gave it back.
    GivenBack {
        /// The execution.
        attempt: Attempt,
        /// In its words.
        reason: String,
    },
    /// Over.
    Ended {
        /// How.
        end: End,
        /// What the back end said.
        exit: Option<Exit>,
    },
    /// Goes back to pending for another attempt.
    Requeued {
        /// Why.
        reason: String,
    },
    /// A truth that arrived after the end; the state stays.
    LateNews {
        /// What the back end said.
        exit: Exit,
    },
    /// What an administrator did that concerns no single job. Under [`JobId::SITE`].
    Act {
        /// Who.
        by: String,
        /// In words.
        words: String,
    },
    /// What the job itself wants its people to know.
    Message {
        /// In its words.
        text: String,
    },
    /// Something that a person did to it, or an executor had to say.
    Note {
        /// In words.
        text: String,
    },
}

impl EventKind {
    /// Whether it is the end of an attempt.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }
}

/// One entry of a job's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEventRecord {
    /// The job.
    pub job: JobId,
    /// When.
    pub at: UtcMs,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}
