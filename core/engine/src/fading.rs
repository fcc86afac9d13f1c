//! Use that counts the less the longer ago it was.

use berth_model::Used;

/// Use that fades: after a half-life only half of it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faded {
    /// Executions.
    pub jobs: f64,
    /// Time that they ran, in seconds.
    pub wall_s: f64,
    /// CPUs times the time that they were kept, in core-seconds.
    pub cpu_s: f64,
    /// Memory times that time, in gibibyte-seconds.
    pub memory_gib_s: f64,
}

impl Faded {
    fn of(used: &Used) -> Self {
        Self {
            jobs: used.jobs as f64,
            wall_s: used.wall_ms as f64 / 1e3,
            cpu_s: used.cpu_ms as f64 / 1e3,
            memory_gib_s: used.memory_mib_ms as f64 / 1e3 / 1024.0,
        }
    }

    fn times(self, factor: f64) -> Self {
        let Self { jobs, wall_s, cpu_s, memory_gib_s } = self;
        Self {
            jobs: jobs * factor,
            wall_s: wall_s * factor,
            cpu_s: cpu_s * factor,
            memory_gib_s: memory_gib_s * factor,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            jobs: self.jobs + other.jobs,
            wall_s: self.wall_s + other.wall_s,
            cpu_s: self.cpu_s + other.cpu_s,
            memory_gib_s: self.memory_gib_s + other.memory_gib_s,
        }
    }
}

/// The sum of what fades, by the hour: what was charged within one hour has one age. So it can be worked out
/// anew from what is stored by the hour, to the last bit, and a crash loses none of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fading {
    /// Since 1970, of the latest use.
    hour: u64,
    /// What was used in earlier hours, as it counts in that one.
    before: Faded,
    /// What was used in that hour. Whole numbers, as it is stored: their sum is the same in whatever parts they
    /// were added.
    within: Used,
}

/// How much is left after so many hours.
fn left(hours: u64, half_life_ms: u64) -> f64 {
    let half_lives = hours as f64 * crate::accounts::HOUR_MS as f64 / half_life_ms.max(1) as f64;
    (-half_lives).exp2()
}

impl Fading {
    /// Adds use of an hour that is not before those that were added.
    pub fn add(&mut self, hour: u64, used: &Used, half_life_ms: u64) {
        if hour > self.hour {
            *self = Self { hour, before: self.at(hour, half_life_ms), within: Used::default() };
        }
        self.within += *used;
    }

    /// What counts in this hour.
    pub fn at(&self, hour: u64, half_life_ms: u64) -> Faded {
        let sum = self.before.plus(Faded::of(&self.within));
        sum.times(left(hour.saturating_sub(self.hour), half_life_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn cpu(seconds: u64) -> Used {
        Used { cpu_ms: seconds * 1000, ..Used::default() }
    }

    #[test]
    fn half_of_it_counts_after_a_half_life() {
        let mut fading = Fading::default();
        fading.add(1000, &cpu(800), DAY_MS);
        let after = |hours: u64| fading.at(1000 + hours, DAY_MS).cpu_s;
        assert!((after(0) - 800.0).abs() < 1e-9);
        assert!((after(24) - 400.0).abs() < 1e-9);
        assert!((after(72) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn the_sum_is_that_of_its_parts_whenever_they_were_added() {
        let parts = [(10, 5), (10, 7), (12, 100), (40, 1), (200, 30)];
        let mut fading = Fading::default();
        for (hour, seconds) in parts {
            fading.add(hour, &cpu(seconds), DAY_MS);
        }
        let each = |(hour, seconds): (u64, u64)| seconds as f64 * left(300 - hour, DAY_MS);
        let sum: f64 = parts.into_iter().map(each).sum();
        assert!((fading.at(300, DAY_MS).cpu_s - sum).abs() < 1e-9);
    }
    #[test]
    fn in_whatever_parts_the_use_of_an_hour_came_the_sum_is_the_same_to_the_last_bit() {
        let (mut live, mut restored) = (Fading::default(), Fading::default());
        for hour in 100..200 {
            let parts = (0..40).map(|part| Used { cpu_ms: hour * 7919 + part * 104_729, ..Used::default() });
            parts.clone().for_each(|part| live.add(hour, &part, DAY_MS));
            restored.add(hour, &parts.sum(), DAY_MS);
        }
        assert_eq!(live.at(200, DAY_MS), restored.at(200, DAY_MS));
    }
}
