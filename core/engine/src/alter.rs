//! Jobs that are changed while they wait or run, or before they run again.

use std::sync::Arc;

use berth_model::{EventKind, JobId, JobSpec, JobState, StateKind, Submission};

use crate::{
    Answer, Change, Engine, LiveJob, Refusal,
    accounts::Whose,
    commands::millis,
    job::{Array, Job, Kind},
};

/// What of a job can be changed.
#[derive(Debug, PartialEq, Eq)]
struct Old {
    priority: i32,
    project: String,
    class: Option<String>,
    needs: berth_model::Resources,
    time_limit_ms: Option<u64>,
}

impl Old {
    fn of(spec: &JobSpec) -> Self {
        Self {
            priority: spec.priority,
            project: spec.project.clone(),
            class: spec.class.clone(),
            needs: spec.resources,
            time_limit_ms: spec.time_limit.map(millis),
        }
    }

    fn same_but_priority(&self, spec: &JobSpec) -> bool {
        self.same_but_what_runs_takes_up(spec) && self.time_limit_ms == spec.time_limit.map(millis)
    }

    fn same_but_what_runs_takes_up(&self, spec: &JobSpec) -> bool {
        self.project == spec.project && self.class == spec.class && self.needs == spec.resources
    }

    /// In words, for the history.
    fn changes_to(&self, spec: &JobSpec) -> String {
        let limit = |millis: Option<u64>| {
            let words = |millis| berth_model::format_duration(std::time::Duration::from_millis(millis));
            millis.map_or_else(|| "none".to_owned(), words)
        };
        let of = |class: &Option<String>| class.clone().unwrap_or_else(|| "none".to_owned());
        let parts = [
            ("priority", self.priority.to_string(), spec.priority.to_string()),
            ("project", self.project.clone(), spec.project.clone()),
            ("class", of(&self.class), of(&spec.class)),
            ("resources", self.needs.to_string(), spec.resources.to_string()),
            ("time limit", limit(self.time_limit_ms), limit(spec.time_limit.map(millis))),
        ];
        let changed = parts.into_iter().filter(|(_, was, is)| was != is);
        changed.map(|(what, was, is)| format!("{what} {was} -> {is}")).collect::<Vec<_>>().join(", ")
    }
}

