//! A live job, as small as decisions allow: there may be a million of them.

use std::collections::BTreeSet;

use berth_model::{
    ArrayRange, Attempt, Dependency, End, JobId, JobState, NetworkAttachment, Resources, StateKind,
    StopCause, UtcMs,
};

use crate::{
    ArrayEnds, NameId, NodeId, PlacementId, accounts::Keys, avoid::FailedOn, pace::Pace, pools::Held,
    spells::Series,
};

/// A job that has not ended.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) kind: Kind,
    pub(crate) owner: NameId,
    pub(crate) project: NameId,
    pub(crate) class: Option<NameId>,
    pub(crate) placement: PlacementId,
    pub(crate) priority: i32,
    pub(crate) needs: Resources,
    pub(crate) submitted: UtcMs,
    pub(crate) eligible: UtcMs,
    pub(crate) time_limit_ms: Option<u64>,
    pub(crate) grace_ms: u32,
    /// For a job that waits, the execution that its next start will be.
    pub(crate) attempt: Attempt,
    pub(crate) state: JobState,
    /// What the scheduler policy believes.
    pub(crate) told: Belief,
    /// An account of its has nothing left for it.
    pub(crate) barred: bool,
    /// How many waiting jobs it was counted as.
    pub(crate) waits: u64,
    /// Present from the allocation to its release.
    pub(crate) run: Option<Box<Run>>,
    /// What few jobs have.
    pub(crate) rare: Option<Box<Rare>>,
}

/// What a job is.
#[derive(Debug)]
pub(crate) enum Kind {
    Plain,
    Array(Box<Array>),
    Task { array: JobId, position: u64 },
}

/// What the scheduler policy was told about a job.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Belief {
    /// Tasks that may start; 0 when it does not know the job as pending.
    pub(crate) pending: u32,
    /// It knows the job as running.
    pub(crate) running: bool,
    /// The job is in the list of those to be looked at before the next request.
    pub(crate) stale: bool,
}

/// An execution in progress.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) node: NodeId,
    /// When the allocation was made.
    pub(crate) allocated: UtcMs,
    pub(crate) started: Option<UtcMs>,
    /// When it was resumed last.
    pub(crate) resumed: Option<UtcMs>,
    pub(crate) launch: LaunchStep,
    /// It was sent ahead and has no allocation yet: the back end keeps it until there is room.
    pub(crate) ahead: bool,
    /// The accounts in which what it may use is kept for it.
    pub(crate) reserved: Option<Keys>,
    /// A launch has been ordered and not been answered: another one now might run beside it.
    pub(crate) in_flight: bool,
    /// Somebody was asked, or may have been before a crash, whether it may start: they hear when it is over.
    pub(crate) asked: bool,
    /// Such a one was brought back: it may have been let start, and launched, before the crash. The back end is
    /// asked first.
    pub(crate) unsure: bool,
    pub(crate) network: Option<NetworkAttachment>,
    /// The named resources that it holds.
    pub(crate) held: Vec<Held>,
    /// Whether the attempt was known to be taken when the question that is under way was asked.
    pub(crate) reconciling: Option<bool>,
    /// The back end may hold it to another time limit than Berth does: it is told again when it was away.
    pub(crate) other_limit: bool,
    pub(crate) stops_sent: u32,
    pub(crate) cpu_micros: Option<u64>,
    pub(crate) memory_peak_bytes: Option<u64>,
}

/// How far the launch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaunchStep {
    /// It was asked whether it may start, and there is no answer yet.
    AwaitsAnswer,
    /// The executor was asked, or may have been before a crash.
    Sent,
}

/// What few jobs have.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    pub(crate) begin: Option<UtcMs>,
    /// Those that are not met yet.
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) retry_on_node_failure: u32,
    pub(crate) node_failures: u32,
    pub(crate) wants_network: bool,
    /// It is to avoid nodes where it failed.
    pub(crate) avoids: bool,
    /// Where it did, oldest first; of an array where its tasks did.
    pub(crate) failed_on: Vec<FailedOn>,
    /// Given back by the back end: not told to the policy before this instant.
    pub(crate) not_before: Option<UtcMs>,
    /// The executor's words when it last gave it back.
    pub(crate) given_back: Option<String>,
    /// The latest sub-status.
    pub(crate) note: Option<String>,
    /// A task that runs again although its array is over: it stands for itself.
    pub(crate) alone: bool,
    /// For such a task, its array's range.
    pub(crate) range: Option<ArrayRange>,
}

