//! The file as it is written. The doc comments and attributes here are the reference: what `berth config
//! schema` prints, what unknown keys are compared with, and where defaults come from.
//!
//! `default` is filled in before a table gets here, so a key that has one is never absent. `format`
//! tells kinds of text apart, `least` and `most` bound quantities, and `formerly` lists names of old,
//! each a path from the root of the file.

use std::{borrow::Cow, collections::BTreeMap, ops::Deref, path::PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use toml::Spanned;

use crate::{
    classes::RawClass,
    quantity::{Cpus, DiskSize, Mode, Size, Span},
    source,
    status::RawStatus,
};

/// A value, and where it stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct At<T>(Spanned<T>);

impl<T> At<T> {
    pub(crate) fn span(&self) -> source::Span {
        self.0.span()
    }
}

impl<T: Clone> At<T> {
    pub(crate) fn value(&self) -> T {
        self.0.get_ref().clone()
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.as_ref()
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A table that is handed on as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Open(pub toml::Table);

impl JsonSchema for Open {
    fn schema_name() -> Cow<'static, str> {
        "Open".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": true })
    }
}

/// Everything. Every section and every key may be left out; with no file at all Berth runs the jobs of
/// one machine. A variable `BERTH__SECTION__KEY` overrides a key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawConfig {
    /// The site's name, and where Berth keeps what it must not forget.
    pub cluster: RawCluster,
    /// How clients reach Berth.
    pub server: RawServer,
    /// What a job may ask for, and what it gets when it does not ask.
    pub jobs: RawJobs,
    /// What users and projects may use, and how much of it may wait.
    pub quotas: RawQuotas,
    /// The database.
    pub store: RawStore,
    /// The policy that decides which pending jobs start, and in what order.
    pub scheduler: RawScheduler,
    /// The policy that says who somebody is, and what their jobs may do.
    pub auth: RawAuth,
    /// People who come by the word of an outside issuer.
    pub guests: RawGuests,
    /// Issuers by whose word guests come: each signs tokens (OpenID Connect) for people whom it knows.
    #[schemars(extend("default" = []))]
    pub issuers: Vec<At<RawIssuer>>,
    /// Policies that say whether running jobs may go on.
    #[schemars(extend("default" = []))]
    pub watchers: Vec<At<RawWatcher>>,
    /// The policy that says which network a job gets.
    pub network: RawNetwork,
    /// Policies that see what is submitted, and changes of jobs, before it is accepted: one after the other, in the
    /// order of the file. Each may change it, of which the submitter is told, or refuse it.
    #[schemars(extend("default" = []))]
    pub filters: Vec<At<RawFilter>>,
    /// Who is told of jobs, and how.
    pub notices: RawNotices,
    /// Addresses that are called whenever something happens to a job, whoever's it is.
    #[schemars(extend("default" = []))]
    pub webhooks: Vec<At<RawWebhook>>,
    /// What runs the jobs, each under a name of the site's choice. With none at all, jobs are processes of
    /// this machine.
    pub executors: BTreeMap<String, At<RawExecutor>>,
    /// Resources that the site gives names to: licences, scratch space, devices. Jobs ask for them with --resource.
    #[schemars(extend("default" = []))]
    pub resources: Vec<At<RawResource>>,
    /// Classes of jobs, which jobs name with --class: who may use them, what they may ask for, and how much of each
    /// may run.
    #[schemars(extend("default" = []))]
    pub classes: Vec<At<RawClass>>,
    /// Where Berth's processes tell that they are there, for `berth nodes --daemons` and whatever else looks there.
    pub status: RawStatus,
    /// Berth's own log, which goes to standard error.
    pub log: RawLog,
}

/// `[cluster]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawCluster {
    /// Part of every name that back ends see; two Berths on one back end need different ones. Lower-case
    /// letters, digits and dashes. Changing it makes Berth lose sight of the jobs that run.
    #[schemars(extend("default" = "berth"))]
    pub name: At<String>,
    /// The directory for the database, spools and caches. Without root it is `berth` in
    /// XDG_STATE_HOME, or ~/.local/state/berth.
    #[schemars(extend("format" = "directory", "default" = "/var/lib/berth"))]
    pub state: At<PathBuf>,
}

