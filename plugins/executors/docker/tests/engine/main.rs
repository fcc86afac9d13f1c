//! What the executor does on a real engine.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
mod support;

mod control;
mod faults;
mod images;
mod logins;
mod networks;
mod outputs;
mod recovery;
mod resources;
mod running;
mod sessions;
mod tls;
