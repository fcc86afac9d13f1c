//! What all kinds of store have in common of how a job is kept in columns.

use berth_model::{Attempt, ClosureKind, End, Hold, Holds, JobId, JobState, StateKind};

/// An unsigned number as the database keeps it: bit by bit.
pub(crate) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// The number of a job as the database keeps it.
pub(crate) fn key(id: JobId) -> i64 {
    signed(id.0)
}

/// The number of the task at `position`.
pub(crate) fn task_id(array: JobId, position: u64) -> JobId {
    JobId(array.0.wrapping_add(1).wrapping_add(position))
}

/// The position of a task.
pub(crate) fn position(array: JobId, task: JobId) -> u64 {
    task.0.wrapping_sub(array.0).wrapping_sub(1)
}

/// What a state has beyond its number and the attempt's columns.
pub(crate) enum Detail {
    /// Nothing.
    None,
    /// A number: the holds, or that the attempt was taken.
    Number(i64),
    /// All of it, as JSON.
    Json(String),
}

impl Detail {
    pub(crate) fn of(state: &JobState, column: Attempt) -> Result<Self, serde_json::Error> {
        Ok(match state {
            JobState::Pending => Self::None,
            JobState::Held { holds } => {
                Self::Number(holds.iter().fold(0, |bits, hold| bits | i64::from(hold as u8)))
            }
            JobState::Starting { attempt, taken } if *attempt == column => match taken {
                true => Self::Number(1),
                false => Self::None,
            },
            JobState::Running { attempt } | JobState::Suspended { attempt } if *attempt == column => {
                Self::None
            }
            JobState::Ended { end } if end.kind() == StateKind::Succeeded => Self::None,
            _ => Self::Json(serde_json::to_string(state)?),
        })
    }
}

/// A state that has no JSON: what its number and the attempt's columns say.
pub(crate) fn plain_state(kind: StateKind, number: i64, attempt: Attempt) -> Result<JobState, String> {
    Ok(match kind {
        StateKind::Held => JobState::Held { holds: holds(number) },
        StateKind::Pending => JobState::Pending,
        StateKind::Starting => JobState::Starting { attempt, taken: number == 1 },
        StateKind::Running => JobState::Running { attempt },
        StateKind::Suspended => JobState::Suspended { attempt },
        StateKind::Succeeded => JobState::Ended { end: Box::new(End::Succeeded) },
        StateKind::Stopping
        | StateKind::Failed
        | StateKind::Killed
        | StateKind::Rejected
        | StateKind::Lost => return Err(format!("a job is {kind} without saying how")),
    })
}

fn holds(bits: i64) -> Holds {
    Hold::ALL.into_iter().filter(|&hold| bits & i64::from(hold as u8) != 0).collect()
}

/// A kind of closure as it is kept.
pub(crate) fn closure_kind(text: &str) -> Result<ClosureKind, String> {
    let kind = ClosureKind::ALL.into_iter().find(|kind| kind.as_str() == text);
    kind.ok_or_else(|| format!("there is no kind of closure {text:?}"))
}
