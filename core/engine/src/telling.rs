//! What the scheduler policy has been told, and asking it for plans.

use std::collections::BTreeMap;

use berth_model::{Hold, JobId, JobState, Resources, UtcMs};
use rustc_hash::FxHashMap;

use crate::{
    Effect, Engine, NameId, PendingTold, PlacementId, PlanRequest, Room, RunningTold, Told,
    job::{Array, Belief, Job, Kind},
    spells::Spells,
};

/// The engine's side of the conversation with the scheduler policy.
#[derive(Debug)]
pub(crate) struct Telling {
    /// A plan would be of use.
    pub(crate) wanted: bool,
    /// The request that has not been answered.
    pub(crate) outstanding: Option<Outstanding>,
    /// Expected starts, by the last plan.
    pub(crate) expected: BTreeMap<JobId, UtcMs>,
    /// The last plan's reasons for passing jobs over.
    pub(crate) passed_over: Vec<(String, u64)>,
    snapshot: u64,
    full: bool,
    names_told: NameId,
    /// Jobs to look at before the next request.
    stale: Vec<JobId>,
    /// Jobs that have left since the last request and that the policy knows as pending.
    pub(crate) withdrawn: Vec<JobId>,
    /// Likewise, as running.
    ended: Vec<JobId>,
    /// Pending jobs that the policy knows, all that is told counted in.
    known: u64,
    /// What has kept them from starting.
    pub(crate) spells: Spells,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Outstanding {
    pub(crate) snapshot: u64,
    pub(crate) room: Vec<Room>,
    pub(crate) most: u32,
    /// What jobs were when it was asked that have been changed since: where they may run, and what they need.
    pub(crate) was: FxHashMap<JobId, (PlacementId, Resources)>,
}

impl Default for Telling {
    fn default() -> Self {
        Self {
            wanted: false,
            outstanding: None,
            expected: BTreeMap::new(),
            passed_over: Vec::new(),
            snapshot: 0,
            full: true,
            names_told: 0,
            stale: Vec::new(),
            withdrawn: Vec::new(),
            ended: Vec::new(),
            known: 0,
            spells: Spells::default(),
        }
    }
}

impl Telling {
    /// The policy knows nothing any more: the next request tells everything, and an answer to an earlier
    /// one counts for nothing.
    pub(crate) fn start_over(&mut self) {
        self.full = true;
        self.outstanding = None;
        self.wanted = true;
    }

    /// A job is about to be changed: the plan that is under way is for what it was.
    pub(crate) fn is_another(&mut self, id: JobId, job: Option<&Job>) {
        if let (Some(outstanding), Some(job)) = (&mut self.outstanding, job) {
            outstanding.was.entry(id).or_insert((job.placement, job.needs));
        }
    }

    pub(crate) fn mark(&mut self, id: JobId, belief: &mut Belief) {
        if !belief.stale {
            belief.stale = true;
            self.stale.push(id);
        }
    }

    /// A job leaves for good.
    pub(crate) fn forget(&mut self, id: JobId, belief: Belief) {
        self.expected.remove(&id);
        if belief.pending > 0 {
            self.withdrawn.push(id);
            self.known -= 1;
        }
        if belief.running {
            self.ended.push(id);
        }
    }
}

impl Engine {
    /// Asks the policy for a plan when one is of use and none is under way.
    pub(crate) fn ask_for_plan(&mut self) {
        if !self.telling.wanted || self.telling.outstanding.is_some() {
            return;
        }
        self.telling.wanted = false;
        let told = self.tell();
        let nothing_waits = self.telling.known == 0;
        if nothing_waits && told == Told::default() {
            return;
        }
        self.telling.snapshot += 1;
        let snapshot = self.telling.snapshot;
        let room = self.nodes.room();
        let most = self.settings.starts_per_plan;
        self.telling.outstanding = Some(crate::telling::Outstanding {
            snapshot,
            room: room.clone(),
            most,
            was: FxHashMap::default(),
        });
        let pending_known = self.telling.known;
        let request = PlanRequest { snapshot, now: self.now, told, room, most, pending_known };
        self.out.effects.push(Effect::AskPlan(Box::new(request)));
    }

