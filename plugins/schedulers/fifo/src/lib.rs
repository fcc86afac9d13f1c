//! The scheduler policy `fifo`: first come, first served.

pub mod policy;

berth_policy_sdk::export_order!(policy::Fifo);
