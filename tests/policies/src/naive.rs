//! Backfill straight from the definitions: everything that takes something from an instant until another
//! stands in a list, and whether something fits is asked of every instant at which anything changes.

use std::{cmp::Reverse, collections::BTreeMap};

use berth_engine::{NodeId, PendingTold, PlacementId, PlanRequest, RunningTold, Told};
use berth_model::{JobId, Resources};

use crate::checked::{Model, Said};

/// When what has no known end is over.
const UNKNOWN: u64 = u64::MAX - 1;

/// What the host has told.
#[derive(Clone, Debug, Default)]
pub struct Books {
    pub pending: BTreeMap<JobId, PendingTold>,
    pub running: BTreeMap<JobId, RunningTold>,
    pub placements: BTreeMap<PlacementId, Vec<NodeId>>,
}

impl Books {
    pub fn hear(&mut self, told: &Told) {
        for placement in &told.placements {
            self.placements.insert(placement.id, placement.nodes.clone());
        }
        for job in &told.withdrawn {
            self.pending.remove(job);
        }
        self.pending.extend(told.pending.iter().map(|job| (job.id, *job)));
        for job in &told.ended {
            self.running.remove(job);
        }
        self.running.extend(told.started.iter().map(|job| (job.id, *job)));
    }
}

/// The settings of the policy.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub by_priority: bool,
    pub usual_limit_ms: Option<u64>,
    pub depth: u32,
}

impl Rules {
    fn span(&self, job: &PendingTold) -> u64 {
        job.time_limit_ms.or(self.usual_limit_ms).unwrap_or(u64::MAX)
    }

    fn rank(&self, job: &PendingTold) -> Reverse<i32> {
        Reverse(if self.by_priority { job.priority } else { 0 })
    }

    fn order<'a>(&self, books: &'a Books) -> Vec<&'a PendingTold> {
        let mut jobs: Vec<_> = books.pending.values().collect();
        jobs.sort_by_key(|job| (self.rank(job), job.eligible, job.id));
        jobs
    }

    /// When a running job is expected to end: what is late will be so for as long again.
    fn end(&self, job: &RunningTold, now: u64) -> u64 {
        let usual = self.usual_limit_ms.map(|limit| job.started.0 + limit);
        match job.ends.map(|end| end.0).or(usual) {
            Some(end) if end < now => now + (now - end),
            Some(end) => end,
            None => UNKNOWN,
        }
    }
}

/// Something on a node from an instant until before another.
#[derive(Clone, Copy, Debug)]
struct Use {
    node: NodeId,
    from: u64,
    until: u64,
    needs: Resources,
}

/// All that is known of the nodes.
struct Future {
    now: u64,
    uses: Vec<Use>,
    /// What the usable nodes have, all that runs there counted in.
    have: BTreeMap<NodeId, Resources>,
    /// What is free now: less than could be, where something is late.
    room: BTreeMap<NodeId, Resources>,
}

impl Future {
    fn new(books: &Books, request: &PlanRequest, rules: &Rules) -> Self {
        let now = request.now.0;
        let room: BTreeMap<NodeId, Resources> =
            request.room.iter().map(|room| (room.node, room.free)).collect();
        let mut have = room.clone();
        let mut uses = Vec::new();
        for job in books.running.values() {
            if let Some(have) = have.get_mut(&job.node) {
                *have = have.plus(&job.needs);
                uses.push(Use { node: job.node, from: now, until: rules.end(job, now), needs: job.needs });
            }
        }
        Self { now, uses, have, room }
    }

    fn is_free_at(&self, node: NodeId, at: u64, needs: &Resources) -> bool {
        let there = self.uses.iter().filter(|one| one.node == node && one.from <= at && at < one.until);
        let used = there.fold(*needs, |sum, one| sum.plus(&one.needs));
        self.have.get(&node).is_some_and(|have| used.fits_in(have))
    }

    fn is_free(&self, node: NodeId, from: u64, span: u64, needs: &Resources) -> bool {
        let until = from.saturating_add(span);
        let begins = self.uses.iter().map(|one| one.from).filter(|at| (from..until).contains(at));
        std::iter::once(from).chain(begins).all(|at| self.is_free_at(node, at, needs))
    }

    /// The earliest that it fits, and there the lowest node. That can only be when something is over.
    fn earliest(&self, nodes: &[NodeId], from: u64, span: u64, needs: &Resources) -> Option<(u64, NodeId)> {
        let mut instants: Vec<u64> =
            self.uses.iter().map(|one| one.until).filter(|&at| from < at && at < u64::MAX).collect();
        instants.push(from);
        instants.sort_unstable();
        instants.iter().find_map(|&at| {
            let node = nodes.iter().find(|&&node| self.is_free(node, at, span, needs))?;
            Some((at, *node))
        })
    }

