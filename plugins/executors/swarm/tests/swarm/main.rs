//! The executor on real Swarms, each a test's own. They need root, and are run by `.ci/run`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod conformance;
mod jobs;
mod nodes;
mod scene;
mod silence;
