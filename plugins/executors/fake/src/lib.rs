//! Simulated nodes, run times and faults: a cluster that needs nothing but this process.
//!
//! What a job does is chosen by its command or by its extensions (see [`KEYS`]); nothing of it is
//! executed. Faults come from the same keys, from [`Faults`] with a seed, or from a [`FakeControl`].
//! The simulated back end lives in this process; with [`FakeConfig::state`] it is written down in a
//! file and goes on from there when the process has died.

#![deny(missing_docs)]

mod cluster;
mod config;
mod control;
mod convert;
mod entry;
mod executor;
mod faults;
mod journal;
mod logs;
mod nodes;
mod reports;
mod shared;

pub use crate::{
    config::{FakeConfig, Faults, Lack, NodeConfig},
    control::FakeControl,
    convert::KEYS,
    executor::FakeExecutor,
    journal::{Runs, read_runs},
};

/// What it is called in errors and in [`berth_executor_api::Description`].
const BACKEND: &str = "fake";
