//! Listings.

use std::ops::ControlFlow;

use berth_model::{JobId, StateKind};
use deadpool_postgres::GenericClient;
use futures::TryStreamExt;
use tokio::sync::mpsc;
use tokio_postgres::{Row, types::ToSql};

use super::{
    columns::{Columns, From, key, state, task_id},
    fault::Fault,
    read::{row, rows},
    text::kept,
};
use crate::{EachRow, JobRow, ListQuery, TaskQuery, Tasks, columns::position};

/// How many lines are read ahead of whoever takes them.
const AHEAD: usize = 256;

/// What a line needs of the job itself; [`line`] reads them in this order.
const OWN: &str = "j.id, j.array_id, j.state, j.detail, j.attempt, j.returned, j.node, j.started, j.ended, \
     j.exit_code, j.priority, j.array_next, j.cpu_micros, j.memory_peak, j.note";

/// And what it has of its array, if it is a task.
const SHARED: [&str; 10] = [
    "owner",
    "project",
    "name",
    "executor",
    "cpu_millis",
    "memory_bytes",
    "gpus",
    "time_limit_ms",
    "submitted",
    "array_range",
];

pub(super) async fn list(client: &impl GenericClient, query: &ListQuery) -> Result<Vec<JobRow>, Fault> {
    Sql::of(query).rows(client).await?.iter().map(line).collect()
}

pub(super) async fn list_each(
    client: &impl GenericClient,
    query: &ListQuery,
    mut each: EachRow,
) -> Result<(), Fault> {
    let (sender, mut lines) = mpsc::channel::<JobRow>(AHEAD);
    let taking = tokio::task::spawn_blocking(move || {
        while let Some(line) = lines.blocking_recv() {
            if let ControlFlow::Break(()) = each(line) {
                break;
            }
        }
    });
    let sql = Sql::of(query);
    let statement = client.prepare_cached(&sql.text).await?;
    let found = client.query_raw(&statement, sql.given()).await?;
    let mut found = std::pin::pin!(found);
    while let Some(row) = found.try_next().await? {
        if sender.send(line(&row)?).await.is_err() {
            break;
        }
    }
    drop(sender);
    // It has taken the last line then.
    let _ = taking.await;
    Ok(())
}

pub(super) async fn tasks_of(
    client: &impl GenericClient,
    array: JobId,
    query: &TaskQuery,
) -> Result<Tasks, Fault> {
    let own = "SELECT array_range, attempt FROM jobs WHERE id = $1 AND array_id IS NULL";
    let Some(own) = row(client, own, &[&key(array)]).await? else { return Ok(Tasks::default()) };
    let mut columns = Columns::of(&own);
    let Some(range) = columns.range()? else { return Ok(Tasks::default()) };
    let attempt: i64 = columns.get()?;
    let last = key(task_id(array, range.tasks() - 1));
    let sql = "SELECT state, count(*) FROM jobs WHERE id > $1 AND id <= $2 AND attempt >= $3 \
               GROUP BY state ORDER BY state";
    let counts = rows(client, sql, &[&key(array), &last, &attempt]).await?;
    let mut tasks =
        Tasks { counts: counts.iter().map(super::usage::count).collect::<Result<_, _>>()?, rows: Vec::new() };
    if query.limit != Some(0) {
        let after = query.after_position.map_or(array, |position| task_id(array, position));
        let mut sql = Sql::select(From::Any);
        sql.and("j.id > ?", key(after));
        sql.and("j.id <= ?", last);
        sql.and("j.attempt >= ?", attempt);
        sql.and_states(&query.states);
        sql.text.push_str(" ORDER BY j.id");
        sql.limit(query.limit);
        tasks.rows = sql.rows(client).await?.iter().map(line).collect::<Result<_, _>>()?;
    }
    Ok(tasks)
}

