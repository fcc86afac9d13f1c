//! Runs jobs as one-shot services of a Docker Swarm.
//!
//! Each attempt is a service of its own name with one task that is never restarted. The service is
//! there from the launch until the end is on record, so that whatever crashes meanwhile, its name tells
//! whether the attempt exists, and its task how it ended.
//!
//! Swarm has a mode for jobs, and it is not used: in engines that speak API 1.41 a manager that is
//! restarted, or any change to the service, runs a failed task again. A replicated service with one
//! replica and the restart condition `none` runs it once, through drains, lost nodes and changes of leader.
//!
//! An attempt is stopped by asking, in its service, for a node that does not exist. Its task is then
//! shut down with its grace and stays to be read; scaling the service down would take the exit code along.

#![deny(missing_docs)]

mod book;
mod config;
mod control;
mod executor;
mod launch;
mod logs;
mod nodes;
mod options;
mod output;
mod pace;
mod reconcile;
mod reports;
mod service;
mod swarm;
mod task;
mod watch;

pub use crate::{
    config::{Managers, SwarmConfig},
    executor::SwarmExecutor,
    options::KEYS as EXTENSIONS,
};

/// How errors name this executor.
pub(crate) const BACKEND: &str = "swarm";
