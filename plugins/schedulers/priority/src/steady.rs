//! Orders that stand still: a job's place is settled once it is submitted.

use berth_policy_sdk::{Error, Info, Order, PendingJob, Settings, bad_settings};

use crate::{
    measure::{Measure, processors, seconds},
    policy::describe,
};

/// Milliseconds in an hour.
const HOUR_MS: i64 = 3_600_000;

/// So high that nothing overflows before the year 3000.
const MOST_AGE_WEIGHT: i64 = 100_000;

/// An order that stands still.
#[derive(Clone, Copy, Debug)]
pub enum Steady {
    /// The highest priority first, then who was submitted first. With an age weight, waiting makes up for
    /// priority; since all age alike, that changes nobody's place as time goes by.
    Priority {
        /// Points of priority that an hour of waiting is worth.
        age_weight: i64,
    },
    /// The shortest by its time limit first, then who was submitted first.
    ShortestFirst(Measure),
    /// The smallest log10(r) n + 870 log10(s) first, for n processors, r seconds of time limit and a submission
    /// in second s: F1 of D. Carastan-Santos and R. Y. de Camargo, Obtaining Dynamic Scheduling Policies with
    /// Simulation and Machine Learning, SC '17.
    F1 {
        /// How jobs are measured.
        measure: Measure,
        /// Second 0. What was submitted then or before counts as submitted in second 0.1, since there is no
        /// logarithm of less than that.
        origin_ms: u64,
    },
}

impl Steady {
    /// The order `priority`.
    ///
    /// # Errors
    /// When its settings make no sense.
    pub fn priority(settings: &mut Settings) -> Result<Self, Error> {
        let what = format!("a whole number from 0 to {MOST_AGE_WEIGHT}");
        let age_weight = settings.parse("age-weight", &what)?.unwrap_or(0);
        if !(0..=MOST_AGE_WEIGHT).contains(&age_weight) {
            return Err(bad_settings(format!("age-weight = {age_weight} is not {what}")));
        }
        Ok(Self::Priority { age_weight })
    }

    /// The order `f1`.
    ///
    /// # Errors
    /// When its settings make no sense.
    pub fn f1(settings: &mut Settings) -> Result<Self, Error> {
        let origin_s: u64 =
            settings.parse("f1-origin", "a whole number of seconds since 1970-01-01T00:00:00Z")?.unwrap_or(0);
        let origin_ms = origin_s.saturating_mul(1000);
        Ok(Self::F1 { measure: Measure::configure(settings)?, origin_ms })
    }
}

impl Default for Steady {
    fn default() -> Self {
        Self::Priority { age_weight: 0 }
    }
}

impl Order for Steady {
    /// What counts, and when it was submitted.
    type Key = (i64, u64);

    fn describe() -> Info {
        describe()
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        Self::priority(settings)
    }

    fn key(&self, job: &PendingJob) -> Self::Key {
        let first = match *self {
            Self::Priority { age_weight } => {
                let eligible = i64::try_from(job.eligible_ms).unwrap_or(i64::MAX);
                let points = i64::from(job.priority) * HOUR_MS;
                points.saturating_sub(eligible.saturating_mul(age_weight)).saturating_neg()
            }
            Self::ShortestFirst(measure) => i64::try_from(measure.estimate_ms(job)).unwrap_or(i64::MAX),
            Self::F1 { measure, origin_ms } => f1(job, measure, origin_ms),
        };
        (first, job.submitted_ms)
    }
}

/// In millionths, so that no machine's way of rounding a logarithm decides between two jobs.
fn f1(job: &PendingJob, measure: Measure, origin_ms: u64) -> i64 {
    let r = seconds(measure.estimate_ms(job));
    let s = match job.submitted_ms.saturating_sub(origin_ms) {
        0 => 0.1,
        since => seconds(since),
    };
    let score = r.log10() * processors(job) as f64 + 870.0 * s.log10();
    (score * 1e6).round() as i64
}
