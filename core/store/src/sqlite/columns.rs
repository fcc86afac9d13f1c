//! Between the engine's types and columns.

use berth_engine::{LiveJob, Moving};
use berth_model::{Attempt, End, Hold, Holds, JobId, JobState, Resources, StateKind, UtcMs};
use rusqlite::{
    Row,
    types::{FromSql, ToSqlOutput, ValueRef},
};
use serde::de::DeserializeOwned;

use super::fault::Fault;

/// The moving columns, in the order in which [`super::write`] binds them and [`moving`] reads them.
pub(super) const MOVING: &str = "state, detail, attempt, returned, node, eligible, started, exit_code, \
     priority, node_failures, array_next, cpu_micros, memory_peak, note, granted, ended";

/// The columns that never change, in the order in which [`shared`] reads them.
pub(super) const SHARED: &str = "owner, project, name, executor, constraints, cpu_millis, memory_bytes, gpus, \
     time_limit_ms, grace_ms, submitted, array_range, node_retries, wants_network, begin_at, named, dependencies";

/// An unsigned number as the database keeps it: bit by bit.
pub(super) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// The number of a job as the database keeps it.
pub(super) fn key(id: JobId) -> i64 {
    signed(id.0)
}

/// The number of the task at `position`.
pub(super) fn task_id(array: JobId, position: u64) -> JobId {
    JobId(array.0.wrapping_add(1).wrapping_add(position))
}

/// The position of a task.
pub(super) fn position(array: JobId, task: JobId) -> u64 {
    task.0.wrapping_sub(array.0).wrapping_sub(1)
}

/// What a state has beyond its number and the attempt's columns.
pub(super) enum Detail {
    /// Nothing.
    None,
    /// A number: the holds, or that the attempt was taken.
    Number(i64),
    /// All of it, as JSON.
    Json(String),
}

impl Detail {
    pub(super) fn of(state: &JobState, column: Attempt) -> Result<Self, Fault> {
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

    pub(super) fn as_sql(&self) -> ToSqlOutput<'_> {
        ToSqlOutput::Borrowed(match self {
            Self::None => ValueRef::Null,
            Self::Number(number) => ValueRef::Integer(*number),
            Self::Json(text) => ValueRef::Text(text.as_bytes()),
        })
    }
}

/// A state from its columns.
pub(super) fn state(kind: StateKind, detail: ValueRef<'_>, attempt: Attempt) -> Result<JobState, Fault> {
    let number = match detail {
        ValueRef::Text(json) => return Ok(serde_json::from_slice(json)?),
        ValueRef::Integer(number) => number,
        _ => 0,
    };
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
        | StateKind::Lost => return Err(Fault::Unreadable(format!("a job is {kind} without saying how"))),
    })
}

fn holds(bits: i64) -> Holds {
    Hold::ALL.into_iter().filter(|&hold| bits & i64::from(hold as u8) != 0).collect()
}

/// Reads a row's columns one after the other.
pub(super) struct Columns<'r> {
    row: &'r Row<'r>,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn from(row: &'r Row<'r>, first: usize) -> Self {
        Self { row, next: first }
    }

    pub(super) fn raw(&mut self) -> Result<ValueRef<'r>, Fault> {
        let value = self.row.get_ref(self.next)?;
        self.next += 1;
        Ok(value)
    }

    pub(super) fn get<T: FromSql>(&mut self) -> Result<T, Fault> {
        let column = self.next;
        let value = self.raw()?;
        T::column_result(value).map_err(|error| Fault::Unreadable(format!("column {column}: {error}")))
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, Fault> {
        Ok(self.get::<i64>()?.cast_unsigned())
    }

    pub(super) fn maybe_unsigned(&mut self) -> Result<Option<u64>, Fault> {
        Ok(self.get::<Option<i64>>()?.map(i64::cast_unsigned))
    }

    pub(super) fn instant(&mut self) -> Result<UtcMs, Fault> {
        self.unsigned().map(UtcMs)
    }

    pub(super) fn maybe_instant(&mut self) -> Result<Option<UtcMs>, Fault> {
        Ok(self.maybe_unsigned()?.map(UtcMs))
    }

    pub(super) fn kind(&mut self) -> Result<StateKind, Fault> {
        let number = self.get::<u8>()?;
        StateKind::from_number(number).ok_or_else(|| Fault::Unreadable(format!("there is no state {number}")))
    }

    pub(super) fn attempt(&mut self) -> Result<Attempt, Fault> {
        Ok(Attempt { number: self.get()?, returned: self.get()? })
    }

    /// What is kept as JSON; the default for NULL.
    pub(super) fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T, Fault> {
        match self.raw()? {
            ValueRef::Text(json) => Ok(serde_json::from_slice(json)?),
            _ => Ok(T::default()),
        }
    }

    /// What is kept as people write it; `None` for NULL.
    pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
    ) -> Result<Option<T>, Fault> {
        match self.raw()? {
            ValueRef::Null => Ok(None),
            value => {
                let text = value.as_str().map_err(|error| Fault::Unreadable(error.to_string()))?;
                text.parse().map(Some).map_err(|error| Fault::Unreadable(format!("{error}")))
            }
        }
    }
}

/// Reads the columns of [`MOVING`].
pub(super) fn moving(columns: &mut Columns<'_>) -> Result<Moving, Fault> {
    let kind = columns.kind()?;
    let detail = columns.raw()?;
    let attempt = columns.attempt()?;
    Ok(Moving {
        state: state(kind, detail, attempt)?,
        attempt,
        node: columns.get()?,
        eligible: columns.instant()?,
        started: columns.maybe_instant()?,
        exit_code: columns.get()?,
        priority: columns.get()?,
        node_failures: columns.get()?,
        array_next: columns.unsigned()?,
        cpu_micros: columns.maybe_unsigned()?,
        memory_peak_bytes: columns.maybe_unsigned()?,
        note: columns.get()?,
        granted: columns.json()?,
        ended: columns.maybe_instant()?,
    })
}

/// Reads the columns of [`SHARED`]: a job or an array, whose `moving` was read before.
pub(super) fn shared(id: JobId, moving: Moving, columns: &mut Columns<'_>) -> Result<LiveJob, Fault> {
    let mut job = LiveJob {
        id,
        task_of: None,
        owner: columns.get()?,
        project: columns.get()?,
        name: columns.get()?,
        executor: columns.get()?,
        constraints: columns.json()?,
        needs: needs(columns)?,
        time_limit_ms: columns.maybe_unsigned()?,
        grace_ms: columns.unsigned()?,
        submitted: columns.instant()?,
        array: columns.parsed()?,
        retry_on_node_failure: columns.get()?,
        wants_network: columns.get()?,
        begin: columns.maybe_instant()?,
        named: columns.json()?,
        dependencies: Vec::new(),
        moving,
    };
    if matches!(job.moving.state, JobState::Held { holds } if holds.has(Hold::Dependency)) {
        job.dependencies = columns.json()?;
    }
    Ok(job)
}

/// Reads three columns of resources.
pub(super) fn needs(columns: &mut Columns<'_>) -> Result<Resources, Fault> {
    Ok(Resources { cpu_millis: columns.unsigned()?, memory_bytes: columns.unsigned()?, gpus: columns.get()? })
}
