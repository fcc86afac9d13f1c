//! What users and projects have used.

use crate::{bindings::v0_1_0::usage, instance::Guest};

/// What somebody has used, decayed as berth.toml sets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// CPU time in seconds.
    pub cpu_seconds: f64,
    /// Memory over time, in GiB times seconds.
    pub memory_gib_seconds: f64,
    /// Jobs.
    pub jobs: u64,
}

/// Answers from a snapshot: it is asked in the middle of a plan and must not wait.
pub trait UsageSource: Send + Sync {
    /// What a user has used; nothing for one that is not known.
    fn of_user(&self, user: &str) -> Used;
    /// What a project has used; nothing for one that is not known.
    fn of_project(&self, project: &str) -> Used;
}

impl From<Used> for usage::Used {
    fn from(used: Used) -> Self {
        let Used { cpu_seconds, memory_gib_seconds, jobs } = used;
        Self { cpu_seconds, memory_gib_seconds, jobs }
    }
}

impl usage::Host for Guest {
    fn of_user(&mut self, user: String) -> wasmtime::Result<usage::Used> {
        let used = self.grants.usage.as_ref().map(|usage| usage.of_user(&user));
        Ok(used.unwrap_or_default().into())
    }

    fn of_project(&mut self, project: String) -> wasmtime::Result<usage::Used> {
        let used = self.grants.usage.as_ref().map(|usage| usage.of_project(&project));
        Ok(used.unwrap_or_default().into())
    }
}
