//! What jobs are measured by: processors and time, as the formulas of the literature have them.

use berth_policy_sdk::{Error, PendingJob, Settings};

/// A job without a time limit is taken to run this long, unless the settings say otherwise: a day.
const USUAL_LIMIT_MS: u64 = 24 * 3_600_000;

/// How jobs are measured.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    usual_limit_ms: u64,
}

impl Measure {
    /// By the setting `default-time-limit`.
    ///
    /// # Errors
    /// When it is no span of time.
    pub fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let usual_limit_ms = settings.span_ms("default-time-limit")?.unwrap_or(USUAL_LIMIT_MS);
        Ok(Self { usual_limit_ms })
    }

    /// How long it is expected to run; at least a millisecond, since it is divided by.
    pub fn estimate_ms(self, job: &PendingJob) -> u64 {
        job.time_limit_ms.unwrap_or(self.usual_limit_ms).max(1)
    }
}

/// The CPUs of a task: whole ones, and at least one.
pub fn processors(job: &PendingJob) -> u64 {
    job.needs.cpu_millis.div_ceil(1000).max(1)
}

/// Seconds.
pub fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
