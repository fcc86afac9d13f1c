//! All usable nodes from now on, as far as that has been worked out: what is free, and what is promised.

use std::collections::BTreeMap;

use berth_policy_sdk::{InstantMs, NodeId, NodeRoom, Resources};

use crate::{
    running::Running,
    timeline::{Timeline, UNKNOWN, until},
};

/// A place in time: a node from an instant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    pub at: InstantMs,
    pub node: NodeId,
}

/// What each task of a job takes.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    pub needs: Resources,
    /// How long it is expected to run; at least a millisecond.
    pub span_ms: u64,
}

impl Demand {
    /// Whether it takes no less than `other`, of anything.
    pub fn covers(&self, other: &Self) -> bool {
        other.span_ms <= self.span_ms && other.needs.fits_in(&self.needs)
    }
}

/// The nodes while a plan is made.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    pub now: InstantMs,
    /// In rising order.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
struct Node {
    id: NodeId,
    free: Resources,
    /// What starts with this plan, by its expected ends.
    started: Vec<(InstantMs, Resources)>,
    /// Worked out when it is first needed.
    timeline: Option<Timeline>,
    /// Whether something is promised, so that more can be free now than for long.
    promised: bool,
}

impl Outlook {
    pub fn new(now: InstantMs, mut room: Vec<NodeRoom>) -> Self {
        room.sort_unstable_by_key(|room| room.node);
        let node = |NodeRoom { node: id, free }: NodeRoom| Node {
            id,
            free,
            started: Vec::new(),
            timeline: None,
            promised: false,
        };
        Self { now, nodes: room.into_iter().map(node).collect() }
    }

    /// Which of these nodes, in rising order, are usable: their places in the outlook.
    pub fn places(&self, nodes: &[NodeId]) -> Vec<usize> {
        let place = |node: &NodeId| self.nodes.binary_search_by_key(node, |node| node.id).ok();
        nodes.iter().filter_map(place).collect()
    }

    /// The node in a place.
    pub fn node(&self, place: usize) -> NodeId {
        self.nodes.get(place).map_or(NodeId::MAX, |node| node.id)
    }

    /// Works out what is expected of all these nodes.
    pub fn look_ahead(&mut self, places: &[usize], running: &Running, totals: &BTreeMap<NodeId, Resources>) {
        for &place in places {
            if let Some(node) = self.nodes.get_mut(place).filter(|node| node.timeline.is_none()) {
                let total = totals.get(&node.id);
                node.timeline = Some(running.timeline(node.id, self.now, node.free, &node.started, total));
            }
        }
    }

    /// Whether this much is free in a place now, promised or not.
    pub fn is_free(&self, place: usize, needs: &Resources) -> bool {
        self.nodes.get(place).is_some_and(|node| needs.fits_in(&node.free))
    }

    /// Whether it can start in a place now and delays nothing that is promised.
    pub fn can_start(&self, place: usize, demand: &Demand) -> bool {
        let Some(node) = self.nodes.get(place).filter(|node| demand.needs.fits_in(&node.free)) else {
            return false;
        };
        // Where nothing is promised, what is free now stays so.
        let timeline = node.timeline.as_ref().filter(|_| node.promised);
        timeline
            .is_none_or(|timeline| timeline.fits(self.now, until(self.now, demand.span_ms), &demand.needs))
    }

    /// Starts it there.
    pub fn start(&mut self, place: usize, demand: &Demand) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(place) else { return };
        demand.needs.take_from(&mut node.free, 1);
        // From now on it is one of those that run: without a known end, it may end at any time.
        let end = until(now, demand.span_ms).min(UNKNOWN);
        match &mut node.timeline {
            Some(timeline) => timeline.take(now, end, &demand.needs),
            None => node.started.push((end, demand.needs)),
        }
    }

    /// Takes this much of what is free now in a place. What is expected there stays: it was promised before.
    pub fn occupy(&mut self, place: usize, needs: &Resources) {
        if let Some(node) = self.nodes.get_mut(place) {
            needs.take_from(&mut node.free, 1);
        }
    }

    /// The earliest that it can start, at `from` or later, in any of these places, which were looked ahead for;
    /// of equally early ones on the node with the lowest number.
    pub fn earliest(&self, places: &[usize], demand: &Demand, from: InstantMs) -> Option<Slot> {
        let mut best: Option<Slot> = None;
        for node in places.iter().filter_map(|&place| self.nodes.get(place)) {
            let timeline = node.timeline.as_ref();
            let at = timeline.and_then(|timeline| timeline.earliest(from, &demand.needs, demand.span_ms));
            if let Some(at) = at
                && best.is_none_or(|best| at < best.at)
            {
                best = Some(Slot { at, node: node.id });
                if at == from {
                    break;
                }
            }
        }
        best
    }

    /// Whether a slot can be had.
    pub fn fits(&self, slot: Slot, demand: &Demand) -> bool {
        let timeline = self.at(slot.node).and_then(|node| node.timeline.as_ref());
        timeline.is_some_and(|timeline| timeline.fits(slot.at, until(slot.at, demand.span_ms), &demand.needs))
    }

    /// Promises a slot that can be had.
    pub fn promise(&mut self, slot: Slot, demand: &Demand) {
        if let Some(node) = self.at_mut(slot.node)
            && let Some(timeline) = &mut node.timeline
        {
            node.promised = true;
            timeline.take(slot.at, until(slot.at, demand.span_ms), &demand.needs);
        }
    }

    /// Takes a promise back.
    pub fn take_back(&mut self, slot: Slot, demand: &Demand) {
        if let Some(timeline) = self.at_mut(slot.node).and_then(|node| node.timeline.as_mut()) {
            timeline.give(slot.at, until(slot.at, demand.span_ms), &demand.needs);
        }
    }

    fn at(&self, node: NodeId) -> Option<&Node> {
        let place = self.nodes.binary_search_by_key(&node, |node| node.id).ok()?;
        self.nodes.get(place)
    }

    fn at_mut(&mut self, node: NodeId) -> Option<&mut Node> {
        let place = self.nodes.binary_search_by_key(&node, |node| node.id).ok()?;
        self.nodes.get_mut(place)
    }
}
