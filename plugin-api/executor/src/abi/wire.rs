//! What is said in calls and their answers. Members that the reader does not know are passed over.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use berth_model::{AttemptName, JobId, NamedGrant};
use serde::{Deserialize, Serialize};

use crate::{Action, ExecutorError, Launch, LaunchSpec, LogQuery, Places, Report, Task};

/// The names of the methods.
pub mod method {
    #![allow(missing_docs, reason = "each is the trait's method of that name, or explained in the header")]
    pub const CAPACITY: &str = "capacity";
    pub const LAUNCH: &str = "launch";
    pub const RECONCILE: &str = "reconcile";
    pub const ATTEMPTS: &str = "attempts";
    pub const CONTROL: &str = "control";
    pub const STATS: &str = "stats";
    pub const REMOVE: &str = "remove";
    pub const CLEANUP: &str = "cleanup";
    pub const REPORTS: &str = "reports";
    pub const LOGS: &str = "logs";
    pub const EXEC: &str = "exec";
    pub const CONNECT: &str = "connect";
    pub const NEXT: &str = "next";
    pub const WRITE: &str = "write";
    pub const SHUT: &str = "shut";
    pub const EXIT: &str = "exit";
    pub const RESIZE: &str = "resize";
    pub const CLOSE: &str = "close";
}

/// What an executor is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Whose attempts it has.
    pub cluster: String,
    /// What berth.toml calls it.
    pub name: String,
    /// A folder of its own that outlives Berth.
    pub state: PathBuf,
    /// What stands in its `settings` in berth.toml.
    #[serde(default)]
    pub settings: serde_json::Value,
}

/// What a request can hold; each method reads what it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// About which attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptName>,
    /// About which attempts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptName>,
    /// What it is asked to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// Which part of a log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<LogQuery>,
    /// The program and arguments of an `exec`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// It gets a terminal.
    pub terminal: bool,
    /// The port to connect with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A clean-up only says what it would remove.
    pub dry_run: bool,
    /// Which stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<u64>,
    /// A terminal's new size.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// How large a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Its width in characters.
    pub columns: u16,
    /// Its height in characters.
    pub rows: u16,
}

/// A launch's request. What several attempts share is said once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    specs: Vec<Arc<LaunchSpec>>,
    launches: Vec<Entry>,
}

/// A [`Launch`] with the place of its spec instead of the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    attempt: AttemptName,
    job: JobId,
    attempt_number: u32,
    task: Option<Task>,
    node: Option<String>,
    directory: String,
    array_directory: Option<String>,
    stdout: String,
    stderr: String,
    /// The named resources that it was given.
    #[serde(default)]
    granted: Vec<NamedGrant>,
    spec: usize,
    /// Berth's own variables, as things are on this machine: for libraries that do not have [`Launch::environment`].
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

impl Batch {
    /// These launches as a message.
    #[must_use]
    pub fn of(launches: &[Launch]) -> Self {
        let mut specs: Vec<Arc<LaunchSpec>> = Vec::new();
        let mut place_of = |spec: &Arc<LaunchSpec>| {
            // Those of one array come one after the other.
            specs.iter().rposition(|known| Arc::ptr_eq(known, spec)).unwrap_or_else(|| {
                specs.push(Arc::clone(spec));
                specs.len() - 1
            })
        };
        let entry = |launch: &Launch| Entry {
            attempt: launch.attempt.clone(),
            job: launch.job,
            attempt_number: launch.attempt_number,
            task: launch.task,
            node: launch.node.clone(),
            directory: launch.directory.clone(),
            array_directory: launch.array_directory.clone(),
            stdout: launch.stdout.clone(),
            stderr: launch.stderr.clone(),
            granted: launch.granted.clone(),
            spec: place_of(&launch.spec),
            environment: environment(launch),
        };
        let launches = launches.iter().map(entry).collect();
        Self { specs, launches }
    }

    /// The launches of a message; `None` when one names a spec that is not there.
    #[must_use]
    pub fn launches(self) -> Option<Vec<Launch>> {
        let Self { specs, launches } = self;
        let launch = |entry: Entry| {
            let spec = Arc::clone(specs.get(entry.spec)?);
            let Entry { attempt, job, attempt_number, task, node, directory, array_directory, .. } = entry;
            let (stdout, stderr, granted) = (entry.stdout, entry.stderr, entry.granted);
            Some(Launch {
                attempt,
                job,
                attempt_number,
                task,
                node,
                directory,
                array_directory,
                stdout,
                stderr,
                granted,
                spec,
            })
        };
        launches.into_iter().map(launch).collect()
    }
}

fn environment(launch: &Launch) -> BTreeMap<String, String> {
    let home = launch.spec.identity.home.as_deref().unwrap_or(&launch.directory);
    launch.own_environment(Places { directory: &launch.directory, home, data: None }).into_iter().collect()
}

/// A stream was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its number.
    pub stream: u64,
    /// The process has a terminal whose size can be changed.
    #[serde(default)]
    pub terminal: bool,
}

/// What came of a stream; of bytes, they are the body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Next {
    /// Of a stream of reports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<Report>,
    /// Nothing is to come any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub end: bool,
}

/// How the process of an `exec` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// Its exit code.
    pub code: i32,
}

/// What a library that failed says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// For people.
    pub words: String,
}

/// Which of the errors it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// [`ExecutorError::Unreachable`].
    Unreachable,
    /// [`ExecutorError::Refused`].
    Refused,
    /// [`ExecutorError::Unusable`].
    Unusable,
    /// [`ExecutorError::Unsupported`].
    Unsupported,
    /// [`ExecutorError::UnknownAttempt`].
    UnknownAttempt,
}

/// The answer to a call that could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What the caller does next follows from it.
    pub kind: ErrorKind,
    /// For people.
    pub words: String,
}

/// An executor's error as it crosses the border; `None` where the executor itself failed.
#[must_use]
pub fn kind_of(error: &ExecutorError) -> Option<Error> {
    let of = |kind, words: &str| Some(Error { kind, words: words.to_owned() });
    match error {
        ExecutorError::Unreachable { source, .. } => of(ErrorKind::Unreachable, &source.to_string()),
        ExecutorError::Refused { reason, .. } => of(ErrorKind::Refused, reason),
        ExecutorError::Unusable { reason, .. } => of(ErrorKind::Unusable, reason),
        ExecutorError::Unsupported { what, .. } => of(ErrorKind::Unsupported, what),
        ExecutorError::UnknownAttempt { attempt, .. } => of(ErrorKind::UnknownAttempt, attempt),
        ExecutorError::Broken { .. } => None,
    }
}
