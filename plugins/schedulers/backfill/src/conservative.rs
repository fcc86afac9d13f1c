//! Conservative backfill: a promise for every job, which none that comes behind it may delay.
//!
//! The definition is that of A. W. Mu'alem and D. G. Feitelson, Utilization, Predictability, Workloads, and
//! User Runtime Estimates in Scheduling the IBM SP2 with Backfilling, IEEE TPDS 12 (6), 2001: a job gets, when
//! it comes, the earliest place that delays nobody's promise. When something is over earlier than was expected,
//! the jobs get new places in their order, each the earliest beside those of all others, and never a later one.
//!
//! What runs longer than was expected, or starts later, can make promises void: in the jobs' order, whoever
//! cannot have its place any more gets the next one after it. Where priority comes first, a promise holds
//! against jobs of the same priority and below.

use std::collections::BTreeMap;

use berth_policy_sdk::{InstantMs, JobId, NodeId, PlacementId, Resources, RunningJob, queue::Waiting};

use crate::{
    line::{Key, Line},
    outlook::{Demand, Outlook, Slot},
    running::Running,
    starts::{self, Starts},
    timeline::{UNKNOWN, until},
    words::Tally,
};

/// What was promised, kept from plan to plan. A policy that begins anew promises anew.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// The places of a job's tasks in rising order.
    slots: BTreeMap<JobId, Vec<Slot>>,
    /// Something that was taken into account is not so any more.
    freed: bool,
    /// What has ended was expected to end then.
    freed_until: InstantMs,
    /// Tasks that were to start with the last plan and of which nothing has been heard, with the ends that are
    /// expected of them: how many of which job or array.
    unheard: BTreeMap<JobId, (usize, InstantMs)>,
}

impl Promises {
    /// What is known of the nodes has changed.
    pub fn look_again(&mut self) {
        self.freed = true;
    }

    /// A job has gone, or is another one.
    pub fn drop(&mut self, job: JobId) {
        self.freed |= self.slots.remove(&job).is_some();
    }

    /// Something runs; `before` is the end that was expected of it, and `end` the one that is now.
    pub fn started(&mut self, job: &RunningJob, before: Option<InstantMs>, end: InstantMs) {
        if let Some(before) = before {
            self.freed |= end < before;
        } else if let Some((tasks, _)) = self.unheard.get_mut(&job.array.unwrap_or(job.id)) {
            *tasks = tasks.saturating_sub(1);
        }
    }

    /// Something has ended whose end was expected then.
    pub fn ended(&mut self, end: InstantMs) {
        self.freed_until = self.freed_until.max(end);
    }

    /// When the first task of a job starts that does not run yet.
    pub fn of(&self, job: JobId) -> Option<Slot> {
        self.slots.get(&job)?.first().copied()
    }

    /// Whether there may be earlier places than before, told once.
    fn take_freed(&mut self, now: InstantMs) -> bool {
        // What started and ended before anybody heard of it.
        let is_missing = |&(tasks, end): &(usize, InstantMs)| tasks > 0 && end > now;
        let freed = self.freed || self.freed_until > now || self.unheard.values().any(is_missing);
        (self.freed, self.freed_until) = (false, 0);
        self.unheard.clear();
        freed
    }
}

/// A task with its place.
struct Placed<'a> {
    strand: usize,
    waiting: &'a Waiting<Key>,
    demand: Demand,
    slot: Option<Slot>,
}

/// What came of one way through the queue.
#[derive(Debug, Default)]
pub struct Passed {
    pub starts: Starts,
    /// When jobs that do not start now are to start, in their order.
    pub later: Vec<(JobId, Slot)>,
    pub wake_at: Option<InstantMs>,
    pub tally: Tally,
    /// The first job of each placement that was not looked at any more.
    pub cuts: BTreeMap<PlacementId, (Key, JobId)>,
}

/// Goes through the queue once.
pub struct Pass<'a> {
    pub outlook: &'a mut Outlook,
    pub running: &'a Running,
    pub totals: &'a BTreeMap<NodeId, Resources>,
    pub promises: &'a mut Promises,
    /// How many tasks may start.
    pub most: u32,
}

