//! Runs jobs as processes of this machine.
//!
//! Two processes work together:
//!
//! * The *executor* ([`LocalExecutor`]) lives in Berth's daemon. It keeps nothing: it asks and it tells.
//! * The *supervisor* ([`supervisor_main`]) is a small process with one thread, one for each spool
//!   folder. It starts the jobs, collects their exit codes, and holds them to their limits. It outlives
//!   the daemon, so that jobs and what is known of them do too, and it ends by itself when nothing is left to do.
//!
//! The daemon itself never forks: with its memory that would be many times slower. For the same reason
//! the supervisor has *launchers*, processes of its own that make the jobs' processes and know nothing.
//!
//! What the supervisor knows is in the journal of its spool folder, written before it is acted upon.
//! The journal survives the end of any process. It is not synced to the disk for each task, so after a
//! power failure some attempts cannot be told from ones that never ran; these are answered with
//! [`berth_executor_api::Truth::Uncertain`] and become lost, never run twice.

#![deny(missing_docs)]

mod client;
mod config;
mod convert;
mod executor;
mod reconcile;
mod reports;
mod supervisor;

pub use crate::{
    config::{Enforce, LocalConfig},
    executor::LocalExecutor,
    supervisor::{SUPERVISOR_WORD, supervisor_main},
};
