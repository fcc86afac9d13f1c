//! Counting with amounts of resources.

use crate::Resources;

impl Resources {
    /// None of anything.
    pub const NONE: Self = Self { cpu_millis: 0, memory_bytes: 0, gpus: 0 };

    /// Whether this much fits into `free`.
    #[must_use]
    pub fn fits_in(&self, free: &Self) -> bool {
        self.cpu_millis <= free.cpu_millis && self.memory_bytes <= free.memory_bytes && self.gpus <= free.gpus
    }

    /// How often this much fits into `free`, counted up to `most`.
    #[must_use]
    pub fn times_in(&self, free: &Self, most: u32) -> u32 {
        let times = |needed: u64, free: u64| match free.checked_div(needed) {
            None => most,
            Some(times) => u32::try_from(times).unwrap_or(u32::MAX),
        };
        if !self.fits_in(free) {
            return 0;
        }
        if most == 1 {
            return 1;
        }
        times(self.cpu_millis, free.cpu_millis)
            .min(times(self.memory_bytes, free.memory_bytes))
            .min(times(self.gpus.into(), free.gpus.into()))
            .min(most)
    }

    /// Takes `times` of this much out of `free`, in which it fits that often.
    pub fn take_from(&self, free: &mut Self, times: u32) {
        let rest = |free: u64, needed: u64| free.saturating_sub(needed.saturating_mul(times.into()));
        free.cpu_millis = rest(free.cpu_millis, self.cpu_millis);
        free.memory_bytes = rest(free.memory_bytes, self.memory_bytes);
        free.gpus = free.gpus.saturating_sub(self.gpus.saturating_mul(times));
    }

    /// Gives this much back to `free`.
    pub fn give_to(&self, free: &mut Self) {
        free.cpu_millis = free.cpu_millis.saturating_add(self.cpu_millis);
        free.memory_bytes = free.memory_bytes.saturating_add(self.memory_bytes);
        free.gpus = free.gpus.saturating_add(self.gpus);
    }

    /// Of each resource the larger amount.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.max(other.cpu_millis),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            gpus: self.gpus.max(other.gpus),
        }
    }
}
