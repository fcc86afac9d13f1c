//! Registry and supervision of executors: between the daemon's one loop, which must never wait, and
//! plugins, which may be slow, away, or at fault.
//!
//! Each executor has a task of its own. Orders go in without waiting ([`Supervised`]); everything that
//! comes of them goes out on one channel ([`HostEvent`]). Orders about one attempt are carried out in
//! the order they were given in; others overtake each other. Reports and answers are not ordered
//! among each other: the end of an attempt may be told before its launch is answered.

#![deny(missing_docs)]

mod absent;
mod backoff;
mod call;
mod error;
mod event;
mod foreign;
mod queue;
mod registry;
mod supervise;
mod supervised;

pub use crate::{
    absent::AbsentExecutor,
    error::{CallError, RegistryError},
    event::{HostEvent, Reach},
    foreign::{ForeignExecutor, LibraryError},
    registry::{Limits, MayAct, Registry},
    supervised::Supervised,
};