impl Engine {
    /// Puts what was submitted anew in place of what was, as far as a waiting job can be changed. What was made of
    /// something else than it is now would undo what somebody else has changed, and is refused.
    pub(crate) fn alter(
        &mut self,
        id: JobId,
        before: &JobSpec,
        submission: &Arc<Submission>,
        by: &str,
        notes: Vec<String>,
    ) -> Result<Answer, Refusal> {
        let spec = &submission.spec;
        let job = self.jobs.get(&id).ok_or(Refusal::NotLive(id))?;
        let old = Old {
            priority: job.priority,
            project: self.names.name(job.project).to_owned(),
            class: job.class.map(|class| self.names.name(class).to_owned()),
            needs: job.needs,
            time_limit_ms: job.time_limit_ms,
        };
        if old != Old::of(before) {
            return Err(Refusal::Outdated(id));
        }
        let words = old.changes_to(spec);
        if words.is_empty() {
            return Ok(Answer::NoNews("it is so already"));
        }
        let begun = job.array().is_some_and(Array::has_begun);
        match (&job.kind, job.state.kind()) {
            (Kind::Task { .. }, _) => return Err(self.refusal(id, "a task is changed with its array")),
            (_, StateKind::Held | StateKind::Pending) if !begun => {}
            (Kind::Array(array), _) if array.killed.is_none() && old.same_but_priority(spec) => {}
            (Kind::Array(_), _) => {
                return Err(self.refusal(id, "its tasks have begun; only its priority can be changed"));
            }
            (Kind::Plain, StateKind::Stopping) => return Err(self.refusal(id, "it is being ended")),
            (Kind::Plain, _) if !old.same_but_what_runs_takes_up(spec) => {
                let why = "of what has started, only the priority and the time limit can be changed";
                return Err(self.refusal(id, why));
            }
            (Kind::Plain, _) => {
                if old.time_limit_ms != spec.time_limit.map(millis) {
                    self.limit_anew(id, spec.time_limit.map(millis))?;
                }
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.priority = spec.priority;
                }
                self.altered(id, submission, format!("changed by {by}: {words}"), notes);
                return Ok(Answer::Done);
            }
        }
        let (placement, owner) = (job.placement, job.owner);
        self.check_feasible(placement, &submission.executor, &spec.resources)?;
        let whose = Whose {
            user: owner,
            project: self.project_number(&spec.project)?,
            class: self.class_number(spec.class.as_deref()),
        };
        if old.project != spec.project {
            self.check_project(whose)?;
        }
        self.join_class(whose);
        if !old.same_but_priority(spec) {
            self.check_affordable(whose, spec)?;
        }
        self.let_go_of_quota(id);
        self.telling.is_another(id, self.jobs.get(&id).map(|job| &**job));
        self.join(whose);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.take(spec, whose);
        }
        // A closure may look at its time limit or its project.
        self.place_job_anew(id);
        self.move_directories(id, spec.array.map_or(0, |range| range.tasks()), whose);
        self.altered(id, submission, format!("changed by {by}: {words}"), notes);
        Ok(Answer::Done)
    }

    /// Has a change written, and told to whom it concerns.
    fn altered(&mut self, id: JobId, submission: &Arc<Submission>, text: String, notes: Vec<String>) {
        self.out.changes.push(Change::Altered { job: id, submission: Arc::clone(submission) });
        self.record(id, EventKind::Note { text });
        self.record_notes(id, notes);
        self.save(id);
        self.touch(id);
        self.telling.wanted = true;
    }

    /// A job that runs takes up another time limit: what is kept for it, its timer, and its back end's.
    fn limit_anew(&mut self, id: JobId, limit_ms: Option<u64>) -> Result<(), Refusal> {
        let job = self.jobs.get(&id).ok_or(Refusal::NotLive(id))?;
        let (JobState::Running { attempt } | JobState::Suspended { attempt }) = job.state else {
            return Err(self.refusal(id, "its time limit can be changed before it starts, and once it runs"));
        };
        let Some(limit) = limit_ms else {
            return Err(self.refusal(id, "a time limit cannot be taken away from what runs"));
        };
        let started = job.run.as_ref().and_then(|run| run.started).unwrap_or(self.now);
        if started.0.saturating_add(limit) <= self.now.0 {
            return Err(self.refusal(id, "it has run longer than that already; kill it instead"));
        }
        let executor = self.nodes.executor_of(job.placement);
        let abilities = self.nodes.executor(executor).map(|state| state.abilities).unwrap_or_default();
        if !abilities.new_time_limit {
            let (executor, what) =
                (self.names.name(executor).to_owned(), "change the time limit of what runs");
            return Err(Refusal::Unable { executor, what });
        }
        // What began before a window goes on, and does not reach into it by a limit that came later.
        let end = started.0.saturating_add(limit).saturating_add(u64::from(job.grace_ms));
        if job.time_limit_ms.is_some_and(|before| limit > before) && self.meets_a_window(job, end) {
            let why = "something is planned on its node before it would be over";
            return Err(self.refusal(id, why));
        }
        self.reserve_anew(id, limit_ms)?;
        if let Some(run) = self.jobs.get_mut(&id).and_then(|job| job.run.as_mut()) {
            run.other_limit = true;
        }
        self.set_time_limit(id, attempt);
        self.send_time_limit(id);
        Ok(())
    }

    /// Whether a window that has not begun closes a running job's node to it before it would be over.
    fn meets_a_window(&self, job: &Job, end: u64) -> bool {
        let Some(run) = job.run.as_ref() else { return false };
        let rest = end.saturating_sub(self.now.0);
        let party = self.nodes.closures.party(job.owner, job.project, Some(rest));
        let ahead = |from: berth_model::UtcMs| from > self.now;
        self.nodes.closed_by(run.node, &party).any(|shut| shut.terms.from.is_some_and(ahead))
    }

    /// What is to run again with something changed.
    ///
    /// # Errors
    /// When it could not run so.
    pub(crate) fn alter_stored(
        &mut self,
        stored: &mut LiveJob,
        submission: &Arc<Submission>,
    ) -> Result<(), Refusal> {
        let spec = &submission.spec;
        if stored.task_of.is_some() {
            let (job, state) = (stored.id, stored.moving.state.kind());
            return Err(Refusal::State { job, state, why: "a task runs again as its array has it" });
        }
        let executor = self.names.number(&submission.executor);
        let wish = self.wish(executor, &spec.constraints, &spec.named);
        let placement = self.nodes.placement(wish);
        self.check_feasible(placement, &submission.executor, &spec.resources)?;
        let project = self.project_number(&spec.project)?;
        let whose = Whose {
            user: self.names.number(&stored.owner),
            project,
            class: self.class_number(spec.class.as_deref()),
        };
        self.check_project(whose)?;
        self.join_class(whose);
        self.check_affordable(whose, spec)?;
        self.move_directories(stored.id, stored.array.map_or(0, |range| range.tasks()), whose);
        stored.project.clone_from(&spec.project);
        stored.class.clone_from(&spec.class);
        stored.needs = spec.resources;
        stored.time_limit_ms = spec.time_limit.map(millis);
        stored.moving.priority = spec.priority;
        self.out.changes.push(Change::Altered { job: stored.id, submission: Arc::clone(submission) });
        Ok(())
    }
}

impl Job {
    fn take(&mut self, spec: &JobSpec, whose: Whose) {
        self.priority = spec.priority;
        self.project = whose.project;
        self.class = whose.class;
        self.needs = spec.resources;
        self.time_limit_ms = spec.time_limit.map(millis);
    }
}
