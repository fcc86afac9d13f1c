//! Listings.

use std::ops::ControlFlow;

use berth_engine::LiveJob;
use berth_model::{JobId, Resources, StateKind, UtcMs};
use rusqlite::{Connection, Row, types::Value};

use super::{
    columns::{Columns, key, needs, position, state, task_id},
    fault::Fault,
    read::Arrays,
    usage::count,
};
use crate::{EachRow, JobRow, ListQuery, TaskQuery, Tasks};

/// What a line needs; [`line`] reads them in this order.
const COLUMNS: &str = "j.id, j.array_id, j.state, j.detail, j.attempt, j.returned, j.node, j.started, j.ended, \
     j.exit_code, j.priority, j.array_next, j.cpu_micros, j.memory_peak, j.note, j.owner, j.project, j.name, \
     j.executor, j.cpu_millis, j.memory_bytes, j.gpus, j.time_limit_ms, j.submitted, j.array_range";

pub(super) fn list(connection: &Connection, query: &ListQuery) -> Result<Vec<JobRow>, Fault> {
    let mut lines = Vec::new();
    run(connection, &Sql::of(query), &mut |line| {
        lines.push(line);
        ControlFlow::Continue(())
    })?;
    Ok(lines)
}

pub(super) fn list_each(connection: &Connection, query: &ListQuery, each: &mut EachRow) -> Result<(), Fault> {
    run(connection, &Sql::of(query), each)
}

pub(super) fn tasks_of(connection: &Connection, array: JobId, query: &TaskQuery) -> Result<Tasks, Fault> {
    let mut arrays = Arrays::new(connection);
    let own = arrays.find(array)?.map(|array| (array.array, array.moving.attempt));
    let Some((Some(range), attempt)) = own else { return Ok(Tasks::default()) };
    let last = task_id(array, range.tasks() - 1);
    let mut statement = connection.prepare_cached(
        "SELECT state, count(*) FROM jobs WHERE id > ?1 AND id <= ?2 AND attempt >= ?3 \
         GROUP BY state ORDER BY state",
    )?;
    let mut rows = statement.query([key(array), key(last), i64::from(attempt.number)])?;
    let mut tasks = Tasks::default();
    while let Some(row) = rows.next()? {
        tasks.counts.push(count(row)?);
    }
    if query.limit == Some(0) {
        return Ok(tasks);
    }
    let after = query.after_position.map_or(array, |position| task_id(array, position));
    let mut sql =
        Sql { text: format!("SELECT {COLUMNS} FROM jobs j WHERE j.id > ? AND j.id <= ?"), given: Vec::new() };
    sql.given.extend([key(after).into(), key(last).into()]);
    sql.and("j.attempt >= ?", i64::from(attempt.number));
    sql.and_states(&query.states);
    sql.text.push_str(" ORDER BY j.id");
    sql.limit(query.limit);
    run(connection, &sql, &mut |line| {
        tasks.rows.push(line);
        ControlFlow::Continue(())
    })?;
    Ok(tasks)
}

fn run(
    connection: &Connection,
    sql: &Sql,
    each: &mut dyn FnMut(JobRow) -> ControlFlow<()>,
) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(&sql.text)?;
    let mut rows = statement.query(rusqlite::params_from_iter(&sql.given))?;
    let mut arrays = Arrays::new(connection);
    while let Some(row) = rows.next()? {
        if each(line(row, &mut arrays)?).is_break() {
            break;
        }
    }
    Ok(())
}

