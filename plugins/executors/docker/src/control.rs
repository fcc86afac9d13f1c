//! What attempts are asked to do.

use std::{sync::Arc, time::Duration};

use berth_docker_engine::bollard::{
    Docker,
    models::ContainerState,
    query_parameters::{InspectContainerOptions, KillContainerOptions},
};
use berth_executor_api::{Action, AttemptName, AttemptReport, AttemptState, ExecutorError};

use crate::{
    books::Nudge,
    notes::Stop,
    shared::{Shared, own_now},
    state::{Look, look},
};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// Does it, or says why not.
pub(crate) async fn control(
    shared: &Arc<Shared>,
    attempt: &AttemptName,
    action: Action,
) -> Result<(), ExecutorError> {
    let (docker, _) = shared.synced().await?;
    let known = shared.with(attempt, |entry| (entry.over, entry.made, entry.facts.by_signal));
    match (action, known) {
        // What is over or was never there needs no ending; but "never" has to come from an engine that answers.
        (Action::Terminate { .. }, None) => {
            shared.engine.answer(docker.ping()).await.map(drop).map_err(|error| shared.failed(error))
        }
        (Action::Terminate { .. }, Some((true, ..))) => Ok(()),
        (Action::Terminate { grace }, Some((false, made, _))) => {
            terminate(shared, &docker, attempt, grace, made).await
        }
        (_, None | Some((true, ..))) => {
            shared.engine.answer(docker.ping()).await.map_err(|error| shared.failed(error))?;
            Err(Shared::unknown(attempt))
        }
        (_, Some((false, false, _))) => Err(Shared::refused("it does not run yet")),
        // Berth's own timer holds attempts to it.
        (Action::TimeLimit { .. }, Some(_)) => Ok(()),
        (Action::Signal(signal), Some(_)) => send(shared, &docker, attempt, signal).await,
        (Action::Suspend, Some((.., by_signal))) => suspend(shared, &docker, attempt, by_signal).await,
        (Action::Resume, Some((.., by_signal))) => resume(shared, &docker, attempt, by_signal).await,
    }
}

async fn state(
    shared: &Shared,
    docker: &Docker,
    attempt: &AttemptName,
) -> Result<Option<ContainerState>, ExecutorError> {
    let inspected = docker.inspect_container(attempt.as_str(), None::<InspectContainerOptions>);
    match shared.engine.answer(inspected).await {
        Ok(container) => Ok(Some(container.state.unwrap_or_default())),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(shared.failed(error)),
    }
}

async fn terminate(
    shared: &Arc<Shared>,
    docker: &Docker,
    attempt: &AttemptName,
    grace: Duration,
    made: bool,
) -> Result<(), ExecutorError> {
    let kindly = !grace.is_zero();
    let now = if made { state(shared, docker, attempt).await? } else { None };
    let now = now.as_ref().map(look);
    if matches!(now, Some(Look::Over(_) | Look::NotStarted(_))) {
        // It was quicker; that it ended by itself stays so.
        return Ok(());
    }
    // Noted before anything is sent: see the notes.
    let first = if kindly { SIGTERM } else { SIGKILL };
    let kill_at = own_now().after(grace);
    let before = shared.with(attempt, |entry| entry.note.stop.clone()).flatten();
    let noted = shared.note(attempt, |note| {
        let stop = note.stop.get_or_insert_with(|| Stop { kill_at, ..Stop::default() });
        stop.signals.insert(first);
        stop.kill_at = stop.kill_at.min(kill_at);
    });
    noted
        .await
        .map_err(|error| Shared::refused(format!("the executor's notes cannot be written: {error}")))?;
    shared.with(attempt, |entry| entry.nudge(Nudge::Stop));
    let frozen = matches!(now, Some(Look::Paused { .. }));
    let stopped = shared.with(attempt, |entry| entry.note.suspended.is_some()).unwrap_or(false);
    match now {
        Some(Look::Running { .. } | Look::Paused { .. }) => {}
        // Whoever starts it finds the note.
        _ => return Ok(()),
    }
    if let Err(error) = kill(shared, docker, attempt, first).await
        && !(frozen && kindly)
    {
        return over_or(shared, docker, attempt, before, error).await;
    }
    if frozen {
        // The request is there when it wakes.
        let woken = shared.engine.answer(docker.unpause_container(attempt.as_str())).await;
        if let (Err(error), true) = (woken, kindly) {
            tracing::debug!(attempt = %attempt, error = %error, "an attempt that is to end was not woken");
        }
    }
    if stopped && kindly {
        let _ = kill(shared, docker, attempt, SIGCONT).await;
    }
    Ok(())
}

