//! All jobs in their order, those of each placement as far as the policy looks.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, btree_set},
};

use berth_policy_sdk::{
    InstantMs, JobId, NodeId, OrderedQueue, PlacementId,
    queue::{Lane, Waiting},
};

use crate::outlook::Outlook;

/// A job's place in the order: its priority, where that counts, and when it became eligible.
pub type Key = (Reverse<i32>, InstantMs);

/// The way through the queue while a plan is made.
pub struct Line<'a> {
    queue: &'a OrderedQueue<Key>,
    pub strands: Vec<Strand<'a>>,
    /// The next job of each placement that is not through, with the number of its strand.
    next: BinaryHeap<Reverse<(Key, JobId, usize)>>,
    depth: u32,
}

/// The jobs of one placement.
pub struct Strand<'a> {
    pub placement: PlacementId,
    /// Its usable nodes, as places in the outlook.
    pub places: Vec<usize>,
    /// How many jobs wait.
    pub waits: u64,
    /// How many jobs, or tasks where each counts, the policy has looked at and not started.
    pub looked: u32,
    /// The first job that it does not look at any more.
    pub cut: Option<(Key, JobId)>,
    /// The nodes that they may run on, usable or not, in rising order.
    pub nodes: &'a [NodeId],
    rest: btree_set::Iter<'a, (Key, JobId)>,
}

impl<'a> Line<'a> {
    pub fn new(queue: &'a OrderedQueue<Key>, outlook: &Outlook, depth: u32) -> Self {
        let mut line = Self { queue, strands: Vec::new(), next: BinaryHeap::new(), depth };
        for (placement, lane) in queue.lanes().filter(|(_, lane)| !lane.is_empty()) {
            line.join(placement, lane, outlook);
        }
        line
    }

    fn join(&mut self, placement: PlacementId, lane: &'a Lane<Key>, outlook: &Outlook) {
        let (places, waits) = (outlook.places(lane.nodes()), lane.len() as u64);
        let number = self.strands.len();
        let is_usable = !places.is_empty();
        let (nodes, rest) = (lane.nodes(), lane.iter());
        self.strands.push(Strand { placement, places, waits, looked: 0, cut: None, nodes, rest });
        if is_usable {
            self.go_on(number);
        }
    }

    /// The next job, with the number of its strand. That stands still until it is told to go on.
    pub fn next(&mut self) -> Option<(usize, &'a Waiting<Key>)> {
        loop {
            let Reverse((_, job, strand)) = self.next.pop()?;
            if let Some(waiting) = self.queue.get(job) {
                return Some((strand, waiting));
            }
        }
    }

    /// Lets a strand go on to its next job, unless it has been looked at as deep as is wanted.
    pub fn go_on(&mut self, number: usize) {
        let Some(strand) = self.strands.get_mut(number) else { return };
        let next = strand.rest.next().copied();
        if strand.looked >= self.depth {
            strand.cut = next;
        } else if let Some((key, job)) = next {
            self.next.push(Reverse((key, job, number)));
        }
    }

    /// The first job of each placement that is not looked at any more.
    pub fn cuts(&self) -> BTreeMap<PlacementId, (Key, JobId)> {
        self.strands.iter().filter_map(|strand| Some((strand.placement, strand.cut?))).collect()
    }

    /// Whether a strand has been looked at as deep as is wanted.
    pub fn is_through(&self, strand: &Strand<'_>) -> bool {
        strand.looked >= self.depth
    }

    /// How many more of a strand are looked at.
    pub fn left(&self, number: usize) -> u32 {
        self.strands.get(number).map_or(0, |strand| self.depth.saturating_sub(strand.looked))
    }
}

impl Strand<'_> {
    /// How many jobs come behind the one at which the policy stopped to look.
    pub fn behind_cut(&self) -> u64 {
        self.rest.len() as u64
    }
}
