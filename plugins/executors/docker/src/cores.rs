//! Attempts that have no cores for themselves keep off those that others have.

use std::sync::Arc;

use berth_docker_engine::bollard::models::ContainerUpdateBody;
use futures::{StreamExt, stream};

use crate::shared::Shared;

/// Moves what runs, each time that cores were taken or given back.
pub(crate) async fn keep_apart(shared: Arc<Shared>) {
    // An earlier Berth may have left attempts on some of the cores only.
    let mut moved_some = true;
    loop {
        shared.cores_changed.notified().await;
        let docker = shared.docker_when_there().await;
        let (common, attempts) = {
            let books = shared.books();
            let pinned = books.shares.any_pinned();
            if !pinned && !moved_some {
                continue;
            }
            moved_some = pinned;
            let common = books.shares.common();
            let sharing = books
                .entries
                .iter()
                .filter(|(_, entry)| entry.made && !entry.over && entry.facts.cores.is_empty())
                .map(|(attempt, _)| attempt.clone());
            (common, sharing.collect::<Vec<_>>())
        };
        // With every core pinned there is nowhere to go; such jobs then stay where they are.
        if common.is_empty() {
            continue;
        }
        let moved = stream::iter(attempts).map(|attempt| {
            let (shared, docker, common) = (&shared, &docker, common.clone());
            async move {
                let update = ContainerUpdateBody { cpuset_cpus: Some(common), ..ContainerUpdateBody::default() };
                if let Err(error) = shared.engine.answer(docker.update_container(attempt.as_str(), update)).await {
                    tracing::debug!(attempt = %attempt, error = %error, "an attempt was not moved to other cores");
                }
            }
        });
        moved.buffer_unordered(4).collect::<()>().await;
    }
}