/// `[server]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawServer {
    /// The Unix socket for clients on this machine. As root, and with `cluster.state` left alone, it is
    /// /run/berth/berth.sock.
    #[schemars(extend("format" = "file", "default" = "<state>/berth.sock"))]
    pub socket: At<PathBuf>,
    /// The socket's permission bits. Everybody may connect by default, because the kernel says who they
    /// are; without root it is 0600.
    #[schemars(extend("default" = "0666"))]
    pub socket_mode: At<Mode>,
    /// Addresses such as 127.0.0.1:8920 to listen on as well, without encryption; clients need tokens.
    #[schemars(extend("default" = []))]
    pub listen: Vec<At<String>>,
    /// The longest request body that is read.
    #[schemars(extend("default" = "12M", "least" = "64K"))]
    pub request_limit: At<Size>,
    /// Whether clients of GO-Docker are answered, too, under /api/1.0: their API key is a Berth token. What the
    /// site offers (images, names of volumes, labels of nodes) is told there to anybody who reaches the server.
    #[schemars(extend("default" = false))]
    pub godocker: At<bool>,
    /// A proxy in front of Berth that has made sure who somebody is, and says so in a header.
    pub proxy: RawProxy,
}

/// `[server.proxy]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub struct RawProxy {
    /// The header with the user's name, such as X-Remote-User. Left out, nobody is believed. Such a user may look,
    /// submit and control, and do nothing that only administrators may.
    pub user_header: Option<At<String>>,
    /// The addresses that the proxy comes from. The header means nothing from others.
    #[schemars(extend("default" = []))]
    pub from: Vec<At<String>>,
    /// A file with what the proxy sends in the header Berth-Proxy-Secret, which nobody else may read. It is read at
    /// the start. Make the proxy take both headers out of what clients send.
    #[schemars(extend("format" = "path"))]
    pub secret_file: Option<At<PathBuf>>,
}

/// `[jobs]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawJobs {
    /// The directory in which each job gets one of its own.
    #[schemars(extend("format" = "directory", "default" = "<state>/jobs", "formerly" = ["shared_dir"]))]
    pub directory: At<PathBuf>,
    /// The longest script that a job may have.
    #[schemars(extend("default" = "4M", "least" = "1K"))]
    pub script_limit: At<Size>,
    /// The most tasks that one array may have.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 1_000_000))]
    pub most_array_tasks: At<u64>,
    /// The CPUs of a job that does not say.
    #[schemars(extend("default" = "1", "formerly" = ["defaults_cpu"]))]
    pub default_cpus: At<Cpus>,
    /// The memory of a job that does not say; with 0 none is counted for it.
    #[schemars(extend("default" = "0"))]
    pub default_memory: At<Size>,
    /// The time limit of a job that does not say; left out, it has none.
    #[schemars(extend("least" = "1s"))]
    pub default_time: Option<At<Span>>,
    /// The longest time limit that a job may ask for. It also bounds jobs that have none.
    #[schemars(extend("least" = "1s"))]
    pub longest_time: Option<At<Span>>,
    /// How long a job that is asked to end has until it is killed.
    #[schemars(extend("default" = "10s", "most" = "7d"))]
    pub grace: At<Span>,
    /// The highest priority that users may give their jobs; administrators may go beyond. Left out, any may be given.
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub most_priority: Option<At<i32>>,
    /// What may be changed of a job after it was submitted, with `berth alter` and `berth rerun`, of priority, project,
    /// cpus, memory, gpus and time. Names that end in `:admin` are for administrators only. While a job runs, its
    /// priority and time limit can be changed, and the rest as long as it waits.
    #[schemars(extend("default" = ["priority", "project", "cpus", "memory", "gpus", "time"]))]
    pub changeable: Vec<At<String>>,
    /// The most retries that `--retry-on-node-failure` may ask for.
    #[schemars(range(min = 0, max = 100), extend("default" = 0))]
    pub retry_on_node_failure: At<u32>,
    /// The most jobs that one plan of the scheduler may start.
    #[schemars(
        range(min = 1, max = 1_000_000),
        extend("default" = 1000, "formerly" = ["max_job_pop"])
    )]
    pub starts_per_plan: At<u32>,
    /// Which node a job goes to, of those with room, where the scheduler leaves that open.
    #[schemars(extend("default" = "first-fit"))]
    pub placement: At<Placement>,
    /// What becomes of the directory of a job that is archived. What is known of the job stays in any case.
    #[schemars(extend("default" = "remove"))]
    pub archive: At<Archive>,
    /// After this time ended jobs are archived. Left out, that is only done on request.
    #[schemars(extend("least" = "1m", "formerly" = ["clean_old"]))]
    pub archive_after: Option<At<Span>>,
    /// The folder for directories that were packed. It is made when it is needed.
    #[schemars(extend("format" = "path", "default" = "<state>/archive"))]
    pub archive_directory: At<PathBuf>,
    /// The most that a directory may hold to be packed; files with holes count with their length. A larger one
    /// stays as it is.
    #[schemars(extend("default" = "10G", "least" = "1M"))]
    pub archive_limit: At<Size>,
    /// The most events that are shown of one job's history.
    #[schemars(range(min = 10, max = 1_000_000), extend("default" = 1000))]
    pub history_limit: At<u32>,
}