impl Pass<'_> {
    /// Goes through `line`; `demand` says what a job takes.
    pub fn run(mut self, mut line: Line<'_>, demand: impl Fn(&Waiting<Key>) -> Demand) -> Passed {
        let mut tasks = self.collect(&mut line, demand);
        for strand in &line.strands {
            self.outlook.look_ahead(&strand.places, self.running, self.totals);
        }
        let freed = self.promises.take_freed(self.outlook.now);
        for equals in tasks.chunk_by_mut(|a, b| a.waiting.key.0 == b.waiting.key.0) {
            self.keep(&line, equals);
            if freed {
                self.place(&line, equals.iter_mut().filter(|task| task.slot.is_some()));
            }
            self.place(&line, equals.iter_mut().filter(|task| task.slot.is_none()));
        }
        self.start(&line, &tasks)
    }

    /// The tasks that are looked at, in their order, with the places that they were promised.
    fn collect<'a>(
        &mut self,
        line: &mut Line<'a>,
        demand: impl Fn(&Waiting<Key>) -> Demand,
    ) -> Vec<Placed<'a>> {
        let mut tasks = Vec::new();
        let mut slots = std::mem::take(&mut self.promises.slots);
        while let Some((strand, waiting)) = line.next() {
            let demand = demand(waiting);
            let wanted = waiting.count.min(line.left(strand));
            let mut promised = slots.remove(&waiting.id).unwrap_or_default().into_iter();
            tasks.extend((0..wanted).map(|_| Placed { strand, waiting, demand, slot: promised.next() }));
            // Fewer tasks than there were.
            self.promises.freed |= promised.next().is_some();
            if let Some(strand) = line.strands.get_mut(strand) {
                strand.looked += wanted;
            }
            line.go_on(strand);
        }
        self.promises.freed |= !slots.is_empty();
        tasks
    }

    /// Keeps the promises that were made. One that is not possible any more is put off, as little as can be.
    fn keep(&mut self, line: &Line<'_>, tasks: &mut [Placed<'_>]) {
        for task in tasks {
            let Some(promised) = task.slot.take() else { continue };
            let Some(strand) = line.strands.get(task.strand) else { continue };
            let same = Slot { at: promised.at.max(self.outlook.now), ..promised };
            let is_allowed = strand.nodes.binary_search(&same.node).is_ok();
            task.slot = Some(same)
                .filter(|slot| is_allowed && self.outlook.fits(*slot, &task.demand))
                .or_else(|| self.outlook.earliest(&strand.places, &task.demand, same.at));
            if let Some(slot) = task.slot {
                self.outlook.promise(slot, &task.demand);
            }
        }
    }

    /// Gives each of the tasks the earliest place that there is, its own among them.
    fn place<'t, 'a: 't>(&mut self, line: &Line<'_>, tasks: impl Iterator<Item = &'t mut Placed<'a>>) {
        for task in tasks {
            if task.slot.is_some_and(|slot| slot.at == self.outlook.now) {
                continue;
            }
            if let Some(slot) = task.slot.take() {
                self.outlook.take_back(slot, &task.demand);
            }
            let places = line.strands.get(task.strand).map_or(&[][..], |strand| &strand.places);
            task.slot = self.outlook.earliest(places, &task.demand, self.outlook.now);
            if let Some(slot) = task.slot {
                self.outlook.promise(slot, &task.demand);
            }
        }
    }

    /// Starts the tasks whose place is now, and notes those of the others.
    fn start(&mut self, line: &Line<'_>, tasks: &[Placed<'_>]) -> Passed {
        let now = self.outlook.now;
        let mut passed = Passed::default();
        for job in tasks.chunk_by(|a, b| a.waiting.id == b.waiting.id) {
            let Some(Placed { waiting, strand, demand, .. }) = job.first() else { continue };
            let places = line.strands.get(*strand).map_or(&[][..], |strand| &strand.places);
            let (mut at_once, mut later): (Vec<Slot>, Vec<Slot>) =
                job.iter().filter_map(|task| task.slot).partition(|slot| slot.at == now);
            at_once.sort_unstable();
            let (starting, waiting_still) = self.occupy(places, &at_once, &demand.needs);
            later.extend(waiting_still);
            let said = passed.starts.say(waiting.id, &starting);
            if said > 0 {
                let end = until(now, demand.span_ms).min(UNKNOWN);
                self.promises.unheard.insert(waiting.id, (said, end));
            }
            later.extend(starting.iter().skip(said).map(|task| Slot { at: now, node: task.node }));
            later.sort_unstable();
            passed.tally.started += u64::from(said == waiting.count as usize);
            match later.first() {
                Some(&slot) => {
                    passed.later.push((waiting.id, slot));
                    passed.tally.promised += 1;
                    self.promises.slots.insert(waiting.id, later);
                }
                None => passed.tally.without_place += u64::from(said < job.len()),
            }
        }
        passed.wake_at = self.wake_at();
        // Those further down can start, too.
        let is_short = line.strands.iter().any(|strand| line.is_through(strand));
        passed.starts.unsaid |= is_short && !passed.starts.said.is_empty();
        passed.tally.rest(line);
        passed.cuts = line.cuts();
        passed
    }

    /// Takes the room for tasks whose place is now: where they start, and the places of those for which there is
    /// no room, since what is there is late, or which are too many for one plan.
    fn occupy(
        &mut self,
        places: &[usize],
        slots: &[Slot],
        needs: &Resources,
    ) -> (Vec<starts::Task>, Vec<Slot>) {
        let (mut tasks, mut waiting) = (Vec::new(), Vec::new());
        let mut as_host = true;
        for &slot in slots {
            let outlook = &mut *self.outlook;
            let mut free = places.iter().copied().filter(|&place| outlook.is_free(place, needs));
            let hosts = free.next();
            let here = |place: &usize| outlook.node(*place) == slot.node;
            let Some(place) = hosts.filter(here).or_else(|| free.find(here)).filter(|_| self.most > 0) else {
                waiting.push(slot);
                continue;
            };
            as_host &= hosts == Some(place);
            outlook.occupy(place, needs);
            self.most -= 1;
            tasks.push(starts::Task { node: slot.node, as_host });
        }
        (tasks, waiting)
    }

    /// When the next job starts by its promise. Nothing else may happen then, since who was to make room for it
    /// may have been placed elsewhere by now.
    fn wake_at(&self) -> Option<InstantMs> {
        let now = self.outlook.now;
        let slots = self.promises.slots.values().flatten();
        slots.map(|slot| slot.at).filter(|&at| at > now && at < UNKNOWN).min()
    }
}
