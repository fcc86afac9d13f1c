//! Running jobs, as far as they count for those whose they are.

use std::collections::BTreeMap;

use berth_policy_sdk::{InstantMs, JobId, Resources, RunningJob};

use crate::{accounts::Kept, pending::Pair};

/// The running jobs.
#[derive(Clone, Debug, Default)]
pub struct Running {
    jobs: BTreeMap<JobId, (Pair, Resources, InstantMs)>,
    kept: BTreeMap<Pair, Kept>,
}

impl Running {
    /// Puts a job in, in the place of what was known of it.
    pub fn put(&mut self, job: &RunningJob) {
        self.remove(job.id);
        let pair = Pair { project: job.project, owner: job.owner };
        self.jobs.insert(job.id, (pair, job.needs, job.started_ms));
        self.kept.entry(pair).or_default().add(&job.needs, job.started_ms);
    }

    /// Takes a job out.
    pub fn remove(&mut self, job: JobId) {
        let Some((pair, needs, started_ms)) = self.jobs.remove(&job) else { return };
        let Some(kept) = self.kept.get_mut(&pair) else { return };
        kept.remove(&needs, started_ms);
        if kept.is_empty() {
            self.kept.remove(&pair);
        }
    }

    /// What is kept by whom, in their order.
    pub fn kept(&self) -> impl Iterator<Item = (Pair, &Kept)> {
        self.kept.iter().map(|(&pair, kept)| (pair, kept))
    }
}
