//! What operators, scripts and the command line need beside jobs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{AccountRunning, AccountUse, ClosureRow};

/// What is to be done with jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Controls {
    /// End them.
    Kill,
    /// Keep them back.
    Hold,
    /// Let them go.
    Release,
    /// Stop them for a while.
    Suspend,
    /// Let them go on.
    Resume,
    /// Run them again.
    Rerun,
    /// Send them a signal.
    Signal,
    /// Change what they ask for: anything while they wait, their priority and time limit while they run.
    Alter,
    /// Remove the directories of ended ones; what is known of them stays.
    Archive,
}

/// What is to be different about jobs, as people write it. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Alteration {
    /// Higher is sooner among equals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// The project that it counts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// `2`, `0.5`, `500m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// `512M`, `4G`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Whole GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// The longest time that it may run: `90s`, `2h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// A request to do something with jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlRequest {
    /// What.
    pub action: Controls,
    /// The jobs, as people write them: `12`, `12.7`.
    #[serde(default)]
    pub jobs: Vec<String>,
    /// Instead of `jobs`: all that match this and what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Only those with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Only those of this project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Only those whose name has this in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only those in this state; where none is named, all that have not ended, or all that have for `archive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only those that ended longer ago than this: `30d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<String>,
    /// Do nothing; tell which jobs are meant.
    #[serde(default)]
    pub preview: bool,
    /// Do it only if so many jobs are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<u64>,
    /// The signal's number, for `signal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What is to be different, for `alter`, and for `rerun` of jobs that have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alter: Option<Alteration>,
    /// For `archive`: the directory is packed into one file, whatever the site does usually.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pack: bool,
}

impl ControlRequest {
    /// Does this with these jobs.
    #[must_use]
    pub fn of(action: Controls, jobs: Vec<String>) -> Self {
        Self {
            action,
            jobs,
            user: None,
            tag: None,
            project: None,
            name: None,
            state: None,
            older_than: None,
            preview: false,
            expect: None,
            signal: None,
            alter: None,
            pack: false,
        }
    }

    /// Whether jobs are meant by what they are, and not by their numbers.
    #[must_use]
    pub fn is_filter(&self) -> bool {
        let words = [&self.user, &self.tag, &self.project, &self.name, &self.state, &self.older_than];
        words.into_iter().any(Option::is_some)
    }
}

/// What came of it for one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ControlResult {
    /// The job, as it was written.
    pub job: String,
    /// Done, or durably on its way.
    pub done: bool,
    /// What to say about it: why nothing had to be done, or why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A process of this Berth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DaemonRow {
    /// Tells it apart from the others.
    pub instance: String,
    /// `leader` or `stand-by`.
    pub role: String,
    /// The machine that it runs on.
    pub host: String,
    /// Its number there.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Where it listens: addresses, and the path of its socket.
    pub doors: Vec<String>,
    /// When it started; RFC 3339.
    pub started: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeRow {
    /// `EXECUTOR/NODE`.
    pub name: String,
    /// Its executor.
    pub executor: String,
    /// `up`, `closed`, `unreachable`; `drained` or `maintenance` while nothing new starts there, `reserved` while only
    /// some jobs do.
    pub state: String,
    /// In milli-cores.
    pub cpu_millis_total: u64,
    /// In milli-cores.
    pub cpu_millis_used: u64,
    /// In bytes.
    pub memory_bytes_total: u64,
    /// In bytes.
    pub memory_bytes_used: u64,
    /// Whole GPUs.
    pub gpus_total: u32,
    /// Whole GPUs.
    pub gpus_used: u32,
    /// Its named resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceRow>,
    /// What closes it to some jobs or all, or will.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closures: Vec<ClosureRow>,
    /// How many jobs hold something of it.
    pub jobs: u32,
    /// What its executor says, when something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A resource that the site has given a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResourceRow {
    /// The name, as jobs ask for it.
    pub name: String,
    /// How much there is.
    pub total: u64,
    /// How much jobs hold.
    pub used: u64,
}

