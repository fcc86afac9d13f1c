//! The watcher policy `disk-quota`: no job's directory takes more than its share of the disk.

pub mod policy;

berth_policy_sdk::export_watcher!(policy::DiskQuota);
