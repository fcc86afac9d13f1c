//! The network policy `isolated`: networks of single users and of single projects.

pub mod policy;

berth_policy_sdk::export_network!(policy::Isolated);
