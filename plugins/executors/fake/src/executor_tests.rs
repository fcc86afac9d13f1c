//! The executor as the core uses it, in virtual time.

use std::time::Duration;

use berth_executor_api::{AttemptState, Stream};
use futures::FutureExt;

use super::*;
use crate::cluster::tests::{launch_of, spec_of};

fn launch(job: u64, argv: &[&str]) -> Launch {
    launch_of(job, spec_of(argv))
}

fn executor() -> FakeExecutor {
    FakeExecutor::new(FakeConfig { count_runs: true, ..FakeConfig::default() }).unwrap()
}

async fn next_state(reports: &mut (impl futures::Stream<Item = Report> + Unpin)) -> AttemptState {
    match tokio::time::timeout(Duration::from_secs(60), reports.next()).await {
        Ok(Some(Report::Attempt(report))) => report.state,
        other => panic!("no report of an attempt: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn reports_come_when_their_time_has_come() {
    let executor = executor();
    let mut reports = executor.reports();
    executor.launch(&[launch(1, &["sleep", "2"]), launch(2, &["sleep", "1"])]).await.unwrap();
    let begun = tokio::time::Instant::now();
    for _ in 0..2 {
        assert_eq!(next_state(&mut reports).await, AttemptState::Running);
    }
    for seconds in [1, 2] {
        assert!(matches!(next_state(&mut reports).await, AttemptState::Exited(exit) if exit.code == Some(0)));
        assert_eq!(begun.elapsed().as_secs(), seconds);
    }
    assert!(reports.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_lost_while_the_launch_is_done() {
    let executor = executor();
    let one = launch(1, &["fake", "lose-reply", "run-ms=1000"]);
    let lost = executor.launch(std::slice::from_ref(&one)).await;
    assert!(matches!(lost, Err(ExecutorError::Unreachable { .. })), "{lost:?}");
    assert!(matches!(
        &executor.reconcile(std::slice::from_ref(&one.attempt)).await.unwrap()[..],
        [Truth::Known(_)]
    ));
    assert_eq!(executor.launch(std::slice::from_ref(&one)).await.unwrap(), [Launched::Taken]);
    assert_eq!(executor.control_handle().runs(&one.attempt).unwrap().launched, 1);
}

#[tokio::test(start_paused = true)]
async fn away_says_nothing_false_and_back_tells_the_truth() {
    let executor = executor();
    let control = executor.control_handle();
    let mut reports = executor.reports();
    let one = launch(1, &["sleep", "1"]);
    executor.launch(std::slice::from_ref(&one)).await.unwrap();
    assert_eq!(next_state(&mut reports).await, AttemptState::Running);
    control.away("the cable is out");
    assert_eq!(reports.next().await, Some(Report::Away("the cable is out".into())));
    let error = executor.reconcile(std::slice::from_ref(&one.attempt)).await.unwrap_err();
    assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    control.back();
    // The end was not reported while away.
    assert_eq!(reports.next().await, Some(Report::Back));
    let truth = executor.reconcile(std::slice::from_ref(&one.attempt)).await.unwrap();
    assert!(matches!(&truth[..], [Truth::Known(report)] if matches!(report.state, AttemptState::Exited(_))));
}

#[tokio::test(start_paused = true)]
async fn frozen_calls_wait_until_thawed() {
    let executor = executor();
    let control = executor.control_handle();
    control.freeze();
    let asked = tokio::time::timeout(Duration::from_secs(60), executor.capacity()).await;
    assert!(asked.is_err());
    control.thaw();
    assert_eq!(executor.capacity().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_followed_log_ends_with_the_attempt() {
    let executor = executor();
    let one = launch(1, &["fake", "run-ms=500", "output=first ", "last-output=last"]);
    executor.launch(std::slice::from_ref(&one)).await.unwrap();
    let read = async |tail_bytes, follow| {
        let query = LogQuery { stream: Stream::Stdout, tail_bytes, follow, since: None };
        let log = executor.logs(&one.attempt, query).await.unwrap();
        let bytes = log.map(Result::unwrap).concat().await;
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(read(None, false).await, "first ");
    assert_eq!(read(Some(2), true).await, "t last");
    assert_eq!(read(Some(4), false).await, "last");
}

#[tokio::test(start_paused = true)]
async fn what_it_claims_not_to_offer_is_unsupported() {
    let without = vec![Lack::Suspend, Lack::Signal, Lack::Logs, Lack::Stats];
    let executor = FakeExecutor::new(FakeConfig { without, ..FakeConfig::default() }).unwrap();
    let one = launch(1, &["sleep", "1"]);
    executor.launch(std::slice::from_ref(&one)).await.unwrap();
    let query = LogQuery { stream: Stream::Stdout, tail_bytes: None, follow: false, since: None };
    let answers = [
        executor.control(&one.attempt, Action::Suspend).await.err(),
        executor.control(&one.attempt, Action::Signal(10)).await.err(),
        executor.logs(&one.attempt, query).await.err(),
        executor.stats(&one.attempt).await.err(),
    ];
    for answer in answers {
        assert!(matches!(answer, Some(ExecutorError::Unsupported { .. })), "{answer:?}");
    }
}
