//! What the directories of jobs take.

use berth_engine::StoredDirectory;
use berth_model::{ArrayRange, JobId};
use rusqlite::{Connection, params};

use super::{
    columns::{Columns, key, position, signed},
    fault::Fault,
};
use crate::Unmeasured;

pub(super) fn set(connection: &Connection, job: JobId, after: u32, bytes: u64) -> Result<(), Fault> {
    let mut statement = connection
        .prepare_cached("INSERT OR REPLACE INTO directories (job, runs_over, bytes) VALUES (?1, ?2, ?3)")?;
    statement.execute(params![key(job), after, signed(bytes)])?;
    Ok(())
}

pub(super) fn forget(connection: &Connection, first: JobId, last: JobId) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached("DELETE FROM directories WHERE job BETWEEN ?1 AND ?2")?;
    statement.execute([key(first), key(last)])?;
    Ok(())
}

/// What the engine begins with. Where Berth was killed after a job was archived and before its directory was
/// forgotten, the directory is gone all the same.
pub(super) fn restore(connection: &Connection) -> Result<Vec<StoredDirectory>, Fault> {
    let mut statement = connection.prepare(
        "SELECT d.job, coalesce(j.owner, a.owner), coalesce(j.project, a.project), d.runs_over, d.bytes \
         FROM directories d JOIN jobs j ON j.id = d.job LEFT JOIN jobs a ON a.id = j.array_id \
         WHERE coalesce(j.archived, a.archived) IS NULL ORDER BY d.job",
    )?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::from(row, 0);
        all.push(StoredDirectory {
            job: JobId(columns.unsigned()?),
            owner: columns.get()?,
            project: columns.get()?,
            after: columns.get()?,
            bytes: columns.unsigned()?,
        });
    }
    Ok(all)
}

pub(super) fn unmeasured(
    connection: &Connection,
    after: JobId,
    limit: u64,
) -> Result<Vec<Unmeasured>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT j.id, j.array_id, a.array_range, coalesce(j.owner, a.owner), coalesce(j.project, a.project), \
         j.attempt FROM jobs j LEFT JOIN jobs a ON a.id = j.array_id LEFT JOIN directories d ON d.job = j.id \
         WHERE j.id > ?1 AND j.ended IS NOT NULL AND j.array_range IS NULL \
         AND coalesce(j.archived, a.archived) IS NULL AND (d.job IS NULL OR d.runs_over < j.attempt) \
         ORDER BY j.id LIMIT ?2",
    )?;
    let mut rows = statement.query([key(after), signed(limit)])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::from(row, 0);
        let job = JobId(columns.unsigned()?);
        let array = columns.maybe_unsigned()?.map(JobId);
        let range: Option<ArrayRange> = columns.parsed()?;
        let index = |array| range.and_then(|range| range.index_at(position(array, job)));
        all.push(Unmeasured {
            job,
            task: array.and_then(|array| Some((array, index(array)?))),
            owner: columns.get()?,
            project: columns.get()?,
            after: columns.get()?,
        });
    }
    Ok(all)
}
