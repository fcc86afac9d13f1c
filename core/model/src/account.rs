//! What users, projects and groups of projects use, and what they may.

use std::{fmt, iter::Sum, ops::AddAssign};

use serde::{Deserialize, Serialize};

use crate::Resources;

const MIB: u64 = 1 << 20;

/// Whose usage is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountKind {
    /// A user's own jobs.
    User,
    /// The jobs of a project, whoever sends them.
    Project,
    /// The jobs of all projects of a group.
    Group,
    /// What one user sends in one project: `PROJECT/USER`.
    Member,
}

impl AccountKind {
    /// All of them, in the order of their numbers in the store.
    pub const ALL: [Self; 4] = [Self::User, Self::Project, Self::Group, Self::Member];

    /// In one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Project => "project",
            Self::Group => "group",
            Self::Member => "member",
        }
    }
}

impl fmt::Display for AccountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount of use. Sums that would overflow stay at the highest number there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Used {
    /// Executions.
    pub jobs: u64,
    /// Time that they ran, in milliseconds.
    pub wall_ms: u64,
    /// CPUs times the time that they were kept, in core-milliseconds.
    pub cpu_ms: u64,
    /// Memory times that time, in mebibyte-milliseconds.
    pub memory_mib_ms: u64,
    /// Sum of the CPUs that were asked for, whatever the time, in milli-cores.
    pub cpu_millis: u64,
    /// Sum of the memory that was asked for, whatever the time, in mebibytes.
    pub memory_mib: u64,
}

impl Used {
    /// What one execution uses that keeps these resources for so long.
    #[must_use]
    pub fn of(needs: &Resources, wall_ms: u64) -> Self {
        let memory_mib = needs.memory_bytes.div_ceil(MIB);
        let cpu_ms = u128::from(needs.cpu_millis) * u128::from(wall_ms) / 1000;
        Self {
            jobs: 1,
            wall_ms,
            cpu_ms: u64::try_from(cpu_ms).unwrap_or(u64::MAX),
            memory_mib_ms: memory_mib.saturating_mul(wall_ms),
            cpu_millis: needs.cpu_millis,
            memory_mib,
        }
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// The difference, with zero where there is not so much.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        self.each(other, u64::saturating_sub)
    }

    fn each(&self, other: &Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            jobs: of(self.jobs, other.jobs),
            wall_ms: of(self.wall_ms, other.wall_ms),
            cpu_ms: of(self.cpu_ms, other.cpu_ms),
            memory_mib_ms: of(self.memory_mib_ms, other.memory_mib_ms),
            cpu_millis: of(self.cpu_millis, other.cpu_millis),
            memory_mib: of(self.memory_mib, other.memory_mib),
        }
    }
}

impl AddAssign for Used {
    fn add_assign(&mut self, other: Self) {
        *self = self.plus(&other);
    }
}

impl Sum for Used {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, used| sum.plus(&used))
    }
}

/// What an account may use within the rolling period, and how much of it may wait. Whatever is left out is
/// not bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Time that jobs run, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// CPU time kept, in core-milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Memory time kept, in mebibyte-milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib_ms: Option<u64>,
    /// Sum of the CPUs that jobs asked for, whatever the time, in milli-cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Sum of the memory that jobs asked for, whatever the time, in mebibytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Executions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u64>,
    /// Jobs and tasks that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
}

impl Limits {
    /// These, with the others' bounds where these have none.
    #[must_use]
    pub fn or(&self, usual: &Self) -> Self {
        Self {
            wall_ms: self.wall_ms.or(usual.wall_ms),
            cpu_ms: self.cpu_ms.or(usual.cpu_ms),
            memory_mib_ms: self.memory_mib_ms.or(usual.memory_mib_ms),
            cpu_millis: self.cpu_millis.or(usual.cpu_millis),
            memory_mib: self.memory_mib.or(usual.memory_mib),
            jobs: self.jobs.or(usual.jobs),
            pending: self.pending.or(usual.pending),
        }
    }

    /// Whether what runs is bounded at all.
    #[must_use]
    pub fn bounds_use(&self) -> bool {
        self.bounds_time() || self.cpu_millis.is_some() || self.memory_mib.is_some() || self.jobs.is_some()
    }

