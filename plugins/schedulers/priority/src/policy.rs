//! The highest priority first.

use std::cmp::Reverse;

use berth_policy_sdk::{Error, Info, Order, PendingJob, Settings, bad_settings, info};

/// Milliseconds in an hour.
const HOUR_MS: i64 = 3_600_000;

/// So high that nothing overflows before the year 3000.
const MOST_AGE_WEIGHT: i64 = 100_000;

/// The highest priority first, then who was submitted first. With an age weight, waiting makes up for
/// priority; since all age alike, that changes nobody's place as time goes by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Priority {
    age_weight: i64,
}

impl Order for Priority {
    type Key = (Reverse<i64>, u64);

    fn describe() -> Info {
        info!(
            "priority",
            "the highest priority first, then first come, first served",
            "age-weight" => "points of priority that an hour of waiting is worth; 0 unless given",
        )
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let what = format!("a whole number from 0 to {MOST_AGE_WEIGHT}");
        let age_weight = settings.parse("age-weight", &what)?.unwrap_or(0);
        if !(0..=MOST_AGE_WEIGHT).contains(&age_weight) {
            return Err(bad_settings(format!("age-weight = {age_weight} is not {what}")));
        }
        Ok(Self { age_weight })
    }

    fn key(&self, job: &PendingJob) -> Self::Key {
        let eligible = i64::try_from(job.eligible_ms).unwrap_or(i64::MAX);
        let points = i64::from(job.priority) * HOUR_MS;
        (Reverse(points.saturating_sub(eligible.saturating_mul(self.age_weight))), job.submitted_ms)
    }
}
