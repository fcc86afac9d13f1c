//! Between the engine's types and columns.

use berth_engine::{LiveJob, Moving};
use berth_model::{Attempt, Hold, JobId, JobState, Resources, StateKind, UtcMs};
use rusqlite::{
    Row,
    types::{FromSql, ToSqlOutput, ValueRef},
};
use serde::de::DeserializeOwned;

use super::fault::Fault;
use crate::columns::plain_state;
pub(super) use crate::columns::{Detail, key, position, signed, task_id};

/// The moving columns, in the order in which [`super::write`] binds them and [`moving`] reads them.
pub(super) const MOVING: &str = "state, detail, attempt, returned, node, eligible, started, exit_code, \
     priority, node_failures, array_next, cpu_micros, memory_peak, note, granted, failed_on, ended";

/// The columns that never change, in the order in which [`shared`] reads them.
pub(super) const SHARED: &str = "owner, project, name, executor, constraints, cpu_millis, memory_bytes, gpus, \
     time_limit_ms, grace_ms, submitted, array_range, node_retries, wants_network, avoid_failed, begin_at, \
     named, class, dependencies";

impl Detail {
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
    match detail {
        ValueRef::Text(json) => Ok(serde_json::from_slice(json)?),
        ValueRef::Integer(number) => plain_state(kind, number, attempt).map_err(Fault::Unreadable),
        _ => plain_state(kind, 0, attempt).map_err(Fault::Unreadable),
    }
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
        failed_on: columns.json()?,
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
        avoid_failed_nodes: columns.get::<Option<bool>>()?.unwrap_or_default(),
        begin: columns.maybe_instant()?,
        named: columns.json()?,
        class: columns.get()?,
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
