//! One batch, one transaction: on the writer's thread, with statements prepared once.

use std::time::Duration;

use berth_engine::{Change, LiveJob, Moving};
use berth_model::{AccountKind, AccountTerms, Closure, ClosureKind, JobEventRecord, JobId, Submission, Used};
use rusqlite::{
    Connection, Statement, ToSql, params,
    types::{ToSqlOutput, ValueRef},
};
use rustc_hash::FxHashMap;

use super::{
    columns::{Detail, key, signed, task_id},
    fault::Fault,
};
use crate::{Batch, Committed, Extra, StoreError};

/// The columns of `Moving` in `UPDATE`, numbered from ?2; ?1 is the job.
const SET_MOVING: &str = "state = ?2, detail = ?3, attempt = ?4, returned = ?5, node = ?6, eligible = ?7, \
     started = ?8, exit_code = ?9, priority = ?10, node_failures = ?11, array_next = ?12, cpu_micros = ?13, \
     memory_peak = ?14, note = ?15, granted = ?16, failed_on = ?17";

/// The first parameter after those of `Moving`, its `ended` included.
const AFTER_MOVING: usize = 19;

/// The writer's statements.
pub(super) struct Statements<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    add_job: Statement<'c>,
    add_task: Statement<'c>,
    add_spec: Statement<'c>,
    alter_job: Statement<'c>,
    alter_spec: Statement<'c>,
    move_live: Statement<'c>,
    move_any: Statement<'c>,
    add_event: Statement<'c>,
    next_id: Statement<'c>,
    token_used: Statement<'c>,
    charge: Statement<'c>,
    set_account: Statement<'c>,
    drop_account: Statement<'c>,
    set_closure: Statement<'c>,
    drop_closure: Statement<'c>,
}

/// The writer: its statements, and what it counts.
pub(super) struct Writer<'c> {
    connection: &'c Connection,
    statements: Statements<'c>,
    next_event: u64,
    /// For JSON, used again and again.
    text: Vec<u8>,
}

impl<'c> Writer<'c> {
    pub(super) fn new(connection: &'c Connection) -> Result<Self, Fault> {
        let last: i64 =
            connection.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
        let prepare = |sql: &str| connection.prepare(sql);
        let moving = super::columns::MOVING;
        let statements = Statements {
            begin: prepare("BEGIN IMMEDIATE")?,
            commit: prepare("COMMIT")?,
            rollback: prepare("ROLLBACK")?,
            add_job: prepare(&format!(
                "INSERT INTO jobs (id, {moving}, owner, project, name, executor, constraints, cpu_millis, \
                 memory_bytes, gpus, time_limit_ms, grace_ms, submitted, begin_at, array_range, dependencies, \
                 node_retries, wants_network, named, class, avoid_failed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, \
                 ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, \
                 ?31, ?32, ?33, ?34, ?35, ?36, ?37)"
            ))?,
            // A task that is there already is one of an array that runs again.
            add_task: prepare(&format!(
                "INSERT INTO jobs (id, {moving}, array_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, \
                 ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19) ON CONFLICT (id) DO UPDATE SET {SET_MOVING}, ended = ?18 \
                 WHERE array_id = excluded.array_id"
            ))?,
            add_spec: prepare("INSERT INTO specs (id, submission) VALUES (?1, ?2)")?,
            alter_job: prepare(
                "UPDATE jobs SET project = ?2, cpu_millis = ?3, memory_bytes = ?4, gpus = ?5, time_limit_ms = ?6, \
                 grace_ms = ?7, class = ?8 WHERE id = ?1",
            )?,
            alter_spec: prepare("UPDATE specs SET submission = ?2 WHERE id = ?1")?,
            // Leaves the index on `ended` alone, which nearly every change of a job's state can.
            move_live: prepare(&format!("UPDATE jobs SET {SET_MOVING} WHERE id = ?1 AND ended IS NULL"))?,
            move_any: prepare(&format!("UPDATE jobs SET {SET_MOVING}, ended = ?18 WHERE id = ?1"))?,
            add_event: prepare("INSERT INTO events (seq, job, at, kind) VALUES (?1, ?2, ?3, ?4)")?,
            next_id: prepare(
                "INSERT INTO meta (key, value) VALUES ('next_id', ?1) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            )?,
            token_used: prepare(
                "UPDATE tokens SET last_used = max(coalesce(last_used, 0), ?2) WHERE id = ?1",
            )?,
            charge: prepare(
                "INSERT OR REPLACE INTO usage_hours (kind, name, hour, jobs, wall_ms, cpu_ms, memory_mib_ms, \
                 cpu_millis, memory_mib) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            set_account: prepare(
                "INSERT OR REPLACE INTO accounts (kind, name, version, terms) VALUES (?1, ?2, ?3, ?4)",
            )?,
            drop_account: prepare("DELETE FROM accounts WHERE kind = ?1 AND name = ?2")?,
            set_closure: prepare(
                "INSERT OR REPLACE INTO closures (kind, name, version, terms) VALUES (?1, ?2, ?3, ?4)",
            )?,
            drop_closure: prepare("DELETE FROM closures WHERE kind = ?1 AND name = ?2")?,
        };
        Ok(Self { connection, statements, next_event: last.cast_unsigned() + 1, text: Vec::new() })
    }

    /// Runs `work` in a transaction of its own: durable when this returns `Ok`, else nothing happened.
    pub(super) fn in_transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.statements.begin.raw_execute()?;
        let done = work(self).and_then(|done| {
            self.statements.commit.raw_execute()?;
            Ok(done)
        });
        // After some errors the database has rolled back by itself.
        if done.is_err()
            && !self.connection.is_autocommit()
            && let Err(error) = self.statements.rollback.raw_execute()
        {
            tracing::error!(%error, "a failed transaction could not be rolled back");
        }
        done
    }

