//! What attempts are asked to do.

use std::time::Duration;

use super::{
    Sample,
    report::ensure,
    stage::{Checked, Stage, by_signal, same},
};
use crate::{Action, AttemptState, Truth};

const LONG: Sample = Sample::Run { millis: 300_000, code: 0 };
const SIGUSR1: i32 = 10;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

fn terminate(grace_millis: u64) -> Action {
    Action::Terminate { grace: Duration::from_millis(grace_millis) }
}

pub(super) async fn a_job_ends_when_asked_to(stage: &Stage<'_>) -> Checked {
    // The trap tells the kind request from the kill.
    let launch = stage.start_and_see(&Sample::Trap { signal: SIGTERM, code: 42 }).await?;
    stage.control(&launch, terminate(30_000)).await?;
    let exit = stage.end(&launch).await;
    same("the code it exits with when asked to end", &exit.code, &Some(42))?;
    ensure!(!exit.before_stop, "it ended because it was asked to, and the report says {exit:?}");
    Ok(())
}

pub(super) async fn a_deaf_job_is_killed_after_the_grace(stage: &Stage<'_>) -> Checked {
    let launch = stage.start_and_see(&Sample::Deaf).await?;
    stage.control(&launch, terminate(500)).await?;
    let exit = stage.end(&launch).await;
    ensure!(by_signal(&exit, &[SIGKILL]), "only a kill can have ended it, and the report says {exit:?}");
    ensure!(!exit.before_stop, "it ended after the stop, and the report says {exit:?}");
    Ok(())
}

pub(super) async fn no_grace_kills_at_once(stage: &Stage<'_>) -> Checked {
    let launch = stage.start_and_see(&Sample::Deaf).await?;
    stage.control(&launch, terminate(0)).await?;
    let exit = stage.end(&launch).await;
    ensure!(by_signal(&exit, &[SIGKILL]), "it was killed, and the report says {exit:?}");
    Ok(())
}

pub(super) async fn ending_what_is_over_or_unknown_is_no_error(stage: &Stage<'_>) -> Checked {
    let over = stage.start(&Sample::Run { millis: 0, code: 3 }).await?;
    stage.end(&over).await;
    stage.control(&over, terminate(0)).await?;
    stage.control(&stage.launch_of(&LONG), terminate(0)).await
}

pub(super) async fn an_end_before_the_stop_says_so(stage: &Stage<'_>) -> Checked {
    let launch = stage.start(&Sample::Run { millis: 0, code: 3 }).await?;
    let exit = stage.end(&launch).await;
    ensure!(exit.before_stop, "nobody has stopped it, and the report says {exit:?}");
    stage.control(&launch, terminate(0)).await?;
    let exit = stage.exit_by_truth(&launch).await?;
    same("its exit code after a stop that came too late", &exit.code, &Some(3))?;
    ensure!(exit.before_stop, "the stop came too late, and the truth is {exit:?}");
    Ok(())
}

pub(super) async fn suspended_stands_still_until_resumed(stage: &Stage<'_>) -> Checked {
    stage.needs(stage.description.capabilities.suspend, "suspend")?;
    let launch = stage.start_and_see(&Sample::Run { millis: 1000, code: 7 }).await?;
    stage.control(&launch, Action::Suspend).await?;
    stage.until(&launch, "suspended", |state| *state == AttemptState::Suspended).await?;
    // Longer than it would have run.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    same("its state", &stage.state(&launch).await?, &AttemptState::Suspended)?;
    stage.control(&launch, Action::Resume).await?;
    let exit = stage.end(&launch).await;
    same("its exit code", &exit.code, &Some(7))?;
    let told =
        |wanted: &AttemptState| stage.told(&launch.attempt).iter().any(|report| report.state == *wanted);
    ensure!(told(&AttemptState::Suspended), "no report says that it was suspended");
    Ok(())
}

pub(super) async fn a_suspended_job_can_be_ended(stage: &Stage<'_>) -> Checked {
    stage.needs(stage.description.capabilities.suspend, "suspend")?;
    let launch = stage.start_and_see(&LONG).await?;
    stage.control(&launch, Action::Suspend).await?;
    stage.until(&launch, "suspended", |state| *state == AttemptState::Suspended).await?;
    stage.control(&launch, terminate(500)).await?;
    let exit = stage.end(&launch).await;
    ensure!(by_signal(&exit, &[SIGTERM, SIGKILL]), "a signal ended it, and the report says {exit:?}");
    Ok(())
}

pub(super) async fn a_signal_arrives(stage: &Stage<'_>) -> Checked {
    stage.needs(stage.description.capabilities.signal, "signal")?;
    let launch = stage.start_and_see(&Sample::Trap { signal: SIGUSR1, code: 42 }).await?;
    stage.control(&launch, Action::Signal(SIGUSR1)).await?;
    let exit = stage.end(&launch).await;
    same("the code it exits with at this signal", &exit.code, &Some(42))?;
    let unknown = stage.launch_of(&LONG);
    let error = stage.executor().control(&unknown.attempt, Action::Signal(SIGUSR1)).await.err();
    let right = matches!(error, Some(crate::ExecutorError::UnknownAttempt { .. }));
    ensure!(right, "a signal to what was never launched gives {error:?}");
    same("the truth about it", &stage.truth(&unknown.attempt).await?, &Truth::Absent)
}
