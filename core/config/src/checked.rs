//! The configuration as it is used.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use berth_model::{NodePattern, Stock};

use crate::{
    classes::Class,
    guests::Guests,
    known::KnownPlugins,
    load::Loader,
    notices::{Notices, Webhook},
    raw::{Archive, CountAt, LogFormat, OnBreach, OnFailure, Placement},
    status::Status,
};

/// Everything that berth.toml decides, checked. Paths are absolute.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Config {
    pub cluster: Cluster,
    pub server: Server,
    pub jobs: Jobs,
    pub quotas: Quotas,
    pub store: Store,
    pub scheduler: Policy,
    pub auth: Auth,
    /// `None` when nobody comes as a guest.
    pub guests: Option<Guests>,
    pub watchers: Vec<Watcher>,
    /// `None` when jobs get the network that their executor gives them.
    pub network: Option<Policy>,
    /// In the order in which they are asked.
    pub filters: Vec<Filter>,
    pub notices: Notices,
    /// In the order of the file.
    pub webhooks: Vec<Webhook>,
    /// In the order of the file; never empty.
    pub executors: Vec<Executor>,
    pub resources: Vec<NamedResource>,
    pub classes: Vec<Class>,
    /// `None` where nobody is told of Berth's processes.
    pub status: Option<Status>,
    pub log: Log,
}

impl Config {
    /// What holds for an embedded server that keeps everything in `state_dir`, with no file and no
    /// variables.
    #[must_use]
    pub fn for_user(state_dir: &Path) -> Self {
        let known = KnownPlugins::default();
        let loaded = Loader::new(&known).state(state_dir).load();
        loaded.expect("the defaults are right by themselves").config
    }

    /// The executor for jobs that name none.
    #[must_use]
    pub fn default_executor(&self) -> Option<&Executor> {
        self.executors.iter().find(|executor| executor.default)
    }
}

/// `[cluster]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Part of every attempt's name.
    pub name: String,
    /// The directory for database, spools and caches. May not exist yet when it is the default.
    pub state: PathBuf,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Its permission bits.
    pub socket_mode: u32,
    /// Where to listen beside the socket.
    pub listen: Vec<SocketAddr>,
    /// The longest request body.
    pub request_limit_bytes: u64,
    /// Whether clients of GO-Docker are answered, too.
    pub godocker: bool,
    /// Who is believed to have made sure who somebody is.
    pub proxy: Option<Proxy>,
}

/// `[server.proxy]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The header with the user's name, in small letters.
    pub user_header: String,
    /// Where the proxy is.
    pub from: Vec<IpAddr>,
    /// The file with its secret.
    pub secret_file: PathBuf,
}

/// `[jobs]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// Each job gets a directory in it. May not exist yet when it is the default.
    pub directory: PathBuf,
    /// The longest script.
    pub script_limit_bytes: u64,
    /// The most tasks of one array.
    pub most_array_tasks: u64,
    /// CPU of a job that does not say.
    pub default_cpu_millis: u64,
    /// Memory of a job that does not say.
    pub default_memory_bytes: u64,
    /// Time limit of a job that does not say.
    pub default_time: Option<Duration>,
    /// The longest time limit.
    pub longest_time: Option<Duration>,
    /// From asking a job to end to killing it.
    pub grace: Duration,
    /// The highest priority that users may give their jobs.
    pub most_priority: Option<i32>,
    /// What may be changed of a job that was submitted.
    pub changeable: Vec<Changeable>,
    /// The most retries after the loss of a node.
    pub retry_on_node_failure: u32,
    /// The most starts in one plan.
    pub starts_per_plan: u32,
    /// Which node a job goes to where the scheduler leaves that open.
    pub placement: Placement,
    /// What becomes of the directories of archived jobs.
    pub archive: Archive,
    /// The age at which ended jobs are archived.
    pub archive_after: Option<Duration>,
    /// The folder for packed directories. May not exist yet.
    pub archive_directory: PathBuf,
    /// The most that is packed of one job.
    pub archive_limit_bytes: u64,
    /// The most events shown of one job's history.
    pub history_limit: u32,
}

/// One of `jobs.changeable`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changeable {
    /// The field.
    pub field: String,
    /// Only administrators change it.
    pub administrators: bool,
}

/// `[quotas]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Within which bounds hold.
    pub period: Duration,
    /// What happens to a job that would pass one.
    pub on_breach: OnBreach,
    /// When use counts.
    pub count: CountAt,
    /// The most jobs that may wait in all.
    pub pending: Option<u64>,
    /// The most submissions of one user within a minute.
    pub submissions_per_minute: Option<u32>,
    /// After which half of what was used counts for schedulers.
    pub half_life: Duration,
    /// Whether jobs may name projects that no administrator has made.
    pub open_projects: bool,
    /// How often the directories of running jobs are measured.
    pub measure_every: Duration,
    /// For each user.
    pub user: berth_model::Limits,
    /// For each project.
    pub project: berth_model::Limits,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Store {
    /// One file.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// A database that several Berths share, of which one leads.
    Postgres {
        /// Where it is, without a password.
        url: String,
        /// The file with the password, if it needs one.
        password_file: Option<PathBuf>,
        /// The file with the authorities of the server's certificate; without it nothing is encrypted.
        tls_ca: Option<PathBuf>,
        /// How long the lease of the one that leads lasts.
        lease: Duration,
    },
}

