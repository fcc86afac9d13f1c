//! Jobs whose directories are gone.

use berth_model::{JobId, UtcMs};
use rusqlite::{Connection, OptionalExtension};

use super::{
    columns::{key, signed},
    fault::Fault,
};

/// Notes it of a job that has ended.
pub(super) fn mark(connection: &Connection, id: JobId, at: UtcMs) -> Result<bool, Fault> {
    let marked = connection.execute(
        "UPDATE jobs SET archived = ?2 WHERE id = ?1 AND ended IS NOT NULL AND archived IS NULL",
        [key(id), signed(at.0)],
    )?;
    Ok(marked > 0)
}

pub(super) fn archived(connection: &Connection, id: JobId) -> Result<Option<UtcMs>, Fault> {
    let mut statement = connection.prepare_cached("SELECT archived FROM jobs WHERE id = ?1")?;
    let at: Option<Option<i64>> = statement.query_row([key(id)], |row| row.get(0)).optional()?;
    Ok(at.flatten().map(|at| UtcMs(at.cast_unsigned())))
}

pub(super) fn to_archive(
    connection: &Connection,
    ended: (UtcMs, UtcMs),
    limit: u64,
) -> Result<Vec<(JobId, UtcMs)>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, ended FROM jobs WHERE ended >= ?1 AND ended < ?2 AND archived IS NULL AND array_id IS NULL \
         ORDER BY ended LIMIT ?3",
    )?;
    let mut rows = statement.query([signed(ended.0.0), signed(ended.1.0), signed(limit)])?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, ended): (i64, i64) = (row.get(0)?, row.get(1)?);
        jobs.push((JobId(id.cast_unsigned()), UtcMs(ended.cast_unsigned())));
    }
    Ok(jobs)
}