fn line(row: &Row) -> Result<JobRow, Fault> {
    let mut columns = Columns::of(row);
    let id = JobId(columns.unsigned()?);
    let array = columns.maybe_unsigned()?.map(JobId);
    let (kind, detail, attempt) = (columns.kind()?, columns.get::<Option<&str>>()?, columns.attempt()?);
    Ok(JobRow {
        id,
        task_of: array.map(|array| (array, position(array, id))),
        state: state(kind, detail, attempt)?,
        attempt,
        node: columns.maybe_text()?,
        started: columns.maybe_instant()?,
        ended: columns.maybe_instant()?,
        exit_code: columns.get()?,
        priority: columns.get()?,
        array_next: columns.unsigned()?,
        cpu_micros: columns.maybe_unsigned()?,
        memory_peak_bytes: columns.maybe_unsigned()?,
        note: columns.maybe_text()?,
        owner: columns.text()?,
        project: columns.text()?,
        name: columns.text()?,
        executor: columns.text()?,
        needs: columns.needs()?,
        time_limit_ms: columns.maybe_unsigned()?,
        submitted: columns.instant()?,
        array: columns.range()?,
    })
}

/// A query under construction.
struct Sql {
    text: String,
    given: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Sql {
    /// All lines; conditions follow.
    fn select(from: From) -> Self {
        let shared = SHARED.map(|column| from.shared(column)).join(", ");
        let text = format!("SELECT {OWN}, {shared} FROM {} WHERE TRUE", from.tables());
        Self { text, given: Vec::new() }
    }

    fn of(query: &ListQuery) -> Self {
        let from = if query.tasks { From::Any } else { From::Own };
        let mut sql = Self::select(from);
        if !query.tasks {
            sql.text.push_str(" AND j.array_id IS NULL");
        }
        if !query.states.is_empty() && query.states.iter().all(|state| !state.is_end()) {
            sql.text.push_str(" AND j.ended IS NULL");
        }
        sql.and_states(&query.states);
        for (column, wanted) in [("owner", &query.owner), ("project", &query.project)] {
            if let Some(wanted) = wanted {
                sql.and(&format!("{} = ?", from.shared(column)), kept(wanted).into_owned());
            }
        }
        if let Some(name) = &query.name {
            let column = from.shared("name");
            match name.contains(['*', '?']) {
                true => sql.and(&format!("{column} LIKE ?"), pattern(&kept(name))),
                false => sql.and(&format!("{column} = ?"), kept(name).into_owned()),
            }
        }
        if let Some(tag) = &query.tag {
            let has =
                "EXISTS (SELECT 1 FROM specs s WHERE s.id = coalesce(j.array_id, j.id) AND ? = ANY (s.tags))";
            sql.and(has, kept(tag).into_owned());
        }
        if let Some(after) = query.after {
            sql.and("j.id > ?", key(after));
        }
        if let Some(before) = query.before {
            sql.and("j.id < ?", key(before));
        }
        sql.text.push_str(if query.newest_first { " ORDER BY j.id DESC" } else { " ORDER BY j.id" });
        sql.limit(query.limit);
        sql
    }

    /// `condition` has one `?` for what is given.
    fn and(&mut self, condition: &str, given: impl ToSql + Sync + Send + 'static) {
        self.given.push(Box::new(given));
        self.text.push_str(" AND ");
        self.text.push_str(&condition.replacen('?', &format!("${}", self.given.len()), 1));
    }

    fn and_states(&mut self, states: &[StateKind]) {
        if !states.is_empty() {
            let numbers: Vec<i16> = states.iter().map(|&state| i16::from(state as u8)).collect();
            self.and("j.state = ANY (?::smallint[])", numbers);
        }
    }

    fn limit(&mut self, limit: Option<u64>) {
        if let Some(limit) = limit {
            self.given.push(Box::new(i64::try_from(limit).unwrap_or(i64::MAX)));
            self.text.push_str(&format!(" LIMIT ${}", self.given.len()));
        }
    }

    fn given(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.given.iter().map(|given| &**given as &(dyn ToSql + Sync)).collect()
    }

    async fn rows(&self, client: &impl GenericClient) -> Result<Vec<Row>, Fault> {
        rows(client, &self.text, &self.given()).await
    }
}

/// `*` and `?` as PostgreSQL writes them.
fn pattern(glob: &str) -> String {
    let mut pattern = String::with_capacity(glob.len() + 2);
    for letter in glob.chars() {
        match letter {
            '*' => pattern.push('%'),
            '?' => pattern.push('_'),
            '%' | '_' | '\\' => pattern.extend(['\\', letter]),
            letter => pattern.push(letter),
        }
    }
    pattern
}