    pub(super) fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// Writes a batch.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<Committed, Fault> {
        let first_event = self.next_event;
        let next = self.in_transaction(|writer| writer.write(batch, first_event))?;
        self.next_event = next;
        Ok(Committed { first_event, events: next - first_event })
    }

    /// Gives the number that the next event will get.
    fn write(&mut self, batch: &Batch, first_event: u64) -> Result<u64, Fault> {
        let mut last = last_words(&batch.changes);
        let mut next_event = first_event;
        let mut next_id = None;
        // The last of an account's charges within an hour has all that those before have.
        let mut charges = FxHashMap::default();
        for change in &batch.changes {
            match change {
                Change::Added { job, submission } => {
                    let now = last.remove(&job.id).ok_or_else(|| stored_already(job.id))?;
                    self.add_job(job, now)?;
                    self.add_spec(job.id, submission)?;
                }
                Change::TaskAdded { task } => {
                    if let Some(now) = last.remove(&task.id) {
                        self.add_task(task, now)?;
                    }
                }
                Change::Altered { job, submission } => self.alter(*job, submission)?,
                Change::Updated { job, .. } => {
                    if let Some(now) = last.remove(job) {
                        self.update(*job, now)?;
                    }
                }
                Change::Event(record) => {
                    self.add_event(next_event, record)?;
                    next_event += 1;
                }
                Change::Charged { kind, name, hour, used } => {
                    charges.insert((*kind, name.as_str(), *hour), used);
                }
                Change::Account { kind, name, version, terms } => {
                    self.set_account(*kind, name, *version, terms.as_deref())?;
                }
                Change::Closure { kind, name, version, terms } => {
                    self.set_closure(*kind, name, *version, terms.as_deref())?;
                }
                Change::Directory { job, after, bytes } => {
                    super::directories::set(self.connection, *job, *after, *bytes)?;
                }
                Change::DirectoriesGone { first, last } => {
                    super::directories::forget(self.connection, *first, *last)?;
                }
                Change::NextId(id) => next_id = Some(*id),
            }
        }
        if let Some(id) = next_id {
            self.statements.next_id.execute([key(id)])?;
        }
        for ((kind, name, hour), used) in charges {
            self.charge(kind, name, hour, used)?;
        }
        for extra in &batch.extras {
            match extra {
                Extra::TokenUsed { id, at } => {
                    self.statements.token_used.execute([signed(*id), signed(at.0)])?;
                }
                Extra::Archived { id, at } => {
                    super::archive::mark(self.connection, *id, *at)?;
                }
            }
        }
        Ok(next_event)
    }

    fn set_account(
        &mut self,
        kind: AccountKind,
        name: &str,
        version: u64,
        terms: Option<&AccountTerms>,
    ) -> Result<(), Fault> {
        match terms {
            Some(terms) => {
                let terms = serde_json::to_string(terms)?;
                self.statements.set_account.execute(params![kind as u8, name, signed(version), terms])?;
            }
            None => {
                self.statements.drop_account.execute(params![kind as u8, name])?;
            }
        }
        Ok(())
    }

    fn set_closure(
        &mut self,
        kind: ClosureKind,
        name: &str,
        version: u64,
        terms: Option<&Closure>,
    ) -> Result<(), Fault> {
        match terms {
            Some(terms) => {
                let terms = serde_json::to_string(terms)?;
                self.statements.set_closure.execute(params![kind.as_str(), name, signed(version), terms])?;
            }
            None => {
                self.statements.drop_closure.execute(params![kind.as_str(), name])?;
            }
        }
        Ok(())
    }

    fn add_job(&mut self, job: &LiveJob, now: &Moving) -> Result<(), Fault> {
        let statement = &mut self.statements.add_job;
        bind_moving(statement, job.id, now)?;
        let constraints = json_unless(&job.constraints, job.constraints.is_empty())?;
        let dependencies = json_unless(&job.dependencies, job.dependencies.is_empty())?;
        let range = job.array.map(|range| range.to_string());
        let named = json_unless(&job.named, job.named.is_empty())?;
        let avoids = job.avoid_failed_nodes.then_some(true);
        let columns: [&dyn ToSql; 19] = [
            &job.owner,
            &job.project,
            &job.name,
            &job.executor,
            &constraints,
            &signed(job.needs.cpu_millis),
            &signed(job.needs.memory_bytes),
            &job.needs.gpus,
            &job.time_limit_ms.map(signed),
            &signed(job.grace_ms),
            &signed(job.submitted.0),
            &job.begin.map(|begin| signed(begin.0)),
            &range,
            &dependencies,
            &job.retry_on_node_failure,
            &job.wants_network,
            &named,
            &job.class,
            &avoids,
        ];
        for (index, column) in (AFTER_MOVING..).zip(columns) {
            statement.raw_bind_parameter(index, column)?;
        }
        match statement.raw_execute().map_err(Fault::from) {
            Err(fault) if fault.is_conflict() => Err(stored_already(job.id)),
            other => other.map(drop),
        }
    }

    fn add_spec(&mut self, id: JobId, submission: &Submission) -> Result<(), Fault> {
        self.text.clear();
        serde_json::to_writer(&mut self.text, submission)?;
        let statement = &mut self.statements.add_spec;
        statement.raw_bind_parameter(1, key(id))?;
        statement.raw_bind_parameter(2, text(&self.text))?;
        statement.raw_execute()?;
        Ok(())
    }

    fn alter(&mut self, id: JobId, submission: &Submission) -> Result<(), Fault> {
        let spec = &submission.spec;
        let millis = |span: Duration| signed(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        self.statements.alter_job.execute(params![
            key(id),
            spec.project,
            signed(spec.resources.cpu_millis),
            signed(spec.resources.memory_bytes),
            spec.resources.gpus,
            spec.time_limit.map(millis),
            millis(spec.grace),
            spec.class,
        ])?;
        self.text.clear();
        serde_json::to_writer(&mut self.text, submission)?;
        match self.statements.alter_spec.execute(params![key(id), text(&self.text)])? {
            0 => Err(contradiction(id, "is to be changed and was never submitted")),
            _ => Ok(()),
        }
    }

    fn add_task(&mut self, task: &LiveJob, now: &Moving) -> Result<(), Fault> {
        let (array, position) =
            task.task_of.ok_or_else(|| contradiction(task.id, "is added as a task and is none"))?;
        if task.id != task_id(array, position) {
            return Err(contradiction(task.id, "is not the number of that position of its array"));
        }
        let statement = &mut self.statements.add_task;
        bind_moving(statement, task.id, now)?;
        statement.raw_bind_parameter(AFTER_MOVING, key(array))?;
        match statement.raw_execute()? {
            0 => Err(contradiction(task.id, "is stored already, and not as a task of this array")),
            _ => Ok(()),
        }
    }

    fn update(&mut self, id: JobId, now: &Moving) -> Result<(), Fault> {
        if !now.state.kind().is_end() {
            let statement = &mut self.statements.move_live;
            bind_moving(statement, id, now)?;
            if statement.raw_execute()? > 0 {
                return Ok(());
            }
            // It had ended, and runs again.
        }
        let statement = &mut self.statements.move_any;
        bind_moving(statement, id, now)?;
        match statement.raw_execute()? {
            0 => Err(contradiction(id, "is to be changed and is not stored")),
            _ => Ok(()),
        }
    }

    fn charge(&mut self, kind: AccountKind, name: &str, hour: u64, used: &Used) -> Result<(), Fault> {
        self.statements.charge.execute(params![
            kind as u8,
            name,
            signed(hour),
            signed(used.jobs),
            signed(used.wall_ms),
            signed(used.cpu_ms),
            signed(used.memory_mib_ms),
            signed(used.cpu_millis),
            signed(used.memory_mib),
        ])?;
        Ok(())
    }

    fn add_event(&mut self, seq: u64, record: &JobEventRecord) -> Result<(), Fault> {
        self.text.clear();
        serde_json::to_writer(&mut self.text, &record.kind)?;
        let statement = &mut self.statements.add_event;
        statement.raw_bind_parameter(1, signed(seq))?;
        statement.raw_bind_parameter(2, key(record.job))?;
        statement.raw_bind_parameter(3, signed(record.at.0))?;
        statement.raw_bind_parameter(4, text(&self.text))?;
        statement.raw_execute()?;
        Ok(())
    }
}