    /// Whether any bound needs to know how long a job may run.
    #[must_use]
    pub fn bounds_time(&self) -> bool {
        self.wall_ms.is_some() || self.cpu_ms.is_some() || self.memory_mib_ms.is_some()
    }

    /// The first bound that this much use would pass.
    #[must_use]
    pub fn passed_by(&self, used: &Used) -> Option<Bound> {
        let over = |limit: Option<u64>, used: u64| limit.filter(|&limit| used > limit);
        [
            (Measure::WallTime, self.wall_ms, used.wall_ms),
            (Measure::CpuTime, self.cpu_ms, used.cpu_ms),
            (Measure::MemoryTime, self.memory_mib_ms, used.memory_mib_ms),
            (Measure::Cpus, self.cpu_millis, used.cpu_millis),
            (Measure::Memory, self.memory_mib, used.memory_mib),
            (Measure::Jobs, self.jobs, used.jobs),
        ]
        .into_iter()
        .find_map(|(measure, limit, used)| Some(Bound { measure, limit: over(limit, used)? }))
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Time that jobs run.
    WallTime,
    /// CPU time kept.
    CpuTime,
    /// Memory time kept.
    MemoryTime,
    /// CPUs asked for.
    Cpus,
    /// Memory asked for.
    Memory,
    /// Executions.
    Jobs,
}

/// A bound that stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Of what.
    pub measure: Measure,
    /// How much: milliseconds, core-milliseconds, mebibyte-milliseconds, milli-cores, mebibytes, or a number.
    pub limit: u64,
}

impl Bound {
    /// How much of what it measures.
    #[must_use]
    pub fn of(&self, used: &Used) -> u64 {
        match self.measure {
            Measure::WallTime => used.wall_ms,
            Measure::CpuTime => used.cpu_ms,
            Measure::MemoryTime => used.memory_mib_ms,
            Measure::Cpus => used.cpu_millis,
            Measure::Memory => used.memory_mib,
            Measure::Jobs => used.jobs,
        }
    }

    /// An amount of what it measures, for people.
    #[must_use]
    pub fn amount(&self, amount: u64) -> String {
        let hours = |ms: f64| format!("{:.2}", ms / 3_600_000.0);
        match self.measure {
            Measure::WallTime => format!("{} h of running", hours(amount as f64)),
            Measure::CpuTime => format!("{} core-hours", hours(amount as f64)),
            Measure::MemoryTime => format!("{} GiB-hours", hours(amount as f64 / 1024.0)),
            Measure::Cpus => format!("{} CPUs", amount.div_ceil(1000)),
            Measure::Memory => format!("{} of memory", crate::format_bytes(amount.saturating_mul(MIB))),
            Measure::Jobs => format!("{amount} jobs"),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.amount(self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Resources = Resources { cpu_millis: 2500, memory_bytes: 3 * MIB + 1, gpus: 0 };

    #[test]
    fn use_is_what_was_kept_times_its_time() {
        let used = Used::of(&NEEDS, 2000);
        assert_eq!((used.jobs, used.wall_ms, used.cpu_ms), (1, 2000, 5000));
        assert_eq!((used.memory_mib, used.memory_mib_ms), (4, 8000), "a begun mebibyte counts");
        let most = Used::of(&Resources { cpu_millis: u64::MAX, ..NEEDS }, u64::MAX);
        assert_eq!(most.plus(&used).cpu_ms, u64::MAX, "sums do not run over");
    }

    #[test]
    fn a_bound_is_passed_by_more_than_it_only() {
        let limits = Limits { cpu_ms: Some(5000), jobs: Some(7), ..Limits::default() };
        let used = Used::of(&NEEDS, 2000);
        assert_eq!(limits.passed_by(&used), None);
        let bound = limits.passed_by(&used.plus(&used)).unwrap();
        assert_eq!((bound.measure, bound.limit), (Measure::CpuTime, 5000));
        let own = Limits { cpu_ms: Some(1), ..Limits::default() };
        assert_eq!(own.or(&limits), Limits { cpu_ms: Some(1), jobs: Some(7), ..Limits::default() });
    }
}
