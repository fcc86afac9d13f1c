//! The network policy `bridge`: one network for all, and host ports from a range.

pub mod policy;

berth_policy_sdk::export_network!(policy::Bridge);