/// How each job stands after the batch. The first change of a job writes it, those that follow need not.
fn last_words(changes: &[Change]) -> FxHashMap<JobId, &Moving> {
    let mut last = FxHashMap::default();
    last.reserve(changes.len() / 2);
    for change in changes {
        match change {
            Change::Added { job, .. } => last.insert(job.id, &job.moving),
            Change::TaskAdded { task } => last.insert(task.id, &task.moving),
            Change::Updated { job, now } => last.insert(*job, &**now),
            Change::Altered { .. }
            | Change::Event(_)
            | Change::Charged { .. }
            | Change::Account { .. }
            | Change::Closure { .. }
            | Change::Directory { .. }
            | Change::DirectoriesGone { .. }
            | Change::NextId(_) => None,
        };
    }
    last
}

/// Binds the job to ?1 and the moving columns to ?2 up to ?18, or ?17 where the statement has no `ended`.
fn bind_moving(statement: &mut Statement<'_>, id: JobId, now: &Moving) -> Result<(), Fault> {
    let kind = now.state.kind();
    let detail = Detail::of(&now.state, now.attempt)?;
    let ended = kind.is_end().then(|| signed(now.ended.unwrap_or_default().0));
    let granted = json_unless(&now.granted, now.granted.is_empty())?;
    let failed_on = json_unless(&now.failed_on, now.failed_on.is_empty())?;
    let columns: [&dyn ToSql; 18] = [
        &key(id),
        &(kind as u8),
        &detail.as_sql(),
        &now.attempt.number,
        &now.attempt.returned,
        &now.node,
        &signed(now.eligible.0),
        &now.started.map(|at| signed(at.0)),
        &now.exit_code,
        &now.priority,
        &now.node_failures,
        &signed(now.array_next),
        &now.cpu_micros.map(signed),
        &now.memory_peak_bytes.map(signed),
        &now.note,
        &granted,
        &failed_on,
        &ended,
    ];
    let wanted = statement.parameter_count();
    for (index, column) in (1..=wanted).zip(columns) {
        statement.raw_bind_parameter(index, column)?;
    }
    Ok(())
}

fn json_unless<T: serde::Serialize>(value: &T, empty: bool) -> Result<Option<String>, Fault> {
    if empty { Ok(None) } else { Ok(Some(serde_json::to_string(value)?)) }
}

/// JSON is UTF-8, which need not be checked again.
fn text(json: &[u8]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(json))
}

fn stored_already(job: JobId) -> Fault {
    contradiction(job, "is stored already")
}

fn contradiction(job: JobId, what: &'static str) -> Fault {
    StoreError::Contradiction { job, what }.into()
}
