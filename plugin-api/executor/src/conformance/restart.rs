//! Crashes of Berth.

use std::time::Duration;

use super::{
    Sample,
    report::ensure,
    stage::{Checked, Stage, same},
};
use crate::{AttemptState, Truth};

const LONG: Sample = Sample::Run { millis: 300_000, code: 0 };

pub(super) async fn a_running_attempt_is_adopted(stage: &Stage<'_>) -> Checked {
    let launch = stage.start_and_see(&LONG).await?;
    stage.restart(Duration::ZERO).await;
    same("its state after a restart", &stage.state(&launch).await?, &AttemptState::Running)?;
    // Whoever adopts it can also end it.
    let kill = crate::Action::Terminate { grace: Duration::ZERO };
    stage.control(&launch, kill).await?;
    stage.end(&launch).await;
    Ok(())
}

pub(super) async fn launched_again_after_a_restart_runs_once(stage: &Stage<'_>) -> Checked {
    let launch = stage.start_and_see(&LONG).await?;
    stage.restart(Duration::ZERO).await;
    stage.start_this(&launch).await?;
    same("its state", &stage.state(&launch).await?, &AttemptState::Running)?;
    // A second run would need a moment to show.
    tokio::time::sleep(Duration::from_millis(300)).await;
    same("the number of runs", &stage.fixture.runs(&launch).await, &1)
}

pub(super) async fn an_exit_code_is_known_after_a_restart(stage: &Stage<'_>) -> Checked {
    let launch = stage.start_and_see(&Sample::Run { millis: 1500, code: 3 }).await?;
    stage.restart(Duration::ZERO).await;
    let exit = stage.exit_by_truth(&launch).await?;
    same("the exit code by reconcile", &exit.code, &Some(3))?;
    ensure!(exit.before_stop, "nobody has stopped it, and the truth is {exit:?}");
    Ok(())
}

pub(super) async fn what_ended_while_berth_was_away_is_known(stage: &Stage<'_>) -> Checked {
    let killed = stage.start(&Sample::Killed { signal: 9 }).await?;
    let launch = stage.start_and_see(&Sample::Run { millis: 700, code: 5 }).await?;
    stage.restart(Duration::from_millis(1500)).await;
    let exit = stage.exit_by_truth(&launch).await?;
    same("the exit code", &exit.code, &Some(5))?;
    let exit = stage.exit_by_truth(&killed).await?;
    ensure!(super::stage::by_signal(&exit, &[9]), "it ended by signal 9, and the truth is {exit:?}");
    same("the number of runs", &stage.fixture.runs(&launch).await, &1)
}

pub(super) async fn what_was_never_launched_is_absent(stage: &Stage<'_>) -> Checked {
    let [never, there] = [stage.launch_of(&LONG), stage.start_and_see(&LONG).await?];
    for restarted in [false, true] {
        if restarted {
            stage.restart(Duration::ZERO).await;
        }
        same("the truth about what was never launched", &stage.truth(&never.attempt).await?, &Truth::Absent)?;
        let both = [there.attempt.clone(), never.attempt.clone()];
        let truths = stage.executor().reconcile(&both).await?;
        let in_order =
            matches!(&truths[..], [Truth::Known(known), Truth::Absent] if known.attempt == both[0]);
        ensure!(in_order, "asked about one that runs and one that never was, it says {truths:?}");
    }
    Ok(())
}
