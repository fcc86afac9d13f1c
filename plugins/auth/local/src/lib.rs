//! The auth policy `local`: the users and groups of the machine.

pub mod accounts;
pub mod policy;
pub mod settings;
pub mod volumes;

berth_policy_sdk::export_auth!(policy::Local);
