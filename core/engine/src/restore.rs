//! Beginning again from what was stored.

use berth_model::{Attempt, FailedNode, Hold, JobId, JobState, NamedGrant, StateKind};

use crate::{
    Engine, LiveJob, Moving, Restored, Settings,
    avoid::FailedOn,
    job::{Array, Belief, Job, Kind, LaunchStep, Rare, Run},
    pools::Held,
    timers::Due,
};

impl Engine {
    /// An engine that goes on from what was stored. `ended` says how jobs ended that live ones depend on
    /// and that are not live themselves; one that is missing counts as lost.
    ///
    /// Nothing is launched before the executors have said what they know of the attempts that were
    /// under way: that is asked for as soon as each of them reports its nodes.
    #[must_use]
    pub fn restore(settings: Settings, stored: Restored, ended: &[(JobId, StateKind)]) -> Self {
        let mut engine = Self::new(settings);
        engine.next_id = stored.next_id.max(JobId(1));
        engine.lost = stored.lost.into_iter().collect();
        for account in stored.accounts {
            engine.bring_back_account(account);
        }
        for directory in &stored.directories {
            engine.bring_back_directory(directory);
        }
        for closure in stored.closures {
            engine.bring_back_closure(closure);
        }
        for live in stored.live {
            let id = live.id;
            let job = engine.bring_back(live);
            engine.insert(id, job);
        }
        for (id, ends) in stored.arrays {
            engine.with_array(id, |array| array.ends = ends);
        }
        for (id, position) in stored.ended_ahead {
            engine.with_array(id, |array| array.is_a_job(position));
        }
        engine.join_tasks_to_arrays();
        engine.drop_met_dependencies(ended);
        engine
    }

    /// A job in the state in which it was stored.
    fn bring_back(&mut self, live: LiveJob) -> Job {
        let moving = live.moving.clone();
        let mut job = self.rebuild(live);
        job.state = moving.state.clone();
        job.attempt = moving.attempt;
        job.placement = self.placement_now(&job);
        if !job.has_hold(Hold::Dependency)
            && let Some(rare) = job.rare.as_mut()
        {
            rare.dependencies.clear();
        }
        if let JobState::Stopping { cause, .. } = &job.state
            && let Kind::Array(array) = &mut job.kind
        {
            array.killed = Some((**cause).clone());
        }
        let Some(array_next) = job.array().map(|_| moving.array_next) else {
            if job.state.attempt().is_some() {
                self.bring_back_run(&mut job, &moving);
            }
            return job;
        };
        if let Some(array) = job.array_mut() {
            array.next = array_next;
        }
        job
    }

    fn bring_back_run(&mut self, job: &mut Job, moving: &Moving) {
        let (node, started) = (moving.node.as_deref(), moving.started);
        let held = |granted: &NamedGrant| Held {
            name: self.names.number(&granted.name),
            amount: granted.amount,
            units: granted.units.clone(),
            owner: job.owner,
        };
        let held: Vec<Held> = moving.granted.iter().map(held).collect();
        let executor = self.nodes.executor_of(job.placement);
        let name = node.and_then(|node| node.split_once('/')).map_or("", |(_, name)| name);
        let node = self.nodes.node_of(executor, name);
        self.nodes.allocate_restored(node, &job.needs, &held);
        let asked = self.asks_before(job);
        let not_taken = matches!(job.state, JobState::Starting { taken: false, .. });
        job.run = Some(Box::new(Run {
            node,
            allocated: started.unwrap_or(job.eligible),
            started,
            resumed: None,
            launch: if asked && not_taken { LaunchStep::AwaitsAnswer } else { LaunchStep::Sent },
            ahead: false,
            reserved: None,
            in_flight: false,
            asked,
            unsure: asked && not_taken,
            network: None,
            held,
            reconciling: None,
            // It may have been changed just before the crash.
            other_limit: job.time_limit_ms.is_some(),
            stops_sent: 0,
            cpu_micros: None,
            memory_peak_bytes: None,
        }));
    }

    /// A job as it was submitted.
    fn rebuild(&mut self, live: LiveJob) -> Job {
        let executor = self.names.number(&live.executor);
        self.nodes.expect_executor(executor);
        let failed_on = self.failed_on(&live.moving.failed_on);
        let rare = Rare {
            begin: live.begin,
            dependencies: live.dependencies,
            retry_on_node_failure: live.retry_on_node_failure,
            node_failures: live.moving.node_failures,
            wants_network: live.wants_network,
            avoids: live.avoid_failed_nodes,
            failed_on,
            range: live.array.filter(|_| live.task_of.is_some()),
            note: live.moving.note,
            ..Rare::default()
        };
        let is_rare = rare.begin.is_some()
            || !rare.dependencies.is_empty()
            || rare.retry_on_node_failure > 0
            || rare.wants_network
            || rare.avoids
            || !rare.failed_on.is_empty()
            || rare.range.is_some()
            || rare.note.is_some();
        let wish = self.wish(executor, &live.constraints, &live.named);
        let placement = self.nodes.placement(wish);
        Job {
            kind: match (live.task_of, live.array) {
                (Some((array, position)), _) => Kind::Task { array, position },
                (None, Some(range)) => Kind::Array(Box::new(Array::new(range))),
                (None, None) => Kind::Plain,
            },
            owner: self.names.number(&live.owner),
            project: self.names.number(&live.project),
            class: self.class_number(live.class.as_deref()),
            placement,
            priority: live.moving.priority,
            needs: live.needs,
            submitted: live.submitted,
            eligible: live.moving.eligible,
            time_limit_ms: live.time_limit_ms,
            grace_ms: u32::try_from(live.grace_ms).unwrap_or(u32::MAX),
            attempt: live.moving.attempt,
            state: JobState::Pending,
            told: Belief::default(),
            barred: false,
            waits: 0,
            run: None,
            rare: is_rare.then(|| Box::new(rare)),
        }
    }

