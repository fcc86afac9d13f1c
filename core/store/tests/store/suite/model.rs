//! A store as simple as can be: everything in maps, every answer by looking at all of it.

use std::collections::{BTreeMap, BTreeSet};

use berth_engine::{ArrayEnds, Change, LiveJob, Restored, StoredAccount, StoredClosure, StoredDirectory};
use berth_model::{
    AccountKind, AccountTerms, Closure, ClosureKind, Hold, JobEventRecord, JobId, JobState, StateKind,
    Submission, Used, UtcMs,
};
use berth_store::{JobRow, ListQuery, StoredEvent, UsageBy, UsageRow};

#[derive(Default)]
pub struct Model {
    pub jobs: BTreeMap<JobId, LiveJob>,
    pub submissions: BTreeMap<JobId, Submission>,
    pub events: Vec<JobEventRecord>,
    pub next_id: Option<JobId>,
    pub charged: BTreeMap<(AccountKind, String), BTreeMap<u64, Used>>,
    pub terms: BTreeMap<(AccountKind, String), (u64, AccountTerms)>,
    pub closures: BTreeMap<(&'static str, String), (ClosureKind, u64, Closure)>,
    pub directories: BTreeMap<JobId, (u32, u64)>,
}

impl Model {
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Added { job, submission } => {
                self.jobs.insert(job.id, (**job).clone());
                self.submissions.insert(job.id, (**submission).clone());
            }
            Change::TaskAdded { task } => {
                let array = &self.jobs[&task.task_of.unwrap().0];
                let task = LiveJob {
                    id: task.id,
                    task_of: task.task_of,
                    begin: None,
                    dependencies: Vec::new(),
                    moving: task.moving.clone(),
                    ..array.clone()
                };
                self.jobs.insert(task.id, task);
            }
            Change::Updated { job, now } => self.jobs.get_mut(job).unwrap().moving = (**now).clone(),
            Change::Altered { job, submission } => {
                let spec = &submission.spec;
                let of_array = |other: &LiveJob| other.task_of.is_some_and(|(array, _)| array == *job);
                for job in self.jobs.values_mut().filter(|other| other.id == *job || of_array(other)) {
                    job.project.clone_from(&spec.project);
                    job.class.clone_from(&spec.class);
                    job.needs = spec.resources;
                    job.time_limit_ms = spec.time_limit.map(|limit| limit.as_millis() as u64);
                    job.grace_ms = spec.grace.as_millis() as u64;
                }
                self.submissions.insert(*job, (**submission).clone());
            }
            Change::Event(record) => self.events.push(record.clone()),
            Change::NextId(id) => self.next_id = Some(*id),
            Change::Charged { kind, name, hour, used } => {
                self.charged.entry((*kind, name.clone())).or_default().insert(*hour, *used);
            }
            Change::Directory { job, after, bytes } => {
                self.directories.insert(*job, (*after, *bytes));
            }
            Change::DirectoriesGone { first, last } => {
                self.directories.retain(|job, _| !(first..=last).contains(&job));
            }
            Change::Closure { kind, name, version, terms } => {
                let key = (kind.as_str(), name.clone());
                match terms {
                    Some(terms) => self.closures.insert(key, (*kind, *version, (**terms).clone())),
                    None => self.closures.remove(&key),
                };
            }
            Change::Account { kind, name, version, terms } => {
                let whose = (*kind, name.clone());
                match terms {
                    Some(terms) => self.terms.insert(whose, (*version, (**terms).clone())),
                    None => self.terms.remove(&whose),
                };
            }
        }
    }

    /// As it is given back: dependencies only as long as they hold it.
    pub fn job(&self, id: JobId) -> Option<LiveJob> {
        let mut job = self.jobs.get(&id)?.clone();
        if !matches!(job.moving.state, JobState::Held { holds } if holds.has(Hold::Dependency)) {
            job.dependencies.clear();
        }
        Some(job)
    }

    pub fn live_job(&self, id: JobId) -> Option<LiveJob> {
        let mut job = self.job(id)?;
        let tasks = self.jobs.values().filter(|task| task.task_of.is_some_and(|(array, _)| array == id));
        let highest = tasks.map(|task| task.moving.attempt).chain([job.moving.attempt]).max();
        job.moving.attempt = highest.unwrap();
        Some(job)
    }

    /// Tasks of the present run of an array.
    pub fn tasks(&self, array: JobId) -> impl Iterator<Item = (u64, &LiveJob)> {
        let run = self.jobs.get(&array).map_or(0, |array| array.moving.attempt.number);
        self.jobs.values().filter_map(move |task| {
            let (of, position) = task.task_of?;
            (of == array && task.moving.attempt.number >= run).then_some((position, task))
        })
    }

    fn accounts(&self) -> Vec<StoredAccount> {
        let whose: BTreeSet<_> = self.charged.keys().chain(self.terms.keys()).collect();
        let account = |whose: &(AccountKind, String)| StoredAccount {
            kind: whose.0,
            name: whose.1.clone(),
            terms: self.terms.get(whose).cloned(),
            hours: self.charged.get(whose).into_iter().flatten().map(|(&hour, &used)| (hour, used)).collect(),
        };
        whose.into_iter().map(account).collect()
    }

    pub fn restored(&self) -> Restored {
        let live = |job: &&LiveJob| !job.moving.state.kind().is_end();
        let mut restored = Restored { next_id: self.next_id.unwrap_or(JobId(1)), ..Restored::default() };
        restored.accounts = self.accounts();
        let closure =
            |((_, name), (kind, version, terms)): (&(&str, String), &(ClosureKind, u64, Closure))| {
                StoredClosure { kind: *kind, name: name.clone(), version: *version, terms: terms.clone() }
            };
        restored.closures = self.closures.iter().map(closure).collect();
        let directory = |(&job, &(after, bytes)): (&JobId, &(u32, u64))| {
            let of = &self.jobs[&job];
            StoredDirectory { job, owner: of.owner.clone(), project: of.project.clone(), after, bytes }
        };
        restored.directories = self.directories.iter().map(directory).collect();
        for mut job in self.jobs.values().filter(live).map(|job| self.job(job.id).unwrap()) {
            if job.array.is_some() && job.task_of.is_none() {
                let next = &mut job.moving.array_next;
                while self.tasks(job.id).any(|(position, _)| position == *next) {
                    *next += 1;
                }
                let mut ends = ArrayEnds::default();
                for (position, task) in self.tasks(job.id) {
                    let kind = task.moving.state.kind();
                    if kind.is_end() {
                        ends.ended += 1;
                        ends.not_ok += u64::from(kind != StateKind::Succeeded);
                        ends.highest_exit = ends.highest_exit.max(task.moving.exit_code.unwrap_or(0));
                        if position >= *next {
                            restored.ended_ahead.push((job.id, position));
                        }
                    }
                }
                restored.arrays.push((job.id, ends));
            }
            restored.live.push(job);
        }
        let lost = |job: &&LiveJob| job.moving.state.kind() == StateKind::Lost;
        restored.lost = self.jobs.values().filter(lost).map(|job| (job.id, job.moving.attempt)).collect();
        restored
    }

    /// The job or array that a number was given out for.
    fn submitted_as(&self, id: JobId) -> Option<&LiveJob> {
        let (_, job) = self.jobs.range(..=id).rev().find(|(_, job)| job.task_of.is_none())?;
        let tasks = job.array.map_or(0, |range| range.tasks());
        (id.0 <= job.id.0 + tasks).then_some(job)
    }

    pub fn state_of(&self, id: JobId) -> Option<StateKind> {
        if let Some(job) = self.jobs.get(&id) {
            return Some(job.moving.state.kind());
        }
        let array = self.submitted_as(id)?;
        Some(if array.moving.state.kind().is_end() { StateKind::Killed } else { StateKind::Pending })
    }

    pub fn submission(&self, id: JobId) -> Option<&Submission> {
        self.submissions.get(&self.submitted_as(id)?.id)
    }

    pub fn history(&self, id: Option<JobId>) -> Vec<StoredEvent> {
        let numbered =
            (1..).zip(&self.events).map(|(seq, record)| StoredEvent { seq, record: record.clone() });
        numbered.filter(|event| id.is_none_or(|id| event.record.job == id)).collect()
    }

    pub fn list(&self, query: &ListQuery) -> Vec<JobRow> {
        let wanted = |job: &&LiveJob| {
            let tags = &self.submission(job.id).unwrap().spec.tags;
            (query.states.is_empty() || query.states.contains(&job.moving.state.kind()))
                && query.owner.as_ref().is_none_or(|owner| *owner == job.owner)
                && query.project.as_ref().is_none_or(|project| *project == job.project)
                && query.name.as_ref().is_none_or(|name| named(&letters(name), &letters(&job.name)))
                && query.tag.as_ref().is_none_or(|tag| tags.contains(tag))
                && (query.tasks || job.task_of.is_none())
                && query.after.is_none_or(|after| job.id > after)
                && query.before.is_none_or(|before| job.id < before)
        };
        let mut rows: Vec<_> = self.jobs.values().filter(wanted).map(row).collect();
        if query.newest_first {
            rows.reverse();
        }
        rows.truncate(usize::try_from(query.limit.unwrap_or(u64::MAX)).unwrap());
        rows
    }

    pub fn counts(&self, since: UtcMs) -> Vec<(StateKind, u64)> {
        let counted = self.jobs.values().filter(|job| job.moving.ended.is_none_or(|ended| ended >= since));
        count(counted)
    }

    pub fn usage(&self, by: UsageBy, since: UtcMs) -> Vec<UsageRow> {
        let mut usage: BTreeMap<&str, (UsageRow, Vec<&LiveJob>)> = BTreeMap::new();
        for job in self.jobs.values() {
            let is_array = job.array.is_some() && job.task_of.is_none();
            let Some(ended) = job.moving.ended.filter(|&ended| ended >= since && !is_array) else { continue };
            let name = if by == UsageBy::User { &job.owner } else { &job.project };
            let (line, jobs) = usage.entry(name).or_default();
            line.name.clone_from(name);
            jobs.push(job);
            line.cpu_micros += job.moving.cpu_micros.unwrap_or(0);
            let wall = job.moving.started.map_or(0, |started| ended.0.saturating_sub(started.0));
            line.wall_ms += wall;
            line.allocated_cpu_ms += wall * job.needs.cpu_millis / 1_000;
        }
        let lines =
            usage.into_values().map(|(line, jobs)| UsageRow { jobs: count(jobs.into_iter()), ..line });
        let mut lines: Vec<_> = lines.collect();
        lines.sort_by_key(|line| std::cmp::Reverse(line.wall_ms));
        lines
    }
}

