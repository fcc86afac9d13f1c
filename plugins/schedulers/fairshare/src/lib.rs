//! The scheduler policy `fairshare`: who has used less of what they have a share in goes first.

mod accounts;
mod contest;
mod explain;
pub mod formula;
mod levels;
mod pending;
pub mod policy;
mod running;
mod scene;
mod settings;
mod weighed;

berth_policy_sdk::export_scheduler!(policy::Fairshare);
