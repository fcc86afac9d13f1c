//! What is free on the nodes, and the rule by which the host places jobs that a plan names no node for.

use crate::{NodeId, NodeRoom, Resources};

/// What is free while a plan is made: as the host told it, less what the plan has given away.
#[derive(Clone, Debug)]
pub struct Space {
    /// In rising order of nodes.
    rooms: Vec<NodeRoom>,
    /// No node has more free of anything.
    bound: Resources,
}

/// How far the nodes of a placement have been searched. One per placement and plan.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    at: usize,
    /// Nothing that needs at least this much of everything fits on the nodes before `at`.
    floor: Resources,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { at: 0, floor: Resources::NONE }
    }
}

impl Space {
    /// The room as the host tells it.
    #[must_use]
    pub fn new(mut rooms: Vec<NodeRoom>) -> Self {
        rooms.sort_unstable_by_key(|room| room.node);
        let bound = rooms.iter().fold(Resources::NONE, |bound, room| bound.max(&room.free));
        Self { rooms, bound }
    }

    /// What is free on a node; `None` when it is not usable.
    #[must_use]
    pub fn free(&self, node: NodeId) -> Option<&Resources> {
        let at = self.rooms.binary_search_by_key(&node, |room| room.node).ok()?;
        self.rooms.get(at).map(|room| &room.free)
    }

    /// Whether any of these nodes is usable.
    #[must_use]
    pub fn any_usable(&self, nodes: &[NodeId]) -> bool {
        nodes.iter().any(|&node| self.free(node).is_some())
    }

    /// Places up to `most` tasks, each on the usable node of `nodes` (in rising order) with the lowest number
    /// on which it fits, and says how many it placed. That is the host's rule for a start without a node.
    pub fn take(&mut self, nodes: &[NodeId], cursor: &mut Cursor, needs: &Resources, most: u32) -> u32 {
        if !needs.fits_in(&self.bound) {
            return 0;
        }
        // What is free only gets less, so what was searched in vain for less need not be searched again.
        if !cursor.floor.fits_in(needs) {
            cursor.at = 0;
        }
        cursor.floor = *needs;
        let mut placed = 0;
        while placed < most {
            let Some(&node) = nodes.get(cursor.at) else { break };
            let room = self.rooms.binary_search_by_key(&node, |room| room.node).ok();
            if let Some(room) = room.and_then(|at| self.rooms.get_mut(at)) {
                let times = needs.times_in(&room.free, most - placed);
                needs.take_from(&mut room.free, times);
                placed += times;
                if placed == most {
                    break;
                }
            }
            cursor.at += 1;
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(cpu_millis: u64) -> Resources {
        Resources { cpu_millis, ..Resources::NONE }
    }

    fn space(free: &[u64]) -> Space {
        let room = |(node, &free): (usize, &u64)| NodeRoom { node: node as u32, free: cpus(free) };
        Space::new(free.iter().enumerate().map(room).collect())
    }

    #[test]
    fn tasks_go_to_the_lowest_node_with_room_each_in_turn() {
        let mut space = space(&[3, 1, 4]);
        let mut cursor = Cursor::default();
        assert_eq!(space.take(&[0, 1, 2], &mut cursor, &cpus(2), 2), 2);
        assert_eq!([0, 1, 2].map(|node| space.free(node).unwrap().cpu_millis), [1, 1, 2]);
    }

    #[test]
    fn a_smaller_task_finds_the_nodes_that_a_larger_one_passed() {
        let mut space = space(&[1, 5]);
        let mut cursor = Cursor::default();
        assert_eq!(space.take(&[0, 1], &mut cursor, &cpus(3), 1), 1);
        assert_eq!(space.take(&[0, 1], &mut cursor, &cpus(1), 1), 1);
        assert_eq!([0, 1].map(|node| space.free(node).unwrap().cpu_millis), [0, 2]);
    }

    #[test]
    fn what_needs_nothing_always_fits_on_a_usable_node() {
        let mut space = space(&[0]);
        assert_eq!(space.take(&[7, 0], &mut Cursor::default(), &Resources::NONE, 9), 9);
        assert_eq!(space.take(&[7], &mut Cursor::default(), &Resources::NONE, 9), 0);
    }

    #[test]
    fn nothing_is_placed_beyond_what_is_free() {
        let mut space = space(&[5, 5]);
        let mut cursor = Cursor::default();
        assert_eq!(space.take(&[0, 1], &mut cursor, &cpus(2), u32::MAX), 4);
        assert_eq!(space.take(&[0, 1], &mut cursor, &cpus(2), 1), 0);
    }
}
