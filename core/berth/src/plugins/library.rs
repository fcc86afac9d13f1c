//! Executors from shared libraries.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use berth_config::{Config, Executor as ExecutorConfig, ExecutorKind, KeyDoc, KeyKind};
use berth_executor_api::{SharedExecutor, abi::Settings};
use berth_executor_host::{AbsentExecutor, ForeignExecutor};

/// How long a library may take for its start where berth.toml does not say.
const START: Duration = Duration::from_secs(30);

pub(super) fn keys() -> ExecutorKind {
    let mut path = KeyDoc::new(
        "path",
        KeyKind::Path,
        "The library. It runs with Berth's rights, so it belongs to root or Berth's user, and nobody else may write it.",
    );
    path.required = true;
    ExecutorKind {
        name: "library".into(),
        about: "An executor from a shared library that somebody else has built; see `berth_executor.h`."
            .into(),
        keys: vec![
            path,
            KeyDoc::new(
                "settings",
                KeyKind::Open,
                "What the library is told; its author says what there is.",
            ),
            KeyDoc::new("start", KeyKind::duration(), "How long it may take to start.").or("\"30s\""),
        ],
    }
}

/// Loads the library. One that cannot be used is logged and stood in for, so that everything else goes on: its jobs
/// wait, and say why.
///
/// # Errors
/// When its folder cannot be made.
pub(super) async fn executor(config: &Config, executor: &ExecutorConfig) -> anyhow::Result<SharedExecutor> {
    let own = &executor.own;
    let path = own.path("path").unwrap_or_default();
    let state = config.cluster.state.join("executors").join(&executor.name);
    make_private(&state)
        .with_context(|| format!("executor {:?} has no folder {}", executor.name, state.display()))?;
    let settings = own.to_json().get("settings").cloned().unwrap_or_else(|| serde_json::json!({}));
    let settings =
        Settings { cluster: config.cluster.name.clone(), name: executor.name.clone(), state, settings };
    match ForeignExecutor::load(&path, &settings, own.duration("start").unwrap_or(START)).await {
        Ok(foreign) => Ok(Arc::new(foreign)),
        Err(error) => {
            tracing::error!(executor = executor.name, %error, "executor cannot be used before Berth is started again");
            Ok(Arc::new(AbsentExecutor::new(&executor.name, &error.to_string())))
        }
    }
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
