//! The starts of one plan: what is placed, which placements are blocked, and the words for those passed over.

use std::collections::BTreeMap;

use crate::{
    JobId, NodeId, PlacementId, Resources, Space,
    scheduler::{PassedOver, Plan, Start},
    space::Cursor,
};

/// Jobs that come before another are counted up to here.
pub const COUNTED: usize = 10_000;

/// Why the first of a placement waits.
pub const NO_ROOM: &str = "no node that it may run on has enough free";
const BEHIND: &str = "others that wait for the same nodes come before it";
const UNUSABLE: &str = "no node that it may run on takes jobs at the moment";
const ENOUGH: &str = "enough others start first; it is looked at again at once";

/// What became of a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    /// The job found no room, or not for all of its tasks.
    Blocked(JobId),
    Unusable,
}

/// The jobs of one placement.
#[derive(Clone, Debug)]
struct Strand<'a> {
    placement: PlacementId,
    nodes: &'a [NodeId],
    /// How many jobs wait in it.
    waits: u64,
    cursor: Cursor,
    /// Jobs of which all tasks start.
    started: u64,
    outcome: Outcome,
}

/// A job that starts.
#[derive(Clone, Copy, Debug)]
struct Entry {
    job: JobId,
    strand: usize,
    needs: Resources,
    waits: u32,
    starts: u32,
}

/// One round of starts, in whatever order the policy calls jobs up: nobody passes the first of its placement
/// that finds no room.
#[derive(Clone, Debug)]
pub struct Round<'a> {
    space: Space,
    /// As it was in the beginning.
    whole: Space,
    most: u32,
    left: u32,
    strands: Vec<Strand<'a>>,
    entries: Vec<Entry>,
    /// Where the jobs stand of which some tasks start and others have not yet had their turn.
    begun: BTreeMap<JobId, usize>,
    /// A job had turns with those of others in between.
    is_mixed: bool,
}

/// What a round came to.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The plan. It asks to be called again at no particular instant.
    pub plan: Plan,
    /// The job of each placement that found no room.
    pub blocked: BTreeMap<PlacementId, JobId>,
    /// Another round may find more: see [`Round::finish`].
    pub is_again: bool,
}

impl<'a> Round<'a> {
    /// With this room and for so many tasks.
    #[must_use]
    pub fn new(space: Space, most: u32) -> Self {
        let (strands, entries, begun) = (Vec::new(), Vec::new(), BTreeMap::new());
        let whole = space.clone();
        Self { space, whole, most, left: most, strands, entries, begun, is_mixed: false }
    }

    /// Lets the jobs of a placement take part, of which `waits` wait; `nodes` in rising order. Gives the number
    /// that the placement has in this round.
    pub fn join(&mut self, placement: PlacementId, nodes: &'a [NodeId], waits: u64) -> usize {
        let outcome = if self.space.any_usable(nodes) { Outcome::Open } else { Outcome::Unusable };
        let cursor = Cursor::default();
        self.strands.push(Strand { placement, nodes, waits, cursor, started: 0, outcome });
        self.strands.len() - 1
    }

    /// Whether jobs of a placement may still start.
    #[must_use]
    pub fn is_open(&self, strand: usize) -> bool {
        self.strands.get(strand).is_some_and(|strand| strand.outcome == Outcome::Open)
    }

    /// How many more tasks may start.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    /// It is the turn of a job of which `waits` tasks wait; starts `wanted` more of them. Says how many find room;
    /// where that is fewer than there was leave for, the placement is blocked.
    pub fn start(&mut self, number: usize, job: JobId, needs: &Resources, waits: u32, wanted: u32) -> u32 {
        let wanted = wanted.min(self.left);
        let Some(strand) = self.strands.get_mut(number).filter(|strand| strand.outcome == Outcome::Open)
        else {
            return 0;
        };
        let placed = self.space.take(strand.nodes, &mut strand.cursor, needs, wanted);
        if placed < wanted {
            strand.outcome = Outcome::Blocked(job);
        }
        if placed > 0 {
            self.left -= placed;
            self.enter(Entry { job, strand: number, needs: *needs, waits, starts: placed });
        }
        placed
    }

    fn enter(&mut self, new: Entry) {
        let last = self.entries.len().checked_sub(1);
        let known = self.begun.get(&new.job).copied();
        let starts = match known.and_then(|at| self.entries.get_mut(at)) {
            Some(entry) => {
                self.is_mixed |= known != last;
                entry.starts += new.starts;
                entry.starts
            }
            None => {
                self.entries.push(new);
                new.starts
            }
        };
        if starts < new.waits {
            self.begun.entry(new.job).or_insert(self.entries.len() - 1);
        } else if let Some(strand) = self.strands.get_mut(new.strand) {
            strand.started += 1;
        }
    }

