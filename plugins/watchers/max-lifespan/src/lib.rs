//! The watcher policy `max-lifespan`: no job runs for ever.

pub mod policy;

berth_policy_sdk::export_watcher!(policy::MaxLifespan);
