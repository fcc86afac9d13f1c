//! The engine itself: its state, and the step that everything goes through.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use berth_model::{
    Attempt, AttemptName, End, EventKind, Exit, Hold, JobEvent, JobEventRecord, JobId, JobState,
    NamedAmounts, Step, Stock, StopCause, UtcMs,
};
use rustc_hash::FxHashMap;

use crate::{
    Change, Choice, Effect, Input, LiveJob, Moving, NameId, Outcome, PlacementId, QuotaSettings,
    accounts::Accounts,
    disk::Disk,
    job::{Job, Kind},
    kin::Kin,
    names::Names,
    nodes::Nodes,
    placements::Wish,
    pools::Wanted,
    telling::Telling,
    timers::{Due, Timers},
};

/// What a site sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster's name, the beginning of every attempt's name.
    pub cluster: String,
    /// How many tasks one plan may start.
    pub starts_per_plan: u32,
    /// Which node a start goes to whose policy leaves that open.
    pub choice: Choice,
    /// Whether a network policy is configured.
    pub has_network_policy: bool,
    /// Whether a watcher is to be asked before any job is launched.
    pub asks_before_starts: bool,
    /// What users and projects may use.
    pub quotas: QuotaSettings,
    /// Named resources that belong to no node, and how much there is of each.
    pub site_resources: NamedAmounts,
}

/// The core loop as a pure state machine.
///
/// It does no I/O and has no clock: [`Engine::step`] takes what happened and the present instant, and
/// gives back what has to be written and done. The same inputs give the same outcome.
#[derive(Debug)]
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) now: UtcMs,
    pub(crate) names: Names,
    pub(crate) nodes: Nodes,
    pub(crate) jobs: FxHashMap<JobId, Box<Job>>,
    /// Live arrays, to find the one that a task's number belongs to.
    pub(crate) arrays: BTreeSet<JobId>,
    /// For each live job, those that wait for its end.
    pub(crate) waiting_on: BTreeMap<JobId, Vec<JobId>>,
    /// Jobs that ended as lost: their truth may yet arrive.
    pub(crate) lost: FxHashMap<JobId, Attempt>,
    pub(crate) timers: Timers,
    pub(crate) telling: Telling,
    pub(crate) next_id: JobId,
    pub(crate) accounts: Accounts,
    /// Which accounts belong together.
    pub(crate) kin: Kin,
    /// What job directories take.
    pub(crate) disk: Disk,
    /// Jobs that have ended in this step and whose dependents have not been looked at.
    pub(crate) just_ended: VecDeque<(JobId, End)>,
    pub(crate) out: Outcome,
}

