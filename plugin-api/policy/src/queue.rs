//! Pending jobs in order, kept so as they come and go.

use std::collections::{BTreeMap, BTreeSet};

pub use crate::table::Waiting;
use crate::{JobId, NodeId, PendingJob, PlacementId, scheduler::Placement, table::JobTable};

/// Pending jobs by placement, each placement's in the order of their keys; equal keys in the order of the
/// jobs' numbers. Any change costs as much as a look-up or two, and a job takes about a hundred bytes.
#[derive(Clone, Debug)]
pub struct OrderedQueue<K> {
    jobs: JobTable<K>,
    lanes: BTreeMap<PlacementId, Lane<K>>,
}

/// The jobs of one placement.
#[derive(Clone, Debug)]
pub struct Lane<K> {
    nodes: Vec<NodeId>,
    order: BTreeSet<(K, JobId)>,
}

impl<K: Copy + Ord> Lane<K> {
    /// The nodes that they may run on, in rising order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// How many jobs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The jobs in their order, with their keys.
    pub fn iter(&self) -> std::collections::btree_set::Iter<'_, (K, JobId)> {
        self.order.iter()
    }

    /// How many jobs come before this one, counted up to `most`.
    #[must_use]
    pub fn before(&self, key: K, job: JobId, most: usize) -> usize {
        self.order.range(..(key, job)).take(most).count()
    }
}

impl<K> Default for OrderedQueue<K> {
    fn default() -> Self {
        Self { jobs: JobTable::default(), lanes: BTreeMap::new() }
    }
}

impl<K> Default for Lane<K> {
    fn default() -> Self {
        Self { nodes: Vec::new(), order: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> OrderedQueue<K> {
    /// How many jobs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Puts a job in its place, out of the one that it had. One without tasks is taken out.
    pub fn put(&mut self, key: K, job: &PendingJob) {
        if job.count == 0 {
            self.remove(job.id);
            return;
        }
        let new = Waiting::new(key, job);
        if let Some(old) = self.jobs.put(new) {
            if old.placement == new.placement && old.key == new.key {
                return;
            }
            self.leave(&old);
        }
        self.lanes.entry(new.placement).or_default().order.insert((key, new.id));
    }

    /// Takes a job out; `None` when it is not in.
    pub fn remove(&mut self, id: JobId) -> Option<Waiting<K>> {
        let job = self.jobs.remove(id)?;
        self.leave(&job);
        Some(job)
    }

    fn leave(&mut self, job: &Waiting<K>) {
        if let Some(lane) = self.lanes.get_mut(&job.placement) {
            lane.order.remove(&(job.key, job.id));
        }
    }

    /// A job that is in.
    #[must_use]
    pub fn get(&self, id: JobId) -> Option<&Waiting<K>> {
        self.jobs.get(id)
    }

    /// Sets the nodes of a placement.
    pub fn place(&mut self, placement: Placement) {
        let mut nodes = placement.nodes;
        nodes.sort_unstable();
        nodes.shrink_to_fit();
        self.lanes.entry(placement.id).or_default().nodes = nodes;
    }

    /// The jobs of a placement.
    #[must_use]
    pub fn lane(&self, placement: PlacementId) -> Option<&Lane<K>> {
        self.lanes.get(&placement)
    }

    /// All placements that were told or have jobs, in the order of their numbers.
    pub fn lanes(&self) -> impl Iterator<Item = (PlacementId, &Lane<K>)> {
        self.lanes.iter().map(|(&placement, lane)| (placement, lane))
    }
}
