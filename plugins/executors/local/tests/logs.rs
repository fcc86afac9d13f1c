//! Output while it is written, and a lot of it.

mod support;

use std::fs;

use berth_executor_api::{Action, Executor, ExecutorError, LogQuery, Stream};
use futures::StreamExt;

use crate::support::{ALL, Site, eventually};

const FOLLOW: LogQuery = LogQuery { stream: Stream::Stdout, tail_bytes: None, follow: true, since: None };

#[tokio::test]
async fn output_is_seen_as_it_is_written() {
    let mut site = Site::new().await;
    let gate = site.path("gate");
    let wait = |name: &str| format!("while ! [ -e {}-{name} ]; do sleep 0.01; done", gate.display());
    let script = format!("echo one; {}; echo two; {}; printf three", wait("a"), wait("b"));
    let attempt = site.launch(&site.shell(1, &script)).await;
    let mut stream = site.executor.logs(&attempt, FOLLOW).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), b"one\n");
    assert_eq!(site.log(&attempt, ALL).await, "one\n");
    fs::write(site.path("gate-a"), "").unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), b"two\n");
    fs::write(site.path("gate-b"), "").unwrap();
    let rest: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert_eq!(rest.concat(), b"three");
    site.end(&attempt).await;
    site.close().await;
}

#[tokio::test]
async fn a_follower_hears_the_end_even_when_the_supervisor_is_killed() {
    let mut site = Site::new().await;
    let attempt = site.launch(&site.shell(1, "echo one; sleep 60")).await;
    site.running(&attempt).await;
    let mut stream = site.executor.logs(&attempt, FOLLOW).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), b"one\n");
    let supervisor = rustix::process::Pid::from_raw(site.supervisor_pid()).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    let end = Action::Terminate { grace: std::time::Duration::ZERO };
    eventually("another supervisor ends it", || async { site.executor.control(&attempt, end).await.is_ok() })
        .await;
    assert!(stream.next().await.is_none());
    site.close().await;
}

#[tokio::test]
async fn a_lot_of_output_is_read_from_its_end_at_once() {
    let mut site = Site::new().await;
    let launch = site.shell(1, "head -c 300000000 /dev/zero; echo the end");
    assert_eq!(site.run(&launch).await.code, Some(0));
    let tail = LogQuery { tail_bytes: Some(8), ..FOLLOW };
    assert_eq!(site.log(&launch.attempt, tail).await, "the end\n");
    let mut stream = site.executor.logs(&launch.attempt, ALL).await.unwrap();
    let (mut bytes, mut longest) = (0, 0);
    while let Some(piece) = stream.next().await {
        let piece = piece.unwrap();
        bytes += piece.len();
        longest = longest.max(piece.len());
    }
    assert_eq!(bytes, 300_000_008);
    assert!(longest <= 1 << 20, "in pieces: {longest}");
    site.close().await;
}

#[tokio::test]
async fn there_are_no_logs_of_what_is_not_known() {
    let mut site = Site::new().await;
    let launch = site.shell(1, "true");
    let unknown = site.executor.logs(&launch.attempt, ALL).await.err().unwrap();
    assert!(matches!(unknown, ExecutorError::UnknownAttempt { .. }), "{unknown}");
    assert_eq!(site.run(&launch).await.code, Some(0));
    assert_eq!(site.log(&launch.attempt, FOLLOW).await, "");
    fs::remove_file(&launch.stdout).unwrap();
    assert_eq!(site.log(&launch.attempt, ALL).await, "", "what its user has removed is empty");
    site.close().await;
}
