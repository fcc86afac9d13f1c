//! A scheduler policy that is bad on purpose: it starts the first job twice.

use std::collections::BTreeMap;

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, NodeRoom, PendingJob, Plan, Scheduler, Settings, info,
    scheduler::{Placement, Start},
};

/// Starts the first job twice in one plan.
#[derive(Debug, Default)]
pub struct Twice {
    jobs: BTreeMap<JobId, u32>,
}

impl Scheduler for Twice {
    fn describe() -> Info {
        info!("twice", "starts the first job twice")
    }

    fn configure(_: &mut Settings) -> Result<Self, Error> {
        Ok(Self::default())
    }

    fn placements(&mut self, _: Vec<Placement>) {}

    fn pending(&mut self, jobs: Vec<PendingJob>) {
        self.jobs.extend(jobs.iter().map(|job| (job.id, job.count)));
    }

    fn withdrawn(&mut self, jobs: Vec<JobId>) {
        self.jobs.retain(|job, _| !jobs.contains(job));
    }

    fn plan(&mut self, _: InstantMs, _: Vec<NodeRoom>, _: u32) -> Result<Plan, Error> {
        let first = self.jobs.keys().next();
        let starts = first.map(|&job| vec![Start { job, count: 1, node: None }; 2]).unwrap_or_default();
        Ok(Plan {
            starts,
            reservations: Vec::new(),
            rejections: Vec::new(),
            passed_over: Vec::new(),
            wake_at_ms: None,
        })
    }

    fn known(&mut self) -> u64 {
        self.jobs.len() as u64
    }
}

berth_policy_sdk::export_scheduler!(Twice);
