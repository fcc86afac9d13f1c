//! A scheduler policy that is bad on purpose: it starts jobs that it was never told of.

use std::collections::BTreeMap;

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, NodeRoom, PendingJob, Plan, Scheduler, Settings, info,
    scheduler::{Placement, Start},
};

/// Starts jobs that nobody told it of.
#[derive(Debug, Default)]
pub struct Nonsense {
    jobs: BTreeMap<JobId, u32>,
}

impl Scheduler for Nonsense {
    fn describe() -> Info {
        info!("nonsense", "starts jobs that it was never told of")
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
        let starts = (0..3).map(|n| Start { job: JobId::MAX - n, count: 1, node: None }).collect();
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

berth_policy_sdk::export_scheduler!(Nonsense);
