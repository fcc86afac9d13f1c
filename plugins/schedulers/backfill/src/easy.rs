//! EASY backfill: a promise for the first of each placement that cannot start, worked out anew with each plan.
//!
//! The definition is that of D. A. Lifka, The ANL/IBM SP Scheduling System, JSSPP '95: jobs start in their order
//! while they fit; the first that does not gets the earliest place at which it fits by the expected ends of
//! what runs (the *shadow time*), and another may start now where it is over by then, at the latest exactly
//! then, or takes no more than what is left beside the first at that time (the *extra* nodes).

use std::collections::{BTreeMap, btree_map::Entry};

use berth_policy_sdk::{JobId, NodeId, PlacementId, Resources, queue::Waiting};

use crate::{
    line::{Key, Line},
    outlook::{Demand, Outlook, Slot},
    running::Running,
    starts::{Starts, Task},
    words::Tally,
};

/// What came of one way through the queue.
#[derive(Debug, Default)]
pub struct Passed {
    pub starts: Starts,
    /// Who comes first among the jobs of each placement that cannot start, and when it can.
    pub heads: BTreeMap<PlacementId, (JobId, Slot)>,
    pub tally: Tally,
    /// The first job of each placement that was not looked at any more.
    pub cuts: BTreeMap<PlacementId, (Key, JobId)>,
}

/// Jobs that could not start: who takes no less than one of them cannot start either, since a plan only takes.
#[derive(Debug, Default)]
struct Failed(Vec<Demand>);

/// More would take longer to look through than they save.
const MOST_FAILED: usize = 32;

impl Failed {
    fn rules_out(&self, demand: &Demand) -> bool {
        self.0.iter().any(|failed| demand.covers(failed))
    }

    fn note(&mut self, demand: Demand) {
        self.0.retain(|failed| !failed.covers(&demand));
        if self.0.len() < MOST_FAILED {
            self.0.push(demand);
        }
    }
}

/// Goes through the queue once.
pub struct Pass<'a> {
    pub outlook: &'a mut Outlook,
    pub running: &'a Running,
    pub totals: &'a BTreeMap<NodeId, Resources>,
    /// How many tasks may start.
    pub most: u32,
}

impl Pass<'_> {
    /// Goes through `line`; `demand` says what a job takes.
    pub fn run(mut self, mut line: Line<'_>, demand: impl Fn(&Waiting<Key>) -> Demand) -> Passed {
        let mut passed = Passed::default();
        let mut failed: Vec<Failed> = line.strands.iter().map(|_| Failed::default()).collect();
        while self.most > 0 {
            let Some((number, waiting)) = line.next() else { break };
            let (Some(strand), Some(failed)) = (line.strands.get_mut(number), failed.get_mut(number)) else {
                break;
            };
            let demand = demand(waiting);
            let wanted = waiting.count.min(self.most);
            let tasks = match failed.rules_out(&demand) {
                true => Vec::new(),
                false => self.start(&strand.places, &demand, wanted),
            };
            passed.starts.say(waiting.id, &tasks);
            // What cannot be said now starts with the next plan, and its place is kept for it.
            let started = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
            self.most -= started;
            if started < wanted {
                failed.note(demand);
                strand.looked += 1;
                match passed.heads.entry(strand.placement) {
                    Entry::Occupied(_) => passed.tally.passed_over += 1,
                    Entry::Vacant(first) => match self.promise(&strand.places, &demand) {
                        Some(slot) => {
                            first.insert((waiting.id, slot));
                            passed.tally.first += 1;
                        }
                        None => passed.tally.without_place += 1,
                    },
                }
            }
            passed.tally.started += u64::from(started == waiting.count);
            line.go_on(number);
        }
        passed.tally.rest(&line);
        passed.cuts = line.cuts();
        passed
    }

    /// Promises the earliest place that there is.
    fn promise(&mut self, places: &[usize], demand: &Demand) -> Option<Slot> {
        self.outlook.look_ahead(places, self.running, self.totals);
        let slot = self.outlook.earliest(places, demand, self.outlook.now)?;
        self.outlook.promise(slot, demand);
        Some(slot)
    }

    /// Starts tasks, each on the node with the lowest number where it delays nobody who comes first.
    fn start(&mut self, places: &[usize], demand: &Demand, wanted: u32) -> Vec<Task> {
        let mut tasks = Vec::new();
        let mut as_host = true;
        let mut places = places.iter().copied();
        let mut place = places.next();
        while let Some(at) = place {
            if tasks.len() == wanted as usize {
                break;
            }
            if self.outlook.can_start(at, demand) {
                self.outlook.start(at, demand);
                tasks.push(Task { node: self.outlook.node(at), as_host });
                continue;
            }
            // The host knows nothing of promises.
            as_host &= !self.outlook.is_free(at, &demand.needs);
            place = places.next();
        }
        tasks
    }
}
