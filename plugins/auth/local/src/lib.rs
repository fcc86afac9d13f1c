//! The auth policy `local`: the users and groups of the machine.

pub mod policy;

berth_policy_sdk::export_auth!(policy::Local);
