//! Between the engine's types and those of the contracts. Jobs are translated without any allocation.

use berth_engine::{NodeTold, PendingTold, PlacementTold, Plan, Room, RunningTold, Start};
use berth_model::{JobId, Resources, UtcMs};

use crate::{
    Fault, Limits,
    bindings::v0_1_0::{scheduler as wit, types},
    words::shown,
};

impl From<Resources> for types::Resources {
    fn from(resources: Resources) -> Self {
        let Resources { cpu_millis, memory_bytes, gpus } = resources;
        Self { cpu_millis, memory_bytes, gpus }
    }
}

impl From<&NodeTold> for wit::Node {
    fn from(node: &NodeTold) -> Self {
        Self {
            id: node.id,
            name: node.name,
            executor: node.executor,
            total: node.total.into(),
            usable: node.usable,
            attributes: Vec::new(),
        }
    }
}

impl From<&PlacementTold> for wit::Placement {
    fn from(placement: &PlacementTold) -> Self {
        Self { id: placement.id, nodes: placement.nodes.clone() }
    }
}

impl From<&PendingTold> for wit::PendingJob {
    fn from(job: &PendingTold) -> Self {
        Self {
            id: job.id.0,
            owner: job.owner,
            project: job.project,
            placement: job.placement,
            count: job.count,
            needs: job.needs.into(),
            submitted_ms: job.submitted.0,
            eligible_ms: job.eligible.0,
            time_limit_ms: job.time_limit_ms,
            priority: job.priority,
        }
    }
}

impl From<&RunningTold> for wit::RunningJob {
    fn from(job: &RunningTold) -> Self {
        Self {
            id: job.id.0,
            array: job.array.map(|array| array.0),
            owner: job.owner,
            project: job.project,
            node: job.node,
            needs: job.needs.into(),
            started_ms: job.started.0,
            ends_ms: job.ends.map(|ends| ends.0),
        }
    }
}

impl From<&Room> for wit::NodeRoom {
    fn from(room: &Room) -> Self {
        Self { node: room.node, free: room.free.into() }
    }
}

/// A guest's plan as the engine takes it, if no list in it is too long.
pub(crate) fn plan(snapshot: u64, plan: wit::Answer, limits: &Limits) -> Result<Plan, Fault> {
    let longest =
        plan.starts.len().max(plan.reservations.len()).max(plan.rejections.len()).max(plan.passed_over.len());
    if longest > limits.answer_items {
        return Err(Fault::AnswerTooLarge { limit: format!("{} entries in a list", limits.answer_items) });
    }
    let words = |words: String| shown(&words, limits.words_bytes);
    Ok(Plan {
        snapshot,
        starts: plan
            .starts
            .into_iter()
            .map(|start| Start { job: JobId(start.job), count: start.count, node: start.node })
            .collect(),
        reservations: plan
            .reservations
            .into_iter()
            .map(|reservation| (JobId(reservation.job), reservation.node, UtcMs(reservation.at_ms)))
            .collect(),
        rejections: plan
            .rejections
            .into_iter()
            .map(|rejection| (JobId(rejection.job), words(rejection.words)))
            .collect(),
        passed_over: plan.passed_over.into_iter().map(|entry| (words(entry.words), entry.jobs)).collect(),
        wake_at: plan.wake_at_ms.map(UtcMs),
    })
}