    fn fits_in_room(&self, node: NodeId, needs: &Resources) -> bool {
        self.room.get(&node).is_some_and(|free| needs.fits_in(free))
    }

    fn add(&mut self, node: NodeId, from: u64, span: u64, needs: Resources) {
        self.uses.push(Use { node, from, until: from.saturating_add(span), needs });
    }

    /// It starts now, and is one of those that run.
    fn start(&mut self, node: NodeId, span: u64, needs: Resources) {
        let until = self.now.saturating_add(span).min(UNKNOWN);
        self.uses.push(Use { node, from: self.now, until, needs });
        self.occupy(node, needs);
    }

    fn occupy(&mut self, node: NodeId, needs: Resources) {
        if let Some(free) = self.room.get_mut(&node) {
            *free = free.saturating_sub(&needs);
        }
    }
}

/// EASY: the first of each placement that cannot start has a promise.
pub struct Easy(pub Rules);

impl Model for Easy {
    fn say(&mut self, books: &Books, request: &PlanRequest) -> Said {
        let Self(rules) = self;
        let mut future = Future::new(books, request, rules);
        let mut said = Said::default();
        let mut left = request.most;
        let mut heads: BTreeMap<PlacementId, (JobId, u64)> = BTreeMap::new();
        let mut cannot: BTreeMap<PlacementId, u32> = BTreeMap::new();
        for job in rules.order(books) {
            let nodes = &books.placements[&job.placement];
            let span = rules.span(job);
            let cannot = cannot.entry(job.placement).or_default();
            if left == 0 || *cannot == rules.depth {
                continue;
            }
            let mut started = Vec::new();
            let wanted = job.count.min(left);
            while started.len() < wanted as usize {
                let here = |node: &&NodeId| {
                    future.fits_in_room(**node, &job.needs)
                        && future.is_free(**node, future.now, span, &job.needs)
                };
                let Some(&node) = nodes.iter().find(here) else { break };
                future.start(node, span, job.needs);
                started.push(node);
            }
            left -= u32::try_from(started.len()).unwrap();
            if started.len() < wanted as usize {
                *cannot += u32::from(nodes.iter().any(|node| future.room.contains_key(node)));
                if !heads.contains_key(&job.placement)
                    && let Some((at, node)) = future.earliest(nodes, future.now, span, &job.needs)
                {
                    future.add(node, at, span, job.needs);
                    heads.insert(job.placement, (job.id, at));
                }
            }
            if !started.is_empty() {
                said.starts.push((job.id, started));
            }
        }
        said.later = heads.into_values().filter(|(_, at)| future.now < *at && *at < UNKNOWN).collect();
        said
    }
}

/// Conservative backfill: every task has a promise, and keeps it.
pub struct Conservative {
    rules: Rules,
    /// What was promised to the tasks of a job that do not run.
    promised: BTreeMap<JobId, Vec<(u64, NodeId)>>,
    /// Running jobs when the last plan was made, with their expected ends.
    ran: BTreeMap<JobId, u64>,
    /// How many tasks of each job that plan started, with the ends that are expected of them.
    begun: BTreeMap<JobId, (usize, u64)>,
    /// When what starts with this plan is expected to end.
    ends: BTreeMap<JobId, u64>,
}

impl Conservative {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            promised: BTreeMap::new(),
            ran: BTreeMap::new(),
            begun: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    /// Whether something is over earlier than was expected.
    fn is_early(&mut self, books: &Books, now: u64) -> bool {
        let over = self.ran.iter().any(|(job, end)| *end > now && !books.running.contains_key(job));
        // What started and ended between two plans, nobody has been told of.
        let new = |job: &JobId| {
            let new = books.running.values().filter(|one| !self.ran.contains_key(&one.id));
            new.filter(|one| one.array.unwrap_or(one.id) == *job).count()
        };
        let unheard = self.begun.iter().any(|(job, &(tasks, end))| end > now && new(job) < tasks);
        self.ran = books.running.values().map(|job| (job.id, self.rules.end(job, now))).collect();
        over || unheard
    }
}

/// A task on its way to a place.
struct Task<'a> {
    job: &'a PendingTold,
    place: Option<(u64, NodeId)>,
}

