//! Runs jobs as Jobs of a Kubernetes cluster.
//!
//! Each attempt is a `batch/v1` Job of its own name with one Pod that is never replaced. The Job is there from
//! the launch until the end is on record, so that whatever crashes meanwhile, its name tells whether the attempt
//! exists, and its Pod how it ended. Where a Pod goes before that, as it does when it is asked to, its end is noted
//! on the Job.
//!
//! Jobs and Pods are watched, never asked for in turn. What a watch says is a reason to look; what is true of an
//! attempt is worked out from its Job and its Pod alone (`standing`), the same way for a watch and for a question.

#![deny(missing_docs)]

mod access;
mod beside;
mod book;
mod cluster;
mod config;
mod control;
mod convert;
mod error;
mod executor;
mod facts;
mod launch;
mod logs;
mod names;
mod nodes;
mod options;
mod output;
mod reconcile;
mod reports;
mod standing;
mod tend;
mod watch;

pub use crate::{
    config::{Access, Capacity, KubernetesConfig, Namespace, Pull},
    executor::KubernetesExecutor,
    options::{KEYS as EXTENSIONS, OptionsError, Toleration},
};

/// How errors name this executor.
pub(crate) const BACKEND: &str = "kubernetes";