fn line(row: &Row<'_>, arrays: &mut Arrays<'_>) -> Result<JobRow, Fault> {
    let mut columns = Columns::from(row, 0);
    let id = JobId(columns.unsigned()?);
    let array = columns.maybe_unsigned()?.map(JobId);
    let (kind, detail, attempt) = (columns.kind()?, columns.raw()?, columns.attempt()?);
    let mut line = JobRow {
        id,
        task_of: array.map(|array| (array, position(array, id))),
        state: state(kind, detail, attempt)?,
        attempt,
        node: columns.get()?,
        started: columns.maybe_instant()?,
        ended: columns.maybe_instant()?,
        exit_code: columns.get()?,
        priority: columns.get()?,
        array_next: columns.unsigned()?,
        cpu_micros: columns.maybe_unsigned()?,
        memory_peak_bytes: columns.maybe_unsigned()?,
        note: columns.get()?,
        array: None,
        owner: String::new(),
        project: String::new(),
        name: String::new(),
        executor: String::new(),
        needs: Resources::default(),
        time_limit_ms: None,
        submitted: UtcMs::default(),
    };
    match array {
        Some(array) => share(&mut line, arrays.get(array)?),
        None => own(&mut line, &mut columns)?,
    }
    Ok(line)
}

fn own(line: &mut JobRow, columns: &mut Columns<'_>) -> Result<(), Fault> {
    line.owner = columns.get()?;
    line.project = columns.get()?;
    line.name = columns.get()?;
    line.executor = columns.get()?;
    line.needs = needs(columns)?;
    line.time_limit_ms = columns.maybe_unsigned()?;
    line.submitted = columns.instant()?;
    line.array = columns.parsed()?;
    Ok(())
}

fn share(line: &mut JobRow, array: &LiveJob) {
    line.owner.clone_from(&array.owner);
    line.project.clone_from(&array.project);
    line.name.clone_from(&array.name);
    line.executor.clone_from(&array.executor);
    line.needs = array.needs;
    line.time_limit_ms = array.time_limit_ms;
    line.submitted = array.submitted;
    line.array = array.array;
}

/// A query under construction.
struct Sql {
    text: String,
    given: Vec<Value>,
}

impl Sql {
    fn of(query: &ListQuery) -> Self {
        let only_live = !query.states.is_empty() && query.states.iter().all(|state| !state.is_end());
        // The planner knows nothing of how many jobs have ended, or belong to whom.
        let (by, live) = match (only_live, &query.owner, query.tasks) {
            (true, ..) => ("INDEXED BY jobs_ended", "j.ended IS NULL"),
            (false, Some(_), false) => ("INDEXED BY jobs_owner", "TRUE"),
            (false, ..) => ("NOT INDEXED", "TRUE"),
        };
        let mut sql =
            Self { text: format!("SELECT {COLUMNS} FROM jobs j {by} WHERE {live}"), given: Vec::new() };
        if !query.tasks {
            sql.text.push_str(" AND j.array_id IS NULL");
        }
        sql.and_states(&query.states);
        for (column, wanted) in [("owner", &query.owner), ("project", &query.project)] {
            if let Some(wanted) = wanted {
                sql.and(&format!("{} = ?", of_array_too(column, query.tasks)), wanted.clone());
            }
        }
        if let Some(name) = &query.name {
            let column = of_array_too("name", query.tasks);
            match name.contains(['*', '?']) {
                true => sql.and(&format!("{column} GLOB ?"), name.replace('[', "[[]")),
                false => sql.and(&format!("{column} = ?"), name.clone()),
            }
        }
        if let Some(tag) = &query.tag {
            let has = "EXISTS (SELECT 1 FROM specs s, json_each(s.submission, '$.spec.tags') t \
                       WHERE s.id = coalesce(j.array_id, j.id) AND t.value = ?)";
            sql.and(has, tag.clone());
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

    fn and(&mut self, condition: &str, given: impl Into<Value>) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
        self.given.push(given.into());
    }

    fn and_states(&mut self, states: &[StateKind]) {
        if !states.is_empty() {
            let numbers: Vec<String> = states.iter().map(|&state| (state as u8).to_string()).collect();
            self.text.push_str(&format!(" AND j.state IN ({})", numbers.join(", ")));
        }
    }

    fn limit(&mut self, limit: Option<u64>) {
        if let Some(limit) = limit {
            self.text.push_str(" LIMIT ?");
            self.given.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        }
    }
}

/// A column that tasks share with their array.
fn of_array_too(column: &str, tasks: bool) -> String {
    match tasks {
        true => format!("coalesce(j.{column}, (SELECT a.{column} FROM jobs a WHERE a.id = j.array_id))"),
        false => format!("j.{column}"),
    }
}
