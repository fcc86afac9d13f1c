//! What the engine begins with.

use std::collections::BTreeMap;

use berth_engine::{ArrayEnds, LiveJob, Restored, StoredAccount, StoredClosure};
use berth_model::{AccountKind, AccountTerms, Attempt, JobId, Used};
use deadpool_postgres::GenericClient;
use futures::TryStreamExt;
use rustc_hash::FxHashMap;
use tokio_postgres::{Row, types::ToSql};

use super::{
    columns::{self, Columns, From, key, task_id},
    directories,
    fault::Fault,
    read::{row, rows},
};
use crate::columns::{closure_kind, position};

pub(super) async fn restore(client: &impl GenericClient) -> Result<Restored, Fault> {
    let mut restored =
        Restored { next_id: next_id(client).await?, live: live(client).await?, ..Restored::default() };
    arrays(client, &mut restored).await?;
    restored.lost = lost(client).await?;
    restored.accounts = accounts(client).await?;
    restored.closures = closures(client).await?;
    restored.directories = directories::restore(client).await?;
    Ok(restored)
}

async fn next_id(client: &impl GenericClient) -> Result<JobId, Fault> {
    let Some(stored) = row(client, "SELECT value FROM meta WHERE key = 'next_id'", &[]).await? else {
        return Ok(JobId(1));
    };
    let text = Columns::of(&stored).text()?;
    text.parse().map(JobId).map_err(|_| Fault::Unreadable(format!("the next job is no number: {text:?}")))
}

/// Those that are no tasks without a join, which could read all that ever ended.
async fn live(client: &impl GenericClient) -> Result<Vec<LiveJob>, Fault> {
    let mut live = Vec::new();
    for (from, which) in [(From::Own, "j.array_id IS NULL"), (From::Any, "j.array_id IS NOT NULL")] {
        let sql = format!("{} WHERE j.ended IS NULL AND {which} ORDER BY j.id", from.select_jobs());
        let statement = client.prepare_cached(&sql).await?;
        let given: [&(dyn ToSql + Sync); 0] = [];
        let found = client.query_raw(&statement, given).await?;
        let mut found = std::pin::pin!(found);
        while let Some(row) = found.try_next().await? {
            live.push(columns::job(&row)?);
        }
    }
    live.sort_by_key(|job| job.id);
    Ok(live)
}

/// The arrays' numbers as columns: array, first position not known to be a job, last task, attempt.
#[derive(Default)]
struct Asked {
    id: Vec<i64>,
    first: Vec<i64>,
    last: Vec<i64>,
    attempt: Vec<i64>,
}

impl Asked {
    fn about(live: &[LiveJob]) -> Self {
        let mut asked = Self::default();
        for job in live {
            if let (Some(range), None) = (job.array, job.task_of) {
                asked.id.push(key(job.id));
                asked.first.push(key(task_id(job.id, job.moving.array_next)));
                asked.last.push(key(task_id(job.id, range.tasks().saturating_sub(1))));
                asked.attempt.push(i64::from(job.moving.attempt.number));
            }
        }
        asked
    }

    async fn ask(&self, client: &impl GenericClient, what: &str) -> Result<Vec<Row>, Fault> {
        let sql = format!(
            "SELECT n.id, x.* FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) \
             AS n (id, first, last, attempt) CROSS JOIN LATERAL ({what}) x ORDER BY 1, 2"
        );
        rows(client, &sql, &[&self.id, &self.first, &self.last, &self.attempt]).await
    }
}