    /// What changed since the last time, or everything.
    fn tell(&mut self) -> Told {
        let full = std::mem::take(&mut self.telling.full);
        let mut stale = std::mem::take(&mut self.telling.stale);
        let mut told = Told { full, ..Told::default() };
        if full {
            self.telling.names_told = 0;
            self.telling.known = 0;
            self.telling.withdrawn.clear();
            self.telling.ended.clear();
            stale = self.jobs.keys().copied().collect();
            stale.sort_unstable();
        }
        told.withdrawn = std::mem::take(&mut self.telling.withdrawn);
        told.ended = std::mem::take(&mut self.telling.ended);
        (told.nodes, told.placements) = self.nodes.tell(&mut self.names, full);
        for id in stale {
            self.tell_job(id, full, &mut told);
        }
        told.accounts = self.tell_accounts(full);
        told.first_name = self.telling.names_told;
        told.names = self.names.from(told.first_name);
        self.telling.names_told = self.names.next();
        if told.names.is_empty() {
            told.first_name = 0;
        }
        told
    }

    fn tell_job(&mut self, id: JobId, full: bool, told: &mut Told) {
        let Some(job) = self.jobs.get(&id) else { return };
        let was = if full { Belief::default() } else { job.told };
        let count = self.startable(job);
        let running = running(id, job);
        if count > 0 {
            told.pending.push(PendingTold {
                id,
                owner: job.owner,
                project: job.project,
                placement: job.placement,
                count,
                needs: job.needs,
                submitted: job.submitted,
                eligible: job.eligible,
                time_limit_ms: job.time_limit_ms,
                priority: job.priority,
            });
            self.telling.known += u64::from(was.pending == 0);
            self.telling.spells.expect(job.placement, job.needs);
        } else if was.pending > 0 {
            told.withdrawn.push(id);
            self.telling.known -= 1;
        }
        let is_running = running.is_some();
        match running {
            // Told again even if it was known: it may run elsewhere, or since another time.
            Some(running) => told.started.push(running),
            None if was.running => told.ended.push(id),
            None => {}
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.told = Belief { pending: count, running: is_running, stale: false };
        }
    }
}

impl Engine {
    /// How many tasks of a job may start now, as far as the job itself and its array are concerned.
    pub(crate) fn startable(&self, job: &Job) -> u32 {
        let own = startable(job, self.now);
        match job.kind {
            Kind::Task { array, .. } if own > 0 && !job.told_alone() => {
                let array = self.jobs.get(&array);
                u32::from(array.is_some_and(|array| array.lets_tasks_start(self.now)))
            }
            _ => own,
        }
    }
}

fn startable(job: &Job, now: UtcMs) -> u32 {
    match (&job.kind, &job.state) {
        _ if job.rests(now) || job.barred => 0,
        (_, JobState::Held { .. }) => 0,
        (Kind::Array(array), _) => array.startable(),
        (Kind::Plain, JobState::Pending) => 1,
        // A task that waits again counts with its array, as long as that is live, unless it waits for itself.
        (Kind::Task { .. }, JobState::Pending) => u32::from(job.told_alone() || job.stands_apart()),
        _ => 0,
    }
}

fn running(id: JobId, job: &Job) -> Option<RunningTold> {
    let run = job.run.as_ref().filter(|run| job.state.attempt().is_some() && !run.ahead)?;
    Some(RunningTold {
        id,
        array: match job.kind {
            Kind::Task { array, .. } => Some(array),
            Kind::Plain | Kind::Array(_) => None,
        },
        owner: job.owner,
        project: job.project,
        node: run.node,
        needs: job.needs,
        started: run.started.unwrap_or(run.allocated),
        ends: job
            .time_limit_ms
            .map(|limit| UtcMs(run.started.unwrap_or(run.allocated).0.saturating_add(limit))),
    })
}

impl Job {
    /// Whether a task stands for itself because its array is over.
    fn told_alone(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.alone)
    }

    /// Whether it was given back, and is not to be tried again yet.
    fn rests(&self, now: UtcMs) -> bool {
        self.rare.as_ref().and_then(|rare| rare.not_before).is_some_and(|at| at > now)
    }

    /// Whether a task of this array that waits for itself may start.
    pub(crate) fn lets_tasks_start(&self, now: UtcMs) -> bool {
        let held = matches!(self.state, JobState::Held { .. });
        !held && !self.rests(now) && self.array().is_some_and(Array::has_place)
    }

    /// Whether it waits for nothing but policy and room.
    pub(crate) fn has_hold(&self, hold: Hold) -> bool {
        matches!(self.state, JobState::Held { holds } if holds.has(hold))
    }
}
