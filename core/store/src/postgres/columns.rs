//! Between the engine's types and rows.

use berth_engine::{LiveJob, Moving};
use berth_model::{ArrayRange, Attempt, Hold, JobId, JobState, Resources, StateKind, UtcMs};
use serde::de::DeserializeOwned;
use tokio_postgres::{Row, types::FromSql};

use super::{fault::Fault, text::told};
pub(super) use crate::columns::{Detail, key, signed, task_id};
use crate::columns::{plain_state, position};

/// The moving columns, in the order in which [`moving`] reads them.
pub(super) const MOVING: [&str; 17] = [
    "state",
    "detail",
    "attempt",
    "returned",
    "node",
    "eligible",
    "started",
    "exit_code",
    "priority",
    "node_failures",
    "array_next",
    "cpu_micros",
    "memory_peak",
    "note",
    "granted",
    "failed_on",
    "ended",
];

/// The columns that tasks have of their array, in the order in which [`job`] reads them.
pub(super) const SHARED: [&str; 17] = [
    "owner",
    "project",
    "name",
    "executor",
    "constraints",
    "cpu_millis",
    "memory_bytes",
    "gpus",
    "time_limit_ms",
    "grace_ms",
    "submitted",
    "array_range",
    "node_retries",
    "wants_network",
    "named",
    "class",
    "avoid_failed",
];

/// Which jobs a query is about, and with them where the columns of arrays come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// No tasks.
    Own,
    /// Jobs of any kind.
    Any,
}

impl From {
    /// A column that tasks share with their array.
    pub(super) fn shared(self, column: &str) -> String {
        match self {
            Self::Own => format!("j.{column}"),
            Self::Any => format!("coalesce(j.{column}, a.{column})"),
        }
    }

    /// The tables.
    pub(super) fn tables(self) -> &'static str {
        match self {
            Self::Own => "jobs j",
            Self::Any => "jobs j LEFT JOIN jobs a ON a.id = j.array_id",
        }
    }

    /// `SELECT … FROM …` of whole jobs, for [`job`].
    pub(super) fn select_jobs(self) -> String {
        let moving = MOVING.map(|column| format!("j.{column}")).join(", ");
        let shared = SHARED.map(|column| self.shared(column)).join(", ");
        let tables = self.tables();
        format!("SELECT j.id, j.array_id, {moving}, {shared}, j.begin_at, j.dependencies FROM {tables}")
    }
}

/// Reads a row's columns one after the other.
pub(super) struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn of(row: &'r Row) -> Self {
        Self::at(row, 0)
    }

    pub(super) fn at(row: &'r Row, first: usize) -> Self {
        Self { row, next: first }
    }

    pub(super) fn get<T: FromSql<'r>>(&mut self) -> Result<T, Fault> {
        let column = self.next;
        self.next += 1;
        self.row.try_get(column).map_err(|error| {
            let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            Fault::Unreadable(format!("column {column}: {error} {why}"))
        })
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, Fault> {
        Ok(self.get::<i64>()?.cast_unsigned())
    }

    pub(super) fn maybe_unsigned(&mut self) -> Result<Option<u64>, Fault> {
        Ok(self.get::<Option<i64>>()?.map(i64::cast_unsigned))
    }

    /// A number that never was longer than this.
    pub(super) fn short(&mut self) -> Result<u32, Fault> {
        let number = self.get::<i64>()?;
        u32::try_from(number).map_err(|_| Fault::Unreadable(format!("{number} is out of range")))
    }

    pub(super) fn text(&mut self) -> Result<String, Fault> {
        self.get().map(told)
    }

    pub(super) fn maybe_text(&mut self) -> Result<Option<String>, Fault> {
        Ok(self.get::<Option<String>>()?.map(told))
    }

    pub(super) fn instant(&mut self) -> Result<UtcMs, Fault> {
        self.unsigned().map(UtcMs)
    }

    pub(super) fn maybe_instant(&mut self) -> Result<Option<UtcMs>, Fault> {
        Ok(self.maybe_unsigned()?.map(UtcMs))
    }

    pub(super) fn kind(&mut self) -> Result<StateKind, Fault> {
        let number = self.get::<i16>()?;
        let kind = u8::try_from(number).ok().and_then(StateKind::from_number);
        kind.ok_or_else(|| Fault::Unreadable(format!("there is no state {number}")))
    }

    pub(super) fn attempt(&mut self) -> Result<Attempt, Fault> {
        Ok(Attempt { number: self.short()?, returned: self.short()? })
    }

    /// What is kept as JSON; the default for NULL.
    pub(super) fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T, Fault> {
        match self.get::<Option<&str>>()? {
            Some(json) => Ok(serde_json::from_str(json)?),
            None => Ok(T::default()),
        }
    }

    pub(super) fn range(&mut self) -> Result<Option<ArrayRange>, Fault> {
        let Some(text) = self.get::<Option<&str>>()? else { return Ok(None) };
        text.parse().map(Some).map_err(|error| Fault::Unreadable(format!("{text:?}: {error}")))
    }

    pub(super) fn needs(&mut self) -> Result<Resources, Fault> {
        Ok(Resources { cpu_millis: self.unsigned()?, memory_bytes: self.unsigned()?, gpus: self.short()? })
    }
}

