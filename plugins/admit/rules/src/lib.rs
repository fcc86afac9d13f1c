//! The filter `rules`: what jobs get that do not say, how much they may ask for, and what they have to say.

mod amount;
pub mod policy;

berth_policy_sdk::export_admit!(policy::Rules);
