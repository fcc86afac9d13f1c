//! Nodes that a job avoids because it failed there, where that was asked for.

use berth_model::{End, FailedNode, JobEvent, JobId, JobState};

use crate::{
    Engine, NodeId, PlacementId,
    job::{Job, Kind},
};

/// The most failures that are kept of one job, the latest ones.
const MOST_KEPT: usize = 256;

/// A node on which an execution failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailedOn {
    pub(crate) node: NodeId,
    /// The execution's number.
    pub(crate) attempt: u32,
}

impl Job {
    /// The nodes on which an earlier execution failed, in rising order. Of an array those of its tasks count, as soon
    /// as it runs again as a whole.
    pub(crate) fn avoided(&self) -> Vec<NodeId> {
        let failed = self.rare.iter().flat_map(|rare| &rare.failed_on);
        let mut nodes: Vec<NodeId> =
            failed.filter(|failed| failed.attempt < self.attempt.number).map(|failed| failed.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Whether a task waits for itself, since it may not run everywhere where its sisters may.
    pub(crate) fn stands_apart(&self) -> bool {
        matches!(self.kind, Kind::Task { .. }) && !self.avoided().is_empty()
    }

    pub(crate) fn note_failure(&mut self, failed: FailedOn) {
        let all = &mut self.rare_mut().failed_on;
        all.push(failed);
        if all.len() > MOST_KEPT {
            all.remove(0);
        }
    }
}

impl Engine {
    /// Notes that an execution has failed on its node, where the job wants that to count, and where the next one may
    /// run because of it.
    pub(crate) fn note_failed_node(&mut self, id: JobId, before: &JobState, event: &JobEvent) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !job.rare.as_ref().is_some_and(|rare| rare.avoids) || !has_failed(&job.state, event) {
            return;
        }
        let (Some(attempt), Some(run)) = (before.attempt(), job.run.as_ref()) else { return };
        let failed = FailedOn { node: run.node, attempt: attempt.number };
        job.note_failure(failed);
        if let Kind::Task { array, .. } = job.kind
            && let Some(job) = self.jobs.get_mut(&array)
        {
            job.note_failure(failed);
            self.save(array);
        }
        self.place_job_anew(id);
    }

    /// Where a job may run, by what holds now of it and of all closures.
    pub(crate) fn placement_now(&mut self, job: &Job) -> PlacementId {
        let party = self.nodes.closures.party(job.owner, job.project, job.cost().most_ms);
        self.nodes.placement_like(job.placement, party, &job.avoided())
    }

    /// Sees to it that a job has the placement that is right for it.
    pub(crate) fn place_job_anew(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let party = self.nodes.closures.party(job.owner, job.project, job.cost().most_ms);
        let placement = self.nodes.placement_like(job.placement, party, &job.avoided());
        self.move_to(id, placement);
    }

    /// Gives a job another placement.
    pub(crate) fn move_to(&mut self, id: JobId, placement: PlacementId) {
        if self.jobs.get(&id).is_none_or(|job| job.placement == placement) {
            return;
        }
        self.telling.is_another(id, self.jobs.get(&id).map(|job| &**job));
        if let Some(job) = self.jobs.get_mut(&id) {
            job.placement = placement;
        }
        self.touch(id);
    }

    /// As they are kept.
    pub(crate) fn failed_nodes(&self, job: &Job) -> Vec<FailedNode> {
        let failed = job.rare.iter().flat_map(|rare| &rare.failed_on);
        failed
            .map(|failed| FailedNode { node: self.node_name(failed.node), attempt: failed.attempt })
            .collect()
    }
}

/// Whether an execution that is over so has failed, or its node has.
fn has_failed(now: &JobState, event: &JobEvent) -> bool {
    match event {
        JobEvent::NodeGone(..) | JobEvent::NodeGoneRetry(_) | JobEvent::Lost(..) => true,
        _ => match now {
            JobState::Ended { end } => matches!(**end, End::Failed { .. } | End::Lost { .. }),
            _ => false,
        },
    }
}
