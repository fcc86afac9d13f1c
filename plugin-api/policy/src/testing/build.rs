//! Jobs and nodes, with what a test does not care for filled in.

use crate::{JobId, NodeId, PendingJob, PlacementId, Resources, scheduler::Node};

/// A pending job in the making.
#[derive(Clone, Debug)]
pub struct JobBuilder(pub(super) PendingJob);

/// A plain job that needs nothing, submitted at the instant 0, that may run on any node.
#[must_use]
pub fn job(id: JobId) -> JobBuilder {
    JobBuilder(PendingJob {
        id,
        owner: 0,
        project: 0,
        placement: 0,
        count: 1,
        needs: Resources::NONE,
        submitted_ms: 0,
        eligible_ms: 0,
        time_limit_ms: None,
        priority: 0,
    })
}

/// A usable node.
#[must_use]
pub fn node(id: NodeId, cpu_millis: u64, memory_bytes: u64, gpus: u32) -> Node {
    let total = Resources { cpu_millis, memory_bytes, gpus };
    Node { id, name: id, executor: 0, total, usable: true, attributes: Vec::new() }
}

impl JobBuilder {
    /// Makes an array of it, with this many tasks.
    #[must_use]
    pub fn tasks(mut self, count: u32) -> Self {
        self.0.count = count;
        self
    }

    /// CPU that each task needs.
    #[must_use]
    pub fn cpu(mut self, millis: u64) -> Self {
        self.0.needs.cpu_millis = millis;
        self
    }

    /// Memory that each task needs.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.0.needs.memory_bytes = bytes;
        self
    }

    /// GPUs that each task needs.
    #[must_use]
    pub fn gpus(mut self, gpus: u32) -> Self {
        self.0.needs.gpus = gpus;
        self
    }

    /// When it was submitted and became eligible.
    #[must_use]
    pub fn submitted(mut self, at_ms: u64) -> Self {
        self.0.submitted_ms = at_ms;
        self.0.eligible_ms = at_ms;
        self
    }

    /// When it became eligible.
    #[must_use]
    pub fn eligible(mut self, at_ms: u64) -> Self {
        self.0.eligible_ms = at_ms;
        self
    }

    /// Its priority.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.0.priority = priority;
        self
    }

    /// Where it may run; 0 is anywhere.
    #[must_use]
    pub fn placement(mut self, placement: PlacementId) -> Self {
        self.0.placement = placement;
        self
    }

    /// The longest that each task may run.
    #[must_use]
    pub fn time_limit(mut self, ms: u64) -> Self {
        self.0.time_limit_ms = Some(ms);
        self
    }

    /// The numbers of its owner and project.
    #[must_use]
    pub fn of(mut self, owner: u32, project: u32) -> Self {
        self.0.owner = owner;
        self.0.project = project;
        self
    }

    /// What the builder has made.
    #[must_use]
    pub fn build(self) -> PendingJob {
        self.0
    }
}