/// Which node a job goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Placement {
    /// The one that was known first.
    FirstFit,
    /// The one with the least left afterwards; jobs without GPUs go where there are the fewest of them.
    BestFit,
    /// The one that is used least.
    Spread,
}

/// What becomes of the directory of a job that is archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Archive {
    /// It is removed.
    Remove,
    /// It is packed into one file, of which its files can still be listed and read.
    Pack,
}

/// `[quotas]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawQuotas {
    /// The time within which bounds hold: what was used longer ago no longer counts. It is forgotten an hour at a
    /// time.
    #[schemars(extend("default" = "30d", "least" = "1h", "most" = "365d"))]
    pub period: At<Span>,
    /// What happens to a job that would pass a bound when it is its turn.
    #[schemars(extend("default" = "wait"))]
    pub on_breach: At<OnBreach>,
    /// When use counts.
    #[schemars(extend("default" = "start"))]
    pub count: At<CountAt>,
    /// The most jobs that may wait in all, tasks of arrays among them.
    #[schemars(range(min = 1), extend("formerly" = ["rate_limit_all"]))]
    pub pending: Option<At<u64>>,
    /// The most submissions of one user within a minute.
    #[schemars(range(min = 1, max = 60_000))]
    pub submissions_per_minute: Option<At<u32>>,
    /// After this time half of what was used counts for schedulers that have use fade.
    #[schemars(extend("default" = "7d", "least" = "1h", "most" = "30d"))]
    pub half_life: At<Span>,
    /// Whether jobs may name projects that no administrator has made; everybody belongs to them.
    #[schemars(extend("default" = false))]
    pub open_projects: At<bool>,
    /// How often the directories of running jobs are measured, where anybody is bounded in what they take; each is
    /// measured at its job's end, too.
    #[schemars(extend("default" = "1m", "least" = "1s", "most" = "1d"))]
    pub measure_every: At<Span>,
    /// What each user may use.
    pub user: RawBounds,
    /// What each project may use, but for the project default, which has no bounds.
    pub project: RawBounds,
}

