//! Pending jobs in order, kept so as they come and go.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashTable;

use crate::{JobId, NodeId, PendingJob, PlacementId, Resources, scheduler::Placement, slab::Slab};

/// Pending jobs by placement, each placement's in the order of their keys; equal keys in the order of the
/// jobs' numbers. Any change costs as much as a look-up or two, and a job takes about a hundred bytes.
#[derive(Clone, Debug)]
pub struct OrderedQueue<K> {
    jobs: Slab<Waiting<K>>,
    /// Where in `jobs` a job stands, by its number.
    index: HashTable<u32>,
    lanes: BTreeMap<PlacementId, Lane<K>>,
}

/// What is kept of a pending job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting<K> {
    /// Its number.
    pub id: JobId,
    /// Its place in the order.
    pub key: K,
    cpu_millis: u64,
    memory_bytes: u64,
    gpus: u32,
    /// Where it may run.
    pub placement: PlacementId,
    /// Tasks that may start.
    pub count: u32,
}

impl<K> Waiting<K> {
    fn new(key: K, job: &PendingJob) -> Self {
        let Resources { cpu_millis, memory_bytes, gpus } = job.needs;
        let &PendingJob { id, placement, count, .. } = job;
        Self { id, key, cpu_millis, memory_bytes, gpus, placement, count }
    }

    /// What each task needs.
    #[must_use]
    pub fn needs(&self) -> Resources {
        let &Self { cpu_millis, memory_bytes, gpus, .. } = self;
        Resources { cpu_millis, memory_bytes, gpus }
    }
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
        Self { jobs: Slab::default(), index: HashTable::new(), lanes: BTreeMap::new() }
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
        self.index.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Puts a job in its place, out of the one that it had. One without tasks is taken out.
    pub fn put(&mut self, key: K, job: &PendingJob) {
        if job.count == 0 {
            self.remove(job.id);
            return;
        }
        let new = Waiting::new(key, job);
        let (jobs, id) = (&mut self.jobs, job.id);
        let known = self.index.find(hash(id), |&at| jobs.get(at).is_some_and(|old| old.id == id));
        if let Some(old) = known.and_then(|&at| jobs.get_mut(at)) {
            let old = std::mem::replace(old, new);
            if old.placement == new.placement && old.key == new.key {
                return;
            }
            self.leave(&old);
        } else {
            let at = jobs.insert(new);
            self.index.insert_unique(hash(id), at, |&at| jobs.get(at).map_or(0, |job| hash(job.id)));
        }
        self.lanes.entry(new.placement).or_default().order.insert((key, id));
    }

    /// Takes a job out; `None` when it is not in.
    pub fn remove(&mut self, id: JobId) -> Option<Waiting<K>> {
        let jobs = &mut self.jobs;
        let entry =
            self.index.find_entry(hash(id), |&at| jobs.get(at).is_some_and(|job| job.id == id)).ok()?;
        let (at, _) = entry.remove();
        let job = *jobs.get(at)?;
        jobs.remove(at);
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
        let is_it = |&at: &u32| self.jobs.get(at).is_some_and(|job| job.id == id);
        self.index.find(hash(id), is_it).and_then(|&at| self.jobs.get(at))
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

/// Numbers mostly follow one another; this spreads them over the whole table.
fn hash(id: JobId) -> u64 {
    let spread = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    spread ^ (spread >> 32)
}
