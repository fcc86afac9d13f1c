//! Where a job stands, and the one table that says how it moves.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Attempt, End, Exit, FailCause, StopCause};

/// What keeps a job from being eligible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Hold {
    /// Its owner.
    User = 1,
    /// An administrator; only one can release it.
    Administrator = 2,
    /// A dependency that is not met yet.
    Dependency = 4,
    /// Its begin time has not come.
    BeginTime = 8,
    /// Its inputs are being fetched.
    Inputs = 16,
}

impl Hold {
    /// Every kind of hold.
    pub const ALL: [Self; 5] =
        [Self::User, Self::Administrator, Self::Dependency, Self::BeginTime, Self::Inputs];
}

/// A set of holds, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Holds(u8);

impl Holds {
    /// No hold at all.
    pub const NONE: Self = Self(0);

    /// With `hold` added.
    #[must_use]
    pub fn with(self, hold: Hold) -> Self {
        Self(self.0 | hold as u8)
    }

    /// With `hold` taken away.
    #[must_use]
    pub fn without(self, hold: Hold) -> Self {
        Self(self.0 & !(hold as u8))
    }

    /// Whether `hold` is among them.
    #[must_use]
    pub fn has(self, hold: Hold) -> bool {
        self.0 & hold as u8 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set.
    pub fn iter(self) -> impl Iterator<Item = Hold> {
        Hold::ALL.into_iter().filter(move |&hold| self.has(hold))
    }
}

impl FromIterator<Hold> for Holds {
    fn from_iter<I: IntoIterator<Item = Hold>>(holds: I) -> Self {
        holds.into_iter().fold(Self::NONE, Self::with)
    }
}

/// The name of a state, without its data: what is stored, listed and filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum StateKind {
    /// Kept back.
    Held = 0,
    /// Waits for policy and room.
    Pending = 1,
    /// An allocation is durable; the executor was told or is about to be.
    Starting = 2,
    /// Runs.
    Running = 3,
    /// Stopped for a while.
    Suspended = 4,
    /// An end was asked for; the executor has not confirmed it.
    Stopping = 5,
    /// Exit code 0.
    Succeeded = 6,
    /// Any other end of its own.
    Failed = 7,
    /// Ended on demand.
    Killed = 8,
    /// Will never run.
    Rejected = 9,
    /// Nobody can say how it ended.
    Lost = 10,
}

impl StateKind {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 11] = [
        Self::Held,
        Self::Pending,
        Self::Starting,
        Self::Running,
        Self::Suspended,
        Self::Stopping,
        Self::Succeeded,
        Self::Failed,
        Self::Killed,
        Self::Rejected,
        Self::Lost,
    ];

    /// Whether nothing follows.
    #[must_use]
    pub fn is_end(self) -> bool {
        self >= Self::Succeeded
    }

    /// Whether an attempt of it may exist in a back end.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Suspended | Self::Stopping)
    }

    /// As people write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Rejected => "rejected",
            Self::Lost => "lost",
        }
    }

    /// The state with this number in the store.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for StateKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("{text:?} is not a state; the states are {names}")
        })
    }
}

/// Where one job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum JobState {
    /// Kept back, by one hold at least.
    Held {
        /// By what.
        holds: Holds,
    },
    /// May start when policy and room allow.
    Pending,
    /// Allocated, durable, told or about to be told to the executor.
    Starting {
        /// The execution.
        attempt: Attempt,
        /// The executor has taken it: it exists in the back end.
        taken: bool,
    },
    /// Runs.
    Running {
        /// The execution.
        attempt: Attempt,
    },
    /// Stopped for a while, with its resources kept.
    Suspended {
        /// The execution.
        attempt: Attempt,
    },
    /// An end was asked for, and the back end has not confirmed it.
    Stopping {
        /// The execution.
        attempt: Attempt,
        /// By whom and why.
        cause: Box<StopCause>,
        /// The executor has taken it: it exists in the back end.
        taken: bool,
    },
    /// Over.
    Ended {
        /// How.
        end: Box<End>,
    },
}

/// What can happen to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEvent {
    /// Something keeps it back.
    Hold(Hold),
    /// That no longer does.
    Release(Hold),
    /// Resources were set aside for an attempt.
    Allocated(Attempt),
    /// The executor has the attempt.
    Taken(Attempt),
    /// The attempt runs.
    Started(Attempt),
    /// The attempt is suspended.
    Suspended(Attempt),
    /// The attempt runs again.
    Resumed(Attempt),
    /// The back end had no room and keeps nothing of the attempt.
    NoRoom(Attempt),
    /// The attempt is over.
    Exited(Attempt, Exit),
    /// The back end cannot say what became of the attempt.
    Lost(Attempt, String),
    /// The node of the attempt is gone for sure, and the job may be tried again.
    NodeGoneRetry(Attempt),
    /// The node of the attempt is gone for sure, and no retry is left.
    NodeGone(Attempt, String),
    /// Somebody or something wants it to end.
    StopAsked(StopCause),
    /// It was refused for good before it ran.
    Rejected {
        /// By what.
        by: String,
        /// In its words.
        reason: String,
    },
    /// A person wants it to run again.
    RerunAsked,
}