impl Model for Conservative {
    fn say(&mut self, books: &Books, request: &PlanRequest) -> Said {
        let rules = self.rules;
        let now = request.now.0;
        let mut is_early = self.is_early(books, now);
        let mut future = Future::new(books, request, &rules);
        let mut tasks: Vec<Task<'_>> = Vec::new();
        let mut looked: BTreeMap<PlacementId, u32> = BTreeMap::new();
        for job in rules.order(books) {
            let mut promised = self.promised.remove(&job.id).unwrap_or_default().into_iter();
            let looked = looked.entry(job.placement).or_default();
            for _ in 0..job.count.min(rules.depth - *looked) {
                *looked += 1;
                tasks.push(Task { job, place: promised.next() });
            }
            is_early |= promised.next().is_some();
        }
        // Who was promised something and is not there any more makes room, too.
        is_early |= self.promised.values().any(|promised| !promised.is_empty());
        for equals in tasks.chunk_by_mut(|a, b| rules.rank(a.job) == rules.rank(b.job)) {
            place(equals, &mut future, books, &rules, is_early);
        }
        let mut said = Said::default();
        let mut left = request.most;
        self.promised.clear();
        for tasks in tasks.chunk_by(|a, b| a.job.id == b.job.id) {
            let mut places: Vec<(u64, NodeId)> = tasks.iter().filter_map(|task| task.place).collect();
            places.sort_unstable();
            let mut started = Vec::new();
            places.retain(|&(at, node)| {
                let starts = at == now && left > 0 && future.fits_in_room(node, &tasks[0].job.needs);
                if starts {
                    left -= 1;
                    future.occupy(node, tasks[0].job.needs);
                    started.push(node);
                }
                // The promise holds until it has come true.
                !starts
            });
            if let Some(&(at, _)) = places.first().filter(|(at, _)| now < *at && *at < UNKNOWN) {
                said.later.insert(tasks[0].job.id, at);
            }
            let kept = started.iter().map(|&node| (now, node)).chain(places).collect();
            self.promised.insert(tasks[0].job.id, kept);
            if !started.is_empty() {
                self.ends.insert(tasks[0].job.id, now.saturating_add(rules.span(tasks[0].job)).min(UNKNOWN));
                said.starts.push((tasks[0].job.id, started));
            }
        }
        said
    }

    fn started(&mut self, started: &BTreeMap<JobId, usize>) {
        self.begun.clear();
        for (job, &tasks) in started {
            self.begun.insert(*job, (tasks, self.ends[job]));
            if let Some(promised) = self.promised.get_mut(job) {
                promised.drain(..tasks);
            }
        }
    }
}

fn place(tasks: &mut [Task<'_>], future: &mut Future, books: &Books, rules: &Rules, is_early: bool) {
    let now = future.now;
    let spans: Vec<u64> = tasks.iter().map(|task| rules.span(task.job)).collect();
    for (task, &span) in tasks.iter_mut().zip(&spans) {
        let (nodes, needs) = (&books.placements[&task.job.placement], task.job.needs);
        let Some((at, node)) = task.place else { continue };
        let at = at.max(now);
        task.place = match future.is_free(node, at, span, &needs) {
            true => Some((at, node)),
            false => future.earliest(nodes, at, span, &needs),
        };
        if let Some((at, node)) = task.place {
            future.add(node, at, span, needs);
        }
    }
    let had: Vec<bool> = tasks.iter().map(|task| task.place.is_some()).collect();
    if is_early {
        for (task, &span) in tasks.iter_mut().zip(&spans) {
            let (nodes, needs) = (&books.placements[&task.job.placement], task.job.needs);
            let Some((at, node)) = task.place else { continue };
            let own = future.uses.iter().position(|one| {
                (one.node, one.from, one.until, one.needs) == (node, at, at.saturating_add(span), needs)
            });
            future.uses.remove(own.expect("what was promised is in the list"));
            let (earlier, node) = match at == now {
                true => (at, node),
                false => future.earliest(nodes, now, span, &needs).expect("its own place is free"),
            };
            assert!(earlier <= at, "nobody is placed later when something is over early");
            task.place = Some((earlier, node));
            future.add(node, earlier, span, needs);
        }
    }
    for ((task, &span), had) in tasks.iter_mut().zip(&spans).zip(had) {
        let (nodes, needs) = (&books.placements[&task.job.placement], task.job.needs);
        if !had {
            task.place = future.earliest(nodes, now, span, &needs);
            if let Some((at, node)) = task.place {
                future.add(node, at, span, needs);
            }
        }
    }
}
