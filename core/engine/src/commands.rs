//! What people ask for.

use std::{sync::Arc, time::Duration};

use berth_model::{
    Attempt, EventKind, Hold, Holds, JobEvent, JobId, JobState, StateKind, Step, StopCause, Submission,
};

use crate::{
    Actor, Answer, Change, Command, ControlAction, Effect, Engine, LiveJob, Refusal, Token,
    accounts::Whose,
    cost::Cost,
    job::{Array, Belief, Job, Kind, Rare},
    pace::Pace,
    timers::Due,
};

impl Engine {
    pub(crate) fn on_command(&mut self, token: Token, command: Command) {
        let answer = match command {
            Command::Submit { submission, ended, by, notes } => self.submit(&submission, &ended, &by, notes),
            Command::Kill { job, cause } => self.kill(job, cause),
            Command::Hold { job, by } => self.hold(job, &by),
            Command::Release { job, by } => self.release(job, &by),
            Command::Suspend { job } => self.suspend(token, job),
            Command::Resume { job } => self.resume(token, job),
            Command::Rerun { job, stored, altered, by, notes } => {
                self.rerun(job, stored, altered.as_ref(), by, notes)
            }
            Command::Alter { job, before, submission, by, notes } => {
                self.alter(job, &before.spec, &submission, &by, notes)
            }
            Command::Message { job, text } => self.message(job, text),
            Command::Note { job, text } => self.note(job, text),
            Command::Signal { job, signal } => self.signal(token, job, signal),
            Command::SetAccount { kind, name, by, version, terms } => {
                self.set_account(kind, &name, &by, version, terms.map(|terms| *terms))
            }
            Command::SetClosure { kind, name, by, version, terms } => {
                self.set_closure(kind, &name, &by, version, terms.map(|terms| *terms))
            }
            Command::Measured { sizes } => self.measured(sizes),
            Command::DirectoryGone { job, tasks } => self.directory_gone(job, tasks),
            Command::Act { by, words } => {
                self.act(&by, words);
                Ok(Answer::Done)
            }
        };
        self.out.effects.push(Effect::Reply { token, answer });
    }

    fn submit(
        &mut self,
        submission: &Arc<Submission>,
        ended: &[(JobId, StateKind)],
        by: &str,
        notes: Vec<String>,
    ) -> Result<Answer, Refusal> {
        let spec = &submission.spec;
        let executor = self.names.number(&submission.executor);
        if self.nodes.executor(executor).is_none() {
            return Err(Refusal::UnknownExecutor(submission.executor.clone()));
        }
        let unmet = self.unmet_dependencies(&spec.dependencies, ended)?;
        let wish = self.wish(executor, &spec.constraints, &spec.named);
        let placement = self.nodes.placement(wish);
        self.check_feasible(placement, &submission.executor, &spec.resources)?;
        let whose = Whose {
            user: self.names.number(&submission.owner.user),
            project: self.project_number(&spec.project)?,
            class: self.class_number(spec.class.as_deref()),
        };
        self.check_project(whose)?;
        self.join_class(whose);
        self.check_accounts(whose, &Cost::of(spec), spec.array.map_or(1, |range| range.tasks()))?;

        let id = self.next_id;
        let numbers = 1 + spec.array.map_or(0, |range| range.tasks());
        self.next_id = JobId(id.0.saturating_add(numbers));
        let mut rare = Rare { retry_on_node_failure: spec.retry_on_node_failure, ..Rare::default() };
        rare.begin = spec.begin.filter(|&begin| begin > self.now);
        rare.dependencies = unmet;
        rare.avoids = spec.avoid_failed_nodes;
        rare.wants_network =
            self.settings.has_network_policy && (spec.network.is_some() || !spec.ports.is_empty());
        let is_rare = rare.begin.is_some()
            || !rare.dependencies.is_empty()
            || rare.retry_on_node_failure > 0
            || rare.avoids
            || rare.wants_network;
        let holds: Holds = [
            (spec.hold, Hold::User),
            (!rare.dependencies.is_empty(), Hold::Dependency),
            (rare.begin.is_some(), Hold::BeginTime),
        ]
        .into_iter()
        .filter_map(|(holds, hold)| holds.then_some(hold))
        .collect();
        let array = |range| {
            // CPUs of one's own are not waited for in a back end's line.
            let pace = (!spec.exclusive_cpus).then(Pace::default);
            Kind::Array(Box::new(Array { pace, ..Array::new(range) }))
        };
        let party = self.nodes.closures.party(whose.user, whose.project, Cost::of(spec).most_ms);
        let placement = self.nodes.placement_of(placement, party);
        let job = Job {
            kind: spec.array.map_or(Kind::Plain, array),
            owner: whose.user,
            project: whose.project,
            class: whose.class,
            placement,
            priority: spec.priority,
            needs: spec.resources,
            submitted: self.now,
            eligible: self.now,
            time_limit_ms: spec.time_limit.map(millis),
            grace_ms: u32::try_from(spec.grace.as_millis()).unwrap_or(u32::MAX),
            attempt: Attempt { number: 1, returned: 0 },
            state: if holds.is_empty() { JobState::Pending } else { JobState::Held { holds } },
            told: Belief::default(),
            barred: false,
            waits: 0,
            run: None,
            rare: is_rare.then(|| Box::new(rare)),
        };
        let live = Box::new(self.live(id, &job, &spec.name));
        self.out.changes.push(Change::NextId(self.next_id));
        self.out.changes.push(Change::Added { job: live, submission: Arc::clone(submission) });
        self.record(id, EventKind::Submitted { by: by.to_owned() });
        self.record_notes(id, notes);
        self.insert(id, job);
        Ok(Answer::Submitted(id))
    }

