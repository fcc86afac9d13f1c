//! What a person sends to have a job run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A job as it is asked for. The same fields stand in a JSON or TOML job file, in `#BERTH` lines of a
/// script, and behind the options of `berth submit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Submit {
    /// For people; the program's or script's name where it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The project it counts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Its class, of those that the site has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The executor, by its name in berth.toml.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// The container image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What it runs. Needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandText>,
    /// Variables for it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The working directory, absolute; the job's own where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Where standard output goes; `%j` stands for the job, `%a` for the array, `%t` for the task's index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Where standard error goes, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// CPUs: `2`, `0.5`, `500m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Memory: `512M`, `4G`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Whole GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// Resources that the site has given names to, such as licences, and how much of each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, u64>,
    /// Whole CPUs for itself alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
    /// The longest it may run: `90s`, `2h`, `1-12:00:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The time between asking it to end and killing it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<String>,
    /// The indices of an array: `1-100:2%10`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// Jobs that have to succeed first: `12`, `12.7`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_ok: Vec<String>,
    /// Jobs that have to end first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_any: Vec<String>,
    /// Jobs that have to fail first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_not_ok: Vec<String>,
    /// Submitted held.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// Not before: RFC 3339, or a duration from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin: Option<String>,
    /// Higher is sooner among its owner's jobs; 0 is usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Volumes: `NAME` or `NAME:ro`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub volumes: Vec<VolumeText>,
    /// Ports to be published.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// The network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Labels that its node has to have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub constraints: BTreeMap<String, String>,
    /// Labels of its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Local scratch space: `10G`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch: Option<String>,
    /// Addresses that are written to `uris.txt` in its directory, one a line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,
    /// A session instead of a batch run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interactive: bool,
    /// As root, where that is allowed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub root: bool,
    /// How often it may be started anew after its node failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_on_node_failure: Option<u32>,
    /// Does not run again on nodes where it failed before, or that failed under it. An array that runs again as a
    /// whole stays away from those of all its tasks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub avoid_failed_nodes: bool,
    /// What its owner is to be told of: `start`, `end`, `fail`, `kill`, `suspend`, `resume`, `message`, `all`, or
    /// `none`; what they have chosen for all jobs where it is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
    /// Where mail about it goes, instead of to its owner's own address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<String>,
    /// Options of one executor, such as `docker.shm-size`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// What a job runs: a program with its arguments, or a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum CommandText {
    /// A program and its arguments, as they are: no shell is involved.
    Argv(Vec<String>),
    /// A script: its text, with `#BERTH` lines at the top where wanted, and its arguments.
    Script {
        /// The text.
        text: String,
        /// Arguments.
        #[serde(default)]
        args: Vec<String>,
    },
}

/// A volume as it is asked for: `NAME` for reading and writing, `NAME:ro` for reading only.
pub type VolumeText = String;

/// The answer to a submission: the job is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// The job's number.
    pub id: u64,
    /// How many tasks it has, for an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// What the site's filters have changed of it, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Changed>,
}

/// Something that a filter has changed of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// The filter, by its name in berth.toml.
    pub filter: String,
    /// The field, such as `time` or `labels.team`.
    pub field: String,
    /// In words.
    pub text: String,
}
