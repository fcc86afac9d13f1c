//! What passes between Berth and auth, watcher and network policies, natively.

use std::{collections::BTreeMap, fmt, sync::Arc};

use berth_model::{JobId, NetworkAttachment, ProjectVolume, Resources, UtcMs, Volume};

/// How somebody presents themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// The kernel says so: the peer of a Unix socket.
    UnixUser(u32),
    /// A name that Berth has already made sure of, such as the owner of a token.
    KnownUser(String),
}

/// What somebody has typed as their password. It has no `Debug` that shows it, and is neither compared nor remembered.
#[derive(Clone)]
pub struct Password(Arc<str>);

impl Password {
    /// Takes it over.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever compares it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Why somebody is not let in, or a job not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No such person, or not proven.
    #[error("nobody is known by these credentials")]
    Unknown,
    /// Known, but not allowed; the words are for them.
    #[error("{0}")]
    Forbidden(String),
    /// It cannot be decided now. Not final.
    #[error("it cannot be decided now: {0}")]
    Unavailable(String),
}

/// What of a job has to be allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct JobRequest {
    /// The project it is to count for.
    pub project: String,
    /// It wants to run as root.
    pub as_root: bool,
    /// The volumes that it wants: `(name, read only)`.
    pub volumes: Vec<(String, bool)>,
    /// Those of them that its project has of its own, by name.
    pub of_project: BTreeMap<String, ProjectVolume>,
    /// The executor that it asks for.
    pub executor: Option<String>,
    /// The container image.
    pub image: Option<String>,
    /// Keys of executor options, such as `docker.privileged`.
    pub extensions: Vec<String>,
}

impl JobRequest {
    /// Adds a volume as a job spec has it.
    pub fn add_volume(&mut self, volume: &Volume) {
        let read_only = volume.mode == berth_model::VolumeMode::ReadOnly;
        self.volumes.push((volume.name.clone(), read_only));
    }
}

/// A running job and what it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedJob {
    /// Its number.
    pub id: JobId,
    /// Its owner.
    pub user: String,
    /// Its project.
    pub project: String,
    /// What it asked for.
    pub needs: Resources,
    /// When it started.
    pub started: UtcMs,
    /// Since when it has run without a break: its start, or when it was resumed last.
    pub active_since: UtcMs,
    /// It is suspended.
    pub suspended: bool,
    /// The longest it may run, in milliseconds.
    pub time_limit_ms: Option<u64>,
    /// CPU time since its start; `None` when the executor cannot tell. Likewise below.
    pub cpu_micros: Option<u64>,
    /// Memory now.
    pub memory_bytes: Option<u64>,
    /// What its directory takes.
    pub directory: Option<DirectorySize>,
}

/// What a directory takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectorySize {
    /// Space on the disk.
    pub bytes: u64,
    /// It was looked through to its end; otherwise it takes at least that.
    pub whole: bool,
}

/// What a watcher has to be given beside what Berth knows anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// What running jobs use.
    pub usage: bool,
    /// What their directories take.
    pub directory: bool,
    /// To be asked before jobs start, and told of starts and ends.
    pub starts: bool,
}

/// What is to happen with a running job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    GoOn,
    /// Its user is told this, and it gets the signal, once in an execution for the same words.
    Warn {
        /// What.
        words: String,
        /// The signal.
        signal: Option<i32>,
    },
    /// It gets this signal.
    Send(i32),
    /// It is ended, for this reason.
    Stop(String),
}

/// A job that has a place and is not launched yet, or that was launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartingJob {
    /// Its number.
    pub id: JobId,
    /// Its owner.
    pub user: String,
    /// Its project.
    pub project: String,
    /// What it asked for.
    pub needs: Resources,
    /// The longest it may run, in milliseconds.
    pub time_limit_ms: Option<u64>,
    /// The name of its node.
    pub node: String,
}

/// Why a watcher does not let a job start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartRefusal {
    /// It never will; the job is rejected with these words.
    #[error("{0}")]
    Never(String),
    /// Not at the moment; the job goes back to pending with these words.
    #[error("{0}")]
    NotNow(String),
}

/// A job that wants a network or published ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRequest {
    /// The job.
    pub job: JobId,
    /// Its owner.
    pub user: String,
    /// Its project.
    pub project: String,
    /// The label that the user gave; `None` for the usual network.
    pub label: Option<String>,
    /// The job's ports that are to be published.
    pub ports: Vec<u16>,
    /// The name of its node.
    pub node: String,
}

/// A job that is attached already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The job.
    pub job: JobId,
    /// The name of its node.
    pub node: String,
    /// What it got.
    pub what: NetworkAttachment,
}

/// Why a job is not attached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkRefusal {
    /// It will never be; the job is rejected with these words.
    #[error("{0}")]
    Never(String),
    /// Not at the moment; the job goes back to pending with these words.
    #[error("{0}")]
    NotNow(String),
}
