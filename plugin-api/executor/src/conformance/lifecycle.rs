//! From launch to end.

use std::time::Duration;

use super::{
    Sample,
    report::{Miss, ensure},
    stage::{Checked, Stage, by_signal, same},
};
use crate::{AttemptState, JobId, Launch, Launched, Stream, Task};

pub(super) async fn exit_codes_are_told(stage: &Stage<'_>) -> Checked {
    for code in [0, 3] {
        let launch = stage.start(&Sample::Run { millis: 0, code }).await?;
        let exit = stage.end(&launch).await;
        same("the reported exit code", &exit.code, &Some(code))?;
        same("the reported signal", &exit.signal, &None)?;
        let exit = stage.exit_by_truth(&launch).await?;
        same("the exit code by reconcile", &exit.code, &Some(code))?;
    }
    Ok(())
}

pub(super) async fn reports_come_in_order(stage: &Stage<'_>) -> Checked {
    let launch = stage.start(&Sample::Run { millis: 300, code: 0 }).await?;
    stage.end(&launch).await;
    let reports = stage.told(&launch.attempt);
    let rank = |state: &AttemptState| match state {
        AttemptState::Starting => 0,
        AttemptState::Running => 1,
        AttemptState::Suspended | AttemptState::NoRoom | AttemptState::NodeGone => 9,
        AttemptState::Exited(_) => 2,
    };
    let ranks: Vec<_> = reports.iter().map(|report| rank(&report.state)).collect();
    ensure!(ranks.contains(&1), "it ran, and no report says so: {ranks:?}");
    ensure!(ranks.is_sorted() && !ranks.contains(&9), "the reports are out of order: {reports:?}");
    let times: Vec<_> = reports.iter().map(|report| report.at).collect();
    ensure!(times.is_sorted(), "the times of the reports run backwards: {times:?}");
    Ok(())
}

pub(super) async fn a_signal_is_told(stage: &Stage<'_>) -> Checked {
    let launch = stage.start(&Sample::Killed { signal: 9 }).await?;
    let exit = stage.end(&launch).await;
    ensure!(by_signal(&exit, &[9]), "it ended by signal 9, and the report says {exit:?}");
    Ok(())
}

pub(super) async fn a_command_that_is_not_there_is_told(stage: &Stage<'_>) -> Checked {
    let launch = stage.launch_of(&Sample::NotFound);
    match stage.launch(std::slice::from_ref(&launch)).await?.as_slice() {
        [Launched::Refused { .. }] => return Ok(()),
        [Launched::Taken] => {}
        other => return Err(Miss::Failed(format!("the launch was answered with {other:?}"))),
    }
    let exit = stage.end(&launch).await;
    let told = exit.could_not_launch.is_some() || matches!(exit.code, Some(126 | 127));
    ensure!(told, "there is no such program, and the report says {exit:?}");
    Ok(())
}

pub(super) async fn launched_twice_runs_once(stage: &Stage<'_>) -> Checked {
    let launch = stage.start_and_see(&Sample::Run { millis: 300, code: 3 }).await?;
    stage.start_this(&launch).await?;
    let exit = stage.end(&launch).await;
    same("the exit code", &exit.code, &Some(3))?;
    // Also when it is over, it exists until it is removed.
    stage.start_this(&launch).await?;
    let exit = stage.exit_by_truth(&launch).await?;
    same("the exit code after the third launch", &exit.code, &Some(3))?;
    same("the number of runs", &stage.fixture.runs(&launch).await, &1)
}

pub(super) async fn a_batch_is_answered_in_order(stage: &Stage<'_>) -> Checked {
    let code_of = |place: usize| i32::try_from(place % 7).unwrap_or(0);
    let mut batch: Vec<_> =
        (0..50).map(|place| stage.launch_of(&Sample::Run { millis: 0, code: code_of(place) })).collect();
    let mut spoilt = None;
    if let Some(launch) = batch.get_mut(24)
        && stage.fixture.spoil(launch)
    {
        spoilt = Some(launch.attempt.clone());
    }
    let answers = stage.launch(&batch).await?;
    same("the number of answers", &answers.len(), &batch.len())?;
    for (place, (launch, answer)) in batch.iter().zip(&answers).enumerate() {
        if spoilt.as_ref() == Some(&launch.attempt) {
            ensure!(matches!(answer, Launched::Refused { .. }), "answer {place} is {answer:?}, not refused");
            continue;
        }
        ensure!(*answer == Launched::Taken, "answer {place} is {answer:?}, not taken");
        let exit = stage.end(launch).await;
        ensure!(exit.code == Some(code_of(place)), "exit code {place} is to be {}: {exit:?}", code_of(place));
    }
    Ok(())
}

pub(super) async fn array_tasks_know_their_place(stage: &Stage<'_>) -> Checked {
    let array = JobId(9000);
    let tasks: Vec<_> = (30..=36).map(|index| task(stage, array, index)).collect();
    for launch in &tasks {
        stage.start_this(launch).await?;
    }
    for (launch, index) in tasks.iter().zip(30..=36) {
        let exit = stage.end(launch).await;
        same("the exit code", &exit.code, &Some(0))?;
        let environment = stage.output(launch, Stream::Stdout).await?;
        for line in wanted_environment(launch, array, index) {
            ensure!(
                environment.lines().any(|got| got == line),
                "task {index} has no variable {line}; its environment is:\n{environment}"
            );
        }
    }
    Ok(())
}

fn task(stage: &Stage<'_>, array: JobId, index: u64) -> Launch {
    let mut launch = stage.launch_with(&Sample::Environment, |spec| {
        spec.env.insert("MINE".into(), "own words".into());
        spec.env.insert("GODOCKER_JID".into(), "not for users".into());
    });
    launch.task = Some(Task { array, index, first: 30, last: 36, step: 1 });
    launch
}

fn wanted_environment(launch: &Launch, array: JobId, index: u64) -> Vec<String> {
    let mut wanted = vec![
        "MINE=own words".to_owned(),
        format!("BERTH_JOB_ID={}", launch.job),
        format!("GODOCKER_JID={}", launch.job),
        format!("BERTH_ARRAY_ID={array}"),
        "BERTH_ATTEMPT=1".to_owned(),
    ];
    for prefix in ["BERTH_ARRAY_TASK", "GODOCKER_TASK", "GOGOCKER_TASK"] {
        for (part, value) in [("ID", index), ("FIRST", 30), ("LAST", 36), ("STEP", 1)] {
            wanted.push(format!("{prefix}_{part}={value}"));
        }
    }
    wanted
}

pub(super) async fn the_time_limit_ends_a_job(stage: &Stage<'_>) -> Checked {
    stage.needs(stage.description.capabilities.time_limit, "time limit")?;
    let sample = Sample::Run { millis: 300_000, code: 0 };
    let launch = stage.launch_with(&sample, |spec| spec.time_limit = Some(Duration::from_secs(1)));
    stage.start_this(&launch).await?;
    let exit = stage.end(&launch).await;
    ensure!(exit.time_limit, "its time limit ended it, and the report says {exit:?}");
    ensure!(exit.code != Some(0), "its time limit ended it, and it is said to have succeeded");
    Ok(())
}
