//! The way through pending jobs of a policy that only orders them: each starts in its turn, as long as there
//! is room, and nobody passes the first of its placement that finds none.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

pub(crate) use crate::round::COUNTED;
use crate::{
    JobId, NodeId, PlacementId, Resources, Space,
    round::{NO_ROOM, Round},
    scheduler::Plan,
};

/// The jobs of one placement on the way through a plan.
pub(crate) struct Strand<'a, I> {
    placement: PlacementId,
    nodes: &'a [NodeId],
    /// How many jobs wait in it.
    waits: u64,
    /// Those that have not had their turn, in their order.
    rest: I,
}

impl<'a, I> Strand<'a, I> {
    /// `nodes` in rising order, and `waits` jobs in the order that they have their turns in.
    pub(crate) fn new(placement: PlacementId, nodes: &'a [NodeId], waits: u64, rest: I) -> Self {
        Self { placement, nodes, waits, rest }
    }
}

/// One way through all jobs, in their order, as far as there is room.
pub(crate) struct Walk<'a, K, I> {
    round: Round<'a>,
    /// Of each placement.
    rests: Vec<I>,
    /// The next job of each placement that is still open, with its number in the round.
    next: BinaryHeap<Reverse<(K, JobId, usize)>>,
}

impl<'a, K: Ord, I: Iterator<Item = (K, JobId)>> Walk<'a, K, I> {
    pub(crate) fn new(space: Space, most: u32, strands: impl Iterator<Item = Strand<'a, I>>) -> Self {
        let mut walk = Self { round: Round::new(space, most), rests: Vec::new(), next: BinaryHeap::new() };
        for strand in strands.filter(|strand| strand.waits > 0) {
            let number = walk.round.join(strand.placement, strand.nodes, strand.waits);
            walk.rests.push(strand.rest);
            walk.call(number);
        }
        walk
    }

    fn call(&mut self, strand: usize) {
        if self.round.is_open(strand)
            && let Some((key, job)) = self.rests.get_mut(strand).and_then(Iterator::next)
        {
            self.next.push(Reverse((key, job, strand)));
        }
    }

    /// Goes the whole way. `job` says what each task of a job needs, and how many may start. Gives the plan,
    /// and the job of each placement that found no room.
    pub(crate) fn run(
        mut self,
        job: impl Fn(JobId) -> Option<(Resources, u32)>,
    ) -> (Plan, BTreeMap<PlacementId, JobId>) {
        while self.round.left() > 0 {
            let Some(Reverse((_, id, strand))) = self.next.pop() else { break };
            if let Some((needs, count)) = job(id) {
                self.round.start(strand, id, &needs, count, count);
                self.call(strand);
            }
        }
        let finished = self.round.finish();
        (finished.plan, finished.blocked)
    }
}

/// Why a job waits: how many of its placement come before it, counted up to [`COUNTED`], and which one found
/// no room in the last plan.
pub(crate) fn explain(job: JobId, before: usize, blocked: Option<JobId>) -> String {
    let before = match before {
        0 if blocked == Some(job) => return format!("it is the next to start on its nodes: {NO_ROOM}"),
        0 => return "it is the next to start on its nodes".to_owned(),
        1 => "1 job that waits for the same nodes comes before it".to_owned(),
        COUNTED => format!("{COUNTED} or more jobs that wait for the same nodes come before it"),
        before => format!("{before} jobs that wait for the same nodes come before it"),
    };
    match blocked {
        Some(first) => format!("{before}, and the first of them, {first}, waits for room"),
        None => before,
    }
}
