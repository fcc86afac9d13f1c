//! Orders that change as time goes by, since waiting counts for more the smaller a job is.

use berth_policy_sdk::{Error, Info, InstantMs, PendingJob, Rank, Settings};

use crate::{
    measure::{Measure, processors, seconds},
    policy::describe,
};

/// Which formula. In all of them, a job has waited for w seconds, has a time limit of r seconds, and needs n
/// processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formula {
    /// The largest (w / r)^3 n first: W. Tang, Z. Lan, N. Desai and D. Buettner, Fault-aware, utility-based job
    /// scheduling on Blue Gene/P systems, Cluster '09.
    Wfp3,
    /// The largest w / (r log2 n) first, from the same paper. Since that is no number for one processor, 1e-15
    /// is added to n for these: they come before all that need more, and among themselves by w / r.
    Unicep,
}

/// An order that changes as time goes by.
#[derive(Clone, Copy, Debug)]
pub struct Aging {
    formula: Formula,
    measure: Measure,
}

/// What a score follows from.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    submitted_ms: u64,
    /// n or its logarithm, so that no plan has to work that out for each job.
    size: f64,
    /// Seconds.
    estimate: f64,
}

impl Aging {
    /// By a formula and its settings.
    ///
    /// # Errors
    /// When the settings make no sense.
    pub fn by(formula: Formula, settings: &mut Settings) -> Result<Self, Error> {
        Ok(Self { formula, measure: Measure::configure(settings)? })
    }
}

impl Rank for Aging {
    type Facts = Facts;

    fn describe() -> Info {
        describe()
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        Self::by(Formula::Wfp3, settings)
    }

    fn facts(&self, job: &PendingJob) -> Facts {
        let n = processors(job) as f64;
        let estimate = seconds(self.measure.estimate_ms(job));
        let size = match self.formula {
            Formula::Wfp3 => n,
            Formula::Unicep if n > 1.0 => n.log2(),
            Formula::Unicep => (n + 1e-15).log2(),
        };
        Facts { submitted_ms: job.submitted_ms, size, estimate }
    }

    fn score(&self, facts: &Facts, now_ms: InstantMs) -> f64 {
        let waited = seconds(now_ms.saturating_sub(facts.submitted_ms)) / facts.estimate;
        match self.formula {
            Formula::Wfp3 => waited * waited * waited * facts.size,
            Formula::Unicep => waited / facts.size,
        }
    }
}
