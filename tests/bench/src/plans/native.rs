//! The same policy, compiled for this machine, fed in the same way.

use std::{sync::mpsc, thread};

use anyhow::{Context, Result};
use berth_engine::{PendingTold, PlanRequest, Told};
use berth_model::JobId;
use berth_policy_sdk::{
    NodeRoom, Ordered, PendingJob, Resources, Scheduler, Settings,
    scheduler::{Node, Placement},
};
use berth_scheduler_fifo::policy::Fifo;

/// What a plan starts, or why there is none.
type Answer = Result<Vec<JobId>, String>;

/// The policy on its thread.
pub struct Native {
    requests: mpsc::Sender<PlanRequest>,
    answers: mpsc::Receiver<Answer>,
}

impl Native {
    pub fn start() -> Self {
        let (requests, asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        thread::spawn(move || {
            let made = Ordered::<Fifo>::configure(&mut Settings::new(Vec::new()));
            let Ok(mut policy) = made else { return };
            for request in asked {
                if answer.send(plan(&mut policy, request)).is_err() {
                    return;
                }
            }
        });
        Self { requests, answers }
    }
}

impl super::Planner for Native {
    fn plan(&mut self, request: PlanRequest) -> Result<Vec<JobId>> {
        self.requests.send(request).context("the native policy has ended")?;
        let answer = self.answers.recv().context("the native policy has ended")?;
        answer.map_err(anyhow::Error::msg)
    }
}

fn plan(policy: &mut Ordered<Fifo>, request: PlanRequest) -> Answer {
    tell(policy, request.told);
    if policy.known() != request.pending_known {
        return Err("the native policy has lost count".into());
    }
    let room = request.room.iter().map(|room| NodeRoom { node: room.node, free: resources(room.free) });
    let plan = policy.plan(request.now.0, room.collect(), request.most);
    let plan = plan.map_err(|error| format!("the native policy has no plan: {error:?}"))?;
    Ok(plan.starts.iter().map(|start| JobId(start.job)).collect())
}

fn tell(policy: &mut Ordered<Fifo>, told: Told) {
    policy.names(told.first_name, told.names);
    let nodes = told.nodes.iter().map(|node| Node {
        id: node.id,
        name: node.name,
        executor: node.executor,
        total: resources(node.total),
        usable: node.usable,
        attributes: Vec::new(),
    });
    policy.nodes(nodes.collect());
    let placements = told.placements.into_iter();
    policy.placements(placements.map(|one| Placement { id: one.id, nodes: one.nodes }).collect());
    policy.withdrawn(told.withdrawn.iter().map(|job| job.0).collect());
    policy.pending(told.pending.iter().map(pending).collect());
}

fn pending(job: &PendingTold) -> PendingJob {
    PendingJob {
        id: job.id.0,
        owner: job.owner,
        project: job.project,
        placement: job.placement,
        count: job.count,
        needs: resources(job.needs),
        submitted_ms: job.submitted.0,
        eligible_ms: job.eligible.0,
        time_limit_ms: job.time_limit_ms,
        priority: job.priority,
    }
}

fn resources(resources: berth_model::Resources) -> Resources {
    let berth_model::Resources { cpu_millis, memory_bytes, gpus } = resources;
    Resources { cpu_millis, memory_bytes, gpus }
}