/// The bounds of a user or a project. What is left out is not bounded.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub struct RawBounds {
    /// How long jobs may run, all added up.
    #[schemars(extend("least" = "1s"))]
    pub wall_time: Option<At<Span>>,
    /// How long jobs may have a CPU: with two of them it takes half as long to use it up.
    #[schemars(extend("least" = "1s"))]
    pub cpu_time: Option<At<Span>>,
    /// How long jobs may have a gibibyte of memory.
    #[schemars(extend("least" = "1s"))]
    pub memory_time: Option<At<Span>>,
    /// How many CPUs jobs may ask for, all added up, however long they run.
    pub cpus: Option<At<Cpus>>,
    /// How much memory jobs may ask for, likewise.
    pub memory: Option<At<Size>>,
    /// How many jobs may run, tasks of arrays and reruns among them.
    #[schemars(range(min = 1))]
    pub jobs: Option<At<u64>>,
    /// How many jobs may wait, tasks of arrays among them. For users only.
    #[schemars(range(min = 1))]
    pub pending: Option<At<u64>>,
    /// How many jobs may run at once, tasks of arrays among them.
    #[schemars(range(min = 1))]
    pub running_jobs: Option<At<u64>>,
    /// How many CPUs they may have at once.
    pub running_cpus: Option<At<Cpus>>,
    /// How much memory they may have at once.
    pub running_memory: Option<At<Size>>,
    /// How many GPUs they may have at once.
    #[schemars(range(min = 1))]
    pub running_gpus: Option<At<u64>>,
    /// What the directories of jobs may take that run or have ended and were not archived: where they take as much, no
    /// further job starts. `k`, `m`, `g` and `t` are powers of 1000 here, `Ki` to `Ti` of 1024.
    pub disk: Option<At<DiskSize>>,
}

/// What happens to a job that would pass a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum OnBreach {
    /// It stays pending until something is left.
    Wait,
    /// It ends as rejected.
    Reject,
}

/// When use counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum CountAt {
    /// A start keeps all that the job may use by its time limit, so that no bound is ever passed.
    Start,
    /// Only what has ended counts, so that bounds can be overshot, as in GO-Docker.
    End,
}

/// `[store]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawStore {
    /// What keeps the state.
    #[schemars(extend("default" = "sqlite"))]
    pub kind: At<RawStoreKind>,
    /// The database file.
    #[schemars(extend("format" = "file", "default" = "<state>/berth.db"))]
    pub path: At<PathBuf>,
    /// For postgres: the database, such as postgres://berth@db.example.org/berth, without a password.
    pub url: Option<At<String>>,
    /// A file with the password for that, which nobody else may read.
    #[schemars(extend("format" = "path"))]
    pub password_file: Option<At<PathBuf>>,
    /// The authorities, in PEM form, whose word on the server's certificate counts. Everything is encrypted
    /// then; a server on another machine needs it.
    #[schemars(extend("format" = "path"))]
    pub tls_ca: Option<At<PathBuf>>,
    /// How long a Berth that leads may be silent before another one takes its place.
    #[schemars(extend("default" = "15s", "least" = "2s", "most" = "10m"))]
    pub lease: At<Span>,
}

/// Where the state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum RawStoreKind {
    #[allow(missing_docs)]
    Sqlite,
    #[allow(missing_docs)]
    Postgres,
}

/// `[scheduler]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawScheduler {
    /// The name of a policy that ships with Berth, or the path of a component: with a `/` in it, or `.wasm`
    /// at its end.
    #[schemars(extend("default" = "fifo", "formerly" = ["scheduler_policy"]))]
    pub policy: At<String>,
    /// The policy's own settings; `berth plugin inspect` lists them.
    #[schemars(extend("default" = {}))]
    pub settings: Open,
    /// The capabilities that the policy is granted.
    #[schemars(extend("default" = []))]
    pub grants: Vec<At<String>>,
    /// What one call may cost, and how much misbehaviour is borne.
    pub limits: RawLimits,
}

