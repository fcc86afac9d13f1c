//! How jobs end.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{StateKind, UtcMs};

/// What a back end says of an execution that is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, when it exited by itself.
    pub code: Option<i32>,
    /// The signal that ended it, when one did.
    pub signal: Option<i32>,
    /// It was ended for using more memory than it had.
    pub out_of_memory: bool,
    /// The back end itself ended it at its time limit.
    pub time_limit: bool,
    /// The back end could not start it at all, and says why.
    pub could_not_launch: Option<String>,
    /// The back end shows that it ended before any stop was sent.
    pub before_stop: bool,
    /// When it ended, by the back end's clock.
    pub at: UtcMs,
}

impl Exit {
    /// The number a shell would give: the code, or 128 + signal.
    #[must_use]
    pub fn shell_code(&self) -> Option<i32> {
        self.code.or(self.signal.map(|signal| 128 + signal))
    }
}

/// Who or what asked for the end of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum StopCause {
    /// Its owner, or someone with the right to.
    User {
        /// The person's name.
        name: String,
    },
    /// An administrator who does not own it.
    Administrator {
        /// The person's name.
        name: String,
    },
    /// The array that it belongs to was killed as a whole.
    Array,
    /// It ran longer than its time limit.
    TimeLimit,
    /// A watcher policy.
    Watcher {
        /// The watcher's name.
        name: String,
        /// Its words.
        reason: String,
    },
    /// The scheduler policy refused an array of which tasks had begun.
    Scheduler {
        /// Its words.
        reason: String,
    },
    /// Somebody wants it to run again; it goes back to pending when this execution is over.
    Rerun {
        /// The person's name.
        name: String,
    },
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { name } => write!(f, "by {name}"),
            Self::Administrator { name } => write!(f, "by administrator {name}"),
            Self::Array => f.write_str("with its array"),
            Self::TimeLimit => f.write_str("at its time limit"),
            Self::Watcher { name, reason } => write!(f, "by watcher {name}: {reason}"),
            Self::Scheduler { reason } => write!(f, "by the scheduler: {reason}"),
            Self::Rerun { name } => write!(f, "by {name}, to run again"),
        }
    }
}

/// Why a job counts as failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FailCause {
    /// It exited with a code other than 0.
    ExitCode {
        /// The code.
        code: i32,
    },
    /// A signal ended it that Berth did not send.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// It used more memory than it had.
    OutOfMemory,
    /// It could not be started.
    CouldNotLaunch {
        /// The executor's words.
        reason: String,
    },
    /// Its node is gone, and no retry was left.
    NodeFailure {
        /// The executor's words.
        reason: String,
    },
    /// One task of the array failed at least.
    Tasks,
}

impl fmt::Display for FailCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitCode { code } => write!(f, "exit code {code}"),
            Self::Signal { signal } => write!(f, "ended by signal {signal}"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::CouldNotLaunch { reason } => write!(f, "could not be launched: {reason}"),
            Self::NodeFailure { reason } => write!(f, "its node failed: {reason}"),
            Self::Tasks => f.write_str("tasks of it failed"),
        }
    }
}

/// The end of a job: final for its attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum End {
    /// Exit code 0.
    Succeeded,
    /// It ran, or tried to, and did not succeed.
    Failed {
        /// Why.
        cause: FailCause,
        /// The exit code as a shell would give it, where there is one.
        exit_code: Option<i32>,
    },
    /// It was ended on demand.
    Killed {
        /// On whose.
        cause: StopCause,
        /// The exit code as a shell would give it, where there is one.
        exit_code: Option<i32>,
    },
    /// It will never run.
    Rejected {
        /// Who refused: the name of a policy, or `dependency`.
        by: String,
        /// In its words.
        reason: String,
    },
    /// The executor no longer knows it and cannot say how it ended.
    Lost {
        /// What is known.
        reason: String,
    },
}

impl End {
    /// The exit code that GO-Docker gives to a job that was killed before it ran, and a shell to one
    /// that was ended by SIGKILL.
    pub const KILLED_CODE: i32 = 137;

    /// What an exit means when nobody had asked for an end.
    #[must_use]
    pub fn of_exit(exit: &Exit) -> Self {
        let exit_code = exit.shell_code();
        let failed = |cause| Self::Failed { cause, exit_code };
        if let Some(reason) = &exit.could_not_launch {
            return failed(FailCause::CouldNotLaunch { reason: reason.clone() });
        }
        if exit.time_limit {
            return Self::Killed { cause: StopCause::TimeLimit, exit_code };
        }
        if exit.out_of_memory {
            return failed(FailCause::OutOfMemory);
        }
        match (exit.code, exit.signal) {
            (Some(0), _) => Self::Succeeded,
            (Some(code), _) => failed(FailCause::ExitCode { code }),
            (None, Some(signal)) => failed(FailCause::Signal { signal }),
            (None, None) => Self::Lost { reason: "the back end gave neither exit code nor signal".into() },
        }
    }

    /// The state that this end stands for.
    #[must_use]
    pub fn kind(&self) -> StateKind {
        match self {
            Self::Succeeded => StateKind::Succeeded,
            Self::Failed { .. } => StateKind::Failed,
            Self::Killed { .. } => StateKind::Killed,
            Self::Rejected { .. } => StateKind::Rejected,
            Self::Lost { .. } => StateKind::Lost,
        }
    }

    /// The code that `berth run` and `berth wait` exit with. A job that never ran has none of its own:
    /// killed ones count as 137.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Succeeded => Some(0),
            Self::Failed { exit_code, .. } => *exit_code,
            Self::Killed { exit_code, .. } => Some(exit_code.unwrap_or(Self::KILLED_CODE)),
            Self::Rejected { .. } | Self::Lost { .. } => None,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::Failed { cause, .. } => write!(f, "failed: {cause}"),
            Self::Killed { cause, .. } => write!(f, "killed {cause}"),
            Self::Rejected { by, reason } => write!(f, "rejected by {by}: {reason}"),
            Self::Lost { reason } => write!(f, "lost: {reason}"),
        }
    }
}
