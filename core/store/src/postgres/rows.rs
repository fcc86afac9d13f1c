//! A batch as columns: each statement takes all rows of its kind at once.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use berth_engine::{Change, LiveJob, Moving};
use berth_model::{AccountKind, AccountTerms, Closure, ClosureKind, JobEventRecord, JobId, Submission, Used};
use rustc_hash::FxHashMap;
use tokio_postgres::types::ToSql;

use super::{
    columns::{Detail, kept_detail, key, signed, task_id},
    fault::Fault,
    text::kept,
};
use crate::{Batch, Extra, StoreError};

/// Parameters of a statement.
pub(super) type Given<'a> = Vec<&'a (dyn ToSql + Sync)>;

type Text<'a> = Cow<'a, str>;

/// How jobs stand; columns as in [`super::statements::MOVED`].
#[derive(Default)]
pub(super) struct Moved<'a> {
    pub(super) id: Vec<i64>,
    state: Vec<i16>,
    detail: Vec<Option<String>>,
    attempt: Vec<i64>,
    returned: Vec<i64>,
    node: Vec<Option<Text<'a>>>,
    eligible: Vec<i64>,
    started: Vec<Option<i64>>,
    exit_code: Vec<Option<i32>>,
    priority: Vec<i32>,
    node_failures: Vec<i64>,
    array_next: Vec<i64>,
    cpu_micros: Vec<Option<i64>>,
    memory_peak: Vec<Option<i64>>,
    note: Vec<Option<Text<'a>>>,
    granted: Vec<Option<String>>,
    failed_on: Vec<Option<String>>,
    ended: Vec<Option<i64>>,
}

impl<'a> Moved<'a> {
    fn push(&mut self, id: JobId, now: &'a Moving) -> Result<(), Fault> {
        let kind = now.state.kind();
        self.id.push(key(id));
        self.state.push(i16::from(kind as u8));
        self.detail.push(kept_detail(Detail::of(&now.state, now.attempt)?));
        self.attempt.push(i64::from(now.attempt.number));
        self.returned.push(i64::from(now.attempt.returned));
        self.node.push(now.node.as_deref().map(kept));
        self.eligible.push(signed(now.eligible.0));
        self.started.push(now.started.map(|at| signed(at.0)));
        self.exit_code.push(now.exit_code);
        self.priority.push(now.priority);
        self.node_failures.push(i64::from(now.node_failures));
        self.array_next.push(signed(now.array_next));
        self.cpu_micros.push(now.cpu_micros.map(signed));
        self.memory_peak.push(now.memory_peak_bytes.map(signed));
        self.note.push(now.note.as_deref().map(kept));
        self.granted.push(json_unless(&now.granted, now.granted.is_empty())?);
        self.failed_on.push(json_unless(&now.failed_on, now.failed_on.is_empty())?);
        self.ended.push(kind.is_end().then(|| signed(now.ended.unwrap_or_default().0)));
        Ok(())
    }

    pub(super) fn given(&self) -> Given<'_> {
        vec![
            &self.id,
            &self.state,
            &self.detail,
            &self.attempt,
            &self.returned,
            &self.node,
            &self.eligible,
            &self.started,
            &self.exit_code,
            &self.priority,
            &self.node_failures,
            &self.array_next,
            &self.cpu_micros,
            &self.memory_peak,
            &self.note,
            &self.granted,
            &self.failed_on,
            &self.ended,
        ]
    }
}

/// New jobs; columns as in [`super::statements::OWN`], after those of [`Moved`].
#[derive(Default)]
pub(super) struct Added<'a> {
    pub(super) moved: Moved<'a>,
    owner: Vec<Text<'a>>,
    project: Vec<Text<'a>>,
    name: Vec<Text<'a>>,
    executor: Vec<Text<'a>>,
    constraints: Vec<Option<String>>,
    cpu_millis: Vec<i64>,
    memory_bytes: Vec<i64>,
    gpus: Vec<i64>,
    time_limit_ms: Vec<Option<i64>>,
    grace_ms: Vec<i64>,
    submitted: Vec<i64>,
    begin_at: Vec<Option<i64>>,
    array_range: Vec<Option<String>>,
    dependencies: Vec<Option<String>>,
    node_retries: Vec<i64>,
    wants_network: Vec<bool>,
    named: Vec<Option<String>>,
    class: Vec<Option<Text<'a>>>,
    avoid_failed: Vec<Option<bool>>,
}

