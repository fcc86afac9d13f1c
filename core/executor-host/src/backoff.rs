//! Waiting longer and longer between tries.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Doubles from `first` to `most`. Each wait is drawn from the upper half of what is due, so that
/// many waiters do not come back at the same moment.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    tries: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, tries: 0 }
    }

    /// The wait before the next try.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.wait(self.tries, random());
        self.tries = self.tries.saturating_add(1);
        wait
    }

    /// The wait after so many tries that failed.
    pub(crate) fn after(&self, tries: u32) -> Duration {
        self.wait(tries, random())
    }

    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }

    fn wait(&self, tries: u32, random: u32) -> Duration {
        let factor = 1_u32.checked_shl(tries.min(31)).unwrap_or(u32::MAX);
        let full = self.first.saturating_mul(factor).min(self.most);
        full / 2 + (full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// Good enough to spread waits, and no dependency: the keys of a fresh hasher are random.
fn random() -> u32 {
    u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_vary_in_their_upper_half() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(1));
        let backoff = Backoff::new(first, most);
        for (tries, full_ms) in [(0, 100), (1, 200), (3, 800), (4, 1000), (40, 1000), (u32::MAX, 1000)] {
            assert_eq!(backoff.wait(tries, 0), Duration::from_millis(full_ms / 2));
            assert_eq!(backoff.wait(tries, u32::MAX), Duration::from_millis(full_ms));
        }
    }

    #[test]
    fn a_reset_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(60));
        let waits: Vec<_> = (0..6).map(|_| backoff.next()).collect();
        let long = waits[5];
        backoff.reset();
        let short = backoff.next();
        assert!(
            long >= Duration::from_millis(1600) && short <= Duration::from_millis(100),
            "{long:?} {short:?}"
        );
    }
}