    /// Makes a plan of it.
    ///
    /// A plan names a job once, and the host places all of its tasks where the first one stands. Where tasks of
    /// a job had turns with those of others in between, the starts are therefore placed once more in that order;
    /// should a job then find less room, it starts fewer tasks, and nobody of its placement comes after it.
    #[must_use]
    pub fn finish(self) -> Finished {
        let is_again = self.is_mixed;
        let round = if is_again { self.packed() } else { self };
        let blocked = round.strands.iter().filter_map(|strand| match strand.outcome {
            Outcome::Blocked(job) => Some((strand.placement, job)),
            Outcome::Open | Outcome::Unusable => None,
        });
        Finished { blocked: blocked.collect(), plan: round.plan(), is_again }
    }

    fn packed(self) -> Self {
        let mut again = Self::new(self.whole, self.most);
        for strand in &self.strands {
            again.join(strand.placement, strand.nodes, strand.waits);
        }
        for Entry { job, strand, needs, waits, starts } in self.entries {
            again.start(strand, job, &needs, waits, starts);
        }
        for (strand, before) in again.strands.iter_mut().zip(self.strands) {
            if strand.outcome == Outcome::Open {
                strand.outcome = before.outcome;
            }
        }
        again
    }

    fn plan(&self) -> Plan {
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
        let start = |entry: &Entry| Start { job: entry.job, count: entry.starts, node: None };
        let starts = self.entries.iter().map(start).collect();
        Plan { starts, reservations: Vec::new(), rejections: Vec::new(), passed_over, wake_at_ms: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeRoom;

    fn cpus(cpu_millis: u64) -> Resources {
        Resources { cpu_millis, ..Resources::NONE }
    }

    fn space(free: &[u64]) -> Space {
        let room = |(node, &free): (usize, &u64)| NodeRoom { node: node as u32, free: cpus(free) };
        Space::new(free.iter().enumerate().map(room).collect())
    }

    fn starts(finished: &Finished) -> Vec<(JobId, u32)> {
        finished.plan.starts.iter().map(|start| (start.job, start.count)).collect()
    }

    #[test]
    fn tasks_that_had_turns_apart_are_one_start() {
        let mut round = Round::new(space(&[10]), 10);
        let strand = round.join(0, &[0], 2);
        for job in [1, 2, 1, 2, 1] {
            assert_eq!(round.start(strand, job, &cpus(1), 4, 1), 1);
        }
        let finished = round.finish();
        assert_eq!(starts(&finished), [(1, 3), (2, 2)]);
        assert!(finished.is_again);
    }

    #[test]
    fn a_start_that_no_longer_fits_where_the_host_places_it_is_left_out_with_all_behind_it() {
        // By turns: 1 on node 0, then 3 there, then 1 on node 1. The host places both tasks of job 1 first.
        let mut round = Round::new(space(&[4, 2]), 10);
        let strand = round.join(0, &[0, 1], 3);
        for (job, needs, waits) in [(1, 1, 2), (2, 3, 1), (1, 1, 2), (3, 1, 1)] {
            assert_eq!(round.start(strand, job, &cpus(needs), waits, 1), 1);
        }
        let finished = round.finish();
        assert_eq!(starts(&finished), [(1, 2)]);
        assert_eq!(finished.blocked, BTreeMap::from([(0, 2)]));
        let passed: Vec<_> = finished.plan.passed_over.iter().map(|class| class.jobs).collect();
        assert_eq!(passed, [1, 1]);
        assert!(finished.is_again);
    }

    #[test]
    fn a_job_without_room_blocks_its_placement_and_no_other() {
        let mut round = Round::new(space(&[2, 5]), 10);
        let (small, large) = (round.join(1, &[0], 2), round.join(2, &[1], 1));
        assert_eq!(round.start(small, 1, &cpus(1), 3, 3), 2);
        assert!(!round.is_open(small) && round.is_open(large));
        assert_eq!(round.start(small, 2, &Resources::NONE, 1, 1), 0);
        assert_eq!(round.start(large, 3, &cpus(5), 1, 1), 1);
        let finished = round.finish();
        assert_eq!(starts(&finished), [(1, 2), (3, 1)]);
        assert_eq!(finished.blocked, BTreeMap::from([(1, 1)]));
        assert!(!finished.is_again);
    }
}
