//! The executor's settings.

use std::{path::PathBuf, time::Duration};

use berth_docker_engine::{Endpoint, EngineConfig, ImageRules, Registries};
use serde::{Deserialize, Serialize};

use crate::{BACKEND, gpu::Gpus};

/// Which limits jobs are held to, rather than only counted against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforce {
    /// Memory where a job asks for some, CPU where its spec says so.
    #[default]
    Asked,
    /// Memory and CPU of every job that asks for any.
    Always,
    /// None.
    Never,
}

/// When images are asked for at a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pull {
    /// For every job; what is there already has to do when the registry cannot be asked.
    Always,
    /// When the engine does not have it.
    #[default]
    Missing,
    /// Not at all.
    Never,
}

/// How much swap a job gets beside its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Swap {
    /// None: what is over its memory is over.
    #[default]
    None,
    /// As much again.
    Same,
    /// As much as the machine has.
    Unlimited,
}

/// The images that there are for users, and what is kept of them.
#[derive(Clone, Debug)]
pub struct ImageSettings {
    /// When registries are asked.
    pub pull: Pull,
    /// Which ones jobs may run in.
    pub rules: ImageRules,
    /// How registries are logged in to.
    pub registries: Registries,
    /// The most bytes that images may take which Berth pulled; the least recently used ones go first.
    pub cache_bytes: Option<u64>,
    /// How long a registry's no is believed before it is asked for the same image again.
    pub cool_down: Duration,
    /// How long pulling one image may take.
    pub pull_within: Duration,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            pull: Pull::default(),
            rules: ImageRules::default(),
            registries: Registries::default(),
            cache_bytes: None,
            cool_down: Duration::from_secs(60),
            pull_within: Duration::from_secs(3600),
        }
    }
}

/// What [`crate::DockerExecutor::start`] needs to know.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The cluster's name, part of every name and label.
    pub cluster: String,
    /// Where the engine listens.
    pub endpoint: Endpoint,
    /// An engine that takes longer for an answer counts as unreachable.
    pub answer_within: Duration,
    /// How long making or starting one container may take: an engine under load takes its time.
    pub start_within: Duration,
    /// How many containers are made and started at a time.
    pub starts_at_once: usize,
    /// Where attempts are noted that have no container yet. On a disk that is not emptied at boot.
    pub state: PathBuf,
    /// The engine's name as a node; its host's name where `None`.
    pub node: Option<String>,
    /// CPU to be allocated, in milli-cores; what the engine has where `None`.
    pub cpu_millis: Option<u64>,
    /// Memory to be allocated, in bytes; what the engine has where `None`.
    pub memory_bytes: Option<u64>,
    /// GPUs to be allocated.
    pub gpus: Gpus,
    /// Labels of the node, beside `hostname`, `arch` and `os`.
    pub labels: Vec<(String, String)>,
    /// Which limits jobs are held to.
    pub enforce: Enforce,
    /// How much swap a job gets.
    pub swap: Swap,
    /// The most processes of a job.
    pub pids: Option<u64>,
    /// Whether a small first process hands on signals and collects orphans.
    pub init: bool,
    /// Whether programs in a container can gain rights by set-user-id files.
    pub new_privileges: bool,
    /// Capabilities taken from jobs that do not run as root; `ALL` for all.
    pub drop_capabilities: Vec<String>,
    /// The network of jobs that get none by a policy: `external`, `internal`, `none`, or a name.
    pub network: String,
    /// Networks that are not Berth's and that jobs may be attached to.
    pub networks: Vec<String>,
    /// The address that ports are published at.
    pub publish: String,
    /// What is told to users as the host of published ports; the node's name where `None`.
    pub publish_host: Option<String>,
    /// Whether scratch space may be given that the engine cannot hold to its size.
    pub scratch_unbounded: bool,
    /// The site's data area, told to jobs.
    pub data: Option<String>,
    /// Images.
    pub images: ImageSettings,
}

impl DockerConfig {
    /// The usual settings: the engine at its usual place, all that it has.
    #[must_use]
    pub fn new(cluster: impl Into<String>, state: impl Into<PathBuf>) -> Self {
        Self {
            cluster: cluster.into(),
            endpoint: Endpoint::default(),
            answer_within: Duration::from_secs(20),
            start_within: Duration::from_secs(120),
            starts_at_once: 8,
            state: state.into(),
            node: None,
            cpu_millis: None,
            memory_bytes: None,
            gpus: Gpus::default(),
            labels: Vec::new(),
            enforce: Enforce::default(),
            swap: Swap::default(),
            pids: Some(4096),
            init: true,
            new_privileges: false,
            drop_capabilities: vec!["ALL".into()],
            network: "external".into(),
            networks: Vec::new(),
            publish: "0.0.0.0".into(),
            publish_host: None,
            scratch_unbounded: false,
            data: None,
            images: ImageSettings::default(),
        }
    }

    pub(crate) fn engine(&self) -> EngineConfig {
        EngineConfig { backend: BACKEND, endpoint: self.endpoint.clone(), answer_within: self.answer_within }
    }
}
