//! First come, first served.

use berth_policy_sdk::{Info, Order, PendingJob, info};

/// Who became eligible first starts first. A job that was held does not count the time that it was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fifo;

impl Order for Fifo {
    type Key = u64;

    fn describe() -> Info {
        info!("fifo", "first come, first served, among the jobs that wait for the same nodes")
    }

    fn key(&self, job: &PendingJob) -> u64 {
        job.eligible_ms
    }
}