impl<'a> Added<'a> {
    fn push(&mut self, job: &'a LiveJob, now: &'a Moving) -> Result<(), Fault> {
        self.moved.push(job.id, now)?;
        self.owner.push(kept(&job.owner));
        self.project.push(kept(&job.project));
        self.name.push(kept(&job.name));
        self.executor.push(kept(&job.executor));
        self.constraints.push(json_unless(&job.constraints, job.constraints.is_empty())?);
        self.cpu_millis.push(signed(job.needs.cpu_millis));
        self.memory_bytes.push(signed(job.needs.memory_bytes));
        self.gpus.push(i64::from(job.needs.gpus));
        self.time_limit_ms.push(job.time_limit_ms.map(signed));
        self.grace_ms.push(signed(job.grace_ms));
        self.submitted.push(signed(job.submitted.0));
        self.begin_at.push(job.begin.map(|begin| signed(begin.0)));
        self.array_range.push(job.array.map(|range| range.to_string()));
        self.dependencies.push(json_unless(&job.dependencies, job.dependencies.is_empty())?);
        self.node_retries.push(i64::from(job.retry_on_node_failure));
        self.wants_network.push(job.wants_network);
        self.named.push(json_unless(&job.named, job.named.is_empty())?);
        self.class.push(job.class.as_deref().map(kept));
        self.avoid_failed.push(job.avoid_failed_nodes.then_some(true));
        Ok(())
    }

    pub(super) fn given(&self) -> Given<'_> {
        let mut given = self.moved.given();
        let own: [&(dyn ToSql + Sync); 19] = [
            &self.owner,
            &self.project,
            &self.name,
            &self.executor,
            &self.constraints,
            &self.cpu_millis,
            &self.memory_bytes,
            &self.gpus,
            &self.time_limit_ms,
            &self.grace_ms,
            &self.submitted,
            &self.begin_at,
            &self.array_range,
            &self.dependencies,
            &self.node_retries,
            &self.wants_network,
            &self.named,
            &self.class,
            &self.avoid_failed,
        ];
        given.extend(own);
        given
    }
}

/// What is asked of jobs in other words; columns as in [`super::statements::ALTERED`].
#[derive(Default)]
pub(super) struct Altered<'a> {
    pub(super) id: Vec<i64>,
    project: Vec<Text<'a>>,
    cpu_millis: Vec<i64>,
    memory_bytes: Vec<i64>,
    gpus: Vec<i64>,
    time_limit_ms: Vec<Option<i64>>,
    grace_ms: Vec<i64>,
    class: Vec<Option<Text<'a>>>,
}

impl<'a> Altered<'a> {
    fn push(&mut self, id: JobId, submission: &'a Submission) {
        let spec = &submission.spec;
        let millis = |span: Duration| signed(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        self.id.push(key(id));
        self.project.push(kept(&spec.project));
        self.cpu_millis.push(signed(spec.resources.cpu_millis));
        self.memory_bytes.push(signed(spec.resources.memory_bytes));
        self.gpus.push(i64::from(spec.resources.gpus));
        self.time_limit_ms.push(spec.time_limit.map(millis));
        self.grace_ms.push(millis(spec.grace));
        self.class.push(spec.class.as_deref().map(kept));
    }

    pub(super) fn given(&self) -> Given<'_> {
        vec![
            &self.id,
            &self.project,
            &self.cpu_millis,
            &self.memory_bytes,
            &self.gpus,
            &self.time_limit_ms,
            &self.grace_ms,
            &self.class,
        ]
    }
}

/// What was submitted.
#[derive(Default)]
pub(super) struct Specs {
    pub(super) id: Vec<i64>,
    tags: Vec<String>,
    submission: Vec<String>,
}

impl Specs {
    fn push(&mut self, id: JobId, submission: &Submission) -> Result<(), Fault> {
        self.id.push(key(id));
        self.tags.push(array_of(&submission.spec.tags));
        self.submission.push(serde_json::to_string(submission)?);
        Ok(())
    }

    pub(super) fn given(&self) -> Given<'_> {
        vec![&self.id, &self.tags, &self.submission]
    }
}

/// An array of texts as PostgreSQL writes one.
fn array_of(texts: &[String]) -> String {
    let quoted = texts.iter().map(|text| {
        let text = kept(text).replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{text}\"")
    });
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

/// What happened.
#[derive(Default)]
pub(super) struct Events {
    pub(super) first: i64,
    job: Vec<i64>,
    at: Vec<i64>,
    kind: Vec<String>,
}

impl Events {
    fn push(&mut self, record: &JobEventRecord) -> Result<(), Fault> {
        self.job.push(key(record.job));
        self.at.push(signed(record.at.0));
        self.kind.push(serde_json::to_string(&record.kind)?);
        Ok(())
    }

    pub(super) fn count(&self) -> u64 {
        self.job.len() as u64
    }

    pub(super) fn given(&self) -> Given<'_> {
        vec![&self.first, &self.job, &self.at, &self.kind]
    }
}

