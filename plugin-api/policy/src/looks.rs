//! When a watcher has to warn so that the warning comes before the end.

use crate::InstantMs;

/// Notes when a watcher looks. What it finds at one look it can act on at the next one only, so a warning
/// that is due before the next look is given at this one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looks {
    latest: Option<InstantMs>,
    apart_ms: u64,
}

impl Looks {
    /// A look begins. The parts of one look have the same instant.
    pub fn begin(&mut self, now_ms: InstantMs) {
        if let Some(latest) = self.latest
            && now_ms != latest
        {
            self.apart_ms = now_ms.saturating_sub(latest);
        }
        self.latest = Some(now_ms);
    }

    /// Whether somebody who has this long left is to be warned now, when it is to be `before_ms` ahead. Where
    /// the watcher has not looked for a long time, that is at most twice as early as it was asked for.
    #[must_use]
    pub fn is_due(&self, left_ms: u64, before_ms: u64) -> bool {
        left_ms <= before_ms.saturating_add(self.apart_ms.min(before_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_that_would_come_too_late_at_the_next_look_comes_at_this_one() {
        let mut looks = Looks::default();
        looks.begin(100);
        assert!(looks.is_due(10, 10) && !looks.is_due(11, 10));
        looks.begin(107);
        looks.begin(107);
        assert!(looks.is_due(17, 10) && !looks.is_due(18, 10));
    }

    #[test]
    fn a_long_silence_or_a_clock_that_is_set_back_warns_nobody_far_too_early() {
        let mut looks = Looks::default();
        looks.begin(1_000_000);
        looks.begin(2_000_000);
        assert!(looks.is_due(20, 10) && !looks.is_due(21, 10));
        looks.begin(5);
        assert!(!looks.is_due(11, 10));
    }
}
