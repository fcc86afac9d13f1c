//! A scheduler policy that is bad on purpose: it imports the key-value table, which no scheduler may.

use std::collections::BTreeMap;

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, NodeRoom, PendingJob, Plan, Scheduler, Settings, info, key_value,
    scheduler::{Placement, Start},
};

/// Imports the key-value table, which the world of schedulers does not have.
#[derive(Debug, Default)]
pub struct WantsTooMuch {
    jobs: BTreeMap<JobId, u32>,
}

impl Scheduler for WantsTooMuch {
    fn describe() -> Info {
        info!("wants-too-much", "imports the key-value table, which no scheduler may have")
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
        let starts = match key_value::get("jobs") {
            Some(_) => Vec::new(),
            None => self.jobs.keys().map(|&job| Start { job, count: 1, node: None }).take(1).collect(),
        };
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

berth_policy_sdk::export_scheduler!(WantsTooMuch);
