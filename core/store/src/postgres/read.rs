//! Single jobs and their histories.

use berth_engine::LiveJob;
use berth_model::{Attempt, JobEventRecord, JobId, JobRef, StateKind, Submission, UtcMs};
use deadpool_postgres::GenericClient;
use tokio_postgres::{Row, types::ToSql};

use super::{
    columns::{self, Columns, From, key, signed, task_id},
    fault::Fault,
};
use crate::{JobDetail, StoredEvent, columns::position};

type Given<'a> = &'a [&'a (dyn ToSql + Sync)];

pub(super) async fn rows(
    client: &impl GenericClient,
    sql: &str,
    given: Given<'_>,
) -> Result<Vec<Row>, Fault> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, given).await?)
}

pub(super) async fn row(
    client: &impl GenericClient,
    sql: &str,
    given: Given<'_>,
) -> Result<Option<Row>, Fault> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_opt(&statement, given).await?)
}

async fn stored(client: &impl GenericClient, id: JobId) -> Result<Option<LiveJob>, Fault> {
    let sql = format!("{} WHERE j.id = $1", From::Any.select_jobs());
    row(client, &sql, &[&key(id)]).await?.as_ref().map(columns::job).transpose()
}

pub(super) async fn job(client: &impl GenericClient, id: JobId) -> Result<Option<JobDetail>, Fault> {
    let Some(job) = stored(client, id).await? else { return Ok(None) };
    let submission = submission(client, id).await?;
    let submission =
        submission.ok_or_else(|| Fault::Unreadable(format!("job {id} is there without its submission")))?;
    Ok(Some(JobDetail { job, submission }))
}

pub(super) async fn live_job(client: &impl GenericClient, id: JobId) -> Result<Option<LiveJob>, Fault> {
    let Some(mut job) = stored(client, id).await? else { return Ok(None) };
    if let (Some(range), None) = (job.array, job.task_of) {
        let sql = "SELECT attempt, returned FROM jobs WHERE id > $1 AND id <= $2 \
                   ORDER BY attempt DESC, returned DESC LIMIT 1";
        let last = task_id(id, range.tasks() - 1);
        let highest = row(client, sql, &[&key(id), &key(last)]).await?;
        let highest = highest.map(|row| Columns::of(&row).attempt()).transpose()?;
        job.moving.attempt = job.moving.attempt.max(highest.unwrap_or(Attempt::default()));
    }
    Ok(Some(job))
}

/// What was submitted under a number: the job or array itself, or the array of a task, whether its turn
/// has come or not.
struct Submitted {
    id: JobId,
    state: StateKind,
}

/// From the columns of what was submitted under `id`, or under the next number below it.
fn submitted(id: JobId, columns: &mut Columns<'_>) -> Result<Option<Submitted>, Fault> {
    let Some(found) = columns.maybe_unsigned()?.map(JobId) else { return Ok(None) };
    let (state, range) = (columns.kind()?, columns.range()?);
    let tasks = range.map_or(0, |range| range.tasks());
    let belongs = found == id || position(found, id) < tasks;
    Ok(belongs.then_some(Submitted { id: found, state }))
}

/// Only submissions have specs, so that the next one below is the array even if tasks lie between.
async fn submitted_as(client: &impl GenericClient, id: JobId) -> Result<Option<Submitted>, Fault> {
    let sql = "SELECT j.id, j.state, j.array_range FROM jobs j \
               WHERE j.id = (SELECT max(s.id) FROM specs s WHERE s.id <= $1)";
    let Some(row) = row(client, sql, &[&key(id)]).await? else { return Ok(None) };
    submitted(id, &mut Columns::of(&row))
}

pub(super) async fn resolve(client: &impl GenericClient, job: JobRef) -> Result<Option<JobId>, Fault> {
    let Some(index) = job.index else {
        return Ok(submitted_as(client, job.job).await?.map(|_| job.job));
    };
    let sql = "SELECT array_range FROM jobs WHERE id = $1";
    let Some(row) = row(client, sql, &[&key(job.job)]).await? else { return Ok(None) };
    let range = Columns::of(&row).range()?;
    Ok(range.and_then(|range| range.position_of(index)).map(|position| task_id(job.job, position)))
}

