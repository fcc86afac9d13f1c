//! The policy of ten lines: one that only says which of two jobs comes first.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use crate::{
    Error, Info, InstantMs, JobId, PendingJob, PlacementId, Scheduler, Settings, Space,
    queue::{Lane, OrderedQueue, Waiting},
    scheduler::{NodeRoom, PassedOver, Placement, Plan, Start},
    space::Cursor,
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

    /// A job's place in the order. The same for the same job at any time.
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

/// Jobs that come before another are counted up to here.
const COUNTED: usize = 10_000;

const NO_ROOM: &str = "no node that it may run on has enough free";
const BEHIND: &str = "others that wait for the same nodes come before it";
const UNUSABLE: &str = "no node that it may run on takes jobs at the moment";
const ENOUGH: &str = "enough others start first; it is looked at again at once";

impl<O: Order + Default> Scheduler for Ordered<O> {
    fn describe() -> Info {
        O::describe()
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let order = O::configure(settings)?;
        Ok(Self { order, queue: OrderedQueue::default(), blocked: BTreeMap::new() })
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
        let mut walk = Walk::new(&self.queue, Space::new(room), most);
        walk.run();
        self.blocked = walk.blocked();
        Ok(walk.plan())
    }

    fn explain(&mut self, _now_ms: InstantMs, job: JobId) -> Option<String> {
        let waiting = self.queue.get(job)?;
        let lane = self.queue.lane(waiting.placement)?;
        let before = match lane.before(waiting.key, job, COUNTED) {
            0 => return Some(self.explain_first(waiting)),
            1 => "1 job that waits for the same nodes comes before it".to_owned(),
            COUNTED => format!("{COUNTED} or more jobs that wait for the same nodes come before it"),
            before => format!("{before} jobs that wait for the same nodes come before it"),
        };
        Some(match self.blocked.get(&waiting.placement) {
            Some(first) => format!("{before}, and the first of them, {first}, waits for room"),
            None => before,
        })
    }

    fn known(&mut self) -> u64 {
        self.queue.len() as u64
    }
}

impl<O: Order> Ordered<O> {
    fn explain_first(&self, waiting: &Waiting<O::Key>) -> String {
        match self.blocked.get(&waiting.placement) {
            Some(&first) if first == waiting.id => {
                format!("it is the next to start on its nodes: {NO_ROOM}")
            }
            _ => "it is the next to start on its nodes".to_owned(),
        }
    }
}

/// What became of a placement while a plan was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    /// The job found no room, or not for all of its tasks.
    Blocked(JobId),
    Unusable,
}

/// The jobs of one placement on the way through a plan.
struct Strand<'a, K> {
    placement: PlacementId,
    lane: &'a Lane<K>,
    rest: std::collections::btree_set::Iter<'a, (K, JobId)>,
    cursor: Cursor,
    /// Jobs of which all tasks start.
    started: u64,
    outcome: Outcome,
}

/// One way through all jobs, in their order, as far as there is room.
struct Walk<'a, K> {
    queue: &'a OrderedQueue<K>,
    space: Space,
    left: u32,
    strands: Vec<Strand<'a, K>>,
    /// The next job of each placement that is still open, with the number of its strand.
    next: BinaryHeap<Reverse<(K, JobId, usize)>>,
    starts: Vec<Start>,
}

impl<'a, K: Copy + Ord> Walk<'a, K> {
    fn new(queue: &'a OrderedQueue<K>, space: Space, most: u32) -> Self {
        let mut walk = Self {
            queue,
            space,
            left: most,
            strands: Vec::new(),
            next: BinaryHeap::new(),
            starts: Vec::new(),
        };
        for (placement, lane) in queue.lanes().filter(|(_, lane)| !lane.is_empty()) {
            walk.join(placement, lane);
        }
        walk
    }

    fn join(&mut self, placement: PlacementId, lane: &'a Lane<K>) {
        let mut rest = lane.iter();
        let usable = self.space.any_usable(lane.nodes());
        let outcome = if usable { Outcome::Open } else { Outcome::Unusable };
        if let Some(&(key, job)) = rest.next().filter(|_| usable) {
            self.next.push(Reverse((key, job, self.strands.len())));
        }
        let cursor = Cursor::default();
        self.strands.push(Strand { placement, lane, rest, cursor, started: 0, outcome });
    }

    fn run(&mut self) {
        while self.left > 0 {
            let Some(Reverse((_, job, strand))) = self.next.pop() else { break };
            self.visit(job, strand);
        }
    }

    fn visit(&mut self, job: JobId, number: usize) {
        let (Some(waiting), Some(strand)) = (self.queue.get(job), self.strands.get_mut(number)) else {
            return;
        };
        let wanted = waiting.count.min(self.left);
        let placed = self.space.take(strand.lane.nodes(), &mut strand.cursor, &waiting.needs(), wanted);
        if placed > 0 {
            self.starts.push(Start { job, count: placed, node: None });
            self.left -= placed;
        }
        if placed < wanted {
            strand.outcome = Outcome::Blocked(job);
            return;
        }
        strand.started += u64::from(placed == waiting.count);
        if let Some(&(key, job)) = strand.rest.next() {
            self.next.push(Reverse((key, job, number)));
        }
    }

    fn blocked(&self) -> BTreeMap<PlacementId, JobId> {
        let blocked = |strand: &Strand<'_, K>| match strand.outcome {
            Outcome::Blocked(job) => Some((strand.placement, job)),
            Outcome::Open | Outcome::Unusable => None,
        };
        self.strands.iter().filter_map(blocked).collect()
    }

    fn plan(self) -> Plan {
        let mut passed_over = [(NO_ROOM, 0), (BEHIND, 0), (UNUSABLE, 0), (ENOUGH, 0)];
        let [no_room, behind, unusable, enough] = &mut passed_over;
        for strand in &self.strands {
            let waits = strand.lane.len() as u64 - strand.started;
            match strand.outcome {
                Outcome::Blocked(_) => {
                    no_room.1 += 1;
                    behind.1 += waits - 1;
                }
                Outcome::Unusable => unusable.1 += waits,
                Outcome::Open => enough.1 += waits,
            }
        }
        let passed_over = passed_over
            .into_iter()
            .filter(|&(_, jobs)| jobs > 0)
            .map(|(words, jobs)| PassedOver { words: words.to_owned(), jobs })
            .collect();
        let (reservations, rejections) = (Vec::new(), Vec::new());
        Plan { starts: self.starts, reservations, rejections, passed_over, wake_at_ms: None }
    }
}
