//! What every store has to do, and what can go wrong with one in a file.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests, which may fail so"
)]

mod crash;
mod faults;
mod lease;
mod postgres;
mod proxy;
mod sqlite;
mod suite;