pub fn count<'j>(jobs: impl Iterator<Item = &'j LiveJob>) -> Vec<(StateKind, u64)> {
    let mut counts = BTreeMap::new();
    for job in jobs {
        *counts.entry(job.moving.state.kind()).or_default() += 1;
    }
    counts.into_iter().collect()
}

fn letters(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// Whether `name` is meant by `pattern`.
fn named(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => named(rest, name) || (!name.is_empty() && named(pattern, &name[1..])),
        (['?', rest @ ..], [_, name @ ..]) => named(rest, name),
        ([first, rest @ ..], [letter, name @ ..]) => first == letter && named(rest, name),
        _ => false,
    }
}

pub fn row(job: &LiveJob) -> JobRow {
    let LiveJob { moving, .. } = job.clone();
    JobRow {
        id: job.id,
        task_of: job.task_of,
        array: job.array,
        owner: job.owner.clone(),
        project: job.project.clone(),
        name: job.name.clone(),
        executor: job.executor.clone(),
        needs: job.needs,
        time_limit_ms: job.time_limit_ms,
        submitted: job.submitted,
        state: moving.state,
        attempt: moving.attempt,
        node: moving.node,
        started: moving.started,
        ended: moving.ended,
        exit_code: moving.exit_code,
        priority: moving.priority,
        array_next: moving.array_next,
        cpu_micros: moving.cpu_micros,
        memory_peak_bytes: moving.memory_peak_bytes,
        note: moving.note,
    }
}
