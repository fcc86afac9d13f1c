//! What users, projects and groups have at one moment: what runs, and what lies on the disk.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::{MIB, Resources};

/// What an account has at one moment. Sums that would overflow stay at the highest number there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InUse {
    /// Jobs and tasks that have their resources.
    pub jobs: u64,
    /// CPUs that are kept for them, in milli-cores.
    pub cpu_millis: u64,
    /// Memory, in mebibytes.
    pub memory_mib: u64,
    /// Whole GPUs.
    pub gpus: u64,
    /// What job directories take, of running jobs and of those that have ended and were not archived.
    pub disk_bytes: u64,
}

impl InUse {
    /// What one running job has.
    #[must_use]
    pub fn by(needs: &Resources) -> Self {
        Self {
            jobs: 1,
            cpu_millis: needs.cpu_millis,
            memory_mib: needs.memory_bytes.div_ceil(MIB),
            gpus: u64::from(needs.gpus),
            disk_bytes: 0,
        }
    }

    /// What a directory takes.
    #[must_use]
    pub fn disk(bytes: u64) -> Self {
        Self { disk_bytes: bytes, ..Self::default() }
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// The difference, with zero where there is not so much.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        self.each(other, u64::saturating_sub)
    }

    /// The lesser of each.
    #[must_use]
    pub fn least(&self, other: &Self) -> Self {
        self.each(other, u64::min)
    }

    fn each(&self, other: &Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            jobs: of(self.jobs, other.jobs),
            cpu_millis: of(self.cpu_millis, other.cpu_millis),
            memory_mib: of(self.memory_mib, other.memory_mib),
            gpus: of(self.gpus, other.gpus),
            disk_bytes: of(self.disk_bytes, other.disk_bytes),
        }
    }
}

impl AddAssign for InUse {
    fn add_assign(&mut self, other: Self) {
        *self = self.plus(&other);
    }
}
