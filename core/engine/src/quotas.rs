//! Quotas at work: what a start reserves, what an end settles, and who has to wait.

use std::time::Duration;

use berth_model::{AccountKind, JobId, JobSpec, JobState, Measure, UtcMs};

use crate::{
    Change, Engine, NameId, OnBreach, QuotaSettings, Refusal,
    accounts::{Breach, Keys, Never, Whose},
    cost::{Claim, Cost},
    job::{Array, Job, Kind},
    timers::Due,
};

/// How often at most all jobs are looked through for those that have to wait.
const SWEEP_EVERY_MS: u64 = 1000;

/// How long what was let go keeps others waiting when it does not start.
const LOOK_AGAIN_MS: u64 = 10_000;

impl Job {
    pub(crate) fn whose(&self) -> Whose {
        Whose { user: self.owner, project: self.project, class: self.class }
    }

    /// What its next or present execution may cost.
    pub(crate) fn cost(&self) -> Cost {
        let grace = u64::from(self.grace_ms);
        Cost { needs: self.needs, most_ms: self.time_limit_ms.map(|limit| limit.saturating_add(grace)) }
    }

    /// How many jobs and tasks it stands for that wait.
    fn waiting(&self) -> u64 {
        match (&self.kind, &self.state) {
            (_, JobState::Ended { .. } | JobState::Stopping { .. }) => 0,
            (Kind::Array(array), _) if array.killed.is_some() => 0,
            (Kind::Array(array), _) => {
                let jobs = array.waiting.len() + array.apart.len() + array.held.len();
                array.untouched() + jobs as u64
            }
            // A task counts with its array.
            (Kind::Task { .. }, JobState::Held { .. } | JobState::Pending) => {
                u64::from(self.rare.as_ref().is_some_and(|rare| rare.alone))
            }
            (Kind::Plain, JobState::Held { .. } | JobState::Pending) => 1,
            _ => 0,
        }
    }
}

impl Engine {
    /// Somebody has a job: the accounts that it counts for are known from now on.
    pub(crate) fn join(&mut self, whose: Whose) {
        self.kin.join(&mut self.names, whose);
        self.join_class(whose);
    }

    /// Somebody wants a job of a class: what it bounds for each user holds for their first job, too.
    pub(crate) fn join_class(&mut self, whose: Whose) {
        if let Some(class) = whose.class {
            let part = self.kin.join_class(&mut self.names, class, whose.user);
            self.accounts.joins_class(part, class);
        }
    }

    /// The number of a class, which the site has made sure of.
    pub(crate) fn class_number(&mut self, class: Option<&str>) -> Option<NameId> {
        class.map(|class| self.names.number(class))
    }

    /// The accounts that a job counts for.
    pub(crate) fn keys(&self, whose: Whose) -> Keys {
        self.kin.keys(whose)
    }

    /// The site has changed its settings.
    pub(crate) fn on_quotas(&mut self, settings: QuotaSettings) {
        self.accounts.set_settings(settings, &mut self.names);
        self.telling.wanted = true;
        self.look_at_barred();
    }

    /// Whether a new job may be taken, as far as its accounts are concerned.
    pub(crate) fn check_accounts(&mut self, whose: Whose, cost: &Cost, tasks: u64) -> Result<(), Refusal> {
        let user = self.names.name(whose.user).to_owned();
        let waits = self.accounts.get(AccountKind::User, whose.user).map_or(0, |account| account.pending);
        let limits = self.accounts.limits(AccountKind::User, whose.user);
        if let Some(limit) = limits.pending.filter(|&limit| waits.saturating_add(tasks) > limit) {
            return Err(Refusal::TooManyWait { user: Some(user), waits, limit });
        }
        let waits = self.accounts.pending;
        if let Some(limit) =
            self.accounts.settings.pending.filter(|&limit| waits.saturating_add(tasks) > limit)
        {
            return Err(Refusal::TooManyWait { user: None, waits, limit });
        }
        self.check_possible(whose, cost)?;
        self.accounts.submits(self.now, whose.user).map_err(|wait_ms| Refusal::TooFast { user, wait_ms })
    }

    fn check_possible(&self, whose: Whose, cost: &Cost) -> Result<(), Refusal> {
        match self.accounts.never(self.keys(whose), cost) {
            Some(Never::NoTimeLimit { kind, name }) => {
                Err(Refusal::NoTimeLimit { account: self.account_name(kind, name) })
            }
            Some(Never::TooMuch(breach)) => {
                let account = self.account_name(breach.kind, breach.name);
                Err(Refusal::OverQuota { account, bound: breach.bound })
            }
            None => Ok(()),
        }
    }

