//! Counts what a policy does wrong and says what follows from it.

use std::{collections::VecDeque, time::Duration};

use berth_model::UtcMs;
use serde::{Deserialize, Serialize};

use crate::{Loaded, PolicyKind};

/// How a policy's faults are dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervision {
    /// So many strikes bench a policy.
    pub strikes: u32,
    /// A strike this long ago counts no more.
    pub strikes_expire: Duration,
    /// So many calls a new version has to answer without a strike before the old one is given up.
    pub probation_calls: u32,
}

impl Default for Supervision {
    fn default() -> Self {
        Self { strikes: 3, strikes_expire: Duration::from_secs(3600), probation_calls: 100 }
    }
}

/// What became of a policy, for logs, metrics and the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Supervised {
    /// It did something wrong. Its answer was dropped and its instance is built anew.
    Struck {
        /// How many of its strikes count now.
        strike: u32,
        /// How many bench it.
        of: u32,
        /// What it did.
        words: String,
    },
    /// It is asked no more until somebody reloads it.
    Benched {
        /// Its last strike.
        words: String,
    },
    /// A new version has taken over; it is on probation.
    Reloaded {
        /// The version before.
        from: String,
        /// The version now.
        to: String,
    },
    /// A new version did not stand the trial. The one before goes on.
    ReloadFailed {
        /// The version that failed.
        version: String,
        /// How.
        words: String,
    },
    /// A new version struck within its probation, and the one before is back.
    RolledBack {
        /// The version that struck.
        from: String,
        /// The version now.
        to: String,
        /// How it struck.
        words: String,
    },
}

impl Supervised {
    fn log(&self, policy: &str) {
        match self {
            Self::Struck { strike, of, words } => tracing::warn!(policy, strike, of, words, "policy struck"),
            Self::Benched { words } => tracing::error!(policy, words, "policy benched"),
            Self::Reloaded { from, to } => tracing::info!(policy, from, to, "policy reloaded"),
            Self::ReloadFailed { version, words } => {
                tracing::error!(policy, version, words, "new version of a policy refused");
            }
            Self::RolledBack { from, to, words } => {
                tracing::error!(policy, from, to, words, "policy rolled back");
            }
        }
    }
}

/// How a policy stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum PluginState {
    /// It decides.
    Active,
    /// It decides, and goes back to the version before at its first strike.
    Probation {
        /// Until it has answered so many more calls.
        calls_left: u32,
    },
    /// It is not asked.
    Benched {
        /// Its last strike.
        words: String,
    },
}

/// A policy as `berth plugin list` and the metrics show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginStatus {
    /// The name in berth.toml.
    pub name: String,
    /// What it decides.
    pub kind: PolicyKind,
    /// What it says of itself: name and version.
    pub version: String,
    /// Where it came from.
    pub source: String,
    /// The hash of its bytes.
    pub sha256: String,
    /// How it stands.
    pub state: PluginState,
    /// Strikes that count now.
    pub strikes: u32,
    /// Strikes since Berth started.
    pub strikes_total: u64,
    /// What it did last.
    pub last_strike: Option<String>,
    /// Calls since Berth started.
    pub calls: u64,
    /// Their mean time, waiting for host functions included.
    pub mean_call_micros: u64,
    /// The longest.
    pub max_call_micros: u64,
    /// Memory of its instance after the last call.
    pub memory_bytes: u64,
    /// The version that comes back if this one strikes within its probation.
    pub previous: Option<String>,
    /// Why the last reload did not succeed.
    pub last_reload_error: Option<String>,
    /// The capabilities that it uses.
    pub capabilities: Vec<String>,
}

/// Keeps one policy's versions and strikes.
#[derive(Debug)]
pub(crate) struct Supervisor {
    settings: Supervision,
    current: Loaded,
    /// Changes with every change of version.
    generation: u64,
    /// The version before, and whether it was benched.
    previous: Option<(Loaded, Option<String>)>,
    probation_left: u32,
    strikes: VecDeque<UtcMs>,
    benched: Option<String>,
    figures: Figures,
}

#[derive(Debug, Default)]
struct Figures {
    strikes: u64,
    last_strike: Option<String>,
    calls: u64,
    spent: Duration,
    longest: Duration,
    memory_bytes: usize,
    last_reload_error: Option<String>,
}

impl Supervisor {
    pub(crate) fn new(loaded: Loaded) -> Self {
        Self {
            settings: loaded.spec().supervision.clone(),
            current: loaded,
            generation: 0,
            previous: None,
            probation_left: 0,
            strikes: VecDeque::new(),
            benched: None,
            figures: Figures::default(),
        }
    }

