//! Running jobs, with what a test of a watcher does not care for filled in.

use crate::{JobId, Resources, watcher::WatchedJob};

/// A job of alice's in the default project, with one CPU, that started at the instant 0 and of which nothing else
/// is known.
#[must_use]
pub fn watched(id: JobId) -> WatchedJob {
    WatchedJob {
        id,
        user: "alice".into(),
        project: "default".into(),
        needs: Resources { cpu_millis: 1000, memory_bytes: 0, gpus: 0 },
        started_ms: 0,
        active_since_ms: 0,
        suspended: false,
        time_limit_ms: None,
        cpu_micros: None,
        memory_bytes: None,
        directory: None,
    }
}