/// Where a policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// It ships with Berth.
    Shipped(String),
    /// A component on disk.
    File(PathBuf),
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Where it comes from.
    pub source: PolicySource,
    /// Its own settings: tables joined with dots, elements of lists by their number from 0, all values
    /// as text.
    pub settings: Vec<(String, String)>,
    /// Names of capabilities.
    pub grants: BTreeSet<String>,
    /// What it may cost.
    pub limits: Limits,
    /// What stands behind the capability `ldap`, where that is granted.
    pub ldap: Option<Ldap>,
}

/// `[auth.ldap]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ldap {
    /// Addresses.
    pub servers: Vec<String>,
    /// Berth's own entry, and the file with its password.
    pub login: Option<(String, PathBuf)>,
    /// Authorities.
    pub tls_ca: Option<PathBuf>,
    /// Whether `ldap://` is encrypted, too.
    pub start_tls: bool,
    /// For each server.
    pub answer_within: Duration,
}

/// The `limits` of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Per call.
    pub time: Duration,
    /// In all.
    pub memory_bytes: u64,
    /// Per answer.
    pub answer_bytes: u64,
    /// In its key-value table.
    pub key_value_bytes: u64,
    /// Breaches in a row until it is benched.
    pub strikes: u32,
    /// Plans or answers until the version before is let go.
    pub probation_plans: u32,
}

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The policy.
    pub policy: Policy,
    /// Calls under way at once.
    pub instances: u32,
    /// How long an answer is believed; zero for never.
    pub cache: Duration,
    /// What logging in gives.
    pub sessions: Sessions,
}

/// `[auth.sessions]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// How long one lasts that nobody uses.
    pub idle: Duration,
    /// How long one lasts.
    pub longest: Duration,
}

/// One of `[[watchers]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watcher {
    /// Its name, no two alike.
    pub name: String,
    /// The policy.
    pub policy: Policy,
    /// How often it looks.
    pub every: Duration,
}

/// One of `[[filters]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its name, no two alike.
    pub name: String,
    /// The policy.
    pub policy: Policy,
    /// What happens to a job when it fails.
    pub on_failure: OnFailure,
}

/// One of `[executors]`
#[derive(Clone, Debug, PartialEq)]
pub struct Executor {
    /// Its name, no two alike.
    pub name: String,
    /// Which plugin.
    pub kind: String,
    /// Whether jobs that name none go here; true for exactly one.
    pub default: bool,
    /// The keys that are the plugin's own.
    pub own: Own,
}

/// The plugin's own keys in an executor's table, as they were written. Their kinds have been checked and
/// their paths made absolute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Own(pub(crate) toml::Table);

impl Own {
    /// As data, to be read by serde.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        to_json(&toml::Value::Table(self.0.clone()))
    }

    /// A text, a choice or a path.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    /// A path.
    #[must_use]
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// A whole number.
    #[must_use]
    pub fn whole(&self, key: &str) -> Option<i64> {
        self.0.get(key)?.as_integer()
    }

    /// True or false.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.0.get(key)?.as_bool()
    }

    /// A size, in bytes.
    #[must_use]
    pub fn bytes(&self, key: &str) -> Option<u64> {
        berth_model::parse_bytes(&self.written(key)?).ok()
    }

    /// A number of CPUs, in milli-cores.
    #[must_use]
    pub fn cpu_millis(&self, key: &str) -> Option<u64> {
        berth_model::parse_cpus(&self.written(key)?).ok()
    }

    /// A duration.
    #[must_use]
    pub fn duration(&self, key: &str) -> Option<Duration> {
        berth_model::parse_duration(&self.written(key)?).ok()
    }

    /// A table of texts, such as labels.
    #[must_use]
    pub fn texts(&self, key: &str) -> BTreeMap<String, String> {
        let table = self.0.get(key).and_then(toml::Value::as_table);
        table.into_iter().flatten().map(|(key, value)| (key.clone(), bare(value))).collect()
    }

    fn written(&self, key: &str) -> Option<String> {
        self.0.get(key).map(bare)
    }
}

/// A plain value without quotes.
pub(crate) fn bare(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn to_json(value: &toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Datetime(at) => at.to_string().into(),
        toml::Value::Array(array) => array.iter().map(to_json).collect(),
        toml::Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), to_json(value))).collect(),
    }
}

/// One of `[[resources]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedResource {
    /// What jobs ask for.
    pub name: String,
    /// How much there is, on each of these nodes or in all.
    pub stock: Stock,
    /// The nodes; empty for all that have the labels.
    pub nodes: Vec<NodePattern>,
    /// Labels of the nodes.
    pub labels: BTreeMap<String, String>,
}

impl NamedResource {
    /// It belongs to no node, and all of them share it.
    #[must_use]
    pub fn is_of_site(&self) -> bool {
        self.nodes.is_empty() && self.labels.is_empty()
    }

    /// Whether a node has it.
    #[must_use]
    pub fn is_on(&self, node: &str, labels: &BTreeMap<String, String>) -> bool {
        !self.is_of_site()
            && (self.nodes.is_empty() || self.nodes.iter().any(|pattern| pattern.matches(node)))
            && self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// In the language of tracing's filters.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}
