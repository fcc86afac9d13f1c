//! What users, projects and groups of projects use, and what they may.

use std::{fmt, iter::Sum, ops::AddAssign, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{InUse, MIB, Resources};

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
    /// The jobs of a class, whoever sends them.
    Class,
    /// What one user sends in one class: `CLASS/USER`.
    ClassUser,
}

impl AccountKind {
    /// All of them, in the order of their numbers in the store.
    pub const ALL: [Self; 6] =
        [Self::User, Self::Project, Self::Group, Self::Member, Self::Class, Self::ClassUser];

    /// In one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Project => "project",
            Self::Group => "group",
            Self::Member => "member",
            Self::Class => "class",
            Self::ClassUser => "class-user",
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

    /// The lesser of each.
    #[must_use]
    pub fn least(&self, other: &Self) -> Self {
        self.each(other, u64::min)
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

/// What an account may use within the rolling period, what it may have at one moment, and how much of it may wait.
/// Whatever is left out is not bounded.
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
    /// Jobs and tasks that run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_jobs: Option<u64>,
    /// CPUs of what runs at once, in milli-cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_cpu_millis: Option<u64>,
    /// Memory of what runs at once, in mebibytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_memory_mib: Option<u64>,
    /// GPUs of what runs at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_gpus: Option<u64>,
    /// What job directories may take before no further job starts, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
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
            running_jobs: self.running_jobs.or(usual.running_jobs),
            running_cpu_millis: self.running_cpu_millis.or(usual.running_cpu_millis),
            running_memory_mib: self.running_memory_mib.or(usual.running_memory_mib),
            running_gpus: self.running_gpus.or(usual.running_gpus),
            disk_bytes: self.disk_bytes.or(usual.disk_bytes),
        }
    }

    /// Whether what starts is bounded at all.
    #[must_use]
    pub fn bounds_starts(&self) -> bool {
        *self != Self { pending: self.pending, ..Self::default() }
    }

    /// Whether any bound needs to know how long a job may run.
    #[must_use]
    pub fn bounds_time(&self) -> bool {
        self.wall_ms.is_some() || self.cpu_ms.is_some() || self.memory_mib_ms.is_some()
    }

    /// The first bound that this much would pass. What lies on the disk passes its bound when it has come to it,
    /// since nobody knows what a job will write.
    #[must_use]
    pub fn passed_by(&self, used: &Used, in_use: &InUse) -> Option<Bound> {
        let over = |limit: Option<u64>, used: u64| limit.filter(|&limit| used > limit);
        [
            (Measure::WallTime, over(self.wall_ms, used.wall_ms)),
            (Measure::CpuTime, over(self.cpu_ms, used.cpu_ms)),
            (Measure::MemoryTime, over(self.memory_mib_ms, used.memory_mib_ms)),
            (Measure::Cpus, over(self.cpu_millis, used.cpu_millis)),
            (Measure::Memory, over(self.memory_mib, used.memory_mib)),
            (Measure::Jobs, over(self.jobs, used.jobs)),
            (Measure::RunningJobs, over(self.running_jobs, in_use.jobs)),
            (Measure::RunningCpus, over(self.running_cpu_millis, in_use.cpu_millis)),
            (Measure::RunningMemory, over(self.running_memory_mib, in_use.memory_mib)),
            (Measure::RunningGpus, over(self.running_gpus, in_use.gpus)),
            (Measure::Disk, self.disk_bytes.filter(|&limit| in_use.disk_bytes >= limit)),
        ]
        .into_iter()
        .find_map(|(measure, limit)| Some(Bound { measure, limit: limit? }))
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
    /// Jobs that run at once.
    RunningJobs,
    /// CPUs of what runs at once.
    RunningCpus,
    /// Memory of what runs at once.
    RunningMemory,
    /// GPUs of what runs at once.
    RunningGpus,
    /// What job directories take.
    Disk,
}

impl Measure {
    /// Whether what counts is given back when a job ends, so that it is worth waiting for.
    #[must_use]
    pub fn is_of_what_runs(self) -> bool {
        matches!(self, Self::RunningJobs | Self::RunningCpus | Self::RunningMemory | Self::RunningGpus)
    }
}

