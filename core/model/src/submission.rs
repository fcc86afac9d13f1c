//! A job as it was accepted.

use serde::{Deserialize, Serialize};

use crate::{Identity, JobSpec};

/// A directory or volume that the job sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The name users know it by.
    pub name: String,
    /// Where it is on the node.
    pub source: String,
    /// Where the job sees it.
    pub target: String,
    /// Without the right to write.
    pub read_only: bool,
}

/// The network that a job is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttachment {
    /// The network, by name; empty for the executor's usual one.
    pub network: String,
    /// It is Berth's: made by the executor for the first job that needs it, kept apart from all others, and removed
    /// with the last. The executor makes its back end's name of this one.
    #[serde(default)]
    pub on_demand: bool,
    /// Such a network leads nowhere but to the jobs in it.
    #[serde(default)]
    pub internal: bool,
    /// Host port for each published port: `(job, host)`.
    pub ports: Vec<(u16, u16)>,
}

/// What the auth policy granted to a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grant {
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// It may run as root.
    pub as_root: bool,
    /// The executor options that it may use.
    pub extensions: Vec<String>,
}

/// A job as it was accepted: what its user asked, who that is, and what was granted. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// What was asked.
    pub spec: JobSpec,
    /// Whose job it is.
    pub owner: Identity,
    /// What was granted.
    pub grant: Grant,
    /// The executor that runs it, by its name in berth.toml.
    pub executor: String,
}
