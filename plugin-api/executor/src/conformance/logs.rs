//! What jobs write and use.

use super::{
    Sample,
    report::ensure,
    stage::{Checked, Stage, same},
};
use crate::{ExecutorError, LogQuery, Stream};

const ALL: LogQuery = LogQuery { stream: Stream::Stdout, tail_bytes: None, follow: false, since: None };

pub(super) async fn outputs_are_whole_and_separate(stage: &Stage<'_>) -> Checked {
    stage.needs(stage.description.capabilities.logs, "logs")?;
    let stdout: String = (1..=2000).map(|line| format!("line {line} of what it says\n")).collect();
    let stderr = "what it complains of".to_owned();
    let sample = Sample::Print { stdout: stdout.clone(), stderr: stderr.clone() };
    let launch = stage.start(&sample).await?;
    stage.end(&launch).await;
    let (stdout, stderr) = match stage.description.capabilities.outputs_merged {
        true => (stdout + &stderr, String::new()),
        false => (stdout, stderr),
    };
    let said = stage.log(&launch, ALL).await?;
    ensure!(said == stdout, "its standard output of {} bytes came as {} others", stdout.len(), said.len());
    let complained = stage.log(&launch, LogQuery { stream: Stream::Stderr, ..ALL }).await?;
    same("its standard error", &complained, &stderr)?;
    let unknown = stage.launch_of(&sample);
    let error = stage.executor().logs(&unknown.attempt, ALL).await.err();
    let right = matches!(error, Some(ExecutorError::UnknownAttempt { .. }));
    ensure!(right, "the log of what was never launched gives {error:?}");
    Ok(())
}

pub(super) async fn a_tail_is_the_end(stage: &Stage<'_>) -> Checked {
    stage.needs(stage.description.capabilities.logs, "logs")?;
    let sample = Sample::Print { stdout: "0123456789".into(), stderr: String::new() };
    let launch = stage.start(&sample).await?;
    stage.end(&launch).await;
    for (bytes, tail) in [(4, "6789"), (10, "0123456789"), (1000, "0123456789"), (0, "")] {
        let query = LogQuery { tail_bytes: Some(bytes), ..ALL };
        same(&format!("its tail of {bytes} bytes"), &stage.log(&launch, query).await?, &tail.to_owned())?;
    }
    Ok(())
}

pub(super) async fn following_ends_with_the_job(stage: &Stage<'_>) -> Checked {
    stage.needs(stage.description.capabilities.logs, "logs")?;
    let sample = Sample::PrintTwice { first: "first ".into(), millis: 700, last: "last".into() };
    let launch = stage.start_and_see(&sample).await?;
    let followed = stage.log(&launch, LogQuery { follow: true, ..ALL }).await?;
    same("what came of following", &followed, &"first last".to_owned())?;
    // Following what is over gives all of it and ends.
    stage.end(&launch).await;
    let again = stage.log(&launch, LogQuery { follow: true, ..ALL }).await?;
    same("what came of following after the end", &again, &"first last".to_owned())
}

pub(super) async fn stats_are_told_of_what_runs(stage: &Stage<'_>) -> Checked {
    stage.needs(stage.description.capabilities.stats, "stats")?;
    let launch = stage.start_and_see(&Sample::Run { millis: 300_000, code: 0 }).await?;
    let usage = stage.executor().stats(&launch.attempt).await?;
    ensure!(usage.memory_bytes > 0, "it runs without any memory: {usage:?}");
    let unknown = stage.launch_of(&Sample::Run { millis: 0, code: 0 });
    let error = stage.executor().stats(&unknown.attempt).await.err();
    let right = matches!(error, Some(ExecutorError::UnknownAttempt { .. }));
    ensure!(right, "the usage of what was never launched gives {error:?}");
    Ok(())
}
