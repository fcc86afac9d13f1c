//! The way through pending jobs of a policy that only orders them: each starts in its turn, as long as there
//! is room, and nobody passes the first of its placement that finds none.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use crate::{
    JobId, NodeId, PlacementId, Resources, Space,
    scheduler::{PassedOver, Plan, Start},
    space::Cursor,
};

/// Jobs that come before another are counted up to here.
pub(crate) const COUNTED: usize = 10_000;

const NO_ROOM: &str = "no node that it may run on has enough free";
const BEHIND: &str = "others that wait for the same nodes come before it";
const UNUSABLE: &str = "no node that it may run on takes jobs at the moment";
const ENOUGH: &str = "enough others start first; it is looked at again at once";

/// What became of a placement while a plan was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    /// The job found no room, or not for all of its tasks.
    Blocked(JobId),
    Unusable,
}

/// The jobs of one placement on the way through a plan.
pub(crate) struct Strand<'a, I> {
    placement: PlacementId,
    nodes: &'a [NodeId],
    /// How many jobs wait in it.
    waits: u64,
    /// Those that have not had their turn, in their order.
    rest: I,
    cursor: Cursor,
    /// Jobs of which all tasks start.
    started: u64,
    outcome: Outcome,
}

impl<'a, I> Strand<'a, I> {
    /// `nodes` in rising order, and `waits` jobs in the order that they have their turns in.
    pub(crate) fn new(placement: PlacementId, nodes: &'a [NodeId], waits: u64, rest: I) -> Self {
        let cursor = Cursor::default();
        Self { placement, nodes, waits, rest, cursor, started: 0, outcome: Outcome::Open }
    }
}

/// One way through all jobs, in their order, as far as there is room.
pub(crate) struct Walk<'a, K, I> {
    space: Space,
    left: u32,
    strands: Vec<Strand<'a, I>>,
    /// The next job of each placement that is still open, with the number of its strand.
    next: BinaryHeap<Reverse<(K, JobId, usize)>>,
    starts: Vec<Start>,
}

impl<'a, K: Ord, I: Iterator<Item = (K, JobId)>> Walk<'a, K, I> {
    pub(crate) fn new(space: Space, most: u32, strands: impl Iterator<Item = Strand<'a, I>>) -> Self {
        let (next, starts) = (BinaryHeap::new(), Vec::new());
        let mut walk = Self { space, left: most, strands: Vec::new(), next, starts };
        for strand in strands.filter(|strand| strand.waits > 0) {
            walk.join(strand);
        }
        walk
    }

    fn join(&mut self, mut strand: Strand<'a, I>) {
        if !self.space.any_usable(strand.nodes) {
            strand.outcome = Outcome::Unusable;
        } else if let Some((key, job)) = strand.rest.next() {
            self.next.push(Reverse((key, job, self.strands.len())));
        }
        self.strands.push(strand);
    }

    /// Goes the whole way. `job` says what each task of a job needs, and how many may start. Gives the plan,
    /// and the job of each placement that found no room.
    pub(crate) fn run(
        mut self,
        job: impl Fn(JobId) -> Option<(Resources, u32)>,
    ) -> (Plan, BTreeMap<PlacementId, JobId>) {
        while self.left > 0 {
            let Some(Reverse((_, id, strand))) = self.next.pop() else { break };
            if let Some((needs, count)) = job(id) {
                self.visit(id, strand, &needs, count);
            }
        }
        let blocked = self.blocked();
        (self.plan(), blocked)
    }

    fn visit(&mut self, job: JobId, number: usize, needs: &Resources, count: u32) {
        let Some(strand) = self.strands.get_mut(number) else { return };
        let wanted = count.min(self.left);
        let placed = self.space.take(strand.nodes, &mut strand.cursor, needs, wanted);
        if placed > 0 {
            self.starts.push(Start { job, count: placed, node: None });
            self.left -= placed;
        }
        if placed < wanted {
            strand.outcome = Outcome::Blocked(job);
            return;
        }
        strand.started += u64::from(placed == count);
        if let Some((key, job)) = strand.rest.next() {
            self.next.push(Reverse((key, job, number)));
        }
    }

    fn blocked(&self) -> BTreeMap<PlacementId, JobId> {
        let blocked = |strand: &Strand<'_, I>| match strand.outcome {
            Outcome::Blocked(job) => Some((strand.placement, job)),
            Outcome::Open | Outcome::Unusable => None,
        };
        self.strands.iter().filter_map(blocked).collect()
    }

    fn plan(self) -> Plan {
        let mut passed_over = [(NO_ROOM, 0), (BEHIND, 0), (UNUSABLE, 0), (ENOUGH, 0)];
        let [no_room, behind, unusable, enough] = &mut passed_over;
        for strand in &self.strands {
            let waits = strand.waits - strand.started;
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