/// `[auth]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawAuth {
    /// The name of a policy that ships with Berth, or the path of a component: with a `/` in it, or `.wasm`
    /// at its end.
    #[schemars(extend("default" = "local", "formerly" = ["auth_policy"]))]
    pub policy: At<String>,
    /// The policy's own settings; `berth plugin inspect` lists them.
    #[schemars(extend("default" = {}))]
    pub settings: Open,
    /// The capabilities that the policy is granted.
    #[schemars(extend("default" = ["accounts", "log", "passwords"]))]
    pub grants: Vec<At<String>>,
    /// What one call may cost, and how much misbehaviour is borne.
    pub limits: RawLimits,
    /// How many calls may be under way at once.
    #[schemars(range(min = 1, max = 64), extend("default" = 2))]
    pub instances: At<u32>,
    /// How long an answer is believed without asking again; with 0 it never is.
    #[schemars(extend("default" = "30s", "most" = "1d"))]
    pub cache: At<Span>,
    /// The servers behind the capability `ldap`.
    pub ldap: RawLdap,
    /// What `berth login` gives.
    pub sessions: RawSessions,
}

/// `[auth.sessions]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub struct RawSessions {
    /// A session that is not used for so long ends. How often it is used is known to a quarter of this, or to a
    /// minute.
    #[schemars(extend("default" = "12h", "least" = "1s", "most" = "90d"))]
    pub idle: At<Span>,
    /// No session lasts longer, used or not.
    #[schemars(extend("default" = "30d", "least" = "1s", "most" = "365d"))]
    pub longest: At<Span>,
}

/// `[auth.ldap]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub struct RawLdap {
    /// Addresses such as ldaps://ldap.example.org; one is asked after the other until one answers.
    #[schemars(extend("default" = []))]
    pub servers: Vec<At<String>>,
    /// The distinguished name of Berth's own entry; without it the servers are asked as nobody in particular.
    pub bind_dn: Option<At<String>>,
    /// A file with the password for that, which nobody else may read. It is read anew for each connection.
    #[schemars(extend("format" = "path"))]
    pub bind_password_file: Option<At<PathBuf>>,
    /// The authorities, in PEM form, whose word on the servers' certificates counts. ldaps:// and start-tls
    /// need it.
    #[schemars(extend("format" = "path"))]
    pub tls_ca: Option<At<PathBuf>>,
    /// Whether connections to ldap:// servers are encrypted before anything is said on them.
    #[schemars(extend("default" = false))]
    pub start_tls: At<bool>,
    /// How long one server may take for a connection and an answer.
    #[schemars(extend("default" = "2s", "least" = "10ms", "most" = "1m"))]
    pub answer_within: At<Span>,
}

/// `[guests]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawGuests {
    /// The account that the jobs of all guests run as, and that nobody else uses: whoever comes over the socket as it is
    /// turned away. Left out, nobody comes as a guest.
    #[schemars(extend("formerly" = ["guest_bind"]))]
    pub user: Option<At<String>>,
    /// The folder in which each guest gets a directory of their own, which is their home. It belongs to root, or to
    /// Berth's own account, and to nobody else; it has to exist. Left out, guests have no home.
    #[schemars(extend("format" = "path", "formerly" = ["guest_home_root"]))]
    pub homes: Option<At<PathBuf>>,
    /// Whether jobs of guests may run as root, where the auth policy lets jobs do so at all.
    #[schemars(extend("default" = false, "formerly" = ["guest_allow_root"]))]
    pub allow_root: At<bool>,
    /// Names of volumes that guests may ask for beside home. The auth policy still has its say.
    #[schemars(extend("default" = []))]
    pub volumes: Vec<At<String>>,
    /// Names of executors that jobs of guests may go to; any, where none is named. All guests have one account: only an
    /// executor that shows a job no more than its own directories, such as docker, keeps their files apart.
    #[schemars(extend("default" = []))]
    pub executors: Vec<At<String>>,
    /// The most guests who may wait to be let in. Whoever comes beyond that is turned away and not noted.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 100))]
    pub most_waiting: At<u64>,
    /// How often the directories of guests are measured.
    #[schemars(extend("default" = "1h", "least" = "1s", "most" = "30d"))]
    pub measure_every: At<Span>,
}

