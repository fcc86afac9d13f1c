//! A scheduler policy that is bad on purpose: it refuses whatever settings it gets.

use std::collections::BTreeMap;

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, NodeRoom, PendingJob, Plan, Scheduler, Settings, bad_settings, info,
    scheduler::Placement,
};

/// Refuses whatever settings it gets.
#[derive(Debug)]
pub struct RefusesSettings {
    jobs: BTreeMap<JobId, u32>,
}

impl Scheduler for RefusesSettings {
    fn describe() -> Info {
        info!("refuses-settings", "refuses whatever settings it gets")
    }

    fn configure(_: &mut Settings) -> Result<Self, Error> {
        Err(bad_settings("these settings are refused, whatever they are"))
    }

    fn placements(&mut self, _: Vec<Placement>) {}

    fn pending(&mut self, jobs: Vec<PendingJob>) {
        self.jobs.extend(jobs.iter().map(|job| (job.id, job.count)));
    }

    fn withdrawn(&mut self, jobs: Vec<JobId>) {
        self.jobs.retain(|job, _| !jobs.contains(job));
    }

    fn plan(&mut self, _: InstantMs, _: Vec<NodeRoom>, _: u32) -> Result<Plan, Error> {
        Err(Error::Other("it was never configured".into()))
    }

    fn known(&mut self) -> u64 {
        self.jobs.len() as u64
    }
}

berth_policy_sdk::export_scheduler!(RefusesSettings);