/// What was used, by account and hour.
#[derive(Default)]
pub(super) struct Charges<'a> {
    pub(super) kind: Vec<i16>,
    name: Vec<Text<'a>>,
    numbers: [Vec<i64>; 7],
}

impl<'a> Charges<'a> {
    fn push(&mut self, kind: AccountKind, name: &'a str, hour: u64, used: &Used) {
        self.kind.push(i16::from(kind as u8));
        self.name.push(kept(name));
        let numbers = [
            hour,
            used.jobs,
            used.wall_ms,
            used.cpu_ms,
            used.memory_mib_ms,
            used.cpu_millis,
            used.memory_mib,
        ];
        for (column, number) in self.numbers.iter_mut().zip(numbers) {
            column.push(signed(number));
        }
    }

    pub(super) fn given(&self) -> Given<'_> {
        let mut given: Given<'_> = vec![&self.kind, &self.name];
        given.extend(self.numbers.iter().map(|column| column as &(dyn ToSql + Sync)));
        given
    }
}

/// What was set of accounts; those without terms are taken away.
#[derive(Default)]
pub(super) struct Accounts<'a> {
    pub(super) kind: Vec<i16>,
    name: Vec<Text<'a>>,
    version: Vec<i64>,
    terms: Vec<String>,
}

impl<'a> Accounts<'a> {
    fn push(
        &mut self,
        (kind, name): (AccountKind, &'a str),
        version: u64,
        terms: Option<&AccountTerms>,
    ) -> Result<(), Fault> {
        self.kind.push(i16::from(kind as u8));
        self.name.push(kept(name));
        if let Some(terms) = terms {
            self.version.push(signed(version));
            self.terms.push(serde_json::to_string(terms)?);
        }
        Ok(())
    }

    pub(super) fn set(&self) -> Given<'_> {
        vec![&self.kind, &self.name, &self.version, &self.terms]
    }

    pub(super) fn dropped(&self) -> Given<'_> {
        vec![&self.kind, &self.name]
    }
}

/// What was closed; what has no terms is open again.
#[derive(Default)]
pub(super) struct Closures<'a> {
    pub(super) kind: Vec<&'static str>,
    name: Vec<Text<'a>>,
    version: Vec<i64>,
    terms: Vec<String>,
}

impl<'a> Closures<'a> {
    fn push(
        &mut self,
        (kind, name): (ClosureKind, &'a str),
        version: u64,
        terms: Option<&Closure>,
    ) -> Result<(), Fault> {
        self.kind.push(kind.as_str());
        self.name.push(kept(name));
        if let Some(terms) = terms {
            self.version.push(signed(version));
            self.terms.push(serde_json::to_string(terms)?);
        }
        Ok(())
    }

    pub(super) fn set(&self) -> Given<'_> {
        vec![&self.kind, &self.name, &self.version, &self.terms]
    }

    pub(super) fn dropped(&self) -> Given<'_> {
        vec![&self.kind, &self.name]
    }
}

/// What directories take.
#[derive(Default)]
pub(super) struct Directories {
    pub(super) id: Vec<i64>,
    after: Vec<i64>,
    bytes: Vec<i64>,
}

impl Directories {
    pub(super) fn given(&self) -> Given<'_> {
        vec![&self.id, &self.after, &self.bytes]
    }
}

/// Numbers with instants: of tokens that were used, or of jobs that were archived. Or ranges of jobs, from their
/// first to their last.
#[derive(Default)]
pub(super) struct Instants {
    pub(super) id: Vec<i64>,
    at: Vec<i64>,
}

impl Instants {
    fn of(all: BTreeMap<u64, u64>) -> Self {
        let (id, at) = all.into_iter().map(|(id, at)| (signed(id), signed(at))).unzip();
        Self { id, at }
    }

    pub(super) fn given(&self) -> Given<'_> {
        vec![&self.id, &self.at]
    }
}

/// A whole batch.
#[derive(Default)]
pub(super) struct Rows<'a> {
    pub(super) added: Added<'a>,
    pub(super) specs: Specs,
    /// Tasks, and their arrays.
    pub(super) tasks: Moved<'a>,
    pub(super) arrays: Vec<i64>,
    pub(super) moved: Moved<'a>,
    pub(super) altered: Altered<'a>,
    pub(super) altered_specs: Specs,
    pub(super) events: Events,
    pub(super) next_id: Option<String>,
    pub(super) charges: Charges<'a>,
    pub(super) accounts: Accounts<'a>,
    pub(super) accounts_dropped: Accounts<'a>,
    pub(super) closures: Closures<'a>,
    pub(super) closures_dropped: Closures<'a>,
    pub(super) tokens_used: Instants,
    pub(super) archived: Instants,
    pub(super) directories_gone: Instants,
    pub(super) directories: Directories,
}

