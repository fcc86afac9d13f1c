//! Accounts of users, projects and groups: what was set of them, and what they have used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::GuestRow;

/// What an administrator sets of an account. What is left out is as it is for everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccountSettings {
    /// What it is, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// From 0 to 100; 50 is usual.
    pub priority: u8,
    /// Its part of the site beside its siblings; 1 is usual.
    pub shares: u32,
    /// Bounds in place of the usual ones, as people write them: `cpu-time` = `100h`. Others are `wall-time`,
    /// `memory-time`, `cpus`, `memory`, `jobs`, `running-jobs`, `running-cpus`, `running-memory`, `running-gpus`,
    /// `disk`, and for users `pending`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, String>,
    /// Takes no new jobs.
    pub barred: bool,
    /// Of a project: the group that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Of a project: the users who may submit to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Of a project: members see and control each other's jobs in it.
    pub shared: bool,
    /// Of a project: volumes of its own, by name. Its jobs may ask for them as for the site's; where a name is the
    /// same, the site's counts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, VolumeRow>,
}

/// A volume of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeRow {
    /// Where it is on the nodes, absolute and without `..`.
    pub path: String,
    /// Where jobs see it; `/mnt/NAME` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Jobs may only read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self {
            about: String::new(),
            priority: 50,
            shares: 1,
            limits: BTreeMap::new(),
            barred: false,
            group: None,
            members: Vec::new(),
            shared: false,
            volumes: BTreeMap::new(),
        }
    }
}

/// An account that is to be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetAccount {
    /// The version that this replaces, as it was read; 0 for an account of which nothing is set. Where somebody
    /// else has been faster, it is refused as a conflict.
    pub version: u64,
    /// All of it.
    pub settings: AccountSettings,
}

/// Use, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AccountUse {
    /// Executions.
    pub jobs: f64,
    /// Time that they ran.
    pub wall_ms: f64,
    /// CPUs times the time that they were kept, in core-milliseconds.
    pub cpu_ms: f64,
    /// Memory times that time, in mebibyte-milliseconds.
    pub memory_mib_ms: f64,
}

/// What runs at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AccountRunning {
    /// Jobs and tasks that have their resources.
    pub jobs: u64,
    /// CPUs that are kept for them, in milli-cores.
    pub cpu_millis: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// GPUs.
    pub gpus: u64,
}

/// What is known of an account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AccountRow {
    /// `user`, `project`, `group`, or `member` for what one user has used in one project.
    pub kind: String,
    /// Its name; `PROJECT/USER` for a member.
    pub name: String,
    /// Of what was set; 0 where nothing is.
    pub version: u64,
    /// What was set, or what holds for everybody.
    pub settings: AccountSettings,
    /// The bounds that hold, the site's usual ones among them.
    pub bounds: BTreeMap<String, String>,
    /// The time within which use counts against them.
    pub period_ms: u64,
    /// What was used within it.
    pub used: AccountUse,
    /// The most that running jobs can still use.
    pub kept: AccountUse,
    /// What runs now.
    pub running: AccountRunning,
    /// What job directories take, as far as they were measured: where nobody is bounded in that, they are not.
    pub disk_bytes: u64,
    /// All that was ever used, of which half counts after each half-life.
    pub faded: AccountUse,
    /// Jobs and tasks that wait; of a user only.
    pub waits: u64,
    /// Of a guest: what is known of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest: Option<Box<GuestRow>>,
}

/// What an account has used on one day, by what counts against quotas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AccountDay {
    /// The day, in UTC: `2030-01-31`.
    pub day: String,
    /// Executions that ended.
    pub jobs: u64,
    /// Time that they ran.
    pub wall_ms: u64,
    /// CPUs times the time that they were kept, in core-milliseconds.
    pub cpu_ms: u64,
    /// Memory times that time, in mebibyte-milliseconds.
    pub memory_mib_ms: u64,
    /// Sum of the CPUs that they asked for, in milli-cores.
    pub cpu_millis: u64,
    /// Sum of the memory that they asked for, in mebibytes.
    pub memory_mib: u64,
}

/// Something that an administrator did and that concerns no single job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ActRow {
    /// Its number in the history.
    pub seq: u64,
    /// When.
    pub at: String,
    /// Who.
    pub by: String,
    /// In words.
    pub what: String,
}
