//! What the directories of jobs take.

use berth_engine::StoredDirectory;
use berth_model::JobId;
use deadpool_postgres::GenericClient;
use tokio_postgres::Row;

use super::{
    columns::{Columns, key},
    fault::Fault,
    read::rows,
};
use crate::{Unmeasured, columns::position};

/// What the engine begins with. Where Berth was killed after a job was archived and before its directory was
/// forgotten, the directory is gone all the same.
pub(super) async fn restore(client: &impl GenericClient) -> Result<Vec<StoredDirectory>, Fault> {
    let sql = "SELECT d.job, coalesce(j.owner, a.owner), coalesce(j.project, a.project), d.runs_over, d.bytes \
               FROM directories d JOIN jobs j ON j.id = d.job LEFT JOIN jobs a ON a.id = j.array_id \
               WHERE coalesce(j.archived, a.archived) IS NULL ORDER BY d.job";
    let one = |row: &Row| {
        let mut columns = Columns::of(row);
        Ok(StoredDirectory {
            job: JobId(columns.unsigned()?),
            owner: columns.text()?,
            project: columns.text()?,
            after: columns.short()?,
            bytes: columns.unsigned()?,
        })
    };
    rows(client, sql, &[]).await?.iter().map(one).collect()
}

pub(super) async fn unmeasured(
    client: &impl GenericClient,
    after: JobId,
    limit: u64,
) -> Result<Vec<Unmeasured>, Fault> {
    let sql = "SELECT j.id, j.array_id, a.array_range, coalesce(j.owner, a.owner), \
               coalesce(j.project, a.project), j.attempt \
               FROM jobs j LEFT JOIN jobs a ON a.id = j.array_id LEFT JOIN directories d ON d.job = j.id \
               WHERE j.id > $1 AND j.ended IS NOT NULL AND j.array_range IS NULL \
               AND coalesce(j.archived, a.archived) IS NULL AND (d.job IS NULL OR d.runs_over < j.attempt) \
               ORDER BY j.id LIMIT $2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    rows(client, sql, &[&key(after), &limit]).await?.iter().map(one_unmeasured).collect()
}

fn one_unmeasured(row: &Row) -> Result<Unmeasured, Fault> {
    let mut columns = Columns::of(row);
    let job = JobId(columns.unsigned()?);
    let array = columns.maybe_unsigned()?.map(JobId);
    let range = columns.range()?;
    let index = |array| range.and_then(|range| range.index_at(position(array, job)));
    Ok(Unmeasured {
        job,
        task: array.and_then(|array| Some((array, index(array)?))),
        owner: columns.text()?,
        project: columns.text()?,
        after: columns.short()?,
    })
}
