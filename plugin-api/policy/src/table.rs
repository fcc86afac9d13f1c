//! Pending jobs by their numbers, in as little room as that takes.

use hashbrown::HashTable;

use crate::{JobId, PendingJob, PlacementId, Resources, slab::Slab};

/// Pending jobs by their numbers. Any change costs as much as a look-up.
#[derive(Clone, Debug)]
pub struct JobTable<K> {
    jobs: Slab<Waiting<K>>,
    /// Where in `jobs` a job stands, by its number.
    index: HashTable<u32>,
}

/// What is kept of a pending job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting<K> {
    /// Its number.
    pub id: JobId,
    /// What the policy keeps of it: its place in the order, or what its place follows from.
    pub key: K,
    cpu_millis: u64,
    memory_bytes: u64,
    /// `NO_LIMIT` when it has none.
    limit_ms: u64,
    gpus: u32,
    /// Where it may run.
    pub placement: PlacementId,
    /// Tasks that may start.
    pub count: u32,
}

const NO_LIMIT: u64 = u64::MAX;

impl<K> Waiting<K> {
    /// What is kept of `job`.
    #[must_use]
    pub fn new(key: K, job: &PendingJob) -> Self {
        let Resources { cpu_millis, memory_bytes, gpus } = job.needs;
        let &PendingJob { id, placement, count, .. } = job;
        let limit_ms = job.time_limit_ms.unwrap_or(NO_LIMIT);
        Self { id, key, cpu_millis, memory_bytes, limit_ms, gpus, placement, count }
    }

    /// What each task needs.
    #[must_use]
    pub fn needs(&self) -> Resources {
        let &Self { cpu_millis, memory_bytes, gpus, .. } = self;
        Resources { cpu_millis, memory_bytes, gpus }
    }

    /// The longest that each task may run; `None` when nobody said.
    #[must_use]
    pub fn time_limit_ms(&self) -> Option<u64> {
        Some(self.limit_ms).filter(|&limit| limit != NO_LIMIT)
    }
}

impl<K> Default for JobTable<K> {
    fn default() -> Self {
        Self { jobs: Slab::default(), index: HashTable::new() }
    }
}

impl<K: Copy> JobTable<K> {
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

    /// Puts a job in; what was kept of it before comes back. It must have a task that may start.
    pub fn put(&mut self, new: Waiting<K>) -> Option<Waiting<K>> {
        let (jobs, id) = (&mut self.jobs, new.id);
        let known = self.index.find(hash(id), |&at| jobs.get(at).is_some_and(|old| old.id == id));
        if let Some(old) = known.and_then(|&at| jobs.get_mut(at)) {
            return Some(std::mem::replace(old, new));
        }
        let at = jobs.insert(new);
        self.index.insert_unique(hash(id), at, |&at| jobs.get(at).map_or(0, |job| hash(job.id)));
        None
    }

    /// Takes a job out; `None` when it is not in.
    pub fn remove(&mut self, id: JobId) -> Option<Waiting<K>> {
        let jobs = &mut self.jobs;
        let entry =
            self.index.find_entry(hash(id), |&at| jobs.get(at).is_some_and(|job| job.id == id)).ok()?;
        let (at, _) = entry.remove();
        let place = jobs.get_mut(at)?;
        let job = *place;
        // So that a walk over all places knows the empty ones.
        place.count = 0;
        jobs.remove(at);
        Some(job)
    }

    /// A job that is in.
    #[must_use]
    pub fn get(&self, id: JobId) -> Option<&Waiting<K>> {
        let is_it = |&at: &u32| self.jobs.get(at).is_some_and(|job| job.id == id);
        self.index.find(hash(id), is_it).and_then(|&at| self.jobs.get(at))
    }

    /// All jobs, in no order that means anything; as fast as memory is read.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting<K>> {
        self.jobs.iter().filter(|job| job.count > 0)
    }
}

/// Numbers mostly follow one another; this spreads them over the whole table.
fn hash(id: JobId) -> u64 {
    let spread = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    spread ^ (spread >> 32)
}
