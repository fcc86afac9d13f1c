//! What an execution takes of the accounts that it counts for.

use std::ops::AddAssign;

use berth_model::{Bound, InUse, JobSpec, Limits, Resources, Used};

/// What an execution may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    pub needs: Resources,
    /// The longest that it can keep them, in milliseconds; `None` where nobody knows.
    pub most_ms: Option<u64>,
}

/// What counts against an account's limits, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Within the period.
    pub used: Used,
    /// At this moment.
    pub in_use: InUse,
}

impl Cost {
    /// Of what was asked for.
    pub fn of(spec: &JobSpec) -> Self {
        let millis = crate::commands::millis;
        let most_ms = spec.time_limit.map(|limit| millis(limit).saturating_add(millis(spec.grace)));
        Self { needs: spec.resources, most_ms }
    }

    /// The most that it can use; where nobody knows for how long, what counts whatever the time.
    pub fn most(&self) -> Claim {
        self.claim(self.most_ms.unwrap_or(0))
    }

    /// What an account has to have left for it: all there is, where nobody knows for how long it runs.
    pub fn kept(&self) -> Claim {
        self.claim(self.most_ms.unwrap_or(u64::MAX))
    }

    /// What counts of it whatever its time.
    pub fn at_once(&self) -> Claim {
        self.claim(0)
    }

    fn claim(&self, time_ms: u64) -> Claim {
        Claim { used: Used::of(&self.needs, time_ms), in_use: InUse::by(&self.needs) }
    }
}

impl Claim {
    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        Self { used: self.used.plus(&other.used), in_use: self.in_use.plus(&other.in_use) }
    }

    /// The first bound that this much would pass.
    pub fn passes(&self, limits: &Limits) -> Option<Bound> {
        limits.passed_by(&self.used, &self.in_use)
    }

    /// The lesser of each.
    pub fn least(&self, other: &Self) -> Self {
        Self { used: self.used.least(&other.used), in_use: self.in_use.least(&other.in_use) }
    }
}

impl AddAssign for Claim {
    fn add_assign(&mut self, other: Self) {
        *self = self.plus(&other);
    }
}
