//! The watcher policy `idle`: who holds CPUs uses them.

pub mod policy;

berth_policy_sdk::export_watcher!(policy::Idle);
