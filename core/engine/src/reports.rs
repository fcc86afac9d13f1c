//! What executors and the network policy say.

use std::time::Duration;

use berth_model::{Attempt, Exit, JobEvent, JobId, JobState, Step, UtcMs};

use crate::{
    Abilities, ControlAction, Effect, Engine, LaunchAnswer, NodeInfo, Reconciled, Reported, ReportedState,
    StartAnswer,
    job::{Kind, LaunchStep},
    timers::Due,
};

impl Engine {
    pub(crate) fn on_capacity(&mut self, executor: &str, abilities: Abilities, nodes: Vec<NodeInfo>) {
        let name = self.names.number(executor);
        let first = !self.nodes.executor(name).is_some_and(|state| state.known);
        self.nodes.set_capacity(name, abilities, nodes, &mut self.names);
        self.telling.wanted = true;
        if first {
            self.on_back(executor);
        }
    }

    pub(crate) fn on_away(&mut self, executor: &str, words: String) {
        let name = self.names.number(executor);
        self.nodes.set_away(name, Some(words));
        self.note_spells();
    }

    /// Whatever was missed meanwhile is asked for.
    pub(crate) fn on_back(&mut self, executor: &str) {
        let name = self.names.number(executor);
        self.nodes.set_away(name, None);
        self.telling.wanted = true;
        let mut attempts = Vec::new();
        for (&id, job) in &mut self.jobs {
            if self.nodes.executor_of(job.placement) != name || !job.may_exist() || job.array().is_some() {
                continue;
            }
            let taken = job.is_taken();
            if let (Some(attempt), Some(run)) = (job.state.attempt(), job.run.as_mut()) {
                run.reconciling = Some(taken);
                attempts.push((id, attempt));
            }
        }
        attempts.sort_unstable();
        if !attempts.is_empty() {
            self.out.effects.push(Effect::Reconcile { executor: executor.to_owned(), attempts });
        }
        self.out.effects.push(Effect::List { executor: executor.to_owned() });
    }

    /// Of attempts that are over for the engine, a crash may have come between the end and the word that the
    /// back end may forget it. One that still runs is left alone there, and dealt with when it is reported.
    pub(crate) fn on_listed(&mut self, executor: &str, attempts: &[(JobId, Attempt)]) {
        for &(id, attempt) in attempts {
            let live = self.jobs.get(&id).is_some_and(|job| job.attempt == attempt);
            if !live && self.lost.get(&id) != Some(&attempt) {
                let attempt = self.attempt_name(id, attempt);
                self.forget(executor.to_owned(), attempt);
            }
        }
    }