    /// Puts a job into the working set, with all that refers to it.
    pub(crate) fn insert(&mut self, id: JobId, job: Job) {
        if matches!(job.kind, Kind::Array(_)) {
            self.arrays.insert(id);
        }
        self.join(job.whose());
        if let Some(rare) = job.rare.as_deref() {
            if let Some(begin) = rare.begin.filter(|_| job.has_hold(Hold::BeginTime)) {
                self.timers.set(begin, Due::Begin(id));
            }
            for dependency in &rare.dependencies {
                self.waiting_on.entry(dependency.on).or_default().push(id);
            }
        }
        self.telling.wanted |= job.state == JobState::Pending;
        self.jobs.insert(id, Box::new(job));
        self.touch(id);
    }

    fn kill(&mut self, id: JobId, cause: StopCause) -> Result<Answer, Refusal> {
        if !self.jobs.contains_key(&id) {
            let (array, position) = self.untouched_task(id).ok_or(Refusal::NotLive(id))?;
            self.end_untouched(array, position, cause);
            return Ok(Answer::Done);
        }
        Ok(self.stop(id, cause))
    }

    /// Ends a job, whatever it is and wherever it stands.
    pub(crate) fn stop(&mut self, id: JobId, cause: StopCause) -> Answer {
        if self.jobs.get(&id).is_some_and(|job| job.array().is_some()) {
            return self.stop_array(id, cause);
        }
        match self.apply(id, &JobEvent::StopAsked(cause)) {
            Step::Moved(JobState::Stopping { .. }) => {
                self.send_stop(id);
                Answer::Done
            }
            Step::Moved(_) => Answer::Done,
            Step::NoNews(why) | Step::Refused(why) => Answer::NoNews(why),
        }
    }

    fn stop_array(&mut self, id: JobId, cause: StopCause) -> Answer {
        let Some(array) = self.jobs.get_mut(&id).and_then(|job| job.array_mut()) else {
            return Answer::NoNews("not live");
        };
        if array.killed.is_some() {
            return Answer::NoNews("already stopping");
        }
        array.killed = Some(cause.clone());
        let positions: Vec<u64> = array
            .waiting
            .iter()
            .chain(&array.apart)
            .chain(&array.held)
            .chain(&array.active)
            .copied()
            .collect();
        self.record(id, EventKind::Stopping { cause: cause.to_string() });
        for position in positions {
            self.stop(task_id(id, position), StopCause::Array);
        }
        self.refresh_array(id);
        Answer::Done
    }

    /// Passes the wish to end on to the executor, unless it never heard of the attempt.
    pub(crate) fn send_stop(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let JobState::Stopping { attempt, taken, .. } = job.state else { return };
        if !job.may_exist() {
            self.apply(id, &JobEvent::NoRoom(attempt));
            return;
        }
        if taken {
            self.control(id, attempt, None);
        }
        // Else the answer to the launch comes first, and `on_launch_answered` sends the stop.
    }

    fn control(&mut self, id: JobId, attempt: Attempt, token: Option<Token>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let grace = Duration::from_millis(u64::from(job.grace_ms));
        let Some(run) = job.run.as_mut() else { return };
        run.stops_sent += 1;
        let again = self.now.after(grace).after(STOP_AGAIN);
        self.timers.set(again, Due::StopAgain(id, attempt));
        self.send(id, attempt, ControlAction::Terminate { grace }, token);
    }

