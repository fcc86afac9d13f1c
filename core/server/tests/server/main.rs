//! The server from outside: a real server on a real socket, with jobs in memory behind it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at what is wrong"
)]

mod api;
mod attach;
mod bodies;
mod godocker;
mod listening;
mod logging;
mod memory;
mod patience;
mod running;
mod schema;
mod streams;
mod tokens;
