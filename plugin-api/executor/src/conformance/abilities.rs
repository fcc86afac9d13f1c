//! What it says of itself.

use std::collections::BTreeSet;

use super::{
    Sample,
    report::ensure,
    stage::{Checked, Stage, same},
};
use crate::{Action, ExecutorError, LogQuery, Stream};

const LONG: Sample = Sample::Run { millis: 300_000, code: 0 };
/// Harmless to what is not suspended.
const SIGCONT: i32 = 18;

pub(super) async fn capacity_is_there_and_stays(stage: &Stage<'_>) -> Checked {
    let names = async || -> Result<BTreeSet<String>, ExecutorError> {
        let nodes = stage.executor().capacity().await?;
        Ok(nodes.into_iter().filter(|node| node.total.cpu_millis > 0).map(|node| node.name).collect())
    };
    let nodes = stage.executor().capacity().await?;
    let first = names().await?;
    ensure!(!first.is_empty(), "no node has any CPU");
    same("the number of different names of nodes with CPU", &first.len(), &nodes.len())?;
    same("the second answer", &names().await?, &first)
}

pub(super) async fn describe_is_honest(stage: &Stage<'_>) -> Checked {
    let launch = stage.start_and_see(&LONG).await?;
    let (executor, attempt) = (stage.executor(), &launch.attempt);
    let can = &stage.description.capabilities;
    let query = LogQuery { stream: Stream::Stdout, tail_bytes: None, follow: false, since: None };
    let argv = ["true".to_owned()];
    stage.waits_for("answers to all that may be asked");
    let claims = [
        ("suspend", can.suspend, executor.control(attempt, Action::Suspend).await.err()),
        ("resume", can.suspend, executor.control(attempt, Action::Resume).await.err()),
        ("signal", can.signal, executor.control(attempt, Action::Signal(SIGCONT)).await.err()),
        ("logs", can.logs, executor.logs(attempt, query).await.err()),
        ("stats", can.stats, executor.stats(attempt).await.err()),
        ("exec", can.exec, executor.exec(attempt, &argv, false).await.err()),
    ];
    for (what, offered, error) in claims {
        match (offered, error) {
            (true, None) | (false, Some(ExecutorError::Unsupported { .. })) => {}
            (true, Some(error)) => ensure!(false, "it offers {what}, and answers {error}"),
            (false, None) => ensure!(false, "it does not offer {what}, and does it"),
            (false, Some(error)) => ensure!(false, "it does not offer {what}, and answers {error}"),
        }
    }
    same("its second description", &executor.describe(), &stage.description)
}
