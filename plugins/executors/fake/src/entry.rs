//! One simulated attempt: what it does when its time comes or when it is asked. Pure; the time is
//! an argument.

use std::{sync::Arc, time::Duration};

use berth_executor_api::{
    Action, AttemptName, AttemptReport, AttemptState, Exit, PortMapping, Resources, Stream, Usage, UtcMs,
};
use serde::{Deserialize, Serialize};

use crate::convert::{Behaviour, Ending};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
/// SIGSTOP and SIGTSTP.
const STOPS: [i32; 2] = [19, 20];
/// Signals that do nothing by default: none, SIGCHLD, SIGURG, SIGWINCH.
const HARMLESS: [i32; 4] = [0, 17, 23, 28];

/// What is settled about an attempt when it is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub node: String,
    pub resources: Resources,
    pub time_limit: Option<Duration>,
    pub grace: Duration,
    pub behaviour: Arc<Behaviour>,
    /// It is given back for want of room when it should start.
    pub given_back: bool,
    pub ports: Vec<PortMapping>,
    /// What `env` prints; empty for all others.
    pub environment: String,
}

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Running,
    Suspended,
    Over(AttemptState),
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Entry {
    pub facts: Facts,
    pub node: usize,
    pub phase: Phase,
    since: UtcMs,
    started: Option<UtcMs>,
    /// Run time before the current stretch.
    ran_ms: u64,
    /// A stop was asked for, and when it is followed by SIGKILL.
    stop: Option<UtcMs>,
    /// Changes whenever what was planned for it no longer holds.
    pub generation: u32,
}

