//! A scheduler policy that is bad on purpose: it never finishes a plan.

use std::collections::BTreeMap;

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, NodeRoom, PendingJob, Plan, Scheduler, Settings, info,
    scheduler::Placement,
};

/// Never finishes a plan.
#[derive(Debug, Default)]
pub struct Loops {
    jobs: BTreeMap<JobId, u32>,
}

impl Scheduler for Loops {
    fn describe() -> Info {
        info!("loops", "never finishes a plan")
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
        loop {
            std::hint::spin_loop();
        }
    }

    fn known(&mut self) -> u64 {
        self.jobs.len() as u64
    }
}

berth_policy_sdk::export_scheduler!(Loops);