/// A bound that stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Of what.
    pub measure: Measure,
    /// How much: milliseconds, core-milliseconds, mebibyte-milliseconds, milli-cores, mebibytes, bytes, or a number.
    pub limit: u64,
}

impl Bound {
    /// How much of what it measures.
    #[must_use]
    pub fn of(&self, used: &Used, in_use: &InUse) -> u64 {
        match self.measure {
            Measure::WallTime => used.wall_ms,
            Measure::CpuTime => used.cpu_ms,
            Measure::MemoryTime => used.memory_mib_ms,
            Measure::Cpus => used.cpu_millis,
            Measure::Memory => used.memory_mib,
            Measure::Jobs => used.jobs,
            Measure::RunningJobs => in_use.jobs,
            Measure::RunningCpus => in_use.cpu_millis,
            Measure::RunningMemory => in_use.memory_mib,
            Measure::RunningGpus => in_use.gpus,
            Measure::Disk => in_use.disk_bytes,
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
            Measure::Cpus | Measure::RunningCpus => format!("{} CPUs", cpus(amount)),
            Measure::Memory | Measure::RunningMemory => {
                format!("{} of memory", crate::format_bytes(amount.saturating_mul(MIB)))
            }
            Measure::Jobs | Measure::RunningJobs => format!("{amount} jobs"),
            Measure::RunningGpus => format!("{amount} GPUs"),
            Measure::Disk => format!("{} of job directories", crate::format_disk(amount)),
        }
    }

    /// Where an account stands with it, for whoever has to wait. `period` is the one that use counts within.
    #[must_use]
    pub fn standing(&self, counted: u64, period: Duration) -> String {
        let counted = self.amount(counted);
        match self.measure {
            Measure::Disk => format!(
                "it may have {self} when a job starts, and has {counted}; archive jobs that are over, and it has less"
            ),
            measure if measure.is_of_what_runs() => {
                format!("it may have {self} at once, and {counted} are in use by what runs")
            }
            _ => format!(
                "it may use {self} in {}, of which {counted} are used or kept for what runs",
                crate::format_duration(period)
            ),
        }
    }
}

fn cpus(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
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
        let nothing = InUse::default();
        assert_eq!(limits.passed_by(&used, &nothing), None);
        let bound = limits.passed_by(&used.plus(&used), &nothing).unwrap();
        assert_eq!((bound.measure, bound.limit), (Measure::CpuTime, 5000));
        let own = Limits { cpu_ms: Some(1), ..Limits::default() };
        assert_eq!(own.or(&limits), Limits { cpu_ms: Some(1), jobs: Some(7), ..Limits::default() });
    }
    #[test]
    fn what_runs_passes_a_bound_by_more_than_it_and_what_lies_on_the_disk_by_coming_to_it() {
        let bounds = Limits { running_gpus: Some(2), disk_bytes: Some(100), ..Limits::default() };
        let gpus = |gpus| InUse::by(&Resources { gpus, ..NEEDS });
        let passed = |in_use| bounds.passed_by(&Used::default(), &in_use).map(|bound| bound.measure);
        assert_eq!((passed(gpus(2)), passed(gpus(3))), (None, Some(Measure::RunningGpus)));
        assert_eq!((passed(InUse::disk(99)), passed(InUse::disk(100))), (None, Some(Measure::Disk)));
        assert!(bounds.bounds_starts() && !bounds.bounds_time());
        assert!(!Limits { pending: Some(1), ..Limits::default() }.bounds_starts());
    }

    #[test]
    fn where_an_account_stands_is_said() {
        let said =
            |measure, limit, counted| Bound { measure, limit }.standing(counted, Duration::from_secs(86_400));
        assert_eq!(
            said(Measure::Jobs, 3, 2),
            "it may use 3 jobs in 1d, of which 2 jobs are used or kept for what runs"
        );
        assert_eq!(
            said(Measure::RunningCpus, 2500, 2000),
            "it may have 2.5 CPUs at once, and 2 CPUs are in use by what runs"
        );
        assert!(said(Measure::Disk, 10_000_000_000, 10_200_000_000).starts_with(
            "it may have 10GB of job directories when a job starts, and has 10.2GB of job directories"
        ));
    }
}
