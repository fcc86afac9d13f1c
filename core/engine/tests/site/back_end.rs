//! A back end that keeps what it was given, and counts how often each attempt really ran.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use berth_engine::{ControlAction, Input, LaunchAnswer, Reconciled, Reported, ReportedState};
use berth_model::{Attempt, AttemptName, Exit, JobId, UtcMs};

use super::{EXECUTOR, name};

#[derive(Default)]
pub struct BackEnd {
    held: BTreeMap<AttemptName, Held>,
    /// How often each attempt, returns not counted, was started. More than once is what must never be.
    pub runs: BTreeMap<(JobId, u32), u32>,
    /// How each attempt really ended.
    pub exits: BTreeMap<(JobId, u32), Exit>,
    /// It holds attempts to their time limit, and takes up another one of what runs, or does not.
    pub takes_limits: Option<bool>,
    /// The time limits that it was told of what runs.
    pub limits: BTreeMap<AttemptName, Duration>,
    /// Has room for nothing.
    pub full: bool,
    /// Answers to nothing.
    pub mute: bool,
    /// Runs at most so many at once and keeps the others waiting, in their order; `None` runs all.
    pub slots: Option<usize>,
    line: VecDeque<AttemptName>,
}

struct Held {
    job: JobId,
    attempt: Attempt,
    state: ReportedState,
}

impl Held {
    fn is_over(&self) -> bool {
        matches!(self.state, ReportedState::Exited(_) | ReportedState::NodeGone)
    }
}

impl BackEnd {
    /// One that keeps what it has no room for.
    pub fn with_slots(slots: usize) -> Self {
        Self { slots: Some(slots), ..Self::default() }
    }

    /// One that holds attempts to their time limit.
    pub fn that_limits(takes_new_ones: bool) -> Self {
        Self { takes_limits: Some(takes_new_ones), ..Self::default() }
    }

    pub fn launch(&mut self, job: JobId, attempt: Attempt, now: UtcMs) -> Vec<Input> {
        let answer = |answer| Input::LaunchAnswered { job, attempt, answer };
        let key = name(job, attempt);
        if self.held.contains_key(&key) {
            return vec![answer(LaunchAnswer::Taken)];
        }
        if self.full {
            return vec![answer(LaunchAnswer::NoRoom("full".into()))];
        }
        self.held.insert(key.clone(), Held { job, attempt, state: ReportedState::Starting });
        self.line.push_back(key);
        let started = self.start_some(now);
        if self.mute {
            return vec![answer(LaunchAnswer::Unknown("no answer".into()))];
        }
        [vec![answer(LaunchAnswer::Taken)], started].concat()
    }

    /// Starts those that wait, as far as there is room.
    fn start_some(&mut self, now: UtcMs) -> Vec<Input> {
        let mut reports = Vec::new();
        while self.slots.is_none_or(|slots| self.count_running() < slots) {
            let Some(next) = self.line.pop_front() else { break };
            let Some(held) = self.held.get_mut(&next) else { continue };
            if held.state != ReportedState::Starting {
                continue;
            }
            held.state = ReportedState::Running;
            *self.runs.entry((held.job, held.attempt.number)).or_default() += 1;
            reports.push(report(held.job, held.attempt, ReportedState::Running, now));
        }
        reports
    }

    fn count_running(&self) -> usize {
        let runs = |held: &&Held| matches!(held.state, ReportedState::Running | ReportedState::Suspended);
        self.held.values().filter(runs).count()
    }

    pub fn control(&mut self, name: &AttemptName, action: ControlAction, now: UtcMs) -> Vec<Input> {
        let Some(held) = self.held.get_mut(name) else { return vec![] };
        if held.is_over() {
            return vec![];
        }
        held.state = match action {
            ControlAction::Suspend => ReportedState::Suspended,
            ControlAction::Resume => ReportedState::Running,
            ControlAction::Signal(_) => return vec![],
            ControlAction::TimeLimit { limit } => {
                self.limits.insert(name.clone(), limit);
                return vec![];
            }
            ControlAction::Terminate { .. } => {
                ReportedState::Exited(Exit { signal: Some(15), at: now, ..Exit::default() })
            }
        };
        let (job, attempt, state) = (held.job, held.attempt, held.state.clone());
        self.note(job, attempt, &state);
        [vec![report(job, attempt, state, now)], self.start_some(now)].concat()
    }

    fn note(&mut self, job: JobId, attempt: Attempt, state: &ReportedState) {
        if let ReportedState::Exited(exit) = state {
            self.exits.insert((job, attempt.number), exit.clone());
        }
    }

    /// What is true at this moment.
    pub fn reconcile(&self, job: JobId, attempt: Attempt, now: UtcMs) -> Input {
        let truth = match self.held.get(&name(job, attempt)) {
            Some(held) => Reconciled::Known(reported(job, attempt, held.state.clone(), now)),
            None => Reconciled::Absent,
        };
        Input::Reconciled { job, attempt, truth }
    }

    pub fn forget(&mut self, name: &AttemptName) {
        if self.held.get(name).is_some_and(Held::is_over) {
            self.held.remove(name);
        }
    }

    /// Everything that it has.
    pub fn attempts(&self) -> Vec<(JobId, Attempt)> {
        self.held.values().map(|held| (held.job, held.attempt)).collect()
    }

    pub fn running(&self) -> Vec<AttemptName> {
        let runs = |held: &Held| !held.is_over() && held.state != ReportedState::Starting;
        self.held.iter().filter(|(_, held)| runs(held)).map(|(name, _)| name.clone()).collect()
    }

    /// Ends an attempt by itself.
    pub fn finish(&mut self, name: &AttemptName, code: i32, now: UtcMs) -> Vec<Input> {
        let Some(held) = self.held.get_mut(name) else { return vec![] };
        held.state = ReportedState::Exited(Exit { code: Some(code), at: now, ..Exit::default() });
        let (job, attempt, state) = (held.job, held.attempt, held.state.clone());
        self.note(job, attempt, &state);
        [vec![report(job, attempt, state, now)], self.start_some(now)].concat()
    }

    pub fn finish_all(&mut self, code: i32, now: UtcMs) -> Vec<Input> {
        self.running().iter().flat_map(|name| self.finish(name, code, now)).collect()
    }

    /// An attempt vanishes without a trace, which no back end that keeps its promise does.
    pub fn vanish(&mut self, name: &AttemptName) {
        self.held.remove(name);
    }

    /// A node is gone with what ran there, and the back end knows.
    pub fn lose(&mut self, name: &AttemptName, now: UtcMs) -> Vec<Input> {
        let Some(held) = self.held.get_mut(name) else { return vec![] };
        held.state = ReportedState::NodeGone;
        let gone = report(held.job, held.attempt, ReportedState::NodeGone, now);
        [vec![gone], self.start_some(now)].concat()
    }
}

fn reported(job: JobId, attempt: Attempt, state: ReportedState, at: UtcMs) -> Reported {
    let executor = EXECUTOR.into();
    Reported { executor, job, attempt, state, at, cpu_micros: None, memory_peak_bytes: None, message: None }
}

pub fn report(job: JobId, attempt: Attempt, state: ReportedState, at: UtcMs) -> Input {
    Input::Reported(reported(job, attempt, state, at))
}