/// `[[issuers]]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawIssuer {
    /// The issuer, letter by letter as its tokens have it: https://HOST/PATH.
    pub url: At<String>,
    /// What this server is called in its tokens; those for others are not taken.
    pub audience: At<String>,
    /// The claim that names a person. Another one here makes other guests of everybody.
    #[schemars(extend("default" = "sub"))]
    pub claim: At<String>,
    /// How its tokens are signed.
    #[schemars(extend("default" = ["RS256", "ES256", "EdDSA"]))]
    pub algorithms: Vec<At<TokenAlgorithm>>,
    /// A file with its keys (JWKS), for sites from which it cannot be reached. Left out, the issuer is asked over HTTPS
    /// for `/.well-known/openid-configuration`, and for the keys that are named there.
    #[schemars(extend("format" = "path"))]
    pub keys_file: Option<At<PathBuf>>,
    /// The authorities, in PEM form, whose word on its certificate counts.
    #[schemars(extend("format" = "path", "default" = "/etc/ssl/certs/ca-certificates.crt"))]
    pub tls_ca: At<PathBuf>,
    /// Only people with an address in these domains, of which the issuer says that it has made sure.
    #[schemars(extend("default" = []))]
    pub domains: Vec<At<String>>,
    /// Only people with these claims, as NAME=VALUE; of a claim with several values one has to be it.
    #[schemars(extend("default" = []))]
    pub require: Vec<At<String>>,
    /// By how much its clock may differ.
    #[schemars(extend("default" = "30s", "most" = "10m"))]
    pub leeway: At<Span>,
    /// How long it may take to answer.
    #[schemars(extend("default" = "5s", "least" = "10ms", "most" = "1m"))]
    pub answer_within: At<Span>,
    /// When a token is signed with a key that is not known, or there are none, keys are looked for again, but not before
    /// this time has passed.
    #[schemars(extend("default" = "1m", "least" = "1s", "most" = "1h"))]
    pub look_again: At<Span>,
    /// Keys of this age are looked for again, and used meanwhile.
    #[schemars(extend("default" = "1h", "least" = "1s", "most" = "1d"))]
    pub keys_fresh_for: At<Span>,
    /// Keys of this age are used no more: nobody is let in then until the issuer has been asked.
    #[schemars(extend("default" = "1d", "least" = "1s", "most" = "30d"))]
    pub keys_good_for: At<Span>,
}

/// How an issuer signs its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TokenAlgorithm {
    /// RSA with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// `[[watchers]]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawWatcher {
    /// What it is called in logs and in the words of a kill; no two alike.
    pub name: At<String>,
    /// The name of a policy that ships with Berth, or the path of a component: with a `/` in it, or `.wasm`
    /// at its end.
    pub policy: At<String>,
    /// How often it looks at the running jobs.
    #[schemars(extend("default" = "30s", "least" = "1s", "most" = "1d"))]
    pub every: At<Span>,
    /// The policy's own settings; `berth plugin inspect` lists them.
    #[schemars(extend("default" = {}))]
    pub settings: Open,
    /// The capabilities that the policy is granted.
    #[schemars(extend("default" = []))]
    pub grants: Vec<At<String>>,
    /// What one call may cost, and how much misbehaviour is borne.
    pub limits: RawLimits,
}

/// `[network]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawNetwork {
    /// The name of a policy that ships with Berth, or the path of a component: with a `/` in it, or `.wasm`
    /// at its end. Left out, jobs get the network that their executor gives them.
    pub policy: Option<At<String>>,
    /// The policy's own settings; `berth plugin inspect` lists them.
    #[schemars(extend("default" = {}))]
    pub settings: At<Open>,
    /// The capabilities that the policy is granted.
    #[schemars(extend("default" = []))]
    pub grants: Vec<At<String>>,
    /// What one call may cost, and how much misbehaviour is borne.
    pub limits: RawLimits,
}

