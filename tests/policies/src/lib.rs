//! Scheduler policies, as they are and as the components that ship, under the real engine in virtual time; and
//! beside them models that say what they do straight from the definitions, slowly and plainly.

// A test that stops here has failed, and should.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

pub mod checked;
pub mod cluster;
pub mod fair;
pub mod naive;
pub mod order;
pub mod planners;
pub mod site;
pub mod textbook;
pub mod workloads;