/// The detail of a state as it is kept: JSON begins with a brace, a number with none.
pub(super) fn kept_detail(detail: Detail) -> Option<String> {
    match detail {
        Detail::None => None,
        Detail::Number(number) => Some(number.to_string()),
        Detail::Json(json) => Some(json),
    }
}

/// A state from its columns.
pub(super) fn state(kind: StateKind, detail: Option<&str>, attempt: Attempt) -> Result<JobState, Fault> {
    let number = match detail.map(|detail| (detail, detail.parse::<i64>())) {
        None => 0,
        Some((_, Ok(number))) => number,
        Some((json, Err(_))) => return Ok(serde_json::from_str(json)?),
    };
    plain_state(kind, number, attempt).map_err(Fault::Unreadable)
}

fn moving(columns: &mut Columns<'_>) -> Result<Moving, Fault> {
    let kind = columns.kind()?;
    let detail = columns.get::<Option<&str>>()?;
    let attempt = columns.attempt()?;
    Ok(Moving {
        state: state(kind, detail, attempt)?,
        attempt,
        node: columns.maybe_text()?,
        eligible: columns.instant()?,
        started: columns.maybe_instant()?,
        exit_code: columns.get()?,
        priority: columns.get()?,
        node_failures: columns.short()?,
        array_next: columns.unsigned()?,
        cpu_micros: columns.maybe_unsigned()?,
        memory_peak_bytes: columns.maybe_unsigned()?,
        note: columns.maybe_text()?,
        granted: columns.json()?,
        failed_on: columns.json()?,
        ended: columns.maybe_instant()?,
    })
}

/// A job of any kind, from a row of [`From::select_jobs`].
pub(super) fn job(row: &Row) -> Result<LiveJob, Fault> {
    let mut columns = Columns::of(row);
    let id = JobId(columns.unsigned()?);
    let array = columns.maybe_unsigned()?.map(JobId);
    let moving = moving(&mut columns)?;
    let mut job = LiveJob {
        id,
        task_of: array.map(|array| (array, position(array, id))),
        owner: columns.text()?,
        project: columns.text()?,
        name: columns.text()?,
        executor: columns.text()?,
        constraints: columns.json()?,
        needs: columns.needs()?,
        time_limit_ms: columns.maybe_unsigned()?,
        grace_ms: columns.unsigned()?,
        submitted: columns.instant()?,
        array: columns.range()?,
        retry_on_node_failure: columns.short()?,
        wants_network: columns.get()?,
        named: columns.json()?,
        class: columns.maybe_text()?,
        avoid_failed_nodes: columns.get::<Option<bool>>()?.unwrap_or_default(),
        begin: columns.maybe_instant()?,
        dependencies: Vec::new(),
        moving,
    };
    let waits = matches!(job.moving.state, JobState::Held { holds } if holds.has(Hold::Dependency));
    if waits && array.is_none() {
        job.dependencies = columns.json()?;
    }
    Ok(job)
}
