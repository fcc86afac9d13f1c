//! A back end that cannot be reached.

use std::time::Duration;

use super::{
    Sample,
    report::{Miss, ensure},
    stage::{Checked, Stage, same},
};
use crate::{AttemptState, ExecutorError, Launched, Truth};

const LONG: Sample = Sample::Run { millis: 300_000, code: 0 };
const WAYS: &str = "cutting off the back end";

pub(super) async fn cut_off_says_nothing_false(stage: &Stage<'_>) -> Checked {
    let launch = stage.start_and_see(&LONG).await?;
    stage.needs(stage.fixture.cut().await, WAYS)?;
    stage.waits_for("answers while it is cut off");
    let never = stage.launch_of(&LONG);
    let asked = [launch.attempt.clone(), never.attempt.clone()];
    match stage.executor().reconcile(&asked).await {
        Err(ExecutorError::Unreachable { .. }) => {}
        Err(error) => ensure!(false, "while cut off, reconcile says: {error}"),
        Ok(truths) => {
            let careful = truths.iter().all(|truth| matches!(truth, Truth::Uncertain { .. }));
            ensure!(careful, "while cut off, reconcile claims to know {truths:?}");
        }
    }
    // It may get there late, as a request that was on its way; then it is ended with the rest.
    stage.will_be_tidied(&never);
    match stage.executor().launch(std::slice::from_ref(&never)).await {
        Err(ExecutorError::Unreachable { .. }) => {}
        other => ensure!(false, "while cut off, a launch gives {other:?}"),
    }
    let ended = stage.told(&launch.attempt).iter().any(|report| {
        matches!(report.state, AttemptState::Exited(_) | AttemptState::NoRoom | AttemptState::NodeGone)
    });
    ensure!(!ended, "while cut off, it reports the end of what runs");
    stage.fixture.mend().await;
    reached(stage).await?;
    same("the state after mending", &stage.state(&launch).await?, &AttemptState::Running)
}

pub(super) async fn the_truth_is_known_after_mending(stage: &Stage<'_>) -> Checked {
    let launch = stage.start_and_see(&Sample::Run { millis: 700, code: 6 }).await?;
    stage.needs(stage.fixture.cut().await, WAYS)?;
    // Longer than it runs.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stage.fixture.mend().await;
    reached(stage).await?;
    let exit = stage.exit_by_truth(&launch).await?;
    same("the exit code of what ended while cut off", &exit.code, &Some(6))?;
    let answers = stage.launch(std::slice::from_ref(&launch)).await?;
    same("the answer to launching it again", &answers, &vec![Launched::Taken])?;
    same("the number of runs", &stage.fixture.runs(&launch).await, &1)
}

/// Asks until the back end answers again.
async fn reached(stage: &Stage<'_>) -> Result<(), Miss> {
    stage.waits_for("the back end to be reachable again");
    loop {
        match stage.executor().capacity().await {
            Ok(_) => return Ok(()),
            Err(ExecutorError::Unreachable { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(error.into()),
        }
    }
}