    /// Whether a job that is changed so could ever start, as far as its accounts are concerned.
    pub(crate) fn check_affordable(&self, whose: Whose, spec: &JobSpec) -> Result<(), Refusal> {
        self.check_possible(whose, &Cost::of(spec))
    }

    /// A job is looked at anew the next time that it is its turn.
    pub(crate) fn let_go_of_quota(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if std::mem::take(&mut job.barred) {
            let whose = job.whose();
            for (kind, name) in self.kin.keys(whose).iter() {
                self.accounts.unbar(kind, name, id);
            }
        }
    }

    pub(crate) fn account_name(&self, kind: AccountKind, name: NameId) -> String {
        format!("{kind} {}", self.names.name(name))
    }

    /// What keeps a job from starting now, of its accounts.
    pub(crate) fn breach(&mut self, id: JobId) -> Option<Breach> {
        if !self.accounts.are_bounded() {
            return None;
        }
        let job = self.jobs.get(&id)?;
        let (whose, cost) = (job.whose(), job.cost());
        let keys = self.keys(whose);
        self.accounts.breach(self.now, keys, &cost)
    }

    /// It is a job's turn, and an account of its has not enough left.
    pub(crate) fn on_breach(&mut self, id: JobId, breach: &Breach) {
        // Of an array that has begun, tasks may wait, be held or run that would be left without it.
        let has_begun = self.jobs.get(&id).and_then(|job| job.array()).is_some_and(Array::has_begun);
        // What runs gives back what it has; nobody is rejected for what is theirs again in a moment.
        let passes = breach.bound.measure.is_of_what_runs() || has_begun;
        if self.accounts.settings.on_breach == OnBreach::Reject && !passes {
            let account = self.account_name(breach.kind, breach.name);
            let words = format!("quota reached: {account} may use {}", breach.bound);
            self.reject(id, "quota".into(), words);
            // The plan had given it room that is another's now.
            self.telling.wanted = true;
            return;
        }
        self.keep_waiting(id, breach);
        // Others of the same account will not fit either; the policy is better not told of them.
        let again = self.accounts.swept.is_none_or(|at| at.0.saturating_add(SWEEP_EVERY_MS) <= self.now.0);
        if again {
            self.accounts.swept = Some(self.now);
            self.sweep();
        }
    }

