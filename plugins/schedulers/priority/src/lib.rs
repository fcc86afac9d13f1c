//! The scheduler policy `priority`: the highest priority first.

pub mod policy;

berth_policy_sdk::export_order!(policy::Priority);
