//! Single jobs and their histories.

use std::collections::hash_map::Entry;

use berth_engine::LiveJob;
use berth_model::{ArrayRange, Attempt, JobEventRecord, JobId, JobRef, StateKind, Submission};
use rusqlite::{Connection, OptionalExtension, Row, types::ValueRef};
use rustc_hash::FxHashMap;

use super::{
    columns::{Columns, MOVING, SHARED, key, moving, position, shared, signed, task_id},
    fault::Fault,
};
use crate::{JobDetail, StoredEvent};

/// Arrays that were read for the sake of their tasks.
pub(super) struct Arrays<'c> {
    connection: &'c Connection,
    known: FxHashMap<JobId, LiveJob>,
}

impl<'c> Arrays<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, known: FxHashMap::default() }
    }

    /// The array of a task.
    pub(super) fn get(&mut self, array: JobId) -> Result<&LiveJob, Fault> {
        let missing = || Fault::Unreadable(format!("array {array} has tasks and is not there"));
        self.find(array)?.ok_or_else(missing)
    }

    /// A job or array, if it is there.
    pub(super) fn find(&mut self, array: JobId) -> Result<Option<&LiveJob>, Fault> {
        match self.known.entry(array) {
            Entry::Occupied(entry) => Ok(Some(entry.into_mut())),
            Entry::Vacant(entry) => {
                let sql = format!("SELECT {MOVING}, {SHARED} FROM jobs WHERE id = ?1 AND array_id IS NULL");
                let mut statement = self.connection.prepare_cached(&sql)?;
                let mut rows = statement.query([key(array)])?;
                let Some(row) = rows.next()? else { return Ok(None) };
                let mut columns = Columns::from(row, 0);
                let moving = moving(&mut columns)?;
                Ok(Some(entry.insert(shared(array, moving, &mut columns)?)))
            }
        }
    }

    /// A job of any kind, from a row of `id, array_id`, [`MOVING`] and [`SHARED`].
    pub(super) fn job(&mut self, row: &Row<'_>) -> Result<LiveJob, Fault> {
        let mut columns = Columns::from(row, 0);
        let id = JobId(columns.unsigned()?);
        let array = columns.maybe_unsigned()?.map(JobId);
        let moving = moving(&mut columns)?;
        let Some(array) = array else { return shared(id, moving, &mut columns) };
        Ok(LiveJob {
            id,
            task_of: Some((array, position(array, id))),
            begin: None,
            dependencies: Vec::new(),
            moving,
            ..self.get(array)?.clone()
        })
    }
}