/// What an array has beyond a job.
#[derive(Debug)]
pub(crate) struct Array {
    pub(crate) range: ArrayRange,
    /// Positions below this have become jobs of their own.
    pub(crate) next: u64,
    /// Positions from `next` on that are jobs all the same: killed, or run again, before their turn.
    pub(crate) ahead: BTreeSet<u64>,
    /// Tasks that are jobs and wait again.
    pub(crate) waiting: BTreeSet<u64>,
    /// Likewise, but for themselves: they avoid nodes on which they failed.
    pub(crate) apart: BTreeSet<u64>,
    /// Whether such a one could start, as far as the array is concerned, when that was looked at last.
    pub(crate) lets_start: bool,
    /// Tasks that are jobs and are held.
    pub(crate) held: BTreeSet<u64>,
    /// Tasks that have an allocation.
    pub(crate) active: BTreeSet<u64>,
    pub(crate) ends: ArrayEnds,
    /// How long its tasks run, as far as is known; `None` where none is to be sent ahead.
    pub(crate) pace: Option<Pace>,
    /// It was killed as a whole: nothing further starts.
    pub(crate) killed: Option<StopCause>,
    /// What its tasks have waited for.
    pub(crate) waited: Series,
}

impl Array {
    pub(crate) fn new(range: ArrayRange) -> Self {
        Self {
            range,
            next: 0,
            ahead: BTreeSet::new(),
            waiting: BTreeSet::new(),
            apart: BTreeSet::new(),
            lets_start: true,
            held: BTreeSet::new(),
            active: BTreeSet::new(),
            ends: ArrayEnds::default(),
            pace: None,
            killed: None,
            waited: Series::default(),
        }
    }

    /// Tasks that are not jobs yet.
    pub(crate) fn untouched(&self) -> u64 {
        self.range.tasks().saturating_sub(self.next).saturating_sub(self.ahead.len() as u64)
    }

    /// Whether any of its tasks has become a job.
    pub(crate) fn has_begun(&self) -> bool {
        self.next > 0 || !self.ahead.is_empty()
    }

    /// How many tasks may start now.
    pub(crate) fn startable(&self) -> u32 {
        if self.killed.is_some() {
            return 0;
        }
        let waiting = self.untouched() + self.waiting.len() as u64;
        u32::try_from(waiting.min(self.bound_left())).unwrap_or(u32::MAX)
    }

    /// How many more may run at once.
    fn bound_left(&self) -> u64 {
        match self.range.at_once() {
            Some(bound) => u64::from(bound).saturating_sub(self.active.len() as u64),
            None => u64::MAX,
        }
    }

    /// Whether one more may run.
    pub(crate) fn has_place(&self) -> bool {
        self.killed.is_none() && self.bound_left() > 0
    }

    /// The position that starts next: one that waits again before one that never ran.
    pub(crate) fn peek(&self) -> Option<u64> {
        if let Some(&position) = self.waiting.first() {
            return Some(position);
        }
        (self.next..self.range.tasks()).find(|position| !self.ahead.contains(position))
    }

    /// Whether this task, which has an allocation, is the first of all to have one.
    pub(crate) fn is_first(&self, position: u64) -> bool {
        self.next == 0 && self.ends.ended == 0 && self.active.iter().all(|&active| active == position)
    }

    /// Notes that a task is a job, whether its turn has come or not.
    pub(crate) fn is_a_job(&mut self, position: u64) {
        if position >= self.next {
            self.ahead.insert(position);
        }
    }

    /// Notes where a task stands that is a job and has not ended, and whether it waits for itself.
    pub(crate) fn place(&mut self, position: u64, state: StateKind, apart: bool) {
        let belongs = |set: &mut BTreeSet<u64>, here: bool| match here {
            true => set.insert(position),
            false => set.remove(&position),
        };
        belongs(&mut self.waiting, state == StateKind::Pending && !apart);
        belongs(&mut self.apart, state == StateKind::Pending && apart);
        belongs(&mut self.held, state == StateKind::Held);
        belongs(&mut self.active, state.is_active());
    }