/// `[[filters]]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawFilter {
    /// What it is called in logs and to submitters; no two alike.
    pub name: At<String>,
    /// The name of a policy that ships with Berth, or the path of a component: with a `/` in it, or `.wasm`
    /// at its end.
    pub policy: At<String>,
    /// What happens to a job when the policy fails or is benched.
    #[schemars(extend("default" = "refuse"))]
    pub on_failure: At<OnFailure>,
    /// The policy's own settings; `berth plugin inspect` lists them.
    #[schemars(extend("default" = {}))]
    pub settings: Open,
    /// The capabilities that the policy is granted.
    #[schemars(extend("default" = ["accounts", "log"]))]
    pub grants: Vec<At<String>>,
    /// What one call may cost, and how much misbehaviour is borne.
    pub limits: RawLimits,
}

/// What happens to a job when a filter fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum OnFailure {
    /// It is not accepted.
    Refuse,
    /// It is accepted as if there were no such filter.
    Admit,
}

/// `[notices]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawNotices {
    /// The server that takes mail.
    pub mail: RawMail,
    /// Whether people may have an address of their own called when something happens to their jobs.
    #[schemars(extend("default" = false))]
    pub user_webhooks: At<bool>,
    /// A file with a key of 16 bytes or more, which nobody else may read. The keys that people's calls are signed with
    /// are made of it; another key here changes all of them.
    #[schemars(extend("format" = "path"))]
    pub user_key_file: Option<At<PathBuf>>,
    /// The hosts that people may have called: names, `*.example.org` for all below it, `*` for all there are.
    #[schemars(extend("default" = []))]
    pub allowed_hosts: Vec<At<String>>,
    /// Networks or addresses to which such a host may lead although they are not public, such as 10.1.0.0/16. Without
    /// them nobody can have Berth call this machine or the site's own.
    #[schemars(extend("default" = []))]
    pub allowed_networks: Vec<At<String>>,
    /// The authorities, in PEM form, whose word on the certificates of those that are called counts.
    #[schemars(extend("format" = "path", "default" = "/etc/ssl/certs/ca-certificates.crt"))]
    pub tls_ca: At<PathBuf>,
    /// How long somebody who is called may take to answer.
    #[schemars(extend("default" = "10s", "least" = "10ms", "most" = "5m"))]
    pub answer_within: At<Span>,
    /// How long to wait after a first failure. It doubles with each further one, up to an hour; one that does not
    /// answer at all is left alone for five minutes at most.
    #[schemars(extend("default" = "10s", "least" = "10ms", "most" = "1h"))]
    pub retry: At<Span>,
    /// After so many refusals a notice is given up.
    #[schemars(range(min = 1, max = 1000), extend("default" = 50))]
    pub attempts: At<u32>,
    /// A notice older than this is given up, whether it could be tried or not.
    #[schemars(extend("default" = "3d", "least" = "1s", "most" = "30d"))]
    pub give_up_after: At<Span>,
    /// The most notices that may wait for the mail server or for one webhook; those of one person may be a tenth of
    /// them. What comes beyond that is dropped.
    #[schemars(range(min = 10, max = 1_000_000), extend("default" = 10_000))]
    pub most_waiting: At<u64>,
}

/// `[notices.mail]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub struct RawMail {
    /// The server: HOST, or HOST:PORT. Left out, there is no mail.
    pub server: Option<At<String>>,
    /// How it is spoken to. The port is 25, 587 or 465 where none is given.
    #[schemars(extend("default" = "start-tls"))]
    pub encryption: At<Encryption>,
    /// The authorities, in PEM form, whose word on its certificate counts.
    #[schemars(extend("format" = "path", "default" = "/etc/ssl/certs/ca-certificates.crt"))]
    pub tls_ca: At<PathBuf>,
    /// Who Berth is there; without it nobody in particular.
    #[schemars(extend("formerly" = ["email_smtp_user"]))]
    pub user: Option<At<String>>,
    /// A file with the password for that, which nobody else may read. It is read anew for each mail.
    #[schemars(extend("format" = "path"))]
    pub password_file: Option<At<PathBuf>>,
    /// Whom mail is from: `Berth <berth@example.org>`.
    #[schemars(extend("formerly" = ["email_from"]))]
    pub from: Option<At<String>>,
    /// People whose address the auth policy does not know have one of their name in this domain.
    pub domain: Option<At<String>>,
    /// Domains of other addresses that people may have their mail sent to.
    #[schemars(extend("default" = []))]
    pub user_domains: Vec<At<String>>,
    /// How long the server may take for one mail.
    #[schemars(extend("default" = "20s", "least" = "10ms", "most" = "5m"))]
    pub answer_within: At<Span>,
}

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Encryption {
    /// In clear.
    None,
    /// Encrypted after a first word in clear; a server that does not offer that gets no mail.
    StartTls,
    /// Encrypted from the beginning.
    Tls,
}

