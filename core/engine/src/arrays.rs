//! Tasks of arrays: they become jobs when their turn comes, not before.

use berth_model::{Attempt, End, EventKind, JobId, JobState, StopCause};

use crate::{
    Change, Engine,
    commands::task_id,
    job::{Belief, Job, Kind, Rare},
};

impl Engine {
    /// The live array and the position that a number was reserved for.
    pub(crate) fn task_of_number(&self, id: JobId) -> Option<(JobId, u64)> {
        let &array = self.arrays.range(..id).next_back()?;
        let position = id.0.checked_sub(array.0)?.checked_sub(1)?;
        let tasks = self.jobs.get(&array)?.array()?.range.tasks();
        (position < tasks).then_some((array, position))
    }

    /// Likewise, for a task that has not become a job yet.
    pub(crate) fn untouched_task(&self, id: JobId) -> Option<(JobId, u64)> {
        let (array, position) = self.task_of_number(id)?;
        let body = self.jobs.get(&array)?.array()?;
        let untouched = position >= body.next && !body.ahead.contains(&position) && body.killed.is_none();
        untouched.then_some((array, position))
    }

    /// Makes a task a job of its own, unless it is one already, and gives its number.
    pub(crate) fn expand(&mut self, array: JobId, position: u64) -> Option<JobId> {
        let id = task_id(array, position);
        if self.jobs.contains_key(&id) {
            return Some(id);
        }
        let parent = self.jobs.get(&array)?;
        let from_parent = parent.rare.as_deref();
        let rare =
            from_parent.filter(|rare| rare.wants_network || rare.avoids || rare.retry_on_node_failure > 0);
        let number = parent.attempt.number;
        let rare = rare.map(|rare| {
            Box::new(Rare {
                retry_on_node_failure: rare.retry_on_node_failure,
                wants_network: rare.wants_network,
                avoids: rare.avoids,
                // What its sisters fail on in this run of the array is none of its business.
                failed_on: rare.failed_on.iter().copied().filter(|failed| failed.attempt < number).collect(),
                ..Rare::default()
            })
        });
        let task = Job {
            kind: Kind::Task { array, position },
            owner: parent.owner,
            project: parent.project,
            class: parent.class,
            placement: parent.placement,
            priority: parent.priority,
            needs: parent.needs,
            submitted: parent.submitted,
            eligible: parent.eligible,
            time_limit_ms: parent.time_limit_ms,
            grace_ms: parent.grace_ms,
            attempt: Attempt { number: parent.attempt.number, returned: 0 },
            state: JobState::Pending,
            told: Belief::default(),
            barred: false,
            waits: 0,
            run: None,
            rare,
        };
        let live = Box::new(self.live(id, &task, ""));
        self.out.changes.push(Change::TaskAdded { task: live });
        self.jobs.insert(id, Box::new(task));
        Some(id)
    }

    /// Ends a task before its turn.
    pub(crate) fn end_untouched(&mut self, array: JobId, position: u64, cause: StopCause) {
        let Some(id) = self.expand(array, position) else { return };
        let end = End::Killed { cause, exit_code: None };
        if let Some(task) = self.jobs.get_mut(&id) {
            task.state = JobState::Ended { end: Box::new(end.clone()) };
        }
        self.finish(id, end);
    }

    /// Notes that a task has an allocation.
    pub(crate) fn begin_task(&mut self, array: JobId, position: u64) {
        let mut first = false;
        self.with_array(array, |body| {
            first = body.is_first(position);
            body.begin(position);
        });
        if first && let Some(attempt) = self.jobs.get(&array).map(|job| job.attempt) {
            self.record(array, EventKind::Running { attempt });
        }
        self.refresh_array(array);
        // How far it has come has to be durable even when its state stays.
        self.save(array);
    }
}