impl JobEvent {
    /// The attempt it speaks of, for what a back end reports.
    #[must_use]
    pub fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Taken(attempt)
            | Self::Started(attempt)
            | Self::Suspended(attempt)
            | Self::Resumed(attempt)
            | Self::NoRoom(attempt)
            | Self::Exited(attempt, _)
            | Self::Lost(attempt, _)
            | Self::NodeGoneRetry(attempt)
            | Self::NodeGone(attempt, _) => Some(*attempt),
            _ => None,
        }
    }
}

/// The answer of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The job stands here now.
    Moved(JobState),
    /// A repeat or an echo: nothing to do, nothing wrong.
    NoNews(&'static str),
    /// It does not fit, for this reason; nothing changes.
    Refused(&'static str),
}

impl JobState {
    /// The state's name.
    #[must_use]
    pub fn kind(&self) -> StateKind {
        match self {
            Self::Held { .. } => StateKind::Held,
            Self::Pending => StateKind::Pending,
            Self::Starting { .. } => StateKind::Starting,
            Self::Running { .. } => StateKind::Running,
            Self::Suspended { .. } => StateKind::Suspended,
            Self::Stopping { .. } => StateKind::Stopping,
            Self::Ended { end } => end.kind(),
        }
    }

    /// The attempt that may exist in a back end.
    #[must_use]
    pub fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Starting { attempt, .. }
            | Self::Running { attempt }
            | Self::Suspended { attempt }
            | Self::Stopping { attempt, .. } => Some(*attempt),
            Self::Held { .. } | Self::Pending | Self::Ended { .. } => None,
        }
    }

    fn ended(end: End) -> Step {
        Step::Moved(Self::Ended { end: Box::new(end) })
    }

    /// The one table: every state, every event. What does not fit is answered and changes nothing.
    #[must_use]
    pub fn on(&self, event: &JobEvent) -> Step {
        if let (Some(of), now) = (event.attempt(), self.attempt()) {
            // The back end may still talk about an attempt that was given up or is over.
            if now != Some(of) {
                return Step::NoNews("about an attempt that is not the present one");
            }
        }
        match self {
            Self::Held { holds } => Self::on_held(*holds, event),
            Self::Pending => Self::on_pending(event),
            Self::Ended { .. } => Self::on_ended(event),
            Self::Starting { attempt, .. } | Self::Running { attempt } | Self::Suspended { attempt } => {
                self.on_active(*attempt, event)
            }
            Self::Stopping { attempt, cause, taken } => Self::on_stopping(*attempt, cause, *taken, event),
        }
    }

    fn on_held(holds: Holds, event: &JobEvent) -> Step {
        use JobEvent as E;
        match event {
            E::Hold(hold) if holds.has(*hold) => Step::NoNews("already held so"),
            E::Hold(hold) => Step::Moved(Self::Held { holds: holds.with(*hold) }),
            E::Release(hold) if !holds.has(*hold) => Step::NoNews("not held so"),
            E::Release(hold) => match holds.without(*hold) {
                Holds::NONE => Step::Moved(Self::Pending),
                holds => Step::Moved(Self::Held { holds }),
            },
            E::Allocated(_) => Step::Refused("a held job does not start"),
            _ => Self::on_waiting(event),
        }
    }

    fn on_pending(event: &JobEvent) -> Step {
        use JobEvent as E;
        match event {
            E::Hold(hold) => Step::Moved(Self::Held { holds: Holds::NONE.with(*hold) }),
            E::Release(_) => Step::NoNews("not held"),
            E::Allocated(attempt) => Step::Moved(Self::Starting { attempt: *attempt, taken: false }),
            _ => Self::on_waiting(event),
        }
    }

    /// What held and pending jobs have in common.
    fn on_waiting(event: &JobEvent) -> Step {
        use JobEvent as E;
        match event {
            E::StopAsked(StopCause::Rerun { .. }) | E::RerunAsked => Step::NoNews("it has not run yet"),
            E::StopAsked(cause) => Self::ended(End::Killed { cause: cause.clone(), exit_code: None }),
            E::Rejected { by, reason } => {
                Self::ended(End::Rejected { by: by.clone(), reason: reason.clone() })
            }
            _ => Step::Refused("does not fit a job that waits"),
        }
    }

    fn on_active(&self, attempt: Attempt, event: &JobEvent) -> Step {
        use JobEvent as E;
        match (self, event) {
            (Self::Starting { taken: false, .. }, E::Taken(_)) => {
                Step::Moved(Self::Starting { attempt, taken: true })
            }
            (_, E::Taken(_)) => Step::NoNews("already taken"),
            (Self::Starting { .. }, E::Started(_)) => Step::Moved(Self::Running { attempt }),
            (Self::Suspended { .. }, E::Started(_)) => Step::NoNews("started before it was suspended"),
            (_, E::Started(_)) => Step::NoNews("already started"),
            (Self::Suspended { .. }, E::Suspended(_)) => Step::NoNews("already suspended"),
            (_, E::Suspended(_)) => Step::Moved(Self::Suspended { attempt }),
            (Self::Suspended { .. }, E::Resumed(_)) => Step::Moved(Self::Running { attempt }),
            (_, E::Resumed(_)) => Step::NoNews("not suspended"),
            (Self::Starting { .. }, E::NoRoom(_)) => Step::Moved(Self::Pending),
            (_, E::NoRoom(_)) => Step::Refused("it has started, so there was room"),
            (_, E::Exited(_, exit)) => Self::ended(End::of_exit(exit)),
            (_, E::Lost(_, reason)) => Self::ended(End::Lost { reason: reason.clone() }),
            (_, E::NodeGoneRetry(_)) => Step::Moved(Self::Pending),
            (_, E::NodeGone(_, reason)) => Self::ended(End::Failed {
                cause: FailCause::NodeFailure { reason: reason.clone() },
                exit_code: None,
            }),
            (_, E::StopAsked(cause)) => {
                let taken = !matches!(self, Self::Starting { taken: false, .. });
                Step::Moved(Self::Stopping { attempt, cause: Box::new(cause.clone()), taken })
            }
            (_, E::Hold(_) | E::Release(_)) => Step::Refused("only a job that waits can be held"),
            (_, E::Allocated(_)) => Step::Refused("it already has an allocation"),
            // Its network may turn out never to be had, after its allocation and before its launch.
            (Self::Starting { taken: false, .. }, E::Rejected { by, reason }) => {
                Self::ended(End::Rejected { by: by.clone(), reason: reason.clone() })
            }
            (_, E::Rejected { .. }) => Step::Refused("it has already been let in"),
            (_, E::RerunAsked) => Step::Refused("it has to be stopped first"),
        }
    }

    fn on_stopping(attempt: Attempt, cause: &StopCause, taken: bool, event: &JobEvent) -> Step {
        use JobEvent as E;
        let again = matches!(cause, StopCause::Rerun { .. });
        let killed = |exit_code| match again {
            true => Step::Moved(Self::Pending),
            false => Self::ended(End::Killed { cause: cause.clone(), exit_code }),
        };
        match event {
            E::Taken(_) if !taken => {
                Step::Moved(Self::Stopping { attempt, cause: Box::new(cause.clone()), taken: true })
            }
            // Its own end stands if the back end shows that it came before the stop was sent.
            E::Exited(_, exit) if exit.before_stop && !again => Self::ended(End::of_exit(exit)),
            E::Exited(_, exit) => killed(exit.shell_code()),
            // Nothing of it is left in the back end, and an end is what was asked for.
            E::NoRoom(_) | E::NodeGoneRetry(_) | E::NodeGone(..) => killed(None),
            E::Lost(_, reason) => Self::ended(End::Lost { reason: reason.clone() }),
            // A kill outranks the wish to run again.
            E::StopAsked(stop) if again && !matches!(stop, StopCause::Rerun { .. }) => {
                Step::Moved(Self::Stopping { attempt, cause: Box::new(stop.clone()), taken })
            }
            E::StopAsked(_) => Step::NoNews("already stopping"),
            E::Taken(_) | E::Started(_) | E::Suspended(_) | E::Resumed(_) => Step::NoNews("already stopping"),
            E::Hold(_) | E::Release(_) => Step::Refused("only a job that waits can be held"),
            E::Allocated(_) => Step::Refused("it already has an allocation"),
            E::Rejected { .. } => Step::Refused("it has already been let in"),
            E::RerunAsked => Step::Refused("it has to end first"),
        }
    }

    fn on_ended(event: &JobEvent) -> Step {
        match event {
            JobEvent::RerunAsked => Step::Moved(Self::Pending),
            JobEvent::Allocated(_) => Step::Refused("it is over"),
            _ => Step::NoNews("it is over"),
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