/// A signal that could not be sent to what has just ended is no error, and was no stop. What was asked of it
/// before that may be why it ended, and stays.
async fn over_or(
    shared: &Shared,
    docker: &Docker,
    attempt: &AttemptName,
    before: Option<Stop>,
    error: ExecutorError,
) -> Result<(), ExecutorError> {
    match state(shared, docker, attempt).await?.as_ref().map(look) {
        Some(Look::Over(_)) => {
            let noted = shared.note(attempt, |note| note.stop = before).await;
            noted.map_err(|error| Shared::refused(format!("the executor's notes cannot be written: {error}")))
        }
        None => Ok(()),
        Some(_) => Err(error),
    }
}

async fn kill(
    shared: &Shared,
    docker: &Docker,
    attempt: &AttemptName,
    signal: i32,
) -> Result<(), ExecutorError> {
    let options = KillContainerOptions { signal: signal.to_string() };
    let killed = shared.engine.answer(docker.kill_container(attempt.as_str(), Some(options))).await;
    killed.map_err(|error| shared.failed(error))
}

async fn send(
    shared: &Shared,
    docker: &Docker,
    attempt: &AttemptName,
    signal: i32,
) -> Result<(), ExecutorError> {
    if !(1..=64).contains(&signal) {
        return Err(Shared::refused(format!("there is no signal {signal}")));
    }
    shared.with(attempt, |entry| entry.signals.insert(signal));
    match kill(shared, docker, attempt, signal).await {
        Err(ExecutorError::Refused { .. }) if !runs(shared, docker, attempt).await? => {
            Err(Shared::unknown(attempt))
        }
        done => done,
    }
}

async fn runs(shared: &Shared, docker: &Docker, attempt: &AttemptName) -> Result<bool, ExecutorError> {
    let state = state(shared, docker, attempt).await?;
    Ok(matches!(state.as_ref().map(look), Some(Look::Running { .. } | Look::Paused { .. })))
}

async fn suspend(
    shared: &Shared,
    docker: &Docker,
    attempt: &AttemptName,
    by_signal: bool,
) -> Result<(), ExecutorError> {
    if by_signal {
        let at = shared.now();
        kill(shared, docker, attempt, SIGSTOP).await?;
        noted(shared, attempt, Some(at)).await?;
        return tell(shared, attempt, AttemptState::Suspended);
    }
    match shared.engine.answer(docker.pause_container(attempt.as_str())).await {
        Err(error) if error.says("already paused") => Ok(()),
        Err(error) if error.says("not running") || error.is_missing() => Err(Shared::unknown(attempt)),
        done => done.map_err(|error| shared.failed(error)),
    }
}

async fn resume(
    shared: &Shared,
    docker: &Docker,
    attempt: &AttemptName,
    by_signal: bool,
) -> Result<(), ExecutorError> {
    if by_signal {
        kill(shared, docker, attempt, SIGCONT).await?;
        noted(shared, attempt, None).await?;
        return tell(shared, attempt, AttemptState::Running);
    }
    match shared.engine.answer(docker.unpause_container(attempt.as_str())).await {
        Err(error) if error.says("is not paused") => Ok(()),
        Err(error) if error.says("not running") || error.is_missing() => Err(Shared::unknown(attempt)),
        done => done.map_err(|error| shared.failed(error)),
    }
}

async fn noted(
    shared: &Shared,
    attempt: &AttemptName,
    suspended: Option<berth_executor_api::UtcMs>,
) -> Result<(), ExecutorError> {
    let noted = shared.note(attempt, |note| note.suspended = suspended).await;
    noted.map_err(|error| Shared::refused(format!("the executor's notes cannot be written: {error}")))
}

/// The engine knows nothing of such a suspension, so no event will tell it.
fn tell(shared: &Shared, attempt: &AttemptName, state: AttemptState) -> Result<(), ExecutorError> {
    let last = shared.with(attempt, |entry| entry.last.clone());
    if let Some(last) = last {
        shared.tell(AttemptReport { state, at: shared.now(), message: None, ..last });
    }
    Ok(())
}