    /// Notes that `position` has begun, for the first time or again.
    pub(crate) fn begin(&mut self, position: u64) {
        self.place(position, StateKind::Starting, false);
        if position >= self.next && !self.ahead.contains(&position) {
            self.next = position + 1;
            self.ahead.retain(|&ahead| ahead > position);
        }
    }

    /// Notes an end.
    pub(crate) fn finish(&mut self, position: u64, end: &End) {
        self.place(position, end.kind(), false);
        self.is_a_job(position);
        self.ends.ended += 1;
        if *end != End::Succeeded {
            self.ends.not_ok += 1;
        }
        self.ends.highest_exit = self.ends.highest_exit.max(end.exit_code().unwrap_or(0));
    }

    /// Whether nothing of it runs or will.
    pub(crate) fn is_over(&self) -> bool {
        let rest = if self.killed.is_some() { 0 } else { self.untouched() };
        rest == 0
            && self.active.is_empty()
            && self.waiting.is_empty()
            && self.apart.is_empty()
            && self.held.is_empty()
    }

    /// How the array as a whole ended.
    pub(crate) fn end(&self) -> End {
        let exit_code = Some(self.ends.highest_exit);
        match &self.killed {
            Some(cause) if self.ends.not_ok > 0 || self.untouched() > 0 => {
                End::Killed { cause: cause.clone(), exit_code: exit_code.filter(|&code| code > 0) }
            }
            _ if self.ends.not_ok == 0 => End::Succeeded,
            _ => End::Failed { cause: berth_model::FailCause::Tasks, exit_code },
        }
    }
}

impl Job {
    pub(crate) fn array(&self) -> Option<&Array> {
        match &self.kind {
            Kind::Array(array) => Some(array),
            Kind::Plain | Kind::Task { .. } => None,
        }
    }

    pub(crate) fn array_mut(&mut self) -> Option<&mut Array> {
        match &mut self.kind {
            Kind::Array(array) => Some(array),
            Kind::Plain | Kind::Task { .. } => None,
        }
    }

    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// When it has to be over at the latest.
    pub(crate) fn ends_by(&self) -> Option<UtcMs> {
        let started = self.run.as_ref()?.started?;
        Some(UtcMs(started.0.saturating_add(self.time_limit_ms?)))
    }

    /// Whether the back end may have the attempt: the executor was asked for it, or may have been.
    pub(crate) fn may_exist(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.launch == LaunchStep::Sent || run.unsure)
    }

    /// Whether the back end is known to have the attempt.
    pub(crate) fn is_taken(&self) -> bool {
        match self.state {
            JobState::Starting { taken, .. } | JobState::Stopping { taken, .. } => taken,
            JobState::Running { .. } | JobState::Suspended { .. } => true,
            JobState::Held { .. } | JobState::Pending | JobState::Ended { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_job_costs_little() {
        assert!(size_of::<Job>() <= 208, "{} bytes", size_of::<Job>());
    }

    #[test]
    fn an_array_starts_what_waits_again_first_and_skips_what_ahead() {
        let mut array = Array::new("1-5%3".parse().unwrap());
        array.finish(1, &End::Killed { cause: StopCause::Array, exit_code: None });
        assert_eq!(array.startable(), 3);
        let mut began = Vec::new();
        for _ in 0..2 {
            let position = array.peek().unwrap();
            array.begin(position);
            began.push(position);
        }
        assert_eq!(began, [0, 2]);
        array.place(0, StateKind::Pending, false);
        assert_eq!(array.peek(), Some(0));
        assert_eq!(array.startable(), 2, "one runs and three may");
    }

    #[test]
    fn a_task_that_waits_for_itself_is_none_of_those_that_the_array_starts() {
        let mut array = Array::new("1-2%1".parse().unwrap());
        array.begin(0);
        array.begin(1);
        array.place(0, StateKind::Pending, true);
        array.finish(1, &End::Succeeded);
        assert_eq!((array.startable(), array.peek()), (0, None));
        assert!(array.has_place() && !array.is_over());
        array.place(0, StateKind::Starting, true);
        assert!(!array.has_place(), "one runs and one may");
    }
}
