//! What is told of jobs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Submit;

/// Which jobs are to be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobQuery {
    /// States, joined with commas; all that have not ended where it is empty, `all` for every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only this user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Only this project's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Only those with this text in their name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only those with this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The tasks of this array instead of jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<u64>,
    /// Only jobs with numbers below this: where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most this many; 1,000 where it is not given, 100,000 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of jobs, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobList {
    /// The jobs.
    pub jobs: Vec<JobRow>,
    /// Give this as `before` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<u64>,
}

/// A job in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobRow {
    /// Its number.
    pub id: u64,
    /// As people write it: `12`, or `12.7` for a task.
    pub label: String,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub user: String,
    /// Its project.
    pub project: String,
    /// Its executor.
    pub executor: String,
    /// Where it stands: `held`, `pending`, `starting`, `running`, `suspended`, `stopping`, `succeeded`,
    /// `failed`, `killed`, `rejected`, `lost`.
    pub state: String,
    /// More about that, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// CPU in milli-cores.
    pub cpu_millis: u64,
    /// Memory in bytes; 0 where none was asked for.
    pub memory_bytes: u64,
    /// Whole GPUs.
    pub gpus: u32,
    /// The longest it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit_ms: Option<u64>,
    /// Its priority.
    pub priority: i32,
    /// The indices, for an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// How many tasks are in which state, for an array; those that have not begun count as pending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<StateCount>,
    /// When it was submitted.
    pub submitted: String,
    /// When its present or last execution began to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The exit code as a shell would give it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended so, or is being ended; absent for one that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Where it is or was: `EXECUTOR/NODE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Counts its executions from 1.
    pub attempt: u32,
    /// CPU time of the present or last execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_micros: Option<u64>,
    /// The most memory of that execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
}

/// Why a job did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// For programs. Of killed ones: `user`, `administrator`, `array`, `time-limit`, `watcher`; while it is
    /// being ended `rerun`, too. Of failed ones: `exit-code`, `signal`, `out-of-memory`, `could-not-launch`,
    /// `node-failure`, `tasks`. Of rejected ones: `rejected`. Of lost ones: `lost`.
    pub kind: String,
    /// Who or what wanted it, where somebody did: a person, a watcher, the policy that refused it, or
    /// `dependency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// For people: `at its time limit`, `by ann`, `exit code 3`.
    pub words: String,
}

/// How many are in a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateCount {
    /// The state.
    pub state: String,
    /// How many.
    pub count: u64,
}

/// Everything about one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobDetail {
    /// As in a list.
    #[serde(flatten)]
    pub row: JobRow,
    /// As it was asked for, with the site's defaults filled in. Values of variables are shown to its
    /// owner only.
    pub spec: Submit,
    /// Its directory on the host.
    pub directory: String,
    /// Its standard output on the host.
    pub stdout: String,
    /// Its standard error on the host.
    pub stderr: String,
    /// What the executor says of its present state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Its history, oldest first.
    pub history: Vec<HistoryRow>,
}

/// One entry of a job's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryRow {
    /// When.
    pub at: String,
    /// What: `submitted`, `held`, `released`, `starting`, `running`, `suspended`, `resumed`, `stopping`,
    /// `given-back`, `ended`, `requeued`, `late-news`, `message`, `note`.
    pub event: String,
    /// In words.
    pub text: String,
}

/// Why a job has not started, or how it stands otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The job.
    pub id: u64,
    /// As people write it.
    pub label: String,
    /// Where it stands.
    pub state: String,
    /// The one-sentence answer.
    pub summary: String,
    /// All reasons, with their evidence.
    pub reasons: Vec<Reason>,
    /// What it has waited for so far, oldest first and at most 16; those without an end go on. Holds are known for
    /// all of its life, what else kept it since the server's start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waited: Vec<Waited>,
    /// What would make it fit: each was tried on the server's books. Whose turn it is then is the scheduler's to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggestions: Vec<Suggestion>,
    /// When the scheduler expects it to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_start: Option<String>,
    /// The scheduler that was asked, and its own words about this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
}

/// A time that a job waited for one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waited {
    /// For programs: `held`, `begin-time`, `dependency`, `no-room`, `array-bound`, `unreachable`, `scheduler`,
    /// `given-back`.
    pub kind: String,
    /// For people.
    pub text: String,
    /// From when on.
    pub since: String,
    /// Until when; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// A change that would make a job fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Suggestion {
    /// For programs: `less`, `ends`, `release`, `begin-time`, `dependency`, `array-bound`.
    pub kind: String,
    /// For people.
    pub text: String,
    /// The jobs whose end it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<u64>,
    /// When that comes about by itself at the latest, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    /// For programs: `held`, `begin-time`, `dependency`, `no-room`, `array-bound`, `scheduler`,
    /// `not-planned-yet`, `unreachable`, `given-back`, `benched`, `quota`.
    pub kind: String,
    /// For people: what and why, with figures.
    pub text: String,
    /// From when on, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What would help, where something would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Which part of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogPart {
    /// `stdout` or `stderr`; `stdout` where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Only this many bytes from the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_bytes: Option<u64>,
    /// Go on with what is written later, until the job ends.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
    /// Only what was written from then on: RFC 3339, or a span before now such as `10m`. For running jobs, where
    /// the executor knows when lines were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// A change of a job, as the event stream tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventRow {
    /// Rises with every event; the stream can be resumed behind it.
    pub seq: u64,
    /// The job.
    pub id: u64,
    /// As people write it.
    pub label: String,
    /// Its owner.
    pub user: String,
    /// Its name.
    pub name: String,
    /// Where it stands after it.
    pub state: String,
    /// When.
    pub at: String,
    /// The exit code, at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended so, at an end that is no success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// For programs that want more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
}

/// A file in a job's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileRow {
    /// Its name, without the folder.
    pub name: String,
    /// `file`, `directory` or `other`.
    pub kind: String,
    /// Its size.
    pub size_bytes: u64,
}
