//! The scheduler policy `backfill`: jobs in their order, and smaller ones before their turn where that delays
//! nobody who has been promised a start.

mod conservative;
mod easy;
mod explain;
mod line;
mod outlook;
pub mod policy;
mod running;
mod settings;
mod starts;
mod timeline;
mod words;

berth_policy_sdk::export_scheduler!(policy::Backfill);