/// Tasks below an array's own attempt are of an earlier run of it and do not count.
async fn arrays(client: &impl GenericClient, restored: &mut Restored) -> Result<(), Fault> {
    // The tasks from the first on that follow each other without a gap have become jobs.
    let next = "SELECT count(*) FROM (SELECT t.id, row_number() OVER (ORDER BY t.id) AS place FROM jobs t \
                WHERE t.id BETWEEN n.first AND n.last AND t.array_id = n.id AND t.attempt >= n.attempt) p \
                WHERE p.id = n.first + p.place - 1";
    let asked = Asked::about(&restored.live);
    if asked.id.is_empty() {
        return Ok(());
    }
    let mut more: FxHashMap<JobId, u64> = FxHashMap::default();
    for row in asked.ask(client, next).await? {
        let mut columns = Columns::of(&row);
        more.insert(JobId(columns.unsigned()?), columns.unsigned()?);
    }
    for job in restored.live.iter_mut().filter(|job| job.task_of.is_none()) {
        job.moving.array_next += more.get(&job.id).copied().unwrap_or(0);
    }
    let ends = "SELECT count(*), coalesce(sum((t.state <> 6)::int), 0)::bigint, \
                greatest(0, coalesce(max(t.exit_code), 0)) FROM jobs t WHERE t.id > n.id AND t.id <= n.last \
                AND t.ended IS NOT NULL AND t.attempt >= n.attempt";
    let asked = Asked::about(&restored.live);
    for row in asked.ask(client, ends).await? {
        let mut columns = Columns::of(&row);
        let array = JobId(columns.unsigned()?);
        let (ended, not_ok, highest_exit) = (columns.unsigned()?, columns.unsigned()?, columns.get()?);
        restored.arrays.push((array, ArrayEnds { ended, not_ok, highest_exit }));
    }
    let ahead = "SELECT t.id AS task FROM jobs t WHERE t.id BETWEEN n.first AND n.last \
                 AND t.ended IS NOT NULL AND t.attempt >= n.attempt";
    for row in asked.ask(client, ahead).await? {
        let mut columns = Columns::of(&row);
        let (array, task) = (JobId(columns.unsigned()?), JobId(columns.unsigned()?));
        restored.ended_ahead.push((array, position(array, task)));
    }
    Ok(())
}

async fn lost(client: &impl GenericClient) -> Result<Vec<(JobId, Attempt)>, Fault> {
    let found = rows(client, "SELECT id, attempt, returned FROM jobs WHERE lost ORDER BY id", &[]).await?;
    let one = |row: &Row| {
        let mut columns = Columns::of(row);
        Ok((JobId(columns.unsigned()?), columns.attempt()?))
    };
    found.iter().map(one).collect()
}

async fn closures(client: &impl GenericClient) -> Result<Vec<StoredClosure>, Fault> {
    let sql = "SELECT kind, name, version, terms FROM closures ORDER BY kind, name";
    let mut closures = Vec::new();
    for row in rows(client, sql, &[]).await? {
        let mut columns = Columns::of(&row);
        let kind = closure_kind(columns.get::<&str>()?).map_err(Fault::Unreadable)?;
        let (name, version) = (columns.text()?, columns.unsigned()?);
        let terms = serde_json::from_str(columns.get::<&str>()?)?;
        closures.push(StoredClosure { kind, name, version, terms });
    }
    Ok(closures)
}

type Accounts = BTreeMap<(AccountKind, String), StoredAccount>;

async fn accounts(client: &impl GenericClient) -> Result<Vec<StoredAccount>, Fault> {
    let mut all = Accounts::new();
    let sql = "SELECT kind, name, hour, jobs, wall_ms, cpu_ms, memory_mib_ms, cpu_millis, memory_mib \
               FROM usage_hours ORDER BY kind, name, hour";
    for row in rows(client, sql, &[]).await? {
        let mut columns = Columns::of(&row);
        let (kind, name) = (kind(columns.get()?)?, columns.text()?);
        let hour = columns.unsigned()?;
        let used = Used {
            jobs: columns.unsigned()?,
            wall_ms: columns.unsigned()?,
            cpu_ms: columns.unsigned()?,
            memory_mib_ms: columns.unsigned()?,
            cpu_millis: columns.unsigned()?,
            memory_mib: columns.unsigned()?,
        };
        entry(&mut all, kind, name).hours.push((hour, used));
    }
    for row in rows(client, "SELECT kind, name, version, terms FROM accounts", &[]).await? {
        let mut columns = Columns::of(&row);
        let (kind, name, version) = (kind(columns.get()?)?, columns.text()?, columns.unsigned()?);
        let terms: AccountTerms = serde_json::from_str(columns.get::<&str>()?)?;
        entry(&mut all, kind, name).terms = Some((version, terms));
    }
    Ok(all.into_values().collect())
}

fn entry(all: &mut Accounts, kind: AccountKind, name: String) -> &mut StoredAccount {
    let new = StoredAccount { kind, name: name.clone(), terms: None, hours: Vec::new() };
    all.entry((kind, name)).or_insert(new)
}

fn kind(number: i16) -> Result<AccountKind, Fault> {
    let kind = usize::try_from(number).ok().and_then(|number| AccountKind::ALL.get(number)).copied();
    kind.ok_or_else(|| Fault::Unreadable(format!("there is no kind of account {number}")))
}
