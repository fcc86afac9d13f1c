//! Runs jobs as containers of a Docker Engine.
//!
//! What the engine keeps, Berth does not keep again: a container carries its attempt's name, which can exist
//! once only, and labels by which a restarted Berth finds everything again. What the engine does not keep is
//! noted in files, before it is acted upon: launches that have no container yet, and that Berth has asked an
//! attempt to end. So nothing is launched twice, and an end is never taken for another one.
//!
//! Each attempt is looked after by a task of its own (`tend`), the engine as a whole by one more (`events`).
//! The files of a job are made and written by this process, with the user's own rights. The wall time limit is
//! Berth's to watch: a limit that nobody else enforces is in one place, and survives a restart there.

#![deny(missing_docs)]

mod adopt;
mod books;
mod cleanup;
mod config;
mod control;
mod convert;
mod cores;
pub mod drmaa2;
mod events;
mod executor;
mod extensions;
mod facts;
pub mod gpu;
mod images;
mod launching;
mod logs;
mod networks;
mod notes;
mod outputs;
mod places;
mod reconcile;
mod reports;
mod scratch;
mod session;
mod shared;
mod shares;
mod state;
mod tend;
mod usage;

pub use crate::{
    config::{DockerConfig, Enforce, ImageSettings, Pull, Swap},
    executor::DockerExecutor,
    extensions::KEYS,
};

/// How errors name this executor.
pub(crate) const BACKEND: &str = "docker";
