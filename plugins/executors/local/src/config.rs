//! The executor's settings.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::supervisor::SUPERVISOR_WORD;

/// Which limits jobs are held to, rather than only counted against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enforce {
    /// Memory where a job asks for some, CPU where its spec says so.
    #[default]
    Asked,
    /// Memory and CPU of every job that asks for any.
    Always,
    /// None.
    Never,
}

/// What [`crate::LocalExecutor::start`] needs to know.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// The cluster's name, part of every attempt's name.
    pub cluster: String,
    /// Where the supervisor keeps its journal, its log and its socket. On a disk, not in a folder that
    /// is emptied at boot: after a reboot it is what tells a job that never ran from one that may have.
    pub spool: PathBuf,
    /// The program that becomes the supervisor, with the arguments that make it so.
    pub supervisor_command: Vec<OsString>,
    /// This machine's name as a node; its host name where `None`.
    pub node: Option<String>,
    /// CPU to be allocated, in milli-cores; what this process may use where `None`.
    pub cpu_millis: Option<u64>,
    /// Memory to be allocated, in bytes; this machine's where `None`.
    pub memory_bytes: Option<u64>,
    /// Labels beside `hostname`, `arch` and `os`.
    pub labels: Vec<(String, String)>,
    /// Which limits jobs are held to.
    pub enforce: Enforce,
    /// The site's data area, told to jobs.
    pub data: Option<String>,
    /// A supervisor that takes longer for an answer counts as unreachable.
    pub answer_within: Duration,
}

impl LocalConfig {
    /// The usual settings: all of this machine, and the running program as its own supervisor. That
    /// program has to call [`crate::supervisor_main`] when its first argument is [`SUPERVISOR_WORD`].
    #[must_use]
    pub fn new(cluster: impl Into<String>, spool: impl Into<PathBuf>) -> Self {
        Self {
            cluster: cluster.into(),
            spool: spool.into(),
            supervisor_command: vec!["/proc/self/exe".into(), SUPERVISOR_WORD.into()],
            node: None,
            cpu_millis: None,
            memory_bytes: None,
            labels: Vec::new(),
            enforce: Enforce::default(),
            data: None,
            answer_within: Duration::from_secs(30),
        }
    }
}