impl<'a> Rows<'a> {
    pub(super) fn of(batch: &'a Batch, first_event: u64) -> Result<Self, Fault> {
        let mut rows = Self::default();
        rows.events.first = signed(first_event);
        let mut last = last_words(&batch.changes);
        // The last of an account's charges within an hour has all that those before have.
        let mut charges = BTreeMap::new();
        let mut accounts = BTreeMap::new();
        let mut closures = BTreeMap::new();
        let mut altered = BTreeMap::new();
        let mut directories = BTreeMap::new();
        for change in &batch.changes {
            match change {
                Change::Added { job, submission } => {
                    let now =
                        last.remove(&job.id).ok_or_else(|| contradiction(job.id, "is stored already"))?;
                    rows.added.push(job, now)?;
                    rows.specs.push(job.id, submission)?;
                }
                Change::TaskAdded { task } => {
                    if let Some(now) = last.remove(&task.id) {
                        rows.add_task(task, now)?;
                    }
                }
                Change::Altered { job, submission } => {
                    altered.insert(*job, &**submission);
                }
                Change::Updated { job, .. } => {
                    if let Some(now) = last.remove(job) {
                        rows.moved.push(*job, now)?;
                    }
                }
                Change::Event(record) => rows.events.push(record)?,
                Change::Charged { kind, name, hour, used } => {
                    charges.insert((*kind, name.as_str(), *hour), used);
                }
                Change::Account { kind, name, version, terms } => {
                    accounts.insert((*kind, name.as_str()), (*version, terms.as_deref()));
                }
                Change::Closure { kind, name, version, terms } => {
                    closures.insert((*kind, name.as_str()), (*version, terms.as_deref()));
                }
                Change::Directory { job, after, bytes } => {
                    directories.insert(*job, (*after, *bytes));
                }
                Change::DirectoriesGone { first, last } => {
                    directories.retain(|job, _| !(first..=last).contains(&job));
                    rows.directories_gone.id.push(key(*first));
                    rows.directories_gone.at.push(key(*last));
                }
                Change::NextId(id) => rows.next_id = Some(id.0.to_string()),
            }
        }
        for (job, submission) in altered {
            rows.altered.push(job, submission);
            rows.altered_specs.push(job, submission)?;
        }
        for (job, (after, bytes)) in directories {
            rows.directories.id.push(key(job));
            rows.directories.after.push(i64::from(after));
            rows.directories.bytes.push(signed(bytes));
        }
        for ((kind, name, hour), used) in charges {
            rows.charges.push(kind, name, hour, used);
        }
        for (whose, (version, terms)) in accounts {
            let to = if terms.is_some() { &mut rows.accounts } else { &mut rows.accounts_dropped };
            to.push(whose, version, terms)?;
        }
        for (closure, (version, terms)) in closures {
            let to = if terms.is_some() { &mut rows.closures } else { &mut rows.closures_dropped };
            to.push(closure, version, terms)?;
        }
        rows.take_extras(&batch.extras);
        Ok(rows)
    }

    fn add_task(&mut self, task: &LiveJob, now: &'a Moving) -> Result<(), Fault> {
        let (array, position) =
            task.task_of.ok_or_else(|| contradiction(task.id, "is added as a task and is none"))?;
        if task.id != task_id(array, position) {
            return Err(contradiction(task.id, "is not the number of that position of its array"));
        }
        self.arrays.push(key(array));
        self.tasks.push(task.id, now)
    }

    fn take_extras(&mut self, extras: &[Extra]) {
        let (mut used, mut archived) = (BTreeMap::<u64, u64>::new(), BTreeMap::<u64, u64>::new());
        for extra in extras {
            match extra {
                Extra::TokenUsed { id, at } => {
                    let latest = used.entry(*id).or_default();
                    *latest = at.0.max(*latest);
                }
                Extra::Archived { id, at } => {
                    archived.entry(id.0).or_insert(at.0);
                }
            }
        }
        self.tokens_used = Instants::of(used);
        self.archived = Instants::of(archived);
    }

    /// The parameters of tasks.
    pub(super) fn given_tasks(&self) -> Given<'_> {
        let mut given = self.tasks.given();
        given.push(&self.arrays);
        given
    }
}

/// How each job stands after the batch. The first change of a job writes it, those that follow need not.
fn last_words(changes: &[Change]) -> FxHashMap<JobId, &Moving> {
    let mut last = FxHashMap::default();
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

fn json_unless<T: serde::Serialize>(value: &T, empty: bool) -> Result<Option<String>, Fault> {
    if empty { Ok(None) } else { Ok(Some(serde_json::to_string(value)?)) }
}

pub(super) fn contradiction(job: JobId, what: &'static str) -> Fault {
    StoreError::Contradiction { job, what }.into()
}
