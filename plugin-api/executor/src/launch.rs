//! What an executor is given to run.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use berth_model::{
    AttemptName, Command, Identity, JobFile, JobId, Mount, NamedGrant, NetworkAttachment, Resources,
};
use serde::{Deserialize, Serialize};

/// What all attempts of a job or of all tasks of an array have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// Whose cluster this is; part of every name and label in the back end.
    pub cluster: String,
    /// The name its user gave it.
    pub name: String,
    /// The project it counts for.
    pub project: String,
    /// Whom it runs as.
    pub identity: Identity,
    /// It runs as root instead, as auth has granted.
    pub as_root: bool,
    /// What it runs.
    pub command: Command,
    /// The user's own variables, in no particular order. Berth's own come from [`Launch::environment`].
    pub env: BTreeMap<String, String>,
    /// The working directory, absolute; [`Launch::directory`] where `None`.
    pub workdir: Option<String>,
    /// The container image, for executors that have such.
    pub image: Option<String>,
    /// What each attempt gets.
    pub resources: Resources,
    /// Whether CPU use is to be held to `resources`, or only counted.
    pub enforce_cpu: bool,
    /// Whole CPUs for itself alone.
    pub exclusive_cpus: bool,
    /// The longest it may run, counted from its start.
    pub time_limit: Option<Duration>,
    /// The time between asking it to end and killing it.
    pub grace: Duration,
    /// What is mounted, as auth has granted.
    pub mounts: Vec<Mount>,
    /// Ports of the job to be published.
    pub ports: Vec<u16>,
    /// The network, as the network policy decided. Who cannot make a network that is wanted on demand, and keep it
    /// apart from all others, refuses the job.
    pub network: Option<NetworkAttachment>,
    /// Local scratch space in bytes; 0 for none.
    pub scratch_bytes: u64,
    /// Files for the job's directory, among them never the script of [`Command::Script`].
    pub files: Vec<JobFile>,
    /// For people and tools.
    pub labels: BTreeMap<String, String>,
    /// Labels that a node has to have, for back ends that choose the node themselves.
    pub constraints: BTreeMap<String, String>,
    /// Wants a session instead of a batch run.
    pub interactive: bool,
    /// Options of this executor, as auth has granted.
    pub extensions: BTreeMap<String, String>,
}

/// One attempt to be launched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The name that the back end carries; unique, and the same when the launch is repeated.
    pub attempt: AttemptName,
    /// The job's number: the task's own, for a task.
    pub job: JobId,
    /// Counts the executions of this job from 1.
    pub attempt_number: u32,
    /// Which task of which array it is.
    pub task: Option<Task>,
    /// Where it was placed: the name from [`crate::Node`].
    pub node: Option<String>,
    /// The job's own directory, absolute. The executor makes it, owned by the user, mode 0700.
    pub directory: String,
    /// The array's directory for a task, which `directory` lies in; made likewise.
    pub array_directory: Option<String>,
    /// Where standard output goes, absolute.
    pub stdout: String,
    /// Where standard error goes, absolute; may be the same as `stdout`.
    pub stderr: String,
    /// The named resources that it was given, with the very units and their device files. The job is told of them by
    /// [`Launch::environment`]; an executor that keeps devices from jobs lets it use these.
    #[serde(default)]
    pub granted: Vec<NamedGrant>,
    /// What it shares with others.
    pub spec: Arc<LaunchSpec>,
}

/// Which task of which array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The array's number.
    pub array: JobId,
    /// This task's index.
    pub index: u64,
    /// The array's first index.
    pub first: u64,
    /// The end of the array's range.
    pub last: u64,
    /// The distance between two indices.
    pub step: u64,
}

/// The back end's answer for one attempt of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Launched {
    /// It exists in the back end now, or did already.
    Taken,
    /// There is no room at the moment; nothing of it exists in the back end.
    NoRoom {
        /// In the back end's words.
        words: String,
    },
    /// It will never be taken as written; nothing of it exists in the back end.
    Refused {
        /// In the back end's words.
        words: String,
    },
}
