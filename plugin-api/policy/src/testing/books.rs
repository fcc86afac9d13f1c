//! The books that a plan is checked against.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    JobId, NodeId, NodeRoom, PendingJob, PlacementId, Resources,
    scheduler::{Node, Plan, RunningJob, Start},
};

/// How a policy broke its contract. The host drops such an answer and starts over with a fresh instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// It started or rejected a job that does not wait.
    Unknown(JobId),
    /// A job stands in the plan more than once.
    Twice(JobId),
    /// It started no task of a job, or more than may start.
    Count {
        /// The job.
        job: JobId,
        /// How many it started.
        started: u32,
        /// How many may start.
        may: u32,
    },
    /// It started more tasks than a plan may.
    TooMany,
    /// There is no room for what it started.
    NoRoom(JobId),
    /// It does not know as many jobs as wait.
    Len {
        /// How many it says.
        says: u64,
        /// How many there are.
        are: u64,
    },
    /// It gave no plan, in these words.
    NoPlan(String),
    /// A fresh instance that was told the full state plans otherwise.
    Forgetful,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(job) => write!(f, "job {job} does not wait"),
            Self::Twice(job) => write!(f, "job {job} is in the plan twice"),
            Self::Count { job, started, may } => {
                write!(f, "{started} tasks of job {job} were started, of which {may} may start")
            }
            Self::TooMany => f.write_str("more tasks were started than the plan may start"),
            Self::NoRoom(job) => write!(f, "there is no room for job {job}"),
            Self::Len { says, are } => write!(f, "it says that {says} jobs wait, and {are} do"),
            Self::NoPlan(words) => write!(f, "it gave no plan: {words}"),
            Self::Forgetful => f.write_str("a fresh instance that was told the same plans otherwise"),
        }
    }
}

impl std::error::Error for Breach {}

/// What the host knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) placements: BTreeMap<PlacementId, Vec<NodeId>>,
    pub(super) pending: BTreeMap<JobId, PendingJob>,
    pub(super) running: BTreeMap<JobId, RunningJob>,
}

impl Books {
    /// What is free on every usable node.
    pub(super) fn room(&self) -> Vec<NodeRoom> {
        let free = |node: &Node| {
            let mut free = node.total;
            for job in self.running.values().filter(|job| job.node == node.id) {
                job.needs.take_from(&mut free, 1);
            }
            NodeRoom { node: node.id, free }
        };
        self.nodes.values().filter(|node| node.usable).map(free).collect()
    }

    /// Where each task of a plan goes: `(job, node)`.
    pub(super) fn place(&self, plan: &Plan, most: u32) -> Result<Vec<(JobId, NodeId)>, Breach> {
        let mut room = self.room().into_iter().map(|room| (room.node, room.free)).collect();
        let mut seen = BTreeSet::new();
        let mut placed = Vec::new();
        for start in &plan.starts {
            let job = start.job;
            let may = self.pending.get(&job).ok_or(Breach::Unknown(job))?.count;
            if !seen.insert(job) {
                return Err(Breach::Twice(job));
            }
            if start.count == 0 || start.count > may {
                return Err(Breach::Count { job, started: start.count, may });
            }
            for _ in 0..start.count {
                placed.push((job, self.place_one(start, &mut room)?));
            }
            if placed.len() > most as usize {
                return Err(Breach::TooMany);
            }
        }
        for rejection in &plan.rejections {
            if !self.pending.contains_key(&rejection.job) {
                return Err(Breach::Unknown(rejection.job));
            }
            if !seen.insert(rejection.job) {
                return Err(Breach::Twice(rejection.job));
            }
        }
        Ok(placed)
    }

    /// The host's own rule, in its plainest form.
    fn place_one(&self, start: &Start, room: &mut BTreeMap<NodeId, Resources>) -> Result<NodeId, Breach> {
        let no_room = Breach::NoRoom(start.job);
        let job = self.pending.get(&start.job).ok_or(Breach::Unknown(start.job))?;
        let nodes = self.placements.get(&job.placement).ok_or(no_room.clone())?;
        let allowed = |node: &NodeId| nodes.contains(node) && start.node.is_none_or(|wanted| wanted == *node);
        let fits = |(node, free): &(&NodeId, &mut Resources)| allowed(node) && job.needs.fits_in(free);
        let (&node, free) = room.iter_mut().find(fits).ok_or(no_room)?;
        job.needs.take_from(free, 1);
        Ok(node)
    }
}
