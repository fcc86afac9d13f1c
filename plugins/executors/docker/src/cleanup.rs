//! Taking things away: attempts that are over, and everything of this cluster.

use std::sync::Arc;

use berth_docker_engine::{
    EngineError,
    bollard::{
        Docker,
        query_parameters::{
            InspectContainerOptions, ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions,
            RemoveVolumeOptions,
        },
    },
    filter, label,
};
use berth_executor_api::{AttemptName, ExecutorError, files::Phase};
use futures::{StreamExt, stream};

use crate::{
    adopt,
    books::Nudge,
    launching::remove_container,
    scratch,
    shared::Shared,
    state::{Look, look},
};

/// Forgets attempts that are over. What still runs is left alone.
pub(crate) async fn remove(shared: &Arc<Shared>, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
    let (docker, _) = shared.synced().await?;
    let attempts: Vec<AttemptName> = attempts.to_vec();
    let removed = stream::iter(attempts).map(|attempt| {
        let (shared, docker) = (Arc::clone(shared), docker.clone());
        async move {
            match is_over(&shared, &docker, &attempt).await? {
                true => remove_one(&shared, &docker, attempt).await.map(Some),
                false => Ok(None),
            }
        }
    });
    let removed: Vec<Result<Option<AttemptName>, EngineError>> = removed.buffer_unordered(8).collect().await;
    let mut gone = Vec::new();
    let mut failed = None;
    for one in removed {
        match one {
            Ok(attempt) => gone.extend(attempt),
            Err(error) => failed = Some(error),
        }
    }
    let (notes, counters) = (gone.clone(), shared.counters.clone());
    let _ = tokio::task::spawn_blocking(move || counters.remove(&gone)).await;
    if let Err(error) = shared.notes.remove(notes).await {
        tracing::warn!(error = %error, "notes of attempts cannot be removed");
    }
    failed.map_or(Ok(()), |error| Err(shared.failed(error)))
}

/// Whether it has ended for good. One that a restarted Berth has just found may have done so long ago, and its
/// outputs are on their way.
async fn is_over(shared: &Shared, docker: &Docker, attempt: &AttemptName) -> Result<bool, EngineError> {
    let known = shared.with(attempt, |entry| (entry.over, entry.made, entry.phase.subscribe()));
    // One that is not in the books may have a container all the same, if somebody just made it.
    let Some((over, made, mut phase)) = known else { return Ok(true) };
    if over || !made {
        return Ok(over);
    }
    let inspected = docker.inspect_container(attempt.as_str(), None::<InspectContainerOptions>);
    let state = match shared.engine.answer(inspected).await {
        Err(error) if error.is_missing() => return Ok(true),
        container => container?.state.unwrap_or_default(),
    };
    if !matches!(look(&state), Look::Over(_) | Look::NotStarted(_)) {
        return Ok(false);
    }
    shared.with(attempt, |entry| entry.nudge(Nudge::Look));
    let ended = phase.wait_for(|phase| *phase == Phase::Ended);
    let _ = tokio::time::timeout(shared.config.answer_within, ended).await;
    Ok(shared.with(attempt, |entry| entry.over).unwrap_or(true))
}

async fn remove_one(
    shared: &Arc<Shared>,
    docker: &Docker,
    attempt: AttemptName,
) -> Result<AttemptName, EngineError> {
    let scratch = shared.with(&attempt, |entry| entry.facts.scratch).unwrap_or(false);
    match remove_container(shared, docker, &attempt).await {
        // It runs, or is being removed already.
        Err(error) if error.is_conflict() => return Ok(attempt),
        done => done?,
    }
    if scratch {
        scratch::remove(shared, docker, &attempt).await;
    }
    shared.forget(&attempt);
    Ok(attempt)
}

/// Everything of this cluster, by its label; with `dry_run` it is only told.
pub(crate) async fn cleanup(shared: &Arc<Shared>, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
    let (docker, _) = shared.synced().await?;
    let failed = |error| shared.failed(error);
    let mut told = Vec::new();
    let containers = adopt::containers(shared, &docker).await.map_err(failed)?;
    let mut unmade: Vec<AttemptName> =
        shared.books().entries.keys().filter(|attempt| !containers.contains_key(attempt)).cloned().collect();
    unmade.sort();
    for attempt in unmade {
        told.push(format!("attempt {attempt} (without a container)"));
        if !dry_run {
            forget(shared, &attempt).await;
        }
    }
    let mut containers: Vec<_> = containers.into_iter().collect();
    containers.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (attempt, container) in containers {
        let state = container.state.map_or_else(String::new, |state| state.to_string());
        told.push(format!("container {attempt} ({state})"));
        if !dry_run {
            // First, so that nobody takes its end for one of its own.
            forget(shared, &attempt).await;
            let options =
                RemoveContainerOptions { v: true, force: true, ..RemoveContainerOptions::default() };
            let removed = docker.remove_container(attempt.as_str(), Some(options));
            let removed = shared.engine.answer_within(shared.config.start_within, removed).await;
            gone(removed).map_err(failed)?;
        }
    }
    told.extend(volumes(shared, &docker, dry_run).await.map_err(failed)?);
    told.extend(networks(shared, &docker, dry_run).await.map_err(failed)?);
    if !dry_run {
        let counters = shared.counters.clone();
        let _ = tokio::task::spawn_blocking(move || counters.remove_all()).await;
    }
    Ok(told)
}

async fn forget(shared: &Arc<Shared>, attempt: &AttemptName) {
    shared.forget(attempt);
    if let Err(error) = shared.notes.remove(vec![attempt.clone()]).await {
        tracing::warn!(attempt = %attempt, error = %error, "a note cannot be removed");
    }
}

/// Somebody else may have been quicker.
fn gone<T>(removed: Result<T, EngineError>) -> Result<(), EngineError> {
    match removed {
        Err(error) if !error.is_missing() && !error.says("already in progress") => Err(error),
        _ => Ok(()),
    }
}

async fn volumes(shared: &Shared, docker: &Docker, dry_run: bool) -> Result<Vec<String>, EngineError> {
    let options = ListVolumesOptions { filters: Some(filter(label::CLUSTER, &shared.config.cluster)) };
    let listed = shared.engine.answer(docker.list_volumes(Some(options))).await?;
    let mut names: Vec<String> =
        listed.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect();
    names.sort();
    if !dry_run {
        for name in &names {
            gone(shared.engine.answer(docker.remove_volume(name, None::<RemoveVolumeOptions>)).await)?;
        }
    }
    Ok(names.into_iter().map(|name| format!("volume {name}")).collect())
}

async fn networks(shared: &Shared, docker: &Docker, dry_run: bool) -> Result<Vec<String>, EngineError> {
    let options = ListNetworksOptions { filters: Some(filter(label::CLUSTER, &shared.config.cluster)) };
    let listed = shared.engine.answer(docker.list_networks(Some(options))).await?;
    let mut told = Vec::new();
    for network in listed {
        let (Some(id), Some(name)) = (network.id, network.name) else { continue };
        told.push(format!("network {name}"));
        if !dry_run {
            gone(shared.engine.answer(docker.remove_network(&id)).await)?;
        }
    }
    if !dry_run {
        shared.networks.missed().await;
    }
    told.sort();
    Ok(told)
}