/// `[[webhooks]]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawWebhook {
    /// What it is called in logs and metrics; no two alike.
    pub name: At<String>,
    /// What is called: https://HOST/PATH.
    pub url: At<String>,
    /// A file with the key of 16 bytes or more that calls are signed with, which nobody else may read. It is read anew
    /// for each call.
    #[schemars(extend("format" = "path"))]
    pub key_file: At<PathBuf>,
    /// When it is called: start, end, fail, kill, suspend, resume, message, all.
    #[schemars(extend("default" = ["start", "end"]))]
    pub on: Vec<At<String>>,
    /// Only for jobs with this label: NAME, or NAME=VALUE.
    pub label: Option<At<String>>,
}

/// The `limits` of a policy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub struct RawLimits {
    /// The longest that one call may take.
    #[schemars(extend("default" = "250ms", "least" = "1ms", "most" = "1m"))]
    pub time: At<Span>,
    /// The most memory that the policy may have. A scheduler keeps what it knows of every pending job in it.
    #[schemars(extend("default" = "512M", "least" = "1M", "most" = "4G"))]
    pub memory: At<Size>,
    /// The longest answer that is read.
    #[schemars(extend("default" = "16M", "least" = "1K", "most" = "1G"))]
    pub answer: At<Size>,
    /// How much the policy may keep in its table, where it is granted key-value.
    #[schemars(extend("default" = "4M", "most" = "1G"))]
    pub key_value: At<Size>,
    /// After how many breaches of contract in a row the policy is benched.
    #[schemars(range(min = 1, max = 1000), extend("default" = 3))]
    pub strikes: At<u32>,
    /// How many plans or answers a new version has to give before the old one is let go.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 50))]
    pub probation_plans: At<u32>,
}

/// What every table in `[executors]` has. What else there is depends on its kind.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawExecutor {
    /// Which executor this is; the table's name where it is left out.
    pub kind: At<String>,
    /// Whether jobs that name no executor go here. With none so marked they go to the first.
    #[schemars(extend("default" = false))]
    pub default: At<bool>,
    /// Everything else in the table. It is put here before the table is read.
    #[schemars(skip)]
    #[serde(default)]
    pub own: Open,
}

/// `[[resources]]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawResource {
    /// What jobs ask for: letters, digits, dots, dashes and underscores, such as gpu_10.5.
    pub name: At<String>,
    /// How much of it there is, where all of it is alike.
    #[schemars(range(min = 1))]
    pub total: Option<At<u64>>,
    /// The numbers of its units, where each is a thing of its own: 0-1, or 0,2. A job is told which ones it has.
    pub units: Option<At<String>>,
    /// Device files that a job with a unit may use; {unit} stands for the unit's number. Containers see no others.
    #[schemars(extend("default" = []))]
    pub devices: Vec<At<String>>,
    /// The nodes that have so much of it each, such as local/node1 or docker/*. With neither nodes nor labels it
    /// belongs to no node, and all of them share it.
    #[schemars(extend("default" = []))]
    pub nodes: Vec<At<String>>,
    /// Labels, as NAME=VALUE, that such nodes have, too.
    #[schemars(extend("default" = []))]
    pub labels: Vec<At<String>>,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawLog {
    /// What is logged: a level (error, warn, info, debug, trace, off), and `target=level` for parts, all
    /// separated by commas.
    #[schemars(extend("default" = "info"))]
    pub level: At<String>,
    /// How a line looks.
    #[schemars(extend("default" = "text"))]
    pub format: At<LogFormat>,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}
