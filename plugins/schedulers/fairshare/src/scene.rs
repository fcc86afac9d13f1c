//! How those who compete stand when a plan is made.

use std::collections::BTreeSet;

use berth_policy_sdk::{InstantMs, NameId, standing::Standing};

use crate::{
    accounts::{Account, Amount, Kept},
    contest::Combine,
    formula::{Bounds, Level},
    pending::{Pair, Pending},
    running::Running,
    settings::{Choices, Method},
};

/// Where a user in a project stands: the numbers of the accounts on their path.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    pub pair: Pair,
    pub group: Option<usize>,
    pub project: usize,
    pub own: usize,
}

/// What is told of a standing.
#[derive(Clone, Debug)]
pub enum Words {
    /// By weights: what the user and the project have used in core-hours, and the bounds of that.
    Weighed { user: f64, users: Bounds, project: f64, projects: Bounds, user_priority: u32, is_default: bool },
    /// From the group, if there is one, to the user.
    Levels { group: Option<(NameId, Level)>, project: (NameId, Level), user: Level },
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Scene {
    pub combine: Combine,
    pub accounts: Vec<Account>,
    /// In the order of their pairs.
    pub seats: Vec<Seat>,
    /// With `compat`, for each of them: in the formula's order, what is added up to their score.
    pub parts: Vec<[f64; 8]>,
    /// Of the one that was asked for.
    pub words: Option<Words>,
    /// What waiting counts.
    pub wait: Option<Wait>,
}

/// How waiting is judged.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub now_s: u64,
    /// Of the times that jobs have waited, in seconds.
    pub bounds: Bounds,
    pub weight: f64,
}

impl Wait {
    pub fn waited(now_s: u64, second: u64) -> f64 {
        // The clock may have been set back.
        now_s as f64 - second as f64
    }

    /// What the second of its submission adds to the score of a job.
    pub fn term(&self, second: u64) -> f64 {
        (1.0 - self.bounds.norm(Self::waited(self.now_s, second))) * self.weight
    }
}

/// What is known while a scene is made.
pub struct View<'a> {
    pub choices: &'a Choices,
    pub pending: &'a Pending,
    pub running: &'a Running,
    pub default_project: Option<NameId>,
    pub now_ms: InstantMs,
    /// Whose standing is to be put in words.
    pub asked: Option<Pair>,
}

impl Scene {
    /// As of now. `groups` are those that were seen before: asked for along with the rest, so that one call
    /// does, unless there is a new one.
    pub fn look(view: &View<'_>, groups: &mut BTreeSet<NameId>) -> Self {
        match view.choices.method {
            Method::Weights(weights) => view.weighed(&weights),
            Method::Shares { cost, .. } => view.levels(&cost, Combine::Sum, groups),
            Method::Tree(cost) => view.levels(&cost, Combine::Path, groups),
        }
    }

    pub fn account(&mut self, account: Account) -> usize {
        self.accounts.push(account);
        self.accounts.len() - 1
    }

    /// What an account adds.
    pub fn term(&self, account: usize) -> f64 {
        self.accounts.get(account).map_or(0.0, Account::term)
    }

    /// So much starts for an account.
    pub fn add(&mut self, account: usize, amount: &Amount) {
        if let Some(account) = self.accounts.get_mut(account) {
            account.add(amount);
        }
    }

    pub fn new(combine: Combine) -> Self {
        let (accounts, seats, parts) = (Vec::new(), Vec::new(), Vec::new());
        Self { combine, accounts, seats, parts, wait: None, words: None }
    }

    /// The number of somebody's seat.
    pub fn seat_of(&self, pair: Pair) -> Option<usize> {
        self.seats.binary_search_by_key(&pair, |seat| seat.pair).ok()
    }
}

impl View<'_> {
    pub fn kept(&self, kept: &Kept) -> Amount {
        if self.choices.is_compat {
            return Amount::default();
        }
        kept.until(self.now_ms, self.choices.advance_ms)
    }

    /// Time, CPUs and memory as the formula counts them.
    pub fn figures(&self, standing: &Standing, kept: Amount) -> [f64; 3] {
        let Standing { used, faded, .. } = standing;
        if self.choices.is_compat {
            return [used.wall_seconds, used.cpus, used.memory_gib];
        }
        let [wall, cpu, memory] = kept.figures();
        if self.choices.is_window {
            [used.wall_seconds + wall, used.cpu_seconds + cpu, used.memory_gib_seconds + memory]
        } else {
            [faded.wall_seconds + wall, faded.cpu_seconds + cpu, faded.memory_gib_seconds + memory]
        }
    }
}