fn stored(connection: &Connection, id: JobId) -> Result<Option<LiveJob>, Fault> {
    let sql = format!("SELECT id, array_id, {MOVING}, {SHARED} FROM jobs WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([key(id)])?;
    rows.next()?.map(|row| Arrays::new(connection).job(row)).transpose()
}

pub(super) fn job(connection: &Connection, id: JobId) -> Result<Option<JobDetail>, Fault> {
    let Some(job) = stored(connection, id)? else { return Ok(None) };
    let submission = submission(connection, id)?
        .ok_or_else(|| Fault::Unreadable(format!("job {id} is there without its submission")))?;
    Ok(Some(JobDetail { job, submission }))
}

pub(super) fn live_job(connection: &Connection, id: JobId) -> Result<Option<LiveJob>, Fault> {
    let Some(mut job) = stored(connection, id)? else { return Ok(None) };
    if let (Some(range), None) = (job.array, job.task_of) {
        let mut statement = connection.prepare_cached(
            "SELECT attempt, returned FROM jobs WHERE id > ?1 AND id <= ?2 \
             ORDER BY attempt DESC, returned DESC LIMIT 1",
        )?;
        let last = task_id(id, range.tasks() - 1);
        let highest = statement.query_row([key(id), key(last)], |row| {
            Ok(Attempt { number: row.get(0)?, returned: row.get(1)? })
        });
        let highest = highest.optional()?.unwrap_or_default();
        job.moving.attempt = job.moving.attempt.max(highest);
    }
    Ok(Some(job))
}

/// What was submitted under this number: the job or array itself, or the array of a task, whether its
/// turn has come or not.
fn submitted_as(connection: &Connection, id: JobId) -> Result<Option<(JobId, StateKind)>, Fault> {
    // Only submissions have specs, so that the next one below is the array even if tasks lie between.
    let mut statement = connection.prepare_cached(
        "SELECT j.id, j.state, j.array_range FROM jobs j \
         WHERE j.id = (SELECT max(s.id) FROM specs s WHERE s.id <= ?1)",
    )?;
    let mut rows = statement.query([key(id)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut columns = Columns::from(row, 0);
    let (found, state) = (JobId(columns.unsigned()?), columns.kind()?);
    let range: Option<ArrayRange> = columns.parsed()?;
    let tasks = range.map_or(0, |range| range.tasks());
    let belongs = found == id || position(found, id) < tasks;
    Ok(belongs.then_some((found, state)))
}

pub(super) fn resolve(connection: &Connection, job: JobRef) -> Result<Option<JobId>, Fault> {
    let Some(index) = job.index else {
        return Ok(submitted_as(connection, job.job)?.map(|_| job.job));
    };
    let mut statement = connection.prepare_cached("SELECT array_range FROM jobs WHERE id = ?1")?;
    let mut rows = statement.query([key(job.job)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let range: Option<ArrayRange> = Columns::from(row, 0).parsed()?;
    Ok(range.and_then(|range| range.position_of(index)).map(|position| task_id(job.job, position)))
}

pub(super) fn state_of(connection: &Connection, ids: &[JobId]) -> Result<Vec<(JobId, StateKind)>, Fault> {
    let mut statement = connection.prepare_cached("SELECT state FROM jobs WHERE id = ?1")?;
    let mut states = Vec::with_capacity(ids.len());
    for &id in ids {
        let mut rows = statement.query([key(id)])?;
        let state = match rows.next()? {
            Some(row) => Some(Columns::from(row, 0).kind()?),
            None => submitted_as(connection, id)?.map(|(_, of_array)| match of_array.is_end() {
                true => StateKind::Killed,
                false => StateKind::Pending,
            }),
        };
        states.extend(state.map(|state| (id, state)));
    }
    Ok(states)
}

pub(super) fn submission(connection: &Connection, id: JobId) -> Result<Option<Submission>, Fault> {
    let Some((submitted, _)) = submitted_as(connection, id)? else { return Ok(None) };
    let mut statement = connection.prepare_cached("SELECT submission FROM specs WHERE id = ?1")?;
    let mut rows = statement.query([key(submitted)])?;
    match rows.next()?.map(|row| row.get_ref(0)).transpose()? {
        Some(ValueRef::Text(json)) => Ok(Some(serde_json::from_slice(json)?)),
        _ => Ok(None),
    }
}

pub(super) fn history(connection: &Connection, id: JobId) -> Result<Vec<StoredEvent>, Fault> {
    events(connection, "SELECT seq, job, at, kind FROM events WHERE job = ?1 ORDER BY seq", &[key(id)])
}

pub(super) fn events_after(connection: &Connection, seq: u64, limit: u64) -> Result<Vec<StoredEvent>, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = "SELECT seq, job, at, kind FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    // Beyond what the database can count there is nothing.
    events(connection, sql, &[i64::try_from(seq).unwrap_or(i64::MAX), limit])
}

fn events(connection: &Connection, sql: &str, given: &[i64]) -> Result<Vec<StoredEvent>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(given))?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::from(row, 0);
        let seq = columns.unsigned()?;
        let job = JobId(columns.unsigned()?);
        let at = columns.instant()?;
        let ValueRef::Text(json) = columns.raw()? else {
            return Err(Fault::Unreadable(format!("event {seq} says nothing")));
        };
        let record = JobEventRecord { job, at, kind: serde_json::from_slice(json)? };
        events.push(StoredEvent { seq, record });
    }
    Ok(events)
}

pub(super) fn last_event(connection: &Connection) -> Result<u64, Fault> {
    let last: i64 = connection.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
    Ok(last.cast_unsigned())
}

/// Numbers of jobs, from a query for them.
pub(super) fn numbers(connection: &Connection, sql: &str, given: &[u64]) -> Result<Vec<JobId>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let given = given.iter().map(|&number| signed(number));
    let mut rows = statement.query(rusqlite::params_from_iter(given))?;
    let mut numbers = Vec::new();
    while let Some(row) = rows.next()? {
        numbers.push(JobId(Columns::from(row, 0).unsigned()?));
    }
    Ok(numbers)
}
