//! Chance that can be repeated: SplitMix64.

use std::time::SystemTime;

/// A source of numbers.
pub struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// With the seed of `BERTH_CRASH_SEED`, or one of its own.
    pub fn from_environment() -> Self {
        let given = std::env::var("BERTH_CRASH_SEED").ok();
        Self::new(given.map_or_else(of_clock, |seed| seed.parse().expect("BERTH_CRASH_SEED is no number")))
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below this one.
    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    /// A source of its own.
    pub fn split(&mut self) -> Self {
        Self::new(self.next())
    }
}

fn of_clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
}