impl Engine {
    /// An engine that knows no job yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut names = Names::default();
        let accounts = Accounts::new(settings.quotas.clone(), &mut names);
        let mut nodes = Nodes::default();
        let site = settings.site_resources.iter();
        nodes.site.set(site.map(|(name, &sum)| (names.number(name), Stock::Sum(sum))));
        Self {
            settings,
            now: UtcMs(0),
            names,
            nodes,
            jobs: FxHashMap::default(),
            arrays: BTreeSet::new(),
            waiting_on: BTreeMap::new(),
            lost: FxHashMap::default(),
            timers: Timers::default(),
            telling: Telling::default(),
            next_id: JobId(1),
            accounts,
            kin: Kin::default(),
            disk: Disk::default(),
            just_ended: VecDeque::new(),
            out: Outcome::default(),
        }
    }

    /// Makes an executor known by its name in berth.toml, before its nodes are.
    pub fn add_executor(&mut self, name: &str) {
        let name = self.names.number(name);
        self.nodes.expect_executor(name);
    }

    /// Takes in what happened, in order, at the instant `now`.
    ///
    /// The changes of the outcome have to be durable, all of them in one transaction, before any of
    /// its effects is carried out. `now` may stand still; if it runs backwards it counts as standing.
    pub fn step(&mut self, now: UtcMs, inputs: impl IntoIterator<Item = Input>) -> Outcome {
        self.now = self.now.max(now);
        self.nodes.closures.now = self.now;
        for input in inputs {
            self.take(input);
            self.settle_ends();
        }
        while let Some(due) = self.timers.pop(self.now) {
            self.on_due(due);
            self.settle_ends();
        }
        self.write_charges();
        self.ask_for_plan();
        self.out.wake_at = self.timers.next();
        std::mem::take(&mut self.out)
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Command { token, command } => self.on_command(token, command),
            Input::Capacity { executor, abilities, nodes } => self.on_capacity(&executor, abilities, nodes),
            Input::Away { executor, words } => self.on_away(&executor, words),
            Input::Back { executor } => self.on_back(&executor),
            Input::LaunchAnswered { job, attempt, answer } => self.on_launch_answered(job, attempt, answer),
            Input::Reported(report) => self.on_report(report),
            Input::Reconciled { job, attempt, truth } => self.on_reconciled(job, attempt, truth),
            Input::Listed { executor, attempts } => self.on_listed(&executor, &attempts),
            Input::Planned(plan) => self.on_plan(plan),
            Input::PlanFailed { snapshot } => self.on_plan_failed(snapshot),
            Input::PolicyRebuilt => self.telling.start_over(),
            Input::AskBeforeStarts(asks) => self.on_ask_before_starts(asks),
            Input::Attached { job, attempt, answer } => self.on_attached(job, attempt, answer),
            Input::Quotas(settings) => self.on_quotas(*settings),
            Input::Tick => {}
        }
    }

    fn on_due(&mut self, due: Due) {
        match due {
            Due::Begin(id) => {
                self.apply(id, &JobEvent::Release(Hold::BeginTime));
            }
            Due::TryAgain(id) => {
                let now = self.now;
                let Some(job) = self.jobs.get_mut(&id) else { return };
                let Some(rare) = job.rare.as_mut() else { return };
                if rare.not_before.is_some_and(|at| at <= now) {
                    rare.not_before = None;
                    self.touch(id);
                    self.telling.wanted = true;
                }
            }
            Due::TimeLimit(id, attempt) => {
                match self.time_limit_due(id, attempt) {
                    // It has been given another one meanwhile.
                    Some(at) if at > self.now => self.timers.set(at, Due::TimeLimit(id, attempt)),
                    Some(_) => drop(self.stop(id, StopCause::TimeLimit)),
                    None => {}
                }
            }
            Due::StopAgain(id, attempt) => self.stop_again(id, attempt),
            Due::Plan => self.telling.wanted = true,
            Due::Roll => self.look_at_barred(),
            Due::Opening => self.open_again(),
        }
    }

    /// Lets something happen to a job. The only place where a job's state changes, but for arrays, whose
    /// state follows that of their tasks.
    pub(crate) fn apply(&mut self, id: JobId, event: &JobEvent) -> Step {
        let Some(job) = self.jobs.get_mut(&id) else { return Step::NoNews("not live") };
        let step = job.state.on(event);
        let Step::Moved(next) = &step else { return step };
        let before = std::mem::replace(&mut job.state, next.clone());
        if matches!(next, JobState::Pending) {
            job.eligible = self.now;
            if before.attempt().is_some() {
                job.attempt = match event {
                    JobEvent::NoRoom(_) => job.attempt.given_back(),
                    _ => job.attempt.next(),
                };
            }
        }
        if before.attempt().is_some() && next.attempt().is_none() {
            let ended = match event {
                JobEvent::Exited(_, exit) => exit.at,
                _ => self.now,
            };
            self.settle(id, ended);
            self.note_failed_node(id, &before, event);
            self.free(id);
        }
        if let (Some(attempt), JobState::Pending, JobEvent::Exited(..)) = (before.attempt(), next, event) {
            let executor = self.executor_of(id);
            let attempt = self.attempt_name(id, attempt);
            self.forget(executor, attempt);
        }
        self.place_task(id);
        self.touch(id);
        self.telling.wanted |= matches!(next, JobState::Pending);
        self.record_move(id, &before, event);
        if let JobState::Ended { end } = next {
            self.finish(id, (**end).clone());
        } else {
            self.save(id);
        }
        step
    }

    /// Writes what moved of a job.
    pub(crate) fn save(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get(&id) {
            let now = Box::new(self.moving(job, None));
            self.out.changes.push(Change::Updated { job: id, now });
        }
    }

    pub(crate) fn moving(&self, job: &Job, ended: Option<(&End, UtcMs)>) -> Moving {
        let run = job.run.as_deref();
        let rare = job.rare.as_deref();
        let node = run.and_then(|run| self.nodes.node(run.node));
        Moving {
            state: job.state.clone(),
            attempt: job.attempt,
            node: node.map(|node| format!("{}/{}", self.names.name(node.executor), node.name)),
            eligible: job.eligible,
            started: run.and_then(|run| run.started),
            ended: ended.map(|(_, at)| at),
            exit_code: ended.and_then(|(end, _)| end.exit_code()),
            priority: job.priority,
            node_failures: rare.map_or(0, |rare| rare.node_failures),
            array_next: job.array().map_or(0, |array| array.next),
            cpu_micros: run.and_then(|run| run.cpu_micros),
            memory_peak_bytes: run.and_then(|run| run.memory_peak_bytes),
            note: rare.and_then(|rare| rare.note.clone()),
            granted: run
                .map_or_else(Vec::new, |run| run.held.iter().map(|held| held.kept(&self.names)).collect()),
            failed_on: self.failed_nodes(job),
        }
    }

    pub(crate) fn record(&mut self, job: JobId, kind: EventKind) {
        let at = self.now;
        self.out.changes.push(Change::Event(JobEventRecord { job, at, kind }));
    }

    fn record_move(&mut self, id: JobId, before: &JobState, event: &JobEvent) {
        let kind = match event {
            JobEvent::Started(attempt) => EventKind::Running { attempt: *attempt },
            JobEvent::Suspended(_) => EventKind::Suspended,
            JobEvent::Resumed(_) => EventKind::Resumed,
            JobEvent::NoRoom(attempt) => {
                let rare = self.jobs.get(&id).and_then(|job| job.rare.as_ref());
                let reason = rare.and_then(|rare| rare.given_back.clone()).unwrap_or_default();
                EventKind::GivenBack { attempt: *attempt, reason }
            }
            JobEvent::NodeGoneRetry(_) => EventKind::Requeued { reason: "its node failed".into() },
            JobEvent::Exited(..) if before.attempt().is_some() && self.is_pending(id) => {
                EventKind::Requeued { reason: "a rerun was asked for".into() }
            }
            JobEvent::RerunAsked => EventKind::Requeued { reason: "a rerun was asked for".into() },
            JobEvent::StopAsked(cause) if before.attempt().is_some() => {
                EventKind::Stopping { cause: cause.to_string() }
            }
            // Holds name who asked, allocations name the node: their callers record them. Ends are
            // recorded by `finish`.
            _ => return,
        };
        self.record(id, kind);
    }

    pub(crate) fn is_pending(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| job.state == JobState::Pending)
    }

    /// Gives a job's allocation back. The run stays until the job is saved.
    fn free(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(run) = job.run.as_deref() else { return };
        let (node, needs) = (run.node, job.needs);
        let asked = run.asked;
        // What was sent ahead and waits there still has nothing to give back; its place in the line goes
        // when its turn comes.
        let gives_back = !run.ahead;
        let held = run.held.clone();
        let room_before = self.nodes.free_on(node);
        if gives_back {
            self.nodes.release(node, &needs, &held);
        }
        if asked {
            self.out.effects.push(Effect::ReleaseStart { job: id });
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            match (job.state == JobState::Pending, job.run.as_mut()) {
                (true, _) => job.run = None,
                (false, Some(run)) => run.ahead = false,
                (false, None) => {}
            }
        }
        let only_sisters = self.take_over(node, self.array_of(id));
        // Where a sister task has the room now, whatever a policy may count is as it was.
        self.telling.wanted |= !(gives_back && only_sisters && self.nodes.free_on(node) == room_before);
    }

    /// Ends a job: writes it, tells the back end to forget it, and takes it out of memory.
    pub(crate) fn finish(&mut self, id: JobId, end: End) {
        let Some(job) = self.jobs.remove(&id) else { return };
        let now = Box::new(self.moving(&job, Some((&end, self.now))));
        self.out.changes.push(Change::Updated { job: id, now });
        self.record(id, EventKind::Ended { end: end.clone(), exit: None });
        self.telling.forget(id, job.told);
        self.forget_waiting(id, &job);
        self.have_measured(id, &job);
        if matches!(end, End::Lost { .. }) {
            self.lost.insert(id, job.attempt);
        } else if job.may_exist() {
            let executor = self.names.name(self.nodes.executor_of(job.placement)).to_owned();
            let attempt = self.attempt_name(id, job.attempt);
            self.forget(executor, attempt);
        }
        self.just_ended.push_back((id, end.clone()));
        match job.kind {
            Kind::Array(array) => {
                self.arrays.remove(&id);
                self.end_rest(id, array.range.tasks());
            }
            Kind::Task { array, position } => {
                self.with_array(array, |array| array.finish(position, &end));
                self.refresh_array(array);
            }
            Kind::Plain => {}
        }
    }

    /// Tasks that never became jobs end with their array, for those that wait for them.
    fn end_rest(&mut self, array: JobId, tasks: u64) {
        let numbers = JobId(array.0.saturating_add(1))..=JobId(array.0.saturating_add(tasks));
        let rest = self.waiting_on.range(numbers).map(|(&id, _)| id);
        let end = || End::Killed { cause: StopCause::Array, exit_code: None };
        self.just_ended.extend(rest.map(|id| (id, end())));
    }

    /// The name of the executor that runs a job; empty for one that is not live.
    pub(crate) fn executor_of(&self, id: JobId) -> String {
        let placement = self.jobs.get(&id).map(|job| job.placement);
        placement.map_or("", |placement| self.names.name(self.nodes.executor_of(placement))).to_owned()
    }

    /// Asks an executor to forget an attempt, together with others of the same step.
    pub(crate) fn forget(&mut self, executor: String, attempt: AttemptName) {
        if let Some(Effect::Forget { executor: last, attempts }) = self.out.effects.last_mut()
            && *last == executor
        {
            attempts.push(attempt);
            return;
        }
        self.out.effects.push(Effect::Forget { executor, attempts: vec![attempt] });
    }

    /// The name under which a back end has the present execution of a job.
    pub(crate) fn attempt_name(&self, id: JobId, attempt: Attempt) -> AttemptName {
        AttemptName::new(&self.settings.cluster, id, attempt)
    }

    /// Notes that the policy's picture of a job has to be looked at.
    pub(crate) fn touch(&mut self, id: JobId) {
        self.count_waiting(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        self.telling.mark(id, &mut job.told);
        if let Kind::Task { array, .. } = job.kind
            && let Some(array_job) = self.jobs.get_mut(&array)
        {
            self.telling.mark(array, &mut array_job.told);
            self.count_waiting(array);
            self.look_at_those_apart(array);
        } else {
            self.look_at_those_apart(id);
        }
    }

    /// Tasks that wait for themselves may start or may no longer, when their array has changed.
    fn look_at_those_apart(&mut self, id: JobId) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let lets_start = job.lets_tasks_start(now);
        let Some(array) = job.array_mut().filter(|array| !array.apart.is_empty()) else { return };
        if std::mem::replace(&mut array.lets_start, lets_start) == lets_start {
            return;
        }
        let tasks: Vec<JobId> =
            array.apart.iter().map(|&position| crate::commands::task_id(id, position)).collect();
        for task in tasks {
            if let Some(job) = self.jobs.get_mut(&task) {
                self.telling.mark(task, &mut job.told);
            }
        }
    }

    pub(crate) fn with_array(&mut self, id: JobId, change: impl FnOnce(&mut crate::job::Array)) {
        if let Some(array) = self.jobs.get_mut(&id).and_then(|job| job.array_mut()) {
            change(array);
        }
    }

    /// Lets the array of a task know where the task stands.
    pub(crate) fn place_task(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Kind::Task { array, position } = job.kind else { return };
        let (state, apart) = (job.state.kind(), job.stands_apart());
        if !state.is_end() {
            self.with_array(array, |array| array.place(position, state, apart));
        }
    }

    /// Lets an array's state follow that of its tasks, and ends it with the last of them.
    pub(crate) fn refresh_array(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(array) = job.array() else { return };
        if array.is_over() {
            let end = array.end();
            job.state = JobState::Ended { end: Box::new(end.clone()) };
            self.finish(id, end);
            return;
        }
        let attempt = job.attempt;
        let next = match (&array.killed, &job.state) {
            (Some(cause), _) => JobState::Stopping { attempt, cause: Box::new(cause.clone()), taken: true },
            (None, held @ JobState::Held { .. }) => held.clone(),
            (None, _) if array.active.is_empty() => JobState::Pending,
            (None, _) => JobState::Running { attempt },
        };
        let moved = next != job.state;
        job.state = next;
        self.touch(id);
        if moved {
            self.save(id);
        }
    }

    /// A truth about a lost job: kept in its history, once.
    pub(crate) fn late_news(&mut self, id: JobId, attempt: Attempt, exit: Exit) -> bool {
        if self.lost.get(&id) != Some(&attempt) {
            return false;
        }
        self.lost.remove(&id);
        self.record(id, EventKind::LateNews { exit });
        true
    }

    /// Everything that a store has to know to bring this job back.
    pub(crate) fn live(&self, id: JobId, job: &Job, name: &str) -> LiveJob {
        let rare = job.rare.as_deref();
        let text = |number| self.names.name(number).to_owned();
        let wish = self.nodes.wish_of(job.placement);
        LiveJob {
            id,
            task_of: match job.kind {
                Kind::Task { array, position } => Some((array, position)),
                Kind::Plain | Kind::Array(_) => None,
            },
            array: job.array().map(|array| array.range),
            owner: text(job.owner),
            project: text(job.project),
            class: job.class.map(text),
            name: name.to_owned(),
            executor: text(self.nodes.executor_of(job.placement)),
            constraints: wish.map(|wish| wish.constraints.clone()).unwrap_or_default(),
            needs: job.needs,
            named: self.named_amounts(job.placement),
            time_limit_ms: job.time_limit_ms,
            grace_ms: u64::from(job.grace_ms),
            submitted: job.submitted,
            begin: rare.and_then(|rare| rare.begin),
            dependencies: rare.map(|rare| rare.dependencies.clone()).unwrap_or_default(),
            retry_on_node_failure: rare.map_or(0, |rare| rare.retry_on_node_failure),
            wants_network: rare.is_some_and(|rare| rare.wants_network),
            avoid_failed_nodes: rare.is_some_and(|rare| rare.avoids),
            moving: self.moving(job, None),
        }
    }

    /// The named resources that a placement asks for, by their names.
    pub(crate) fn named_amounts(&self, placement: PlacementId) -> NamedAmounts {
        let named = self.nodes.named_of(placement).iter();
        named.map(|&(name, amount)| (self.names.name(name).to_owned(), amount)).collect()
    }

    /// What a job of this executor asks of its nodes.
    pub(crate) fn wish(
        &mut self,
        executor: NameId,
        constraints: &BTreeMap<String, String>,
        named: &NamedAmounts,
    ) -> Wish {
        let wanted = named.iter().filter(|(_, amount)| **amount > 0);
        let mut named: Wanted = wanted.map(|(name, &amount)| (self.names.number(name), amount)).collect();
        named.sort_unstable();
        Wish { executor, constraints: constraints.clone(), named, ..Wish::default() }
    }
}
