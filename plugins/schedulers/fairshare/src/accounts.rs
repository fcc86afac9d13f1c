//! Amounts of use, and what they make of an account's place.

use berth_policy_sdk::{InstantMs, Resources};

const MIB: u64 = 1 << 20;
const MIB_IN_GIB: f64 = 1024.0;

/// Use in whole numbers, so that sums are the same in whatever order they are made and taken apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub wall_ms: u128,
    /// Thousandths of a CPU times milliseconds.
    pub cpu: u128,
    /// MiB times milliseconds.
    pub memory: u128,
}

impl Amount {
    /// What `tasks` tasks use in `span_ms` each.
    pub fn of(needs: &Resources, span_ms: u64, tasks: u32) -> Self {
        let span = u128::from(span_ms).saturating_mul(u128::from(tasks));
        Self {
            wall_ms: span,
            cpu: span.saturating_mul(u128::from(needs.cpu_millis)),
            memory: span.saturating_mul(u128::from(needs.memory_bytes.div_ceil(MIB))),
        }
    }

    pub fn plus(&self, other: &Self) -> Self {
        self.each(other, u128::saturating_add)
    }

    pub fn less(&self, other: &Self) -> Self {
        self.each(other, u128::saturating_sub)
    }

    fn each(&self, other: &Self, of: impl Fn(u128, u128) -> u128) -> Self {
        Self {
            wall_ms: of(self.wall_ms, other.wall_ms),
            cpu: of(self.cpu, other.cpu),
            memory: of(self.memory, other.memory),
        }
    }

    /// In seconds, core-seconds and gibibyte-seconds.
    pub fn figures(&self) -> [f64; 3] {
        [self.wall_ms as f64 / 1e3, self.cpu as f64 / 1e6, self.memory as f64 / 1e3 / MIB_IN_GIB]
    }
}

/// What the running jobs of somebody have kept, in sums that tell it for any instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    jobs: u64,
    /// What they use in a millisecond, and that times the instants of their starts.
    rate: Amount,
    starts: Amount,
}

impl Kept {
    pub fn add(&mut self, needs: &Resources, started_ms: InstantMs) {
        self.jobs += 1;
        self.rate = self.rate.plus(&Amount::of(needs, 1, 1));
        self.starts = self.starts.plus(&Amount::of(needs, started_ms, 1));
    }

    pub fn remove(&mut self, needs: &Resources, started_ms: InstantMs) {
        self.jobs = self.jobs.saturating_sub(1);
        self.rate = self.rate.less(&Amount::of(needs, 1, 1));
        self.starts = self.starts.less(&Amount::of(needs, started_ms, 1));
    }

    pub fn is_empty(&self) -> bool {
        self.jobs == 0
    }

    /// What they have kept until now, each for `advance_ms` more.
    pub fn until(&self, now_ms: InstantMs, advance_ms: u64) -> Amount {
        let until = u128::from(now_ms) + u128::from(advance_ms);
        let all = Amount {
            wall_ms: self.rate.wall_ms.saturating_mul(until),
            cpu: self.rate.cpu.saturating_mul(until),
            memory: self.rate.memory.saturating_mul(until),
        };
        all.less(&self.starts)
    }
}

/// What an account adds to the score of those below it: more is later. It grows with what starts while a plan is
/// made, and never falls.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    base: f64,
    /// For each second, core-second and gibibyte-second.
    slope: [f64; 3],
    added: Amount,
    term: f64,
}

impl Account {
    pub fn new(base: f64, slope: [f64; 3]) -> Self {
        // Nobody is later than the last.
        let slope = if base.is_finite() { slope } else { [0.0; 3] };
        Self { base, slope, added: Amount::default(), term: base }
    }

    pub fn add(&mut self, amount: &Amount) {
        self.added = self.added.plus(amount);
        let grown = self.added.figures().into_iter().zip(self.slope).map(|(figure, slope)| figure * slope);
        self.term = grown.fold(self.base, |sum, part| sum + part);
    }

    pub fn term(&self) -> f64 {
        self.term
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(cpus: u64) -> Resources {
        Resources { cpu_millis: cpus * 1000, memory_bytes: cpus << 30, gpus: 0 }
    }

    #[test]
    fn what_running_jobs_have_kept_is_the_sum_over_them_at_any_instant() {
        let mut kept = Kept::default();
        kept.add(&needs(2), 1000);
        kept.add(&needs(1), 4000);
        assert_eq!(kept.until(10_000, 0).figures(), [15.0, 24.0, 24.0]);
        assert_eq!(kept.until(10_000, 1000).figures(), [17.0, 27.0, 27.0]);
        kept.remove(&needs(2), 1000);
        assert_eq!(kept.until(10_000, 0).figures(), [6.0, 6.0, 6.0]);
        kept.remove(&needs(1), 4000);
        assert_eq!(kept, Kept::default());
    }

    #[test]
    fn a_clock_that_was_set_back_takes_nothing_from_anybody() {
        let mut kept = Kept::default();
        kept.add(&needs(1), 5000);
        assert_eq!(kept.until(1000, 0), Amount::default());
    }

    #[test]
    fn the_last_place_stays_the_last() {
        let mut account = Account::new(f64::INFINITY, [f64::NAN; 3]);
        account.add(&Amount::of(&needs(1), 1000, 1));
        assert_eq!(account.term(), f64::INFINITY);
    }
}
