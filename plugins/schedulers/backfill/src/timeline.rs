//! What is expected to be free on one node from now on.

use berth_policy_sdk::{InstantMs, Resources};

/// When what has no known end is over: later than any instant that is known.
pub const UNKNOWN: InstantMs = InstantMs::MAX - 1;

/// Later than all. A job without an end that starts at any time lasts until then, and so beyond [`UNKNOWN`].
pub const NEVER: InstantMs = InstantMs::MAX;

/// A way to say for how long something is free, as steps: each holds until the next one, the last for ever.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// In rising order, and never empty; the first one is now.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    at: InstantMs,
    free: Resources,
}

/// When something that begins at `at` is over.
pub fn until(at: InstantMs, span_ms: u64) -> InstantMs {
    at.saturating_add(span_ms)
}

impl Timeline {
    /// What is free now, and what comes free later: `releases` in rising order of time.
    pub fn new(
        now: InstantMs,
        free: Resources,
        releases: impl Iterator<Item = (InstantMs, Resources)>,
    ) -> Self {
        let mut steps = vec![Step { at: now, free }];
        let mut last = Step { at: now, free };
        for (at, freed) in releases {
            freed.give_to(&mut last.free);
            if at > last.at {
                last.at = at;
                steps.push(last);
            } else if let Some(step) = steps.last_mut() {
                step.free = last.free;
            }
        }
        Self { steps }
    }

    /// Lets everything be free from [`UNKNOWN`] on: by then all is over that runs or is kept for others now.
    pub fn ends_with(mut self, total: &Resources) -> Self {
        if let Some(last) = self.steps.last().copied() {
            let free = last.free.max(total);
            if free != last.free {
                self.insert(UNKNOWN);
                if let Some(step) = self.steps.last_mut() {
                    step.free = free;
                }
            }
        }
        self
    }

    /// Whether this much is free from one instant until before another.
    pub fn fits(&self, from: InstantMs, until: InstantMs, needs: &Resources) -> bool {
        let first = self.steps.partition_point(|step| step.at <= from).saturating_sub(1);
        let during = self.steps.iter().skip(first).take_while(|step| step.at < until);
        during.into_iter().all(|step| needs.fits_in(&step.free))
    }

    /// The earliest instant, `from` or later, from which on this much is free for so long.
    pub fn earliest(&self, from: InstantMs, needs: &Resources, span_ms: u64) -> Option<InstantMs> {
        let first = self.steps.partition_point(|step| step.at <= from).saturating_sub(1);
        let mut begun: Option<InstantMs> = None;
        for step in self.steps.iter().skip(first) {
            if let Some(at) = begun
                && step.at >= until(at, span_ms)
            {
                return begun;
            }
            begun = if needs.fits_in(&step.free) { begun.or(Some(step.at.max(from))) } else { None };
        }
        begun
    }

    /// Takes this much from one instant until before another, when it is free.
    pub fn take(&mut self, from: InstantMs, until: InstantMs, needs: &Resources) {
        for step in self.between(from, until) {
            needs.take_from(&mut step.free, 1);
        }
    }

    /// Gives back what was taken.
    pub fn give(&mut self, from: InstantMs, until: InstantMs, needs: &Resources) {
        for step in self.between(from, until) {
            needs.give_to(&mut step.free);
        }
    }

    fn between(&mut self, from: InstantMs, until: InstantMs) -> impl Iterator<Item = &mut Step> {
        let first = self.insert(from);
        let end = if until == NEVER { self.steps.len() } else { self.insert(until) };
        self.steps.iter_mut().take(end).skip(first)
    }

    /// Makes a step begin at an instant from now on, and says which.
    fn insert(&mut self, at: InstantMs) -> usize {
        let next = self.steps.partition_point(|step| step.at < at);
        let is_there = self.steps.get(next).is_some_and(|step| step.at == at);
        if !is_there && let Some(&before) = self.steps.get(next.saturating_sub(1)) {
            self.steps.insert(next, Step { at, ..before });
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(cpu_millis: u64) -> Resources {
        Resources { cpu_millis, ..Resources::NONE }
    }

    /// Two free now, three from 10 on, six from 20 on.
    fn timeline() -> Timeline {
        Timeline::new(5, cpus(2), [(10, cpus(1)), (20, cpus(1)), (20, cpus(2))].into_iter())
    }

    #[test]
    fn the_earliest_instant_is_now_or_when_something_ends() {
        let earliest = [2, 3, 4, 7].map(|cpu| timeline().earliest(5, &cpus(cpu), 100));
        assert_eq!(earliest, [Some(5), Some(10), Some(20), None]);
    }

    #[test]
    fn what_is_taken_for_later_leaves_gaps_that_others_fit_into_exactly() {
        let mut timeline = timeline();
        timeline.take(20, 30, &cpus(5));
        assert_eq!(timeline.earliest(5, &cpus(2), 15), Some(5), "it ends when the other begins");
        assert_eq!(timeline.earliest(0, &cpus(2), 16), Some(30));
        assert_eq!(timeline.earliest(5, &cpus(1), NEVER), Some(5));
        assert_eq!(timeline.earliest(7, &cpus(2), 13), Some(7), "no earlier than it is asked for");
        assert_eq!(timeline.earliest(7, &cpus(2), 14), Some(30));
        assert!(timeline.fits(12, 20, &cpus(3)) && !timeline.fits(12, 21, &cpus(3)));
        timeline.give(20, 30, &cpus(5));
        assert_eq!(timeline.earliest(5, &cpus(2), 16), Some(5));
    }

    #[test]
    fn what_never_ends_does_not_fit_before_what_begins_at_an_unknown_time() {
        let mut timeline = Timeline::new(0, cpus(4), std::iter::empty()).ends_with(&cpus(8));
        assert_eq!(timeline.earliest(0, &cpus(8), 100), Some(UNKNOWN));
        timeline.take(UNKNOWN, until(UNKNOWN, 100), &cpus(8));
        assert_eq!(timeline.earliest(0, &cpus(4), 1_000_000), Some(0));
        assert_eq!(timeline.earliest(0, &cpus(1), NEVER), None);
    }
}
