//! The executor on a stand-in for a cluster, and the kit on a real one where `BERTH_TEST_KUBECONFIG` names it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod conformance;
mod faults;
mod jobs;
mod scene;