    /// A stop that has not been confirmed is sent again, and said to be so.
    pub(crate) fn stop_again(&mut self, id: JobId, attempt: Attempt) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !matches!(job.state, JobState::Stopping { attempt: of, .. } if of == attempt) {
            return;
        }
        let sent = job.run.as_ref().map_or(0, |run| run.stops_sent);
        job.rare_mut().note = Some(format!("{sent} requests to end it have not been confirmed"));
        self.save(id);
        self.control(id, attempt, None);
    }

    pub(crate) fn send(&mut self, id: JobId, attempt: Attempt, action: ControlAction, token: Option<Token>) {
        let executor = self.executor_of(id);
        let attempt = self.attempt_name(id, attempt);
        self.out.effects.push(Effect::Control { executor, attempt, action, token });
    }

    fn hold(&mut self, id: JobId, by: &Actor) -> Result<Answer, Refusal> {
        let hold = if by.administrator { Hold::Administrator } else { Hold::User };
        self.held_or_released(id, &JobEvent::Hold(hold), by)
    }

    fn release(&mut self, id: JobId, by: &Actor) -> Result<Answer, Refusal> {
        let job = self.jobs.get(&id).ok_or(Refusal::NotLive(id))?;
        let held_by_administrator = job.has_hold(Hold::Administrator);
        if held_by_administrator && !by.administrator {
            return Err(self.refusal(id, "an administrator holds it"));
        }
        // An administrator's release lifts both kinds; whoever holds it for themselves can hold it again.
        let mut answer = Ok(Answer::NoNews("nobody holds it"));
        for hold in [Hold::User, Hold::Administrator] {
            if self.jobs.get(&id).is_some_and(|job| job.has_hold(hold)) {
                answer = self.held_or_released(id, &JobEvent::Release(hold), by);
            }
        }
        answer
    }

    fn held_or_released(&mut self, id: JobId, event: &JobEvent, by: &Actor) -> Result<Answer, Refusal> {
        let job = self.jobs.get_mut(&id).ok_or(Refusal::NotLive(id))?;
        // An array in the midst of its tasks can be held too: no further one starts.
        if job.array().is_some_and(|array| array.killed.is_none()) && job.state.kind() == StateKind::Running {
            job.state = JobState::Pending;
        }
        let step = self.apply(id, event);
        match step {
            Step::Moved(_) => {
                let by = Some(by.name.clone());
                match *event {
                    JobEvent::Hold(hold) => self.record(id, EventKind::Held { hold, by }),
                    JobEvent::Release(hold) => self.record(id, EventKind::Released { hold, by }),
                    _ => {}
                }
                self.refresh_array(id);
                Ok(Answer::Done)
            }
            Step::NoNews(why) => Ok(Answer::NoNews(why)),
            Step::Refused(why) => Err(self.refusal(id, why)),
        }
    }

    fn suspend(&mut self, token: Token, id: JobId) -> Result<Answer, Refusal> {
        let job = self.jobs.get(&id).ok_or(Refusal::NotLive(id))?;
        if job.array().is_some() {
            return Err(self.refusal(id, "an array itself runs nothing; suspend its tasks, or hold it"));
        }
        match job.state {
            JobState::Running { attempt } => {
                self.ask_able(token, id, attempt, ControlAction::Suspend, "suspend jobs")
            }
            JobState::Suspended { .. } => Ok(Answer::NoNews("already suspended")),
            _ => Err(self.refusal(id, "only a running job can be suspended")),
        }
    }

    fn resume(&mut self, token: Token, id: JobId) -> Result<Answer, Refusal> {
        let job = self.jobs.get(&id).ok_or(Refusal::NotLive(id))?;
        match job.state {
            JobState::Suspended { attempt } => {
                self.ask_able(token, id, attempt, ControlAction::Resume, "resume jobs")
            }
            JobState::Running { .. } => Ok(Answer::NoNews("it runs")),
            _ => Err(self.refusal(id, "only a suspended job can be resumed")),
        }
    }

    fn signal(&mut self, token: Token, id: JobId, signal: i32) -> Result<Answer, Refusal> {
        let job = self.jobs.get(&id).ok_or(Refusal::NotLive(id))?;
        match job.state {
            JobState::Running { attempt } | JobState::Suspended { attempt } if job.array().is_none() => {
                self.ask_able(token, id, attempt, ControlAction::Signal(signal), "send signals")
            }
            _ => Err(self.refusal(id, "only a running job can get a signal")),
        }
    }

    fn message(&mut self, id: JobId, text: String) -> Result<Answer, Refusal> {
        let job = self.jobs.get(&id).ok_or(Refusal::NotLive(id))?;
        if !job.state.kind().is_active() {
            return Err(self.refusal(id, "only a job that runs has something to say"));
        }
        self.record(id, EventKind::Message { text });
        Ok(Answer::Done)
    }

    fn note(&mut self, id: JobId, text: String) -> Result<Answer, Refusal> {
        if !self.jobs.contains_key(&id) {
            return Err(Refusal::NotLive(id));
        }
        self.record(id, EventKind::Note { text });
        Ok(Answer::Done)
    }

    /// Writes into a job's history what was done about it by others than people.
    pub(crate) fn record_notes(&mut self, id: JobId, notes: Vec<String>) {
        notes.into_iter().for_each(|text| self.record(id, EventKind::Note { text }));
    }

    fn ask_able(
        &mut self,
        token: Token,
        id: JobId,
        attempt: Attempt,
        action: ControlAction,
        what: &'static str,
    ) -> Result<Answer, Refusal> {
        let placement = self.jobs.get(&id).map_or(0, |job| job.placement);
        let executor = self.nodes.executor_of(placement);
        let abilities = self.nodes.executor(executor).map(|state| state.abilities).unwrap_or_default();
        let able = match action {
            ControlAction::Signal(_) => abilities.signal,
            ControlAction::Suspend | ControlAction::Resume => abilities.suspend,
            ControlAction::Terminate { .. } => true,
            ControlAction::TimeLimit { .. } => abilities.new_time_limit,
        };
        if !able {
            return Err(Refusal::Unable { executor: self.names.name(executor).to_owned(), what });
        }
        self.send(id, attempt, action, Some(token));
        Ok(Answer::Asked)
    }

    fn rerun(
        &mut self,
        id: JobId,
        stored: Option<Box<LiveJob>>,
        altered: Option<&Arc<Submission>>,
        by: String,
        notes: Vec<String>,
    ) -> Result<Answer, Refusal> {
        if let Some(job) = self.jobs.get(&id) {
            if altered.is_some() {
                return Err(self.refusal(id, "it can be changed for another run only when it has ended"));
            }
            if job.array().is_some() {
                return Err(self.refusal(id, "an array runs again only when it is over; rerun its tasks"));
            }
            return match job.state.kind() {
                StateKind::Held | StateKind::Pending => Ok(Answer::NoNews("it has not run yet")),
                _ => Ok(self.stop(id, StopCause::Rerun { name: by })),
            };
        }
        let stored = stored.filter(|stored| stored.id == id && stored.moving.state.kind().is_end());
        let Some(mut stored) = stored else { return Err(Refusal::NotLive(id)) };
        let array = stored.task_of.and_then(|(array, _)| self.jobs.get(&array)).and_then(|job| job.array());
        if array.is_some_and(|array| array.killed.is_some()) {
            let (job, state) = (id, stored.moving.state.kind());
            return Err(Refusal::State { job, state, why: "its array is being killed; rerun it after that" });
        }
        if let Some(submission) = altered {
            if self.has_live_tasks(id) {
                let (job, state) = (id, stored.moving.state.kind());
                let why = "a task of it runs again as it was; change the array when that is over";
                return Err(Refusal::State { job, state, why });
            }
            self.alter_stored(&mut stored, submission)?;
        }
        self.lost.remove(&id);
        self.revive(*stored);
        self.record(id, EventKind::Requeued { reason: format!("{by} asked for a rerun") });
        self.record_notes(id, notes);
        self.save(id);
        Ok(Answer::Done)
    }

    /// Whether a task of an array that is over has been asked to run again.
    fn has_live_tasks(&self, id: JobId) -> bool {
        self.jobs.values().any(|job| matches!(job.kind, Kind::Task { array, .. } if array == id))
    }

    pub(crate) fn refusal(&self, job: JobId, why: &'static str) -> Refusal {
        let state = self.jobs.get(&job).map_or(StateKind::Pending, |job| job.state.kind());
        Refusal::State { job, state, why }
    }
}

/// How long after the grace a stop that was not confirmed is sent again.
const STOP_AGAIN: Duration = Duration::from_secs(15);

/// A duration in milliseconds, saturating.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The number reserved for the task at `position` of an array.
pub(crate) fn task_id(array: JobId, position: u64) -> JobId {
    JobId(array.0.saturating_add(1).saturating_add(position))
}