    pub(crate) fn on_launch_answered(&mut self, id: JobId, attempt: Attempt, answer: LaunchAnswer) {
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state.attempt() == Some(attempt))
            && let Some(run) = job.run.as_mut()
        {
            run.in_flight = false;
        }
        match answer {
            LaunchAnswer::Taken => self.on_taken(id, attempt),
            LaunchAnswer::NoRoom(words) => self.on_no_room(id, attempt, words),
            LaunchAnswer::Refused(words) => {
                let exit = Exit { could_not_launch: Some(words), at: self.now, ..Exit::default() };
                // The end comes without the back end having anything to forget.
                self.apply(id, &JobEvent::Exited(attempt, exit));
            }
            LaunchAnswer::Unknown(words) => self.ask_about(id, attempt, words),
        }
    }

    fn on_taken(&mut self, id: JobId, attempt: Attempt) {
        let step = self.apply(id, &JobEvent::Taken(attempt));
        match self.jobs.get(&id).map(|job| &job.state) {
            Some(JobState::Stopping { .. }) if matches!(step, Step::Moved(_)) => self.send_stop(id),
            Some(state) if state.attempt() == Some(attempt) => {}
            // Given up meanwhile; what was taken late is removed under its old name.
            _ => self.remove_stray(id, attempt),
        }
    }

    fn on_no_room(&mut self, id: JobId, attempt: Attempt, words: String) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.state.attempt() != Some(attempt) {
            return;
        }
        let returned = job.attempt.returned;
        let rest = REST_AFTER_NO_ROOM.saturating_mul(1 << returned.min(5));
        let not_before = self.now.after(rest);
        let rare = job.rare_mut();
        rare.given_back = Some(words);
        rare.not_before = Some(not_before);
        let array = match job.kind {
            Kind::Task { array, .. } => Some(array),
            Kind::Plain | Kind::Array(_) => None,
        };
        let step = self.apply(id, &JobEvent::NoRoom(attempt));
        if !matches!(step, Step::Moved(JobState::Pending)) {
            return;
        }
        self.timers.set(not_before, Due::TryAgain(id));
        if let Some(array) = array {
            // The back end has no room for its sisters either.
            if let Some(job) = self.jobs.get_mut(&array) {
                job.rare_mut().not_before = Some(not_before);
                self.timers.set(not_before, Due::TryAgain(array));
            }
            self.refresh_array(array);
        }
    }

    fn ask_about(&mut self, id: JobId, attempt: Attempt, words: String) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.state.attempt() != Some(attempt) {
            return;
        }
        let taken = job.is_taken();
        job.rare_mut().note = Some(words);
        if let Some(run) = job.run.as_mut() {
            run.reconciling = Some(taken);
        }
        let executor = self.executor_of(id);
        self.save(id);
        self.out.effects.push(Effect::Reconcile { executor, attempts: vec![(id, attempt)] });
    }

    pub(crate) fn on_report(&mut self, report: Reported) {
        let Reported { job: id, attempt, .. } = report;
        let current = self.jobs.get(&id).and_then(|job| job.state.attempt());
        if current != Some(attempt) {
            self.on_stray_report(report);
            return;
        }
        self.note_usage(&report);
        match report.state {
            ReportedState::Starting => {
                self.on_taken(id, attempt);
                self.note_message(id, report.message);
            }
            ReportedState::Running => {
                self.replace_message(id, report.message);
                self.on_running(id, attempt, report.at);
            }
            ReportedState::Suspended => {
                self.on_started(id, attempt, report.at);
                self.apply(id, &JobEvent::Suspended(attempt));
            }
            ReportedState::Exited(exit) => {
                self.note_message(id, report.message);
                self.note_pace(id, exit.at);
                self.apply(id, &JobEvent::Exited(attempt, exit));
            }
            ReportedState::NoRoom => {
                let words = report.message.unwrap_or_else(|| "no room".into());
                self.on_no_room(id, attempt, words);
            }
            ReportedState::NodeGone => self.on_node_gone(id, attempt, report.message),
        }
    }

    /// About an attempt that is not the present one: late, doubled, or given up.
    fn on_stray_report(&mut self, report: Reported) {
        let Reported { job: id, attempt, executor, state, .. } = report;
        match state {
            ReportedState::Exited(exit) => {
                self.late_news(id, attempt, exit);
                let attempt = self.attempt_name(id, attempt);
                self.forget(executor, attempt);
            }
            // A lost attempt that turns out to live goes on: what it does may still be of use, and
            // its end will be told. One that was followed by another does not.
            _ if self.lost.get(&id) == Some(&attempt) => {}
            ReportedState::NoRoom | ReportedState::NodeGone => {}
            _ => {
                let attempt = self.attempt_name(id, attempt);
                let action = ControlAction::Terminate { grace: Duration::ZERO };
                self.out.effects.push(Effect::Control { executor, attempt, action, token: None });
            }
        }
    }

    /// Ends and removes an attempt that was taken after it had been given up.
    fn remove_stray(&mut self, id: JobId, attempt: Attempt) {
        if !self.jobs.contains_key(&id) {
            return;
        }
        let executor = self.executor_of(id);
        let attempt = self.attempt_name(id, attempt);
        let action = ControlAction::Terminate { grace: Duration::ZERO };
        self.out.effects.push(Effect::Control { executor, attempt, action, token: None });
    }

    fn note_usage(&mut self, report: &Reported) {
        if let Some(run) = self.jobs.get_mut(&report.job).and_then(|job| job.run.as_mut()) {
            run.cpu_micros = report.cpu_micros.or(run.cpu_micros);
            run.memory_peak_bytes = report.memory_peak_bytes.or(run.memory_peak_bytes);
        }
    }

    fn note_pace(&mut self, id: JobId, ended: UtcMs) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Kind::Task { array, .. } = job.kind else { return };
        let Some(started) = job.run.as_ref().and_then(|run| run.started) else { return };
        self.with_array(array, |array| {
            if let Some(pace) = array.pace.as_mut() {
                pace.note(started, ended);
            }
        });
    }

    fn note_message(&mut self, id: JobId, message: Option<String>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if message.is_some() && job.rare.as_ref().and_then(|rare| rare.note.as_ref()) != message.as_ref() {
            job.rare_mut().note = message;
            self.save(id);
        }
    }

    /// What it waited for before it ran says nothing any more; that its node is away, say, does.
    fn replace_message(&mut self, id: JobId, message: Option<String>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let told = job.rare.as_ref().and_then(|rare| rare.note.as_ref());
        let stopping = matches!(job.state, JobState::Stopping { .. });
        if told != message.as_ref() && !(stopping && message.is_none()) {
            job.rare_mut().note = message;
            self.save(id);
        }
    }

    fn on_running(&mut self, id: JobId, attempt: Attempt, at: UtcMs) {
        let was_suspended =
            self.jobs.get(&id).is_some_and(|job| matches!(job.state, JobState::Suspended { .. }));
        if was_suspended {
            if let Some(run) = self.jobs.get_mut(&id).and_then(|job| job.run.as_mut()) {
                run.resumed = Some(at.min(self.now));
            }
            self.apply(id, &JobEvent::Resumed(attempt));
        } else {
            self.on_started(id, attempt, at);
        }
    }

    /// The attempt has begun to run, and exists for sure.
    fn on_started(&mut self, id: JobId, attempt: Attempt, at: UtcMs) {
        self.runs_already(id);
        // An executor's clock may be off; nothing starts before its allocation or in the future.
        let now = self.now;
        if let Some(run) = self.jobs.get_mut(&id).and_then(|job| job.run.as_mut())
            && run.started.is_none()
        {
            run.started = Some(at.clamp(run.allocated.min(now), now));
        }
        let stop_waits = self
            .jobs
            .get(&id)
            .is_some_and(|job| matches!(job.state, JobState::Stopping { taken: false, .. }));
        if stop_waits {
            self.on_taken(id, attempt);
        }
        if let Step::Moved(_) = self.apply(id, &JobEvent::Started(attempt)) {
            self.set_time_limit(id, attempt);
        }
    }

    pub(crate) fn set_time_limit(&mut self, id: JobId, attempt: Attempt) {
        if let Some(at) = self.time_limit_due(id, attempt) {
            self.timers.set(at, Due::TimeLimit(id, attempt));
        }
    }

    /// When an execution that runs is ended for its time limit. Executors that end attempts at their limit get some
    /// time to do so before the engine does.
    pub(crate) fn time_limit_due(&self, id: JobId, attempt: Attempt) -> Option<UtcMs> {
        let job = self.jobs.get(&id).filter(|job| job.state.attempt() == Some(attempt))?;
        let ends = job.ends_by()?;
        let state = self.nodes.executor(self.nodes.executor_of(job.placement));
        let grace = Duration::from_millis(u64::from(job.grace_ms));
        let slack = match state.is_some_and(|state| state.abilities.time_limit) {
            true => grace + TIME_LIMIT_SLACK,
            false => Duration::ZERO,
        };
        Some(ends.after(slack))
    }

    /// Has a back end that holds attempts to their limit hold this one to what it is now.
    pub(crate) fn send_time_limit(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let (JobState::Running { attempt } | JobState::Suspended { attempt }) = job.state else { return };
        let Some(limit) = job.time_limit_ms.map(Duration::from_millis) else { return };
        let state = self.nodes.executor(self.nodes.executor_of(job.placement));
        if state.is_some_and(|state| state.abilities.time_limit && state.abilities.new_time_limit) {
            self.send(id, attempt, ControlAction::TimeLimit { limit }, None);
        }
    }

    fn on_node_gone(&mut self, id: JobId, attempt: Attempt, message: Option<String>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let words = message.unwrap_or_else(|| "its node is gone".into());
        let stopping = matches!(job.state, JobState::Stopping { .. });
        let may_retry = job
            .rare
            .as_mut()
            .filter(|rare| rare.node_failures < rare.retry_on_node_failure && !stopping)
            .map(|rare| rare.node_failures += 1)
            .is_some();
        let event = match may_retry {
            true => JobEvent::NodeGoneRetry(attempt),
            false => JobEvent::NodeGone(attempt, words),
        };
        self.apply(id, &event);
        if let Some(Kind::Task { array, .. }) = self.jobs.get(&id).map(|job| &job.kind) {
            self.refresh_array(*array);
        }
    }

    pub(crate) fn on_reconciled(&mut self, id: JobId, attempt: Attempt, truth: Reconciled) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.state.attempt() != Some(attempt) {
            return;
        }
        let taken_now = job.is_taken();
        let in_flight = job.run.as_ref().is_some_and(|run| run.in_flight);
        let Some(taken_when_asked) = job.run.as_mut().and_then(|run| run.reconciling.take()) else { return };
        match truth {
            Reconciled::Known(report) => {
                if let Some(run) = self.jobs.get_mut(&id).and_then(|job| job.run.as_mut())
                    && std::mem::take(&mut run.unsure)
                {
                    // It was let start before a crash.
                    run.launch = LaunchStep::Sent;
                }
                self.on_report(report);
                if self.jobs.get(&id).and_then(|job| job.run.as_ref()).is_some_and(|run| run.other_limit) {
                    self.send_time_limit(id);
                }
                // A stop may have been sent to nobody.
                if self.jobs.get(&id).is_some_and(|job| matches!(job.state, JobState::Stopping { .. })) {
                    self.on_taken(id, attempt);
                    self.send_stop(id);
                }
            }
            Reconciled::Uncertain(words) => {
                self.apply(id, &JobEvent::Lost(attempt, words));
            }
            Reconciled::Absent if taken_when_asked => {
                let words = "the back end took it and no longer knows it".to_owned();
                self.apply(id, &JobEvent::Lost(attempt, words));
            }
            // The answer to the launch says more.
            Reconciled::Absent if in_flight => {}
            // Taken while the question was under way: the answer may be older than that.
            Reconciled::Absent if taken_now => self.ask_about(id, attempt, "taken late".into()),
            Reconciled::Absent => self.on_absent(id, attempt),
        }
    }

    /// It never existed: it is launched now, or has ended if that is what was asked for. One that may not have been
    /// let start before a crash is asked about again.
    fn on_absent(&mut self, id: JobId, attempt: Attempt) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let starting = matches!(job.state, JobState::Starting { .. });
        let unsure = job.run.as_mut().is_some_and(|run| std::mem::take(&mut run.unsure));
        if unsure && starting {
            return self.ask_start(id, attempt);
        }
        match self.order(id) {
            Some(order) => {
                let executor = self.executor_of(id);
                self.out.effects.push(Effect::Launch { executor, orders: vec![order] });
            }
            None => {
                self.apply(id, &JobEvent::NoRoom(attempt));
            }
        }
    }

    pub(crate) fn on_attached(&mut self, id: JobId, attempt: Attempt, answer: StartAnswer) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let waits = matches!(job.state, JobState::Starting { attempt: of, .. } if of == attempt);
        let Some(run) =
            job.run.as_mut().filter(|run| waits && !run.unsure && run.launch == LaunchStep::AwaitsAnswer)
        else {
            return;
        };
        match answer {
            StartAnswer::Yes(network) => {
                run.network = network;
                run.launch = LaunchStep::Sent;
                self.on_absent(id, attempt);
            }
            StartAnswer::NotNow(words) => self.on_no_room(id, attempt, words),
            StartAnswer::Never { by, words } => self.reject(id, by, words),
        }
    }
}

/// How long a job rests after the back end had no room for it; doubled with each return, up to 32 times.
const REST_AFTER_NO_ROOM: Duration = Duration::from_secs(1);

/// How long past its limit and grace an attempt is left to an executor that enforces limits itself.
const TIME_LIMIT_SLACK: Duration = Duration::from_secs(30);
