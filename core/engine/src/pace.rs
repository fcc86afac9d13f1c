//! Tasks sent ahead: where an array's tasks are so short that deciding on each takes longer than running
//! it, some are handed to a back end that keeps them until it has room.
//!
//! What is sent ahead is bounded by time: about [`WINDOW_MS`] of work, judged by the tasks that have ended. So
//! no more urgent job waits noticeably longer than it would have. A task sent ahead holds no allocation; it
//! takes over that of the one before it.

use std::collections::BTreeMap;

use berth_model::{JobId, UtcMs};

use crate::{Engine, LaunchOrder, NodeId, job::Kind};

/// How much work may be with the back end beyond its room, in milliseconds.
const WINDOW_MS: u64 = 50;
/// The most tasks sent ahead to one node.
const MOST_AHEAD: u64 = 64;
/// How many tasks of an array have to have ended before it is believed to be short.
const ENOUGH: u32 = 4;

/// How long an array's tasks run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    ended: u32,
    /// A running mean, in sixteenths of a millisecond.
    mean: u64,
}

impl Pace {
    /// One more task has ended.
    pub(crate) fn note(&mut self, started: UtcMs, ended: UtcMs) {
        let ran = ended.0.saturating_sub(started.0).min(1 << 40) * 16;
        self.mean = match self.ended {
            0 => ran,
            _ => (self.mean * 7 + ran) / 8,
        };
        self.ended = self.ended.saturating_add(1);
    }

    /// How many may wait for each one that runs.
    fn ahead_per_slot(&self) -> u64 {
        if self.ended < ENOUGH {
            return 0;
        }
        // A task that takes no measurable time takes some.
        (WINDOW_MS * 16 / self.mean.max(8)).min(MOST_AHEAD)
    }
}

impl Engine {
    /// Sends further tasks of the arrays that a plan has just started to the same nodes, as far as these are
    /// short and the back end keeps them.
    pub(crate) fn send_ahead(
        &mut self,
        placed: &[(JobId, NodeId)],
        launches: &mut BTreeMap<String, Vec<LaunchOrder>>,
    ) {
        let mut last = None;
        for &(array, node) in placed {
            if last == Some((array, node)) {
                continue;
            }
            last = Some((array, node));
            for _ in 0..self.may_be_ahead(array, node) {
                if !self.send_one_ahead(array, node, launches) {
                    break;
                }
            }
        }
    }

    fn may_be_ahead(&self, array: JobId, node: NodeId) -> u64 {
        // What is sent ahead was not checked against its accounts.
        if self.accounts.are_bounded() {
            return 0;
        }
        let Some(job) = self.jobs.get(&array) else { return 0 };
        // The plan may have been made before the node was closed.
        let takes = self.nodes.takes(node, job.placement);
        if !takes || self.asks_before(job) || !self.nodes.named_of(job.placement).is_empty() {
            return 0;
        }
        let executor = self.nodes.executor(self.nodes.executor_of(job.placement));
        if !executor.is_some_and(|executor| executor.abilities.queues) {
            return 0;
        }
        let pace = job.array().and_then(|array| array.pace).map_or(0, |pace| pace.ahead_per_slot());
        let Some(state) = self.nodes.node(node) else { return 0 };
        // Only where the node is full: else the policy has something to decide.
        if job.needs.fits_in(&state.free()) {
            return 0;
        }
        let slots = u64::from(state.jobs.max(1));
        (pace * slots).min(MOST_AHEAD).saturating_sub(state.ahead.len() as u64)
    }

    fn send_one_ahead(
        &mut self,
        array: JobId,
        node: NodeId,
        launches: &mut BTreeMap<String, Vec<LaunchOrder>>,
    ) -> bool {
        let Some(job) = self.jobs.get(&array) else { return false };
        if self.startable(job) == 0 {
            return false;
        }
        let Some(position) = job.array().and_then(crate::job::Array::peek) else { return false };
        let Some(task) = self.expand(array, position) else { return false };
        if !self.is_pending(task) {
            return false;
        }
        self.nodes.send_ahead(node, task);
        self.allocated(task, node, None);
        self.begin_task(array, position);
        if let Some(order) = self.order(task) {
            launches.entry(self.executor_of(task)).or_default().push(order);
        }
        true
    }

    /// Room has become free on a node: those that were sent ahead take it over, oldest first. Whether all that
    /// did are tasks of `array`, and there were any.
    pub(crate) fn take_over(&mut self, node: NodeId, array: Option<JobId>) -> bool {
        let mut took = 0_usize;
        let mut others = false;
        while let Some(task) = self.nodes.first_ahead(node) {
            let waits = self.jobs.get(&task).and_then(|job| job.run.as_ref());
            let waits = waits.is_some_and(|run| run.ahead && run.node == node);
            let asked = self.jobs.get(&task).map(|job| (job.placement, job.needs, job.owner));
            let (placement, needs, owner) = asked.unwrap_or_default();
            // Nothing with named resources is ever sent ahead.
            if waits && self.nodes.allocate(node, placement, &needs, owner).is_none() {
                break;
            }
            self.nodes.drop_first_ahead(node);
            if !waits {
                continue;
            }
            took += 1;
            others |= self.array_of(task) != array;
            if let Some(run) = self.jobs.get_mut(&task).and_then(|job| job.run.as_mut()) {
                run.ahead = false;
            }
            self.reserve(task);
            self.touch(task);
        }
        took > 0 && array.is_some() && !others
    }

    /// The array that a live task belongs to.
    pub(crate) fn array_of(&self, task: JobId) -> Option<JobId> {
        match self.jobs.get(&task)?.kind {
            Kind::Task { array, .. } => Some(array),
            Kind::Plain | Kind::Array(_) => None,
        }
    }

    /// The back end runs it, so it has room for it, whatever the books say.
    pub(crate) fn runs_already(&mut self, task: JobId) {
        let Some(job) = self.jobs.get_mut(&task) else { return };
        let needs = job.needs;
        let Some(run) = job.run.as_mut().filter(|run| run.ahead) else { return };
        run.ahead = false;
        let node = run.node;
        self.nodes.allocate_restored(node, &needs, &[]);
        self.reserve(task);
        self.touch(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_short_is_sent_ahead() {
        let mut pace = Pace::default();
        for _ in 0..3 {
            pace.note(UtcMs(0), UtcMs(1));
        }
        assert_eq!(pace.ahead_per_slot(), 0, "too little is known");
        pace.note(UtcMs(0), UtcMs(1));
        assert_eq!(pace.ahead_per_slot(), 50);
        for _ in 0..40 {
            pace.note(UtcMs(0), UtcMs(60_000));
        }
        assert_eq!(pace.ahead_per_slot(), 0, "a minute is not short");
    }
}