    fn keep_waiting(&mut self, id: JobId, breach: &Breach) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.barred = true;
        let cost = job.cost();
        self.accounts.bar(breach, id, &cost);
        self.set_roll();
        self.touch(id);
        self.telling.wanted = true;
    }

    fn sweep(&mut self) {
        let mut open: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, job)| !job.barred && self.startable(job) > 0)
            .map(|(&id, _)| id)
            .collect();
        open.sort_unstable();
        for id in open {
            if let Some(breach) = self.breach(id) {
                self.keep_waiting(id, &breach);
            }
        }
    }

    /// Lets those go whose accounts have enough left again.
    pub(crate) fn look_at_barred(&mut self) {
        for (kind, name) in self.accounts.with_barred() {
            self.unbar_of(kind, name);
        }
        self.set_roll();
    }

    /// Has those that wait looked at again when use falls out of the period.
    fn set_roll(&mut self) {
        if let Some(roll) = self.accounts.next_roll() {
            self.timers.set(roll, Due::Roll);
        }
    }

    fn unbar_of(&mut self, kind: AccountKind, name: NameId) {
        let mut promised = Claim::default();
        let mut last = None;
        while let Some(id) = self.accounts.next_barred(kind, name, last) {
            last = Some(id);
            if self.accounts.is_used_up(self.now, kind, name, &promised) {
                if promised != Claim::default() {
                    // Those that were let go may not start after all.
                    let next = (self.now.0 / LOOK_AGAIN_MS + 1).saturating_mul(LOOK_AGAIN_MS);
                    self.timers.set(UtcMs(next), Due::Roll);
                }
                return;
            }
            let Some(job) = self.jobs.get(&id) else {
                self.accounts.unbar(kind, name, id);
                continue;
            };
            let (cost, whose) = (job.cost(), job.whose());
            let keys = self.keys(whose);
            match self.accounts.breach_beside(self.now, keys, &cost, (kind, name, promised)) {
                None => {
                    promised += cost.most();
                    self.unbar(kind, name, id);
                }
                Some(other) if (other.kind, other.name) != (kind, name) => {
                    // From here on it waits for that one.
                    self.accounts.unbar(kind, name, id);
                    self.accounts.bar(&other, id, &cost);
                }
                Some(_) => {}
            }
        }
    }

    /// Lets those go that waited for any of these accounts, as far as they have enough left.
    pub(crate) fn unbar_all_of(&mut self, keys: Keys) {
        for (kind, name) in keys.iter() {
            self.unbar_of(kind, name);
        }
        self.set_roll();
    }

    fn unbar(&mut self, kind: AccountKind, name: NameId, id: JobId) {
        self.accounts.unbar(kind, name, id);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.barred = false;
        }
        self.touch(id);
        self.telling.wanted = true;
    }

    /// A job has its allocation: what it may use is kept for it.
    pub(crate) fn reserve(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let (whose, cost) = (job.whose(), job.cost());
        let Some(run) = job.run.as_mut().filter(|run| run.reserved.is_none() && !run.ahead) else { return };
        let keys = self.kin.keys(whose);
        run.reserved = Some(keys);
        self.accounts.reserve(keys, &cost);
    }

    /// A job that runs gets another time limit: what it may use is kept for it anew.
    ///
    /// # Errors
    /// When an account has not enough left. Nothing has changed then.
    pub(crate) fn reserve_anew(&mut self, id: JobId, limit_ms: Option<u64>) -> Result<(), Refusal> {
        let Some(job) = self.jobs.get_mut(&id) else { return Err(Refusal::NotLive(id)) };
        let before = job.cost();
        let was = std::mem::replace(&mut job.time_limit_ms, limit_ms);
        let after = job.cost();
        let Some(keys) = job.run.as_ref().and_then(|run| run.reserved) else { return Ok(()) };
        self.accounts.give_back(keys, &before);
        let may_use_more = after.most_ms > before.most_ms;
        let breach = match may_use_more && self.accounts.are_bounded() {
            true => self.accounts.breach(self.now, keys, &after),
            false => None,
        };
        if let Some(breach) = breach {
            self.accounts.reserve(keys, &before);
            if let Some(job) = self.jobs.get_mut(&id) {
                job.time_limit_ms = was;
            }
            let account = self.account_name(breach.kind, breach.name);
            return Err(Refusal::NotLeft { account, bound: breach.bound });
        }
        self.accounts.reserve(keys, &after);
        if !may_use_more {
            self.unbar_all_of(keys);
        }
        Ok(())
    }

    /// A job's allocation is free again. What it used up to `ended` is written.
    pub(crate) fn settle(&mut self, id: JobId, ended: UtcMs) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let cost = job.cost();
        let Some(run) = job.run.as_mut() else { return };
        let Some(keys) = run.reserved.take() else { return };
        let started = run.started;
        // A back end's clock may be off.
        let ended = ended.clamp(started.unwrap_or(self.now).min(self.now), self.now);
        self.accounts.settle(self.now, keys, &cost, started, ended);
        self.unbar_all_of(keys);
    }

    /// Has what was charged in this step written.
    pub(crate) fn write_charges(&mut self) {
        for (kind, name, hour, used) in self.accounts.take_charged() {
            let name = self.names.name(name).to_owned();
            self.out.changes.push(Change::Charged { kind, name, hour, used });
        }
    }

    /// Keeps count of what waits.
    pub(crate) fn count_waiting(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let (before, after) = (job.waits, job.waiting());
        if before != after {
            job.waits = after;
            self.accounts.waits(job.owner, before, after);
        }
    }

    /// A job has left: nothing of it waits, and nobody keeps it.
    pub(crate) fn forget_waiting(&mut self, id: JobId, job: &Job) {
        self.accounts.waits(job.owner, job.waits, 0);
        for (kind, name) in self.keys(job.whose()).iter() {
            if job.barred {
                self.accounts.unbar(kind, name, id);
            } else {
                // Others may have waited for it to start.
                self.unbar_of(kind, name);
            }
        }
    }

    /// The account that keeps a job from starting, for its user.
    pub(crate) fn quota_reason(&self, job: &Job, id: JobId) -> Option<(String, String)> {
        if !job.barred {
            return None;
        }
        let (kind, name) =
            self.keys(job.whose()).iter().find(|&(kind, name)| self.accounts.bars(kind, name, id))?;
        let limits = self.accounts.limits(kind, name);
        let counted = self.accounts.counted(kind, name);
        let bound = self.accounts.with(kind, name, &job.cost()).passes(&limits)?;
        let is_of_time = matches!(bound.measure, Measure::WallTime | Measure::CpuTime | Measure::MemoryTime);
        if is_of_time && job.time_limit_ms.is_none() && self.accounts.never_without_limit() {
            let words =
                format!("it may use {bound}, and this job has no time limit; submit it again with one");
            return Some((self.account_name(kind, name), words));
        }
        let period = Duration::from_millis(self.accounts.settings.period_ms);
        let words = bound.standing(bound.of(&counted.used, &counted.in_use), period);
        Some((self.account_name(kind, name), words))
    }
}
