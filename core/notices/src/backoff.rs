//! When to try again.

use std::time::Duration;

/// How long to wait after so many failures in a row: `first` after one, twice as long after each further one, never
/// more than `most`. `chance`, from 0 to 1, takes up to half of it away, so that many do not come at once.
#[must_use]
pub fn wait(failures: u32, first: Duration, most: Duration, chance: f64) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let longest = doubled.min(most.max(first));
    longest.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_doubles_up_to_the_most() {
        let seconds =
            |failures| wait(failures, Duration::from_secs(10), Duration::from_secs(3600), 0.0).as_secs();
        assert_eq!((1..=4).map(seconds).collect::<Vec<_>>(), [10, 20, 40, 80]);
        assert_eq!((seconds(10), seconds(40), seconds(u32::MAX)), (3600, 3600, 3600));
    }

    proptest! {
        #[test]
        fn chance_takes_no_more_than_half_of_it(failures in 0..100_u32, first in 1..100_000_u64, chance in 0.0..=1.0_f64) {
            let (first, most) = (Duration::from_millis(first), Duration::from_secs(3600));
            let (whole, waited) = (wait(failures, first, most, 0.0), wait(failures, first, most, chance));
            prop_assert!(waited <= whole && waited >= whole / 2 - Duration::from_nanos(1));
        }
    }
}