pub(super) async fn state_of(
    client: &impl GenericClient,
    ids: &[JobId],
) -> Result<Vec<(JobId, StateKind)>, Fault> {
    let sql = "SELECT i.id, j.state, s.id, s.state, s.array_range \
               FROM unnest($1::bigint[]) WITH ORDINALITY AS i (id, place) \
               LEFT JOIN jobs j ON j.id = i.id \
               LEFT JOIN LATERAL (SELECT b.id, b.state, b.array_range FROM jobs b WHERE j.id IS NULL \
               AND b.id = (SELECT max(x.id) FROM specs x WHERE x.id <= i.id)) s ON TRUE ORDER BY i.place";
    let given: Vec<i64> = ids.iter().map(|&id| key(id)).collect();
    let mut states = Vec::with_capacity(ids.len());
    for row in rows(client, sql, &[&given]).await? {
        let mut columns = Columns::of(&row);
        let id = JobId(columns.unsigned()?);
        let own = match columns.get::<Option<i16>>()? {
            Some(_) => Some(Columns::at(&row, 1).kind()?),
            None => submitted(id, &mut columns)?.map(|of_array| match of_array.state.is_end() {
                true => StateKind::Killed,
                false => StateKind::Pending,
            }),
        };
        states.extend(own.map(|state| (id, state)));
    }
    Ok(states)
}

pub(super) async fn submission(client: &impl GenericClient, id: JobId) -> Result<Option<Submission>, Fault> {
    let Some(submitted) = submitted_as(client, id).await? else { return Ok(None) };
    let found = row(client, "SELECT submission FROM specs WHERE id = $1", &[&key(submitted.id)]).await?;
    let Some(found) = found else { return Ok(None) };
    Ok(Some(serde_json::from_str(Columns::of(&found).get::<&str>()?)?))
}

pub(super) async fn history(client: &impl GenericClient, id: JobId) -> Result<Vec<StoredEvent>, Fault> {
    let sql = "SELECT seq, job, at, kind FROM events WHERE job = $1 ORDER BY seq";
    rows(client, sql, &[&key(id)]).await?.iter().map(event).collect()
}

pub(super) async fn events_after(
    client: &impl GenericClient,
    seq: u64,
    limit: u64,
) -> Result<Vec<StoredEvent>, Fault> {
    // Beyond what the database can count there is nothing.
    let (seq, limit) = (i64::try_from(seq).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    let sql = "SELECT seq, job, at, kind FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
    rows(client, sql, &[&seq, &limit]).await?.iter().map(event).collect()
}

fn event(row: &Row) -> Result<StoredEvent, Fault> {
    let mut columns = Columns::of(row);
    let seq = columns.unsigned()?;
    let (job, at) = (JobId(columns.unsigned()?), columns.instant()?);
    let kind = serde_json::from_str(columns.get::<&str>()?)?;
    Ok(StoredEvent { seq, record: JobEventRecord { job, at, kind } })
}

pub(super) async fn last_event(client: &impl GenericClient) -> Result<u64, Fault> {
    let last = row(client, "SELECT coalesce(max(seq), 0) FROM events", &[]).await?;
    last.map_or(Ok(0), |row| Columns::of(&row).unsigned())
}

pub(super) async fn archived(client: &impl GenericClient, id: JobId) -> Result<Option<UtcMs>, Fault> {
    let found = row(client, "SELECT archived FROM jobs WHERE id = $1", &[&key(id)]).await?;
    found.map_or(Ok(None), |row| Columns::of(&row).maybe_instant())
}

pub(super) async fn to_archive(
    client: &impl GenericClient,
    ended: (UtcMs, UtcMs),
    limit: u64,
) -> Result<Vec<(JobId, UtcMs)>, Fault> {
    let sql = "SELECT id, ended FROM jobs WHERE ended >= $1 AND ended < $2 AND archived IS NULL \
               AND array_id IS NULL ORDER BY ended LIMIT $3";
    let (from, before) = (signed(ended.0.0), signed(ended.1.0));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = rows(client, sql, &[&from, &before, &limit]).await?;
    let one = |row: &Row| {
        let mut columns = Columns::of(row);
        Ok((JobId(columns.unsigned()?), columns.instant()?))
    };
    found.iter().map(one).collect()
}
