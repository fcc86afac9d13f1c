//! What the back end keeps, and for how long.

use std::time::Duration;

use super::{
    Sample,
    report::ensure,
    stage::{Checked, Stage, same},
};
use crate::{AttemptState, ExecutorError, Launch, Truth};

const LONG: Sample = Sample::Run { millis: 300_000, code: 0 };

pub(super) async fn what_is_removed_is_absent(stage: &Stage<'_>) -> Checked {
    let launch = stage.start(&Sample::Run { millis: 0, code: 0 }).await?;
    stage.end(&launch).await;
    let never = stage.launch_of(&LONG);
    let both = [launch.attempt.clone(), never.attempt];
    // What is not known, or not any more, is not an error.
    for _ in 0..2 {
        stage.waits_for("the answer to remove");
        stage.executor().remove(&both).await?;
    }
    same("the truth after remove", &stage.truth(&launch.attempt).await?, &Truth::Absent)?;
    stage.restart(Duration::ZERO).await;
    same("the truth after remove and restart", &stage.truth(&launch.attempt).await?, &Truth::Absent)
}

pub(super) async fn what_it_has_is_listed_until_it_is_removed(stage: &Stage<'_>) -> Checked {
    let over = stage.start(&Sample::Run { millis: 0, code: 0 }).await?;
    stage.end(&over).await;
    let running = stage.start_and_see(&LONG).await?;
    let has = async |launch: &Launch| {
        stage.waits_for("the list of attempts");
        Ok::<_, ExecutorError>(stage.executor().attempts().await?.contains(&launch.attempt))
    };
    ensure!(has(&over).await?, "an attempt that has ended is not listed");
    ensure!(has(&running).await?, "an attempt that runs is not listed");
    stage.restart(Duration::ZERO).await;
    ensure!(has(&over).await?, "after a restart an attempt that has ended is not listed");
    stage.executor().remove(std::slice::from_ref(&over.attempt)).await?;
    ensure!(!has(&over).await?, "an attempt that was removed is still listed");
    Ok(())
}

pub(super) async fn what_runs_is_not_removed(stage: &Stage<'_>) -> Checked {
    let launch = stage.start_and_see(&LONG).await?;
    stage.executor().remove(std::slice::from_ref(&launch.attempt)).await?;
    same("its state after remove", &stage.state(&launch).await?, &AttemptState::Running)
}

pub(super) async fn a_clean_up_leaves_nothing(stage: &Stage<'_>) -> Checked {
    let over = stage.start(&Sample::Run { millis: 0, code: 0 }).await?;
    stage.end(&over).await;
    let running = stage.start_and_see(&LONG).await?;
    stage.waits_for("the answer to a clean-up");
    let told = stage.executor().cleanup(true).await?;
    let names = |lines: &[String]| lines.iter().any(|line| line.contains(running.attempt.as_str()));
    ensure!(names(&told), "a dry run does not name what runs: {told:?}");
    same("the state after a dry run", &stage.state(&running).await?, &AttemptState::Running)?;
    let done = stage.executor().cleanup(false).await?;
    ensure!(names(&done), "the clean-up does not name what ran: {done:?}");
    for launch in [&over, &running] {
        same("the truth after the clean-up", &stage.truth(&launch.attempt).await?, &Truth::Absent)?;
    }
    same("what is left for another clean-up", &stage.executor().cleanup(true).await?, &Vec::new())
}
