//! Runs jobs in a Grid Engine cell, through the cell's own commands.
//!
//! An attempt is a job of its name, or a task of an array of SGE's. What is submitted is noted on disk before,
//! and leaves a mark in the job's directory when it begins: SGE's names are not unique, and what it was sent may
//! arrive after its sender is gone. A second submission of an attempt finds the mark and does nothing.
//!
//! SGE tells of nothing by itself. It is asked for all jobs at once, by one `qstat` a look, and only while there
//! are any; how a job ended stands in its accounts.

#![deny(missing_docs)]

mod book;
mod commands;
mod config;
mod control;
mod convert;
#[cfg(test)]
mod convert_tests;
mod directory;
mod executor;
mod journal;
mod launch;
mod qacct;
mod qhost;
mod qstat;
mod reconcile;
mod reports;
mod script;
mod watch;
mod xml;

pub use crate::{config::SgeConfig, executor::SgeExecutor};

/// How errors name this executor.
pub(crate) const BACKEND: &str = "sge";
