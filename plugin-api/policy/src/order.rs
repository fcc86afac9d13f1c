//! The policy of ten lines: one that only says which of two jobs comes first.

use std::collections::BTreeMap;

use crate::{
    Error, Info, InstantMs, JobId, PendingJob, PlacementId, Scheduler, Settings, Space,
    queue::OrderedQueue,
    scheduler::{NodeRoom, Placement, Plan},
    walk::{self, COUNTED, Strand, Walk},
};

/// An order of jobs. [`export_order!`](crate::export_order) makes a scheduler of it that starts jobs in
/// this order as long as there is room.
///
/// Nobody is passed over by those who wait for the same nodes: when the first of a placement does not fit,
/// no other job of that placement starts in its stead, however small. Jobs of other placements go on.
pub trait Order: Sized {
    /// What jobs are ordered by: smaller is sooner. Of equal ones, the job with the lower number is first.
    /// Kept for every pending job, so it had better be small.
    type Key: Copy + Ord;

    /// Who the policy is, and which settings it reads; see [`info!`](crate::info).
    fn describe() -> Info;

    /// Makes the order by its settings. Without settings of its own, it need not be written.
    ///
    /// # Errors
    /// `bad-settings` when they make no sense.
    fn configure(settings: &mut Settings) -> Result<Self, Error>
    where
        Self: Default,
    {
        let _ = settings;
        Ok(Self::default())
    }

    /// A job's place in the order. The same for the same job at any time; where it changes as time goes by,
    /// see [`Rank`](crate::Rank).
    fn key(&self, job: &PendingJob) -> Self::Key;
}

/// The scheduler that an [`Order`] makes.
#[derive(Clone, Debug)]
pub struct Ordered<O: Order> {
    order: O,
    queue: OrderedQueue<O::Key>,
    /// The first job of each placement that found no room in the last plan.
    blocked: BTreeMap<PlacementId, JobId>,
}

impl<O: Order + Default> Scheduler for Ordered<O> {
    fn describe() -> Info {
        O::describe()
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        O::configure(settings).map(Self::new)
    }

    fn placements(&mut self, placements: Vec<Placement>) {
        for placement in placements {
            self.queue.place(placement);
        }
    }

    fn pending(&mut self, jobs: Vec<PendingJob>) {
        for job in &jobs {
            self.queue.put(self.order.key(job), job);
        }
    }

    fn withdrawn(&mut self, jobs: Vec<JobId>) {
        for job in jobs {
            self.queue.remove(job);
        }
    }

    fn plan(&mut self, _now_ms: InstantMs, room: Vec<NodeRoom>, most: u32) -> Result<Plan, Error> {
        let queue = &self.queue;
        let strands = queue.lanes().map(|(placement, lane)| {
            Strand::new(placement, lane.nodes(), lane.len() as u64, lane.iter().copied())
        });
        let walk = Walk::new(Space::new(room), most, strands);
        let (plan, blocked) = walk.run(|job| queue.get(job).map(|waiting| (waiting.needs(), waiting.count)));
        self.blocked = blocked;
        Ok(plan)
    }

    fn explain(&mut self, _now_ms: InstantMs, job: JobId) -> Option<String> {
        let waiting = self.queue.get(job)?;
        let lane = self.queue.lane(waiting.placement)?;
        let before = lane.before(waiting.key, job, COUNTED);
        Some(walk::explain(job, before, self.blocked.get(&waiting.placement).copied()))
    }

    fn known(&mut self) -> u64 {
        self.queue.len() as u64
    }
}

impl<O: Order> Ordered<O> {
    /// The scheduler of this order.
    #[must_use]
    pub fn new(order: O) -> Self {
        Self { order, queue: OrderedQueue::default(), blocked: BTreeMap::new() }
    }
}
