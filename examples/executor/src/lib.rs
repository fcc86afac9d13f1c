//! An executor in a shared library, as an integrator would write one. It runs each attempt as a detached process of
//! this machine, and knows by files what became of it, so that it finds everything again after a crash.
//!
//! ```toml
//! [executors.theirs]
//! kind = "library"
//! path = "/usr/local/lib/berth/libberth_executor_detached.so"
//! settings = { node = "here", cpus = 4 }
//! ```
//!
//! What it leaves out on purpose: memory limits, time limits (Berth keeps those), exec, images.

mod executor;
mod folder;
mod shell;
mod start;

use std::sync::Arc;

use berth_executor_api::{ExecutorError, SharedExecutor, abi::Settings};
use serde::Deserialize;

pub use crate::executor::Detached;

/// What stands in `settings` of berth.toml.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The node's name.
    pub node: String,
    /// CPUs that may be given away.
    pub cpus: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { node: "here".into(), cpus: 1 }
    }
}

/// Makes the executor.
///
/// # Errors
/// When its settings make no sense, or its folder cannot be used.
pub async fn start(settings: Settings) -> Result<SharedExecutor, ExecutorError> {
    let Settings { name, state, settings, .. } = settings;
    let unusable = |reason: String| ExecutorError::Unusable { backend: name.clone(), reason };
    let options: Options = serde_json::from_value(settings).map_err(|error| unusable(error.to_string()))?;
    let detached = Detached::new(&name, &state, &options).map_err(|error| unusable(error.to_string()))?;
    Ok(Arc::new(detached))
}

berth_executor_api::export_executor!(start);