/// A plugin: a policy or an executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginRow {
    /// Its name in berth.toml.
    pub name: String,
    /// `scheduler`, `auth`, `watcher`, `network`, `admit`, `executor`.
    pub kind: String,
    /// What it says its own name and version are.
    pub version: String,
    /// Where it comes from: `shipped`, `built in`, or a path.
    pub source: String,
    /// SHA-256 of a policy's component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// `active`, `probation`, `benched`, `unreachable`.
    pub state: String,
    /// How often it has broken its contract since it was loaded.
    pub strikes: u32,
    /// How often it was called.
    pub calls: u64,
    /// The mean time of a call.
    pub mean_call_micros: u64,
    /// The longest call.
    pub longest_call_micros: u64,
    /// Its capabilities, granted or declared.
    pub capabilities: Vec<String>,
    /// What an operator should know, one line each, the last fault among it.
    pub notes: Vec<String>,
}

/// What a check of a policy file found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginCheck {
    /// Nothing was wrong.
    pub ok: bool,
    /// What kind of policy it is.
    pub kind: String,
    /// Findings, one line each, those that are wrong marked.
    pub findings: Vec<Finding>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// As it should be.
    pub ok: bool,
    /// In words.
    pub text: String,
}

/// What somebody has used: what their jobs took that have ended, and how their account stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UsageRow {
    /// `user`, `project`, `group` or `member`.
    pub kind: String,
    /// Its name; `PROJECT/USER` for a member.
    pub name: String,
    /// Jobs and tasks that ended; of users and projects only, as what follows up to `cpu_millis_seconds`.
    pub jobs: u64,
    /// Of these, those that succeeded.
    pub succeeded: u64,
    /// CPU time.
    pub cpu_micros: u64,
    /// Time between start and end.
    pub wall_ms: u64,
    /// CPUs held, times time.
    pub cpu_millis_seconds: u64,
    /// The time within which use counts against quotas.
    pub period_ms: u64,
    /// What counts within it.
    pub counted: AccountUse,
    /// The most that running jobs can still use.
    pub kept: AccountUse,
    /// What runs now.
    pub running: AccountRunning,
    /// What job directories take, as far as they were measured.
    pub disk_bytes: u64,
    /// All that was ever used, of which half counts after each half-life.
    pub faded: AccountUse,
}

/// A token is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for.
    pub label: String,
    /// `read`, `submit` or `admin`.
    pub scope: String,
    /// How long it is good for: `30d`; for ever where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
    /// Whose it is; the caller's own where it is not given. Others' are for administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// A token that was made. Its secret is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenCreated {
    /// Its number, to revoke it by.
    pub id: u64,
    /// The secret.
    pub token: String,
}

impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenRow {
    /// Its number.
    pub id: u64,
    /// Whose it is.
    pub user: String,
    /// What it is for.
    pub label: String,
    /// What it allows.
    pub scope: String,
    /// When it was made.
    pub created: String,
    /// Until when it is good. A session that is used goes on, for as long as one may last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// When it was used last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// Whether somebody got it by logging in.
    #[serde(default)]
    pub session: bool,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServerInfo {
    /// Berth's version.
    pub version: String,
    /// The cluster's name.
    pub cluster: String,
    /// Who the caller is.
    pub user: String,
    /// The caller's roles.
    pub roles: Vec<String>,
    /// The executors, the default one first.
    pub executors: Vec<String>,
    /// How many jobs are in which state.
    pub jobs: Vec<super::StateCount>,
    /// When it started.
    pub started: String,
    /// How it goes with notices, for those who see everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<super::SinkRow>,
    /// Who leads, where several share a database and this one stands by. It shows what is stored, and
    /// takes nothing in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Why the caller may do nothing but see this: a guest whom no administrator has let in. Of the server only its
    /// version and its name are told then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barred: Option<String>,
}

/// Metrics in Prometheus's text format.
pub type MetricsText = String;