    fn failed_on(&mut self, stored: &[FailedNode]) -> Vec<FailedOn> {
        let mut failed = Vec::with_capacity(stored.len());
        for FailedNode { node, attempt } in stored {
            if let Some((executor, name)) = node.split_once('/') {
                let executor = self.names.number(executor);
                failed.push(FailedOn { node: self.nodes.node_of(executor, name), attempt: *attempt });
            }
        }
        failed
    }

    fn join_tasks_to_arrays(&mut self) {
        let mut tasks: Vec<(JobId, JobId)> = self
            .jobs
            .iter()
            .filter_map(|(&id, job)| match job.kind {
                Kind::Task { array, .. } => Some((id, array)),
                Kind::Plain | Kind::Array(_) => None,
            })
            .collect();
        tasks.sort_unstable();
        for (id, array) in tasks {
            if let Some(Kind::Task { position, .. }) = self.jobs.get(&id).map(|job| &job.kind) {
                let position = *position;
                self.with_array(array, |array| array.is_a_job(position));
            }
            self.place_task(id);
            if !self.jobs.contains_key(&array)
                && let Some(job) = self.jobs.get_mut(&id)
            {
                job.rare_mut().alone = true;
            }
        }
        let mut timed: Vec<(JobId, Attempt)> = Vec::new();
        for (&id, job) in &self.jobs {
            if let (Some(attempt), true) = (job.state.attempt(), job.run.is_some()) {
                timed.push((id, attempt));
            }
        }
        timed.sort_unstable();
        for (id, attempt) in timed {
            self.set_time_limit(id, attempt);
            self.reserve(id);
            if let Some(JobState::Stopping { .. }) = self.jobs.get(&id).map(|job| &job.state) {
                self.timers.set(self.now, Due::StopAgain(id, attempt));
            }
        }
    }

    /// Dependencies were stored as they were submitted; some may have been met since.
    fn drop_met_dependencies(&mut self, ended: &[(JobId, StateKind)]) {
        let mut gone: Vec<JobId> = Vec::new();
        for &on in self.waiting_on.keys() {
            if !self.jobs.contains_key(&on) && self.untouched_task(on).is_none() {
                gone.push(on);
            }
        }
        for on in gone {
            let state = ended.iter().find(|(id, _)| *id == on).map_or(StateKind::Lost, |&(_, state)| state);
            for waiting in self.waiting_on.remove(&on).unwrap_or_default() {
                self.on_dependency_over(waiting, on, state, &format!("{state}"));
            }
        }
        self.settle_ends();
    }

    /// Brings a job back that has ended, to run again.
    pub(crate) fn revive(&mut self, live: LiveJob) {
        let id = live.id;
        let last_run = live.moving.attempt.number;
        let attempt = live.moving.attempt.next();
        let failures = live.moving.node_failures;
        let was_ok = live.moving.state.kind() == StateKind::Succeeded;
        let task_of = live.task_of;
        let mut job = self.rebuild(live);
        job.attempt = attempt;
        job.eligible = self.now;
        if let Some(rare) = job.rare.as_mut() {
            rare.begin = None;
            rare.dependencies.clear();
            rare.note = None;
            rare.node_failures = failures;
        }
        job.placement = self.placement_now(&job);
        let apart = job.stands_apart();
        let joined = task_of.is_some_and(|(array, _)| self.jobs.contains_key(&array));
        if task_of.is_some() && !joined {
            job.rare_mut().alone = true;
        }
        self.insert(id, job);
        if let Some((array, position)) = task_of.filter(|_| joined) {
            // An end of an earlier run of the array was not counted in this one.
            let array_run = self.jobs.get(&array).map_or(0, |job| job.attempt.number);
            let counted = u64::from(last_run >= array_run);
            self.with_array(array, |array| {
                array.ends.ended = array.ends.ended.saturating_sub(counted);
                array.ends.not_ok = array.ends.not_ok.saturating_sub(counted * u64::from(!was_ok));
                array.is_a_job(position);
                array.place(position, StateKind::Pending, apart);
            });
            self.touch(array);
        }
    }
}