    pub(crate) fn current(&self) -> &Loaded {
        &self.current
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn benched(&self) -> Option<&str> {
        self.benched.as_deref()
    }

    /// A call was answered as it should be.
    pub(crate) fn answered(&mut self, took: Duration, memory_bytes: usize) {
        self.called(took);
        self.figures.memory_bytes = memory_bytes;
        if self.probation_left > 0 {
            self.probation_left -= 1;
            if self.probation_left == 0 {
                self.previous = None;
            }
        }
    }

    /// A call was made, however it ended.
    pub(crate) fn called(&mut self, took: Duration) {
        self.figures.calls += 1;
        self.figures.spent += took;
        self.figures.longest = self.figures.longest.max(took);
    }

    /// The policy did something wrong. Says what became of it, in order.
    pub(crate) fn strike(&mut self, now: UtcMs, words: &str) -> Vec<Supervised> {
        self.figures.strikes += 1;
        self.figures.last_strike = Some(words.to_owned());
        self.strikes.push_back(now);
        let expire = self.settings.strikes_expire;
        self.strikes.retain(|at| now.since(*at) <= expire);
        let strike = u32::try_from(self.strikes.len()).unwrap_or(u32::MAX);
        let of = self.settings.strikes.max(1);
        let mut became = vec![Supervised::Struck { strike, of, words: words.to_owned() }];
        if let Some(back) = self.roll_back(words) {
            became.push(back);
        } else if strike >= of {
            self.benched = Some(words.to_owned());
            became.push(Supervised::Benched { words: words.to_owned() });
        }
        became.iter().for_each(|became| became.log(&self.current.spec().name));
        became
    }

    fn roll_back(&mut self, words: &str) -> Option<Supervised> {
        let (before, benched) = self.previous.take()?;
        let from = self.current.title();
        let to = before.title();
        self.replace(before);
        self.benched = benched;
        Some(Supervised::RolledBack { from, to, words: words.to_owned() })
    }

    /// A new version has stood its trial and takes over.
    pub(crate) fn swap(&mut self, new: Loaded) -> Supervised {
        let from = self.current.title();
        let to = new.title();
        let benched = self.benched.take();
        self.settings = new.spec().supervision.clone();
        let before = self.replace(new);
        if self.settings.probation_calls > 0 {
            self.previous = Some((before, benched));
            self.probation_left = self.settings.probation_calls;
        }
        self.figures.last_reload_error = None;
        let became = Supervised::Reloaded { from, to };
        became.log(&self.current.spec().name);
        became
    }

    /// A new version did not stand its trial.
    pub(crate) fn refuse(&mut self, new: &Loaded, words: &str) -> Supervised {
        self.figures.last_reload_error = Some(words.to_owned());
        let became = Supervised::ReloadFailed { version: new.title(), words: words.to_owned() };
        became.log(&self.current.spec().name);
        became
    }

    fn replace(&mut self, new: Loaded) -> Loaded {
        self.generation += 1;
        self.previous = None;
        self.probation_left = 0;
        self.strikes.clear();
        std::mem::replace(&mut self.current, new)
    }

    pub(crate) fn status(&self) -> PluginStatus {
        let spec = self.current.spec();
        let info = self.current.info();
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        PluginStatus {
            name: spec.name.clone(),
            kind: spec.kind,
            version: format!("{} {}", info.name, info.version),
            source: spec.source.to_string(),
            sha256: self.current.sha256().to_owned(),
            state: match &self.benched {
                Some(words) => PluginState::Benched { words: words.clone() },
                None if self.probation_left > 0 => PluginState::Probation { calls_left: self.probation_left },
                None => PluginState::Active,
            },
            strikes: u32::try_from(self.strikes.len()).unwrap_or(u32::MAX),
            strikes_total: self.figures.strikes,
            last_strike: self.figures.last_strike.clone(),
            calls: self.figures.calls,
            mean_call_micros: micros(self.figures.spent).checked_div(self.figures.calls).unwrap_or(0),
            max_call_micros: micros(self.figures.longest),
            memory_bytes: self.figures.memory_bytes as u64,
            previous: self.previous.as_ref().map(|(before, _)| before.title()),
            last_reload_error: self.figures.last_reload_error.clone(),
            capabilities: self.current.imports().iter().map(ToString::to_string).collect(),
        }
    }
}
