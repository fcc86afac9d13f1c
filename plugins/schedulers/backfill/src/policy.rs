//! The policy: what it is told, and the plans that it makes of it.

use std::{cmp::Reverse, collections::BTreeMap};

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, NodeId, NodeRoom, OrderedQueue, PendingJob, Plan, Resources, RunningJob,
    Scheduler, Settings, info,
    queue::Waiting,
    scheduler::{Node, Placement, Reservation},
};

use crate::{
    conservative::{self, Promises},
    easy,
    explain::{self, Notes},
    line::{Key, Line},
    outlook::{Demand, Outlook, Slot},
    running::{self, Running},
    settings::{Choices, Mode},
    starts::Starts,
    timeline::{NEVER, UNKNOWN},
    words::Tally,
};

/// Starts jobs in their order, and smaller ones before their turn where that delays nobody who has been promised
/// a start.
///
/// A job is promised a place on one node from an instant on, and all of what it needs there; the tasks of an
/// array are jobs of their own. With EASY the first of each placement that cannot start has a promise, with
/// conservative backfill everybody has.
#[derive(Clone, Debug)]
pub struct Backfill {
    choices: Choices,
    queue: OrderedQueue<Key>,
    running: Running,
    /// What the nodes have in total.
    totals: BTreeMap<NodeId, Resources>,
    promises: Promises,
    /// How the last plan left things.
    notes: Notes,
}

impl Backfill {
    fn key(&self, job: &PendingJob) -> Key {
        (Reverse(if self.choices.by_priority { job.priority } else { 0 }), job.eligible_ms)
    }

    /// What a task of this job takes.
    fn demand(choices: &Choices, job: &Waiting<Key>) -> Demand {
        let limit = job.time_limit_ms().or(choices.usual_limit_ms);
        Demand { needs: job.needs(), span_ms: limit.map_or(NEVER, |limit| limit.max(1)) }
    }

    fn forget(&mut self, job: JobId) {
        self.queue.remove(job);
        self.promises.drop(job);
    }
}

/// What is kept of a plan until the next one, and what is said.
struct Outcome {
    starts: Starts,
    /// Expected starts, in the order of the jobs.
    later: Vec<(JobId, Slot)>,
    wake_at: Option<InstantMs>,
    tally: Tally,
}

impl Outcome {
    fn plan(self, now: InstantMs, most: u32) -> Plan {
        let is_known = |&(_, slot): &(JobId, Slot)| slot.at > now && slot.at < UNKNOWN;
        let reservation =
            |(job, slot): (JobId, Slot)| Reservation { job, node: Some(slot.node), at_ms: slot.at };
        let later = self.later.into_iter().filter(is_known).take(most as usize);
        Plan {
            starts: self.starts.said,
            reservations: later.map(reservation).collect(),
            rejections: Vec::new(),
            passed_over: self.tally.entries(),
            // The host makes the next instant of it.
            wake_at_ms: if self.starts.unsaid { Some(now) } else { self.wake_at },
        }
    }
}

impl Scheduler for Backfill {
    fn describe() -> Info {
        info!(
            "backfill",
            "jobs in their order, and smaller ones before their turn where that delays nobody who comes first",
            "mode" => "easy (the first job that cannot start has a reservation) unless given, or conservative (every \
                job has one, and keeps it)",
            "order" => "fcfs unless given, or priority (then first come, first served)",
            "default-time-limit" => "how long a job without a time limit is taken to run; for ever unless given, so that it \
                starts before its turn only where it is in nobody's way",
            "depth" => "how many jobs are looked at, of those that wait for the same nodes and cannot start; 1000 \
                unless given",
            "reservations" => "how many expected starts are told to people after each plan; 1000 unless given",
        )
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        Ok(Self {
            choices: Choices::configure(settings)?,
            queue: OrderedQueue::default(),
            running: Running::default(),
            totals: BTreeMap::new(),
            promises: Promises::default(),
            notes: Notes::default(),
        })
    }

    fn nodes(&mut self, nodes: Vec<Node>) {
        for node in nodes {
            if self.totals.insert(node.id, node.total).is_some() {
                self.promises.look_again();
            }
        }
    }

    fn placements(&mut self, placements: Vec<Placement>) {
        for placement in placements {
            if self.queue.lane(placement.id).is_some() {
                self.promises.look_again();
            }
            self.queue.place(placement);
        }
    }

    fn pending(&mut self, jobs: Vec<PendingJob>) {
        for job in &jobs {
            let before = self.queue.get(job.id).copied();
            self.queue.put(self.key(job), job);
            if let (Some(mut before), Some(now)) = (before, self.queue.get(job.id)) {
                // Of the same job, there may be more or fewer tasks.
                before.count = now.count;
                if before != *now {
                    self.promises.drop(job.id);
                }
            }
        }
    }

    fn withdrawn(&mut self, jobs: Vec<JobId>) {
        for job in jobs {
            self.forget(job);
        }
    }

    fn started(&mut self, jobs: Vec<RunningJob>) {
        for job in &jobs {
            let before = self.running.put(job, self.choices.usual_limit_ms);
            let end = self.running.end(job.id).unwrap_or(UNKNOWN);
            self.promises.started(job, before, end);
        }
    }

    fn ended(&mut self, jobs: Vec<JobId>) {
        for job in jobs {
            if let Some(end) = self.running.remove(job) {
                self.promises.ended(running::expected(end, self.notes.outlook.now));
            }
        }
    }

    fn plan(&mut self, now_ms: InstantMs, room: Vec<NodeRoom>, most: u32) -> Result<Plan, Error> {
        let mut outlook = Outlook::new(now_ms, room);
        let line = Line::new(&self.queue, &outlook, self.choices.depth);
        let Self { choices, running, totals, promises, .. } = self;
        let demand = |job: &Waiting<Key>| Self::demand(choices, job);
        let outlook_here = &mut outlook;
        let (outcome, heads, cuts) = match choices.mode {
            Mode::Easy => {
                let pass = easy::Pass { outlook: outlook_here, running, totals, most };
                let passed = pass.run(line, demand);
                let later = passed.heads.values().copied().collect();
                let (starts, tally) = (passed.starts, passed.tally);
                (Outcome { starts, later, wake_at: None, tally }, passed.heads, passed.cuts)
            }
            Mode::Conservative => {
                let pass = conservative::Pass { outlook: outlook_here, running, totals, promises, most };
                let passed = pass.run(line, demand);
                let (starts, later, tally) = (passed.starts, passed.later, passed.tally);
                let outcome = Outcome { starts, later, wake_at: passed.wake_at, tally };
                (outcome, BTreeMap::new(), passed.cuts)
            }
        };
        self.notes = Notes { outlook, heads, cuts };
        Ok(outcome.plan(now_ms, self.choices.reservations))
    }

    fn explain(&mut self, now_ms: InstantMs, job: JobId) -> Option<String> {
        let waiting = self.queue.get(job)?;
        let lane = self.queue.lane(waiting.placement)?;
        let demand = Self::demand(&self.choices, waiting);
        let ask = explain::Ask { now: now_ms, waiting, lane, demand, depth: self.choices.depth };
        Some(match self.choices.mode {
            Mode::Easy => self.notes.easy(&ask, &self.totals),
            Mode::Conservative => self.notes.conservative(&ask, self.promises.of(job), &self.totals),
        })
    }

    fn known(&mut self) -> u64 {
        self.queue.len() as u64
    }
}