impl Entry {
    pub(crate) fn new(facts: Facts, node: usize, now: UtcMs) -> Self {
        let phase = Phase::Starting;
        Self { facts, node, phase, since: now, started: None, ran_ms: 0, stop: None, generation: 0 }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_))
    }

    /// When it moves next by itself.
    pub(crate) fn next_time(&self) -> Option<UtcMs> {
        let own = match self.phase {
            Phase::Starting => Some(self.since.after(Duration::from_millis(self.facts.behaviour.start_ms))),
            Phase::Running => Some(self.natural_end()),
            Phase::Suspended => None,
            Phase::Over(_) => return None,
        };
        [own, self.limit_at(), self.stop].into_iter().flatten().min()
    }

    /// Where it moves at this time, if anywhere.
    pub(crate) fn due(&self, at: UtcMs) -> Option<Phase> {
        if self.is_over() || self.next_time().is_none_or(|next| next > at) {
            return None;
        }
        match self.phase {
            Phase::Starting => return Some(self.begin(at)),
            Phase::Running if self.natural_end() <= at => return Some(Phase::Over(self.natural(at))),
            _ => {}
        }
        let at_limit = self.limit_at().is_some_and(|limit| limit <= at);
        let signal = if at_limit && !self.facts.behaviour.ignore_term { SIGTERM } else { SIGKILL };
        Some(self.exited(Exit { signal: Some(signal), time_limit: at_limit, ..self.exit(at) }))
    }

    /// Where it moves when it is asked for something, if anywhere. A later kill shows in `next_time`.
    pub(crate) fn ask(&mut self, action: Action, at: UtcMs) -> Option<Phase> {
        if self.is_over() {
            return None;
        }
        match action {
            Action::Suspend => (self.phase == Phase::Running).then_some(Phase::Suspended),
            Action::Resume => (self.phase == Phase::Suspended).then_some(Phase::Running),
            Action::Signal(signal) if STOPS.contains(&signal) => self.ask(Action::Suspend, at),
            Action::Signal(SIGCONT) => self.ask(Action::Resume, at),
            Action::Signal(signal) => self.signal(signal, at),
            Action::TimeLimit { limit } => {
                self.facts.time_limit = Some(limit);
                self.due(at)
            }
            Action::Terminate { grace } => {
                let kill_at = at.after(grace);
                self.stop = Some(self.stop.map_or(kill_at, |before| before.min(kill_at)));
                self.signal(if grace.is_zero() { SIGKILL } else { SIGTERM }, at)
            }
        }
    }

    fn signal(&self, signal: i32, at: UtcMs) -> Option<Phase> {
        let behaviour = &self.facts.behaviour;
        match behaviour.on_signal {
            Some((on, code)) if on == signal && self.started.is_some() => {
                return Some(self.exited(Exit { code: Some(code), ..self.exit(at) }));
            }
            _ => {}
        }
        let ignored = signal == SIGTERM && behaviour.ignore_term && self.started.is_some();
        let dies = !ignored && !HARMLESS.contains(&signal);
        dies.then(|| self.exited(Exit { signal: Some(signal), ..self.exit(at) }))
    }

    /// Moves.
    pub(crate) fn enter(&mut self, phase: Phase, at: UtcMs) {
        self.ran_ms = self.run_ms(at);
        self.since = at;
        if phase == Phase::Running {
            self.started.get_or_insert(at);
        }
        self.phase = phase;
        self.generation += 1;
    }

    fn begin(&self, at: UtcMs) -> Phase {
        match &self.facts.behaviour.ending {
            _ if self.facts.given_back => Phase::Over(AttemptState::NoRoom),
            Ending::CouldNotLaunch(why) => {
                self.exited(Exit { could_not_launch: Some(why.clone()), ..self.exit(at) })
            }
            _ => Phase::Running,
        }
    }

    fn natural(&self, at: UtcMs) -> AttemptState {
        let exit = self.exit(at);
        AttemptState::Exited(match self.facts.behaviour.ending {
            Ending::NodeLost => return AttemptState::NodeGone,
            Ending::Code(code) => Exit { code: Some(code), ..exit },
            Ending::Signal(signal) => Exit { signal: Some(signal), ..exit },
            Ending::OutOfMemory => Exit { signal: Some(SIGKILL), out_of_memory: true, ..exit },
            Ending::CouldNotLaunch(ref why) => Exit { could_not_launch: Some(why.clone()), ..exit },
        })
    }

    fn exit(&self, at: UtcMs) -> Exit {
        Exit { at, before_stop: self.stop.is_none(), ..Exit::default() }
    }

    fn exited(&self, exit: Exit) -> Phase {
        Phase::Over(AttemptState::Exited(exit))
    }

    fn run_ms(&self, now: UtcMs) -> u64 {
        match self.phase {
            Phase::Running => self.ran_ms + now.0.saturating_sub(self.since.0),
            _ => self.ran_ms,
        }
    }

    fn natural_end(&self) -> UtcMs {
        self.since.after(Duration::from_millis(self.facts.behaviour.run_ms.saturating_sub(self.ran_ms)))
    }

    /// When its time limit ends it: later by the grace if it does not listen to SIGTERM.
    fn limit_at(&self) -> Option<UtcMs> {
        let limit = self.started?.after(self.facts.time_limit?);
        Some(if self.facts.behaviour.ignore_term { limit.after(self.facts.grace) } else { limit })
    }

    pub(crate) fn report(&self, attempt: &AttemptName) -> AttemptReport {
        let state = match &self.phase {
            Phase::Starting => AttemptState::Starting,
            Phase::Running => AttemptState::Running,
            Phase::Suspended => AttemptState::Suspended,
            Phase::Over(state) => state.clone(),
        };
        let host = |port: &PortMapping| format!("{}.fake.invalid", port.host);
        AttemptReport {
            node: Some(self.facts.node.clone()),
            addresses: self.facts.ports.first().map(host).into_iter().collect(),
            ports: self.facts.ports.clone(),
            usage: self.is_over().then(|| self.usage(self.since)),
            message: (self.phase == Phase::Starting).then(|| "slow start".to_owned()),
            ..AttemptReport::new(attempt.clone(), state, self.since)
        }
    }

    pub(crate) fn usage(&self, now: UtcMs) -> Usage {
        let asked = self.facts.resources.memory_bytes;
        let out_of_memory =
            matches!(&self.phase, Phase::Over(AttemptState::Exited(Exit { out_of_memory: true, .. })));
        let peak = if out_of_memory { asked } else { asked / 2 };
        Usage {
            // Milliseconds times thousandths of a core are microseconds.
            cpu_micros: self.run_ms(now).saturating_mul(self.facts.resources.cpu_millis),
            memory_bytes: if self.is_over() { 0 } else { peak },
            memory_peak_bytes: peak,
            ..Usage::default()
        }
    }

    /// What it has written so far.
    pub(crate) fn output(&self, stream: Stream) -> String {
        let behaviour = &self.facts.behaviour;
        match (stream, self.started) {
            (_, None) => String::new(),
            (Stream::Stderr, _) => behaviour.error_output.clone(),
            (Stream::Stdout, _) => {
                let finished = self.is_over() && self.ran_ms >= behaviour.run_ms;
                let last = if finished { behaviour.last_output.as_str() } else { "" };
                format!("{}{}{last}", self.facts.environment, behaviour.output)
            }
        }
    }
}
