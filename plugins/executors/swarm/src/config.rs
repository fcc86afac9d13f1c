//! The executor's settings.

use std::{collections::BTreeMap, time::Duration};

use berth_docker_engine::{EngineConfig, ImageRules, Registries};

use crate::BACKEND;

/// Whether managers run jobs, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Managers {
    /// Only in a Swarm without any worker.
    #[default]
    WhenAlone,
    /// Like workers.
    Always,
    /// Never.
    Never,
}

/// What [`crate::SwarmExecutor::start`] needs to know.
#[derive(Clone, Debug)]
pub struct SwarmConfig {
    /// The cluster's name, part of every attempt's name.
    pub cluster: String,
    /// An engine that is a manager of the Swarm.
    pub engine: EngineConfig,
    /// Whether managers run jobs, too.
    pub managers: Managers,
    /// How much more than a node has may be sent to it and wait in the Swarm's own queue, in percent.
    pub backlog_percent: u64,
    /// How long a node may be away before its attempts count as lost.
    pub lost_after: Duration,
    /// The longest time between two looks at tasks of other nodes. The engine tells of changes on its own
    /// node only, so the others have to be asked for, and only while there are attempts. Nodes are looked at
    /// ten times less often, and once a minute at least.
    pub look_at_least_every: Duration,
    /// The generic resource that stands for a GPU.
    pub gpu_resource: String,
    /// Overlay networks that are made when a job wants them and they are not there; with `true` those that
    /// have no way out.
    pub networks: BTreeMap<String, bool>,
    /// Which images jobs may run in.
    pub images: ImageRules,
    /// What registries want to hear.
    pub registries: Registries,
    /// The site's data area, told to jobs.
    pub data: Option<String>,
    /// The most processes and threads of a job; as many as it likes where `None`.
    pub pids: Option<u32>,
    /// Whether a small init is a job's first process. Programs that ignore signals as a first process,
    /// as most do, then end when they are asked to.
    pub init: bool,
    /// Capabilities taken from jobs that do not run as root.
    pub drop_capabilities: Vec<String>,
}

impl SwarmConfig {
    /// The usual settings, for the engine at its usual place.
    #[must_use]
    pub fn new(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            engine: EngineConfig::new(BACKEND),
            managers: Managers::default(),
            backlog_percent: 0,
            lost_after: Duration::from_mins(5),
            look_at_least_every: Duration::from_secs(2),
            gpu_resource: "gpu".into(),
            networks: BTreeMap::new(),
            images: ImageRules::default(),
            registries: Registries::default(),
            data: None,
            pids: None,
            init: true,
            drop_capabilities: vec!["ALL".into()],
        }
    }
}
