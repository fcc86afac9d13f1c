//! Prebuilt policies and the sources that they were built from. `scripts/guests.sh` writes the manifests;
//! a test tells when they are out of date, on any machine, without a compiler for WebAssembly.

mod guest;
mod locked;
mod manifest;
mod sources;

pub use guest::{Guest, guests, root};
pub use manifest::{Built, Manifest, Toolchain, faults, toolchains, write};
pub use sources::source_hash;
