//! Faults by chance: drawn from the seed and the attempt's name, so that the same run has the same
//! faults whatever order its calls arrive in.

use std::sync::Arc;

use crate::{
    config::{FakeConfig, Faults},
    convert::{Behaviour, Ending},
};

/// How long a lost report is missed before `Back` tells, where nothing else is set.
pub(crate) const LATE_MS: u64 = 50;

/// One draw, evenly spread over all numbers.
fn draw(seed: u64, attempt: &str, kind: &str) -> u64 {
    let mut hash = seed ^ 0xcbf2_9ce4_8422_2325;
    for byte in attempt.bytes().chain([0]).chain(kind.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // The finalizer of SplitMix64; the loop alone leaves the low bits too regular.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The behaviour with what chance adds to it.
pub(crate) fn strike(behaviour: Arc<Behaviour>, attempt: &str, config: &FakeConfig) -> Arc<Behaviour> {
    let Faults { slow_start_ms, late_report_ms, .. } = config.faults;
    if config.faults == (Faults { slow_start_ms, late_report_ms, ..Faults::default() })
        && config.run_spread_ms == 0
    {
        return behaviour;
    }
    let faults = &config.faults;
    let hit = |per_mille: u16, kind| draw(config.seed, attempt, kind) % 1000 < u64::from(per_mille);
    let mut struck = Behaviour::clone(&behaviour);
    if config.run_spread_ms > 0 {
        struck.run_ms += draw(config.seed, attempt, "run") % (config.run_spread_ms + 1);
    }
    let endings = [
        (faults.fail, "fail", Ending::Code(1)),
        (faults.signal, "signal", Ending::Signal(9)),
        (faults.oom, "oom", Ending::OutOfMemory),
        (faults.node_lost, "node-lost", Ending::NodeLost),
        (faults.could_not_launch, "could-not-launch", Ending::CouldNotLaunch("by chance".into())),
    ];
    for (per_mille, kind, ending) in endings {
        if hit(per_mille, kind) {
            struck.ending = ending;
        }
    }
    if hit(faults.no_room, "no-room") {
        struck.no_room = u32::MAX;
    }
    if hit(faults.give_back, "give-back") {
        struck.give_back = u32::MAX;
    }
    if hit(faults.refuse, "refuse") {
        struck.refuse = Some("by chance".into());
    }
    if hit(faults.slow_start, "slow-start") {
        struck.start_ms += slow_start_ms;
    }
    if hit(faults.late_report, "late-report") {
        struck.late_report_ms = if late_report_ms == 0 { LATE_MS } else { late_report_ms };
    }
    struck.lose_reply |= hit(faults.lose_reply, "lose-reply");
    struck.lose_report |= hit(faults.lose_report, "lose-report");
    struck.double_report |= hit(faults.double_report, "double-report");
    Arc::new(struck)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_as_often_as_set_and_the_same_each_time() {
        let config =
            FakeConfig { faults: Faults { oom: 100, ..Faults::default() }, seed: 7, ..FakeConfig::default() };
        let site = Arc::new(Behaviour::of_site(&config));
        let struck = |config: &FakeConfig| -> Vec<bool> {
            let one =
                |n| strike(Arc::clone(&site), &format!("berth-{n}-1"), config).ending == Ending::OutOfMemory;
            (0..10_000).map(one).collect()
        };
        let first = struck(&config);
        let count = first.iter().filter(|hit| **hit).count();
        assert!((800..1200).contains(&count), "{count}");
        assert_eq!(first, struck(&config));
        assert_ne!(first, struck(&FakeConfig { seed: 8, ..config }));
    }
}
