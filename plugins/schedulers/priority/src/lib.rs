//! The scheduler policy `priority`: the most urgent first, by one of several measures.

mod aging;
mod measure;
pub mod policy;
mod steady;

berth_policy_sdk::export_scheduler!(policy::Priority);
