//! The truth now.

use std::{sync::Arc, time::Duration};

use berth_docker_engine::bollard::{Docker, query_parameters::InspectContainerOptions};
use berth_executor_api::{AttemptName, AttemptReport, AttemptState, ExecutorError, Truth};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    adopt,
    books::Nudge,
    shared::Shared,
    state::{Look, look},
};

/// How long an answer waits for the outputs of what has just ended.
const END_WAIT: Duration = Duration::from_millis(500);

pub(crate) async fn reconcile(
    shared: &Arc<Shared>,
    attempts: &[AttemptName],
) -> Result<Vec<Truth>, ExecutorError> {
    let (docker, _) = shared.synced().await?;
    // The books are right only as far as the engine still answers.
    shared.engine.answer(docker.ping()).await.map_err(|error| shared.failed(error))?;
    // Collected first: a borrowed stream of futures would not be one for every life time.
    let attempts: Vec<AttemptName> = attempts.to_vec();
    let truths = stream::iter(attempts).map(|attempt| {
        let (shared, docker) = (Arc::clone(shared), docker.clone());
        async move { truth(&shared, &docker, attempt).await }
    });
    truths.buffered(16).try_collect().await
}

async fn truth(shared: &Arc<Shared>, docker: &Docker, attempt: AttemptName) -> Result<Truth, ExecutorError> {
    let known = shared.with(&attempt, |entry| (entry.last.clone(), entry.over, entry.made));
    match known {
        None => unknown(shared, docker, &attempt).await,
        Some((last, true, _) | (last, false, false)) => Ok(Truth::Known(last)),
        Some((last, false, true)) => live(shared, docker, &attempt, last).await,
    }
}

/// Nothing of it is in the books, which were made from all that the engine has.
async fn unknown(
    shared: &Arc<Shared>,
    docker: &Docker,
    attempt: &AttemptName,
) -> Result<Truth, ExecutorError> {
    let inspected = docker.inspect_container(attempt.as_str(), None::<InspectContainerOptions>);
    match shared.engine.answer(inspected).await {
        Err(error) if error.is_missing() => Ok(Truth::Absent),
        Err(error) => Err(shared.failed(error)),
        // Made by another Berth, or by hand, under a name of ours.
        Ok(_) => {
            adopt::sync(shared, docker).await.map_err(|error| shared.failed(error))?;
            let last = shared.with(attempt, |entry| entry.last.clone());
            let words = || format!("a container is called {attempt} that this executor did not make");
            Ok(last.map_or_else(|| Truth::Uncertain { words: words() }, Truth::Known))
        }
    }
}

async fn live(
    shared: &Arc<Shared>,
    docker: &Docker,
    attempt: &AttemptName,
    last: AttemptReport,
) -> Result<Truth, ExecutorError> {
    let inspected = docker.inspect_container(attempt.as_str(), None::<InspectContainerOptions>);
    let container = match shared.engine.answer(inspected).await {
        Ok(container) => container,
        Err(error) if error.is_missing() => {
            shared.with(attempt, |entry| entry.nudge(Nudge::Destroyed));
            return Ok(Truth::Known(after_end(shared, attempt, last).await));
        }
        Err(error) => return Err(shared.failed(error)),
    };
    let suspended = shared.with(attempt, |entry| entry.note.suspended).flatten();
    let report = |state| {
        let report = shared.running(attempt, &container);
        let at = if last.state == state { last.at } else { report.at };
        Truth::Known(AttemptReport { state, at, message: last.message.clone(), ..report })
    };
    Ok(match look(&container.state.clone().unwrap_or_default()) {
        Look::Running { .. } if suspended.is_none() => report(AttemptState::Running),
        Look::Running { .. } | Look::Paused { .. } => report(AttemptState::Suspended),
        Look::Made | Look::Between => Truth::Known(last),
        // Over, and its outputs are perhaps not whole yet: until they are, it counts as it did.
        Look::Over(_) | Look::NotStarted(_) => {
            shared.with(attempt, |entry| entry.nudge(Nudge::Look));
            Truth::Known(after_end(shared, attempt, last).await)
        }
    })
}

async fn after_end(shared: &Shared, attempt: &AttemptName, last: AttemptReport) -> AttemptReport {
    let phase = shared.with(attempt, |entry| entry.phase.subscribe());
    if let Some(mut phase) = phase {
        let ended = phase.wait_for(|phase| *phase == berth_executor_api::files::Phase::Ended);
        let _ = tokio::time::timeout(END_WAIT, ended).await;
    }
    shared.with(attempt, |entry| entry.last.clone()).unwrap_or(last)
}
