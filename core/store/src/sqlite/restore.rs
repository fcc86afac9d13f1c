//! What the engine begins with.

use berth_engine::{ArrayEnds, LiveJob, Restored, StoredClosure};
use berth_model::{ArrayRange, Attempt, JobId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    accounts,
    columns::{Columns, MOVING, SHARED, key, position, task_id},
    directories,
    fault::Fault,
    read::{Arrays, numbers},
};
use crate::columns::closure_kind;

pub(super) fn restore(connection: &Connection) -> Result<Restored, Fault> {
    let mut restored =
        Restored { next_id: next_id(connection)?, live: live(connection)?, ..Restored::default() };
    for job in &mut restored.live {
        if let (Some(range), None) = (job.array, job.task_of) {
            job.moving.array_next = array_next(connection, job, range)?;
            restored.arrays.push((job.id, array_ends(connection, job, range)?));
            let ahead = ended_ahead(connection, job, range)?;
            restored.ended_ahead.extend(ahead.into_iter().map(|task| (job.id, position(job.id, task))));
        }
    }
    restored.lost = lost(connection)?;
    restored.accounts = accounts::restore(connection)?;
    restored.closures = closures(connection)?;
    restored.directories = directories::restore(connection)?;
    Ok(restored)
}

fn next_id(connection: &Connection) -> Result<JobId, Fault> {
    let stored: Option<i64> = connection
        .query_row("SELECT value FROM meta WHERE key = 'next_id'", [], |row| row.get(0))
        .optional()?;
    Ok(JobId(stored.map_or(1, i64::cast_unsigned)))
}

fn live(connection: &Connection) -> Result<Vec<LiveJob>, Fault> {
    let count: i64 =
        connection.query_row("SELECT count(*) FROM jobs WHERE ended IS NULL", [], |row| row.get(0))?;
    let mut live = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    let mut statement = connection.prepare(&format!(
        "SELECT id, array_id, {MOVING}, {SHARED} FROM jobs INDEXED BY jobs_ended \
         WHERE ended IS NULL ORDER BY id"
    ))?;
    let mut rows = statement.query([])?;
    let mut arrays = Arrays::new(connection);
    while let Some(row) = rows.next()? {
        live.push(arrays.job(row)?);
    }
    Ok(live)
}

/// The first position whose task has not become a job, which is not written each time that one does.
fn array_next(connection: &Connection, array: &LiveJob, range: ArrayRange) -> Result<u64, Fault> {
    let mut next = array.moving.array_next;
    let Some(last) = range.tasks().checked_sub(1) else { return Ok(next) };
    let mut statement = connection.prepare_cached(
        "SELECT id FROM jobs WHERE id BETWEEN ?1 AND ?2 AND array_id = ?3 AND attempt >= ?4 ORDER BY id",
    )?;
    let first = task_id(array.id, next);
    let attempt = array.moving.attempt.number;
    let mut rows =
        statement.query(params![key(first), key(task_id(array.id, last)), key(array.id), attempt])?;
    while let Some(row) = rows.next()? {
        if JobId(Columns::from(row, 0).unsigned()?) != task_id(array.id, next) {
            break;
        }
        next += 1;
    }
    Ok(next)
}

/// Tasks below the array's own attempt are of an earlier run of it and do not count.
fn array_ends(connection: &Connection, array: &LiveJob, range: ArrayRange) -> Result<ArrayEnds, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*), total(state <> 6), max(0, coalesce(max(exit_code), 0)) FROM jobs \
         WHERE id > ?1 AND id <= ?2 AND ended IS NOT NULL AND attempt >= ?3",
    )?;
    let last = task_id(array.id, range.tasks() - 1);
    let given = [key(array.id), key(last), i64::from(array.moving.attempt.number)];
    Ok(statement.query_row(given, |row| {
        Ok(ArrayEnds {
            ended: row.get::<_, i64>(0)?.cast_unsigned(),
            not_ok: row.get::<_, f64>(1)? as u64,
            highest_exit: row.get(2)?,
        })
    })?)
}

fn ended_ahead(connection: &Connection, array: &LiveJob, range: ArrayRange) -> Result<Vec<JobId>, Fault> {
    let sql = "SELECT id FROM jobs WHERE id BETWEEN ?1 AND ?2 AND ended IS NOT NULL AND attempt >= ?3 \
               ORDER BY id";
    let first = task_id(array.id, array.moving.array_next);
    let last = task_id(array.id, range.tasks() - 1);
    numbers(connection, sql, &[first.0, last.0, u64::from(array.moving.attempt.number)])
}

fn closures(connection: &Connection) -> Result<Vec<StoredClosure>, Fault> {
    let mut statement =
        connection.prepare("SELECT kind, name, version, terms FROM closures ORDER BY kind, name")?;
    let mut rows = statement.query([])?;
    let mut closures = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::from(row, 0);
        let kind = closure_kind(&columns.get::<String>()?).map_err(Fault::Unreadable)?;
        let (name, version) = (columns.get()?, columns.unsigned()?);
        let terms = serde_json::from_str(&columns.get::<String>()?)?;
        closures.push(StoredClosure { kind, name, version, terms });
    }
    Ok(closures)
}

fn lost(connection: &Connection) -> Result<Vec<(JobId, Attempt)>, Fault> {
    let mut statement = connection.prepare(
        "SELECT id, attempt, returned FROM jobs INDEXED BY jobs_lost WHERE state = 10 ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    let mut lost = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::from(row, 0);
        lost.push((JobId(columns.unsigned()?), columns.attempt()?));
    }
    Ok(lost)
}
