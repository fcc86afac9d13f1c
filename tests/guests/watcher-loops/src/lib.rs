//! A watcher policy that is bad on purpose: it never finishes its judgement.

use berth_policy_sdk::{
    Error, Info, InstantMs, Settings, Watcher, info,
    watcher::{Judgement, WatchedJob},
};

/// Never finishes its judgement.
#[derive(Debug)]
pub struct WatcherLoops;

impl Watcher for WatcherLoops {
    fn describe() -> Info {
        info!("watcher-loops", "never finishes its judgement")
    }

    fn configure(_: &mut Settings) -> Result<Self, Error> {
        Ok(Self)
    }

    fn judge(&mut self, _: InstantMs, _: Vec<WatchedJob>) -> Result<Vec<Judgement>, Error> {
        loop {
            std::hint::spin_loop();
        }
    }
}

berth_policy_sdk::export_watcher!(WatcherLoops);
