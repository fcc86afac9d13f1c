//! What a user asked for.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{ArrayRange, JobId, JobNotices, NamedAmounts, Resources, UtcMs};

/// What a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// A program and its arguments, as they are: no shell is involved.
    Argv(Vec<String>),
    /// The text of a script; its `#!` line names the interpreter, `/bin/sh` where it has none.
    Script {
        /// The text.
        text: String,
        /// Arguments to the script.
        args: Vec<String>,
    },
}

/// When a dependency is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DependencyKind {
    /// The other job succeeded.
    AfterOk,
    /// The other job ended, however.
    AfterAny,
    /// The other job ended otherwise than succeeded.
    AfterNotOk,
}

impl DependencyKind {
    /// As people write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AfterOk => "after-ok",
            Self::AfterAny => "after-any",
            Self::AfterNotOk => "after-not-ok",
        }
    }
}

/// One job that has to end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dependency {
    /// The job.
    pub on: JobId,
    /// How it has to end.
    pub kind: DependencyKind,
}

/// How a volume may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeMode {
    /// Reading only.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

/// A volume by the name that the site gave it. Users never give paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The name.
    pub name: String,
    /// How it is to be mounted.
    pub mode: VolumeMode,
}

/// A file that Berth puts into the job's directory before the job starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFile {
    /// A plain name, without any slash.
    pub name: String,
    /// What is in it.
    pub contents: String,
    /// Whether it may be executed.
    pub executable: bool,
}

/// A job as its user asked for it, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// For people; not unique.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The project it counts for.
    pub project: String,
    /// Its class, of those that the site has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The executor it asks for; the site's default where it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// The container image, for executors that have such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What it runs.
    pub command: Command,
    /// Variables beside those that Berth sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The working directory; the job's own where it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Where standard output goes; `stdout` in the job's directory where it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Where standard error goes; `stderr` in the job's directory where it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What each task needs.
    pub resources: Resources,
    /// Resources by the names that the site gave them, that each task needs, too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub named: NamedAmounts,
    /// Resources that the user spelled out and that are therefore enforced, not just counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked_cpus: bool,
    /// Whole CPUs for itself alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive_cpus: bool,
    /// The longest it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<Duration>,
    /// The time between asking it to end and killing it.
    pub grace: Duration,
    /// The indices, when it is an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<ArrayRange>,
    /// What has to end first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    /// Submitted held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<UtcMs>,
    /// Among its owner's jobs, and for schedulers that look at it: higher is sooner, 0 is usual.
    #[serde(default)]
    pub priority: i32,
    /// Volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Ports of the job to be published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// The network it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Labels that a node has to have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub constraints: BTreeMap<String, String>,
    /// For people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Local scratch space in bytes.
    #[serde(default)]
    pub scratch_bytes: u64,
    /// Files for its directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<JobFile>,
    /// Wants a session instead of a batch run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interactive: bool,
    /// Wants to run as root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub root: bool,
    /// How often it may be started anew after its node failed.
    #[serde(default)]
    pub retry_on_node_failure: u32,
    /// Does not run again where it failed before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub avoid_failed_nodes: bool,
    /// What its owner wants to be told of it; what they have chosen for all jobs where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notices: Option<JobNotices>,
    /// Options of one executor, by namespaced keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, String>,
}
