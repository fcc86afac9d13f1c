//! What an executor tells.

use std::collections::BTreeMap;

use berth_model::{AttemptName, Exit, Resources, Stock, UtcMs};
use serde::{Deserialize, Serialize};

/// What an executor promises about launching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LaunchPromise {
    /// Whether an attempt exists can always be found out by its name.
    Exact,
    /// Sometimes that cannot be known; such an attempt becomes lost and is never launched on a guess.
    AtMostOnce,
}

/// What an executor can do beyond running and ending attempts. Asked once; what is not offered is
/// never called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Suspend and resume.
    pub suspend: bool,
    /// Suspending ends an attempt's processes, and what they did is lost: resumed, it begins anew.
    pub suspend_restarts: bool,
    /// Sending any signal.
    pub signal: bool,
    /// Reading output while the attempt runs.
    pub logs: bool,
    /// Reading output from a time on.
    pub logs_since: bool,
    /// Both outputs come as one, that of standard output.
    pub outputs_merged: bool,
    /// Telling what an attempt uses.
    pub stats: bool,
    /// Processes beside the attempt's own.
    pub exec: bool,
    /// Connections with ports of an attempt.
    pub connect: bool,
    /// Ending an attempt at its time limit by itself, also while Berth is away.
    pub time_limit: bool,
    /// Taking up another time limit for an attempt that runs.
    pub new_time_limit: bool,
    /// CPUs for one attempt alone.
    pub exclusive_cpus: bool,
    /// Container images.
    pub images: bool,
    /// Publishing ports.
    pub ports: bool,
    /// Networks.
    pub networks: bool,
    /// Mounting volumes.
    pub volumes: bool,
    /// Scratch space of a given size.
    pub scratch: bool,
    /// Sessions.
    pub interactive: bool,
    /// A batch that starts as a whole or not at all.
    pub all_or_nothing: bool,
    /// A queue of its own, so that attempts may wait there beyond the free capacity.
    pub queues: bool,
    /// GPU vendors.
    pub gpu_vendors: Vec<String>,
    /// Extension keys that it understands.
    pub extensions: Vec<String>,
}

/// What an executor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its kind, such as `local`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it promises about launching.
    pub promise: LaunchPromise,
    /// What else it can do.
    pub capabilities: Capabilities,
    /// How limits are enforced and what else an operator should know, one line each.
    pub notes: Vec<String>,
}

/// Whether a node takes attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// It does.
    Up,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// It is not there at the moment.
    Down,
}

/// A machine, or what stands for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, unique within the executor.
    pub name: String,
    /// What Berth may allocate on it.
    pub total: Resources,
    /// Labels for constraints.
    pub labels: BTreeMap<String, String>,
    /// Named resources that the back end knows of by itself; berth.toml may name others.
    #[serde(default)]
    pub named: BTreeMap<String, Stock>,
    /// Whether it takes attempts.
    pub state: NodeState,
}

/// What an attempt uses or has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// CPU time, user and system, in microseconds.
    pub cpu_micros: u64,
    /// Memory now, in bytes; 0 after the end.
    pub memory_bytes: u64,
    /// The most memory at any time, in bytes.
    pub memory_peak_bytes: u64,
    /// Bytes read from block devices.
    pub read_bytes: u64,
    /// Bytes written to block devices.
    pub written_bytes: u64,
    /// Bytes of disk in use.
    pub disk_bytes: u64,
}

/// A port of a job that can be reached from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The port inside the job.
    pub job: u16,
    /// The host's name or address.
    pub host: String,
    /// The port there.
    pub host_port: u16,
}

/// Where an attempt stands in the back end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptState {
    /// Taken, not running yet; the report's message is the sub-status.
    Starting,
    /// Runs.
    Running,
    /// Suspended.
    Suspended,
    /// Over.
    Exited(Exit),
    /// The back end gave it back for want of room; nothing of it is left there.
    NoRoom,
    /// Its node is gone for sure, and the attempt with it.
    NodeGone,
}

/// What an executor says of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// Which.
    pub attempt: AttemptName,
    /// Where it stands.
    pub state: AttemptState,
    /// Since when, by the back end's clock.
    pub at: UtcMs,
    /// Where it runs, when that is known.
    pub node: Option<String>,
    /// Its network addresses.
    pub addresses: Vec<String>,
    /// Its published ports.
    pub ports: Vec<PortMapping>,
    /// What it has used, when that is known.
    pub usage: Option<Usage>,
    /// Sub-status or explanation, for people.
    pub message: Option<String>,
}

impl AttemptReport {
    /// A report that says nothing but the state.
    #[must_use]
    pub fn new(attempt: AttemptName, state: AttemptState, at: UtcMs) -> Self {
        Self {
            attempt,
            state,
            at,
            node: None,
            addresses: Vec::new(),
            ports: Vec::new(),
            usage: None,
            message: None,
        }
    }
}

/// One message of the report stream.
#[allow(clippy::large_enum_variant, reason = "nearly all are of the large one")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// About one attempt.
    Attempt(AttemptReport),
    /// The nodes, all of them, because something about them changed.
    Capacity(Vec<Node>),
    /// The back end cannot be reached at the moment; in its words.
    Away(String),
    /// The back end is reachable again. What happened meanwhile may not have been reported.
    Back,
}

/// The answer of `reconcile` for one attempt.
#[allow(clippy::large_enum_variant, reason = "nearly all are of the large one")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Truth {
    /// It exists; this is where it stands.
    Known(AttemptReport),
    /// Nothing of it exists and, had it ever been taken, it would.
    Absent,
    /// It cannot be said whether it exists or ran.
    Uncertain {
        /// Why.
        words: String,
    },
}
