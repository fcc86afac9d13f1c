//! Why a job waits, by how the last plan left things.

use std::collections::BTreeMap;

use berth_policy_sdk::{
    InstantMs, JobId, NodeId, PlacementId, Resources,
    queue::{Lane, Waiting},
};

use crate::{
    line::Key,
    outlook::{Demand, Outlook, Slot},
    words,
};

/// Jobs that come before another are counted up to here.
const COUNTED: usize = 10_000;

/// How a plan left things.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    pub outlook: Outlook,
    /// Who comes first among the jobs of each placement that cannot start, and when it can.
    pub heads: BTreeMap<PlacementId, (JobId, Slot)>,
    /// The first job of each placement that was not looked at any more.
    pub cuts: BTreeMap<PlacementId, (Key, JobId)>,
}

/// A question about a job.
pub struct Ask<'a> {
    pub now: InstantMs,
    pub waiting: &'a Waiting<Key>,
    pub lane: &'a Lane<Key>,
    pub demand: Demand,
    /// How many jobs are looked at.
    pub depth: u32,
}

impl Notes {
    /// Where the first of each placement has a promise.
    pub fn easy(&self, ask: &Ask<'_>, totals: &BTreeMap<NodeId, Resources>) -> String {
        let head = self.heads.get(&ask.waiting.placement);
        if let Some((_, slot)) = head.filter(|(job, _)| *job == ask.waiting.id) {
            let starts = words::starts(slot.at, ask.now);
            return format!("it comes first among those that wait for the same nodes and {starts}");
        }
        if let Some(words) = self.hopeless(ask, totals) {
            return words;
        }
        if let Some((job, slot)) = self.in_the_way(ask) {
            return words::would_delay(job, slot.at, ask.now);
        }
        let place = self.place(ask);
        match head {
            Some(&(job, slot)) => {
                let starts = words::starts(slot.at, ask.now);
                format!("{place}; the first of them, {job}, {starts}. It may start before them once it fits")
            }
            None => place,
        }
    }

    /// Where everybody has one.
    pub fn conservative(
        &self,
        ask: &Ask<'_>,
        slot: Option<Slot>,
        totals: &BTreeMap<NodeId, Resources>,
    ) -> String {
        if let Some(slot) = slot {
            let starts = words::starts(slot.at, ask.now);
            return format!("it {starts}; {}", self.place(ask));
        }
        self.hopeless(ask, totals).unwrap_or_else(|| self.place(ask))
    }

    /// Why it is not even looked at.
    fn hopeless(&self, ask: &Ask<'_>, totals: &BTreeMap<NodeId, Resources>) -> Option<String> {
        let nodes = ask.lane.nodes();
        let usable: Vec<NodeId> =
            self.outlook.places(nodes).into_iter().map(|place| self.outlook.node(place)).collect();
        if usable.is_empty() {
            return Some("no node that it may run on takes jobs at the moment".to_owned());
        }
        let is_large_enough =
            |node: &NodeId| totals.get(node).is_none_or(|total| ask.demand.needs.fits_in(total));
        if !usable.iter().any(is_large_enough) {
            return Some("none of the nodes that take jobs at the moment is as large as it needs".to_owned());
        }
        let cut = self.cuts.get(&ask.waiting.placement)?;
        let is_too_deep = (ask.waiting.key, ask.waiting.id) >= *cut;
        is_too_deep.then(|| {
            let (place, depth) = (self.place(ask), ask.depth);
            format!("{place}, and only the first {depth} that cannot start are looked at")
        })
    }

    /// Who would be delayed on the first node on which it fits now.
    fn in_the_way(&self, ask: &Ask<'_>) -> Option<(JobId, Slot)> {
        let mut places = self.outlook.places(ask.lane.nodes()).into_iter();
        let fitting = places.find(|&place| {
            self.outlook.is_free(place, &ask.demand.needs) && !self.outlook.can_start(place, &ask.demand)
        })?;
        let node = self.outlook.node(fitting);
        let there = self.heads.values().filter(|(_, slot)| slot.node == node);
        there.min_by_key(|(_, slot)| *slot).copied()
    }

    fn place(&self, ask: &Ask<'_>) -> String {
        words::before(ask.lane.before(ask.waiting.key, ask.waiting.id, COUNTED), COUNTED)
    }
}
