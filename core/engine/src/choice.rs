//! Which node a start goes to whose policy leaves that open.

use std::{cmp::Reverse, collections::BinaryHeap};

use berth_model::Resources;

use crate::NodeId;

/// How a node is chosen among those with room. Among equals it is the one that was known first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The one that was known first.
    #[default]
    FirstFit,
    /// The one with the least left afterwards, so that wide jobs find room elsewhere. What needs no GPU goes where there
    /// are the fewest.
    BestFit,
    /// The one that is used least.
    Spread,
}

/// The smaller is the better.
pub(crate) type Rank = (u32, u64);

impl Choice {
    /// How good a node is for what needs so much and fits there.
    pub(crate) fn rank(self, needs: &Resources, total: &Resources, free: &Resources) -> Rank {
        match self {
            Self::FirstFit => (0, 0),
            Self::BestFit => {
                let gpus = if needs.gpus == 0 { total.gpus } else { 0 };
                (gpus, parts(&free.saturating_sub(needs), total))
            }
            Self::Spread => (0, parts(&total.saturating_sub(free), total)),
        }
    }
}

/// What part of a node it is, over all resources that the node has: a million for the whole of one.
fn parts(of: &Resources, total: &Resources) -> u64 {
    let part = |of: u64, total: u64| {
        let millionths = u128::from(of) * 1_000_000 / u128::from(total.max(1));
        u64::try_from(millionths).unwrap_or(u64::MAX)
    };
    [
        part(of.cpu_millis, total.cpu_millis),
        part(of.memory_bytes, total.memory_bytes),
        part(of.gpus.into(), total.gpus.into()),
    ]
    .into_iter()
    .fold(0, u64::saturating_add)
}

/// Nodes on which one task after the other is put, the best one for each.
pub(crate) struct Best<'a> {
    choice: Choice,
    needs: &'a Resources,
    nodes: BinaryHeap<Reverse<(Rank, NodeId)>>,
}

impl<'a> Best<'a> {
    pub(crate) fn new(choice: Choice, needs: &'a Resources) -> Self {
        Self { choice, needs, nodes: BinaryHeap::new() }
    }

    /// A node with so much, of which so much is free; one without room is left out.
    pub(crate) fn offer(&mut self, node: NodeId, total: &Resources, free: &Resources) {
        if self.needs.fits_in(free) {
            self.nodes.push(Reverse((self.choice.rank(self.needs, total, free), node)));
        }
    }

    /// Takes out the best one; it has to be offered again with what is left.
    pub(crate) fn take(&mut self) -> Option<NodeId> {
        self.nodes.pop().map(|Reverse((_, node))| node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cpus: u64, gib: u64, gpus: u32) -> Resources {
        Resources { cpu_millis: cpus * 1000, memory_bytes: gib << 30, gpus }
    }

    fn order(
        choice: Choice,
        needs: Resources,
        nodes: &[(Resources, Resources)],
        count: usize,
    ) -> Vec<NodeId> {
        let mut frees: Vec<Resources> = nodes.iter().map(|(_, free)| *free).collect();
        let mut best = Best::new(choice, &needs);
        for (node, (total, free)) in (0..).zip(nodes) {
            best.offer(node, total, free);
        }
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(node) = best.take()
        {
            let index = node as usize;
            frees[index] = frees[index].saturating_sub(&needs);
            best.offer(node, &nodes[index].0, &frees[index]);
            taken.push(node);
        }
        taken
    }

    #[test]
    fn best_fit_fills_the_fullest_node_and_keeps_gpus_for_those_who_need_them() {
        let nodes = [(of(8, 8, 0), of(8, 8, 0)), (of(8, 8, 2), of(2, 2, 2)), (of(8, 8, 0), of(3, 3, 0))];
        assert_eq!(order(Choice::BestFit, of(1, 1, 0), &nodes, 5), [2, 2, 2, 0, 0]);
        assert_eq!(order(Choice::BestFit, of(1, 1, 1), &nodes, 5), [1, 1]);
    }

    #[test]
    fn spread_takes_the_least_used_node_each_time() {
        let nodes = [(of(4, 8, 0), of(2, 8, 0)), (of(4, 8, 0), of(4, 8, 0)), (of(8, 8, 0), of(8, 8, 0))];
        assert_eq!(order(Choice::Spread, of(1, 0, 0), &nodes, 5), [1, 2, 2, 1, 2]);
    }

    #[test]
    fn among_equals_the_first_is_taken() {
        let nodes = [(of(4, 4, 0), of(4, 4, 0)); 3];
        for choice in [Choice::FirstFit, Choice::BestFit, Choice::Spread] {
            assert_eq!(order(choice, of(1, 1, 0), &nodes, 1), [0], "{choice:?}");
        }
    }
}
