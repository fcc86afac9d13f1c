//! Processes beside a job's own.

use berth_executor_api::Executor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Berth, LONG};

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_process_beside_a_job_is_spoken_with_and_its_code_known() {
    let berth = Berth::new().await;
    let job = berth.sh(LONG).await;
    berth.running(&job).await;
    let argv = words(&["/bin/sh", "-c", "read line; echo \"heard $line as $(id -u)\"; exit 7"]);
    let mut session = berth.executor().exec(&job.attempt, &argv, false).await.unwrap();
    session.input.write_all(b"a word\n").await.unwrap();
    session.input.flush().await.unwrap();
    let mut said = String::new();
    session.output.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "heard a word as 1234\n");
    assert_eq!(session.exit.await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn with_a_terminal_both_ways_go_through_it() {
    let berth = Berth::new().await;
    let job = berth.sh(LONG).await;
    berth.running(&job).await;
    let argv =
        words(&["/bin/sh", "-c", "test -t 0 && test -t 1 && echo yes; read line; echo \"<$line>\" >&2"]);
    let mut session = berth.executor().exec(&job.attempt, &argv, true).await.unwrap();
    session.input.write_all(b"typed\n").await.unwrap();
    session.input.flush().await.unwrap();
    let mut said = String::new();
    session.output.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("yes\r\n") && said.contains("<typed>\r\n"), "{said:?}");
    assert_eq!(session.exit.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_program_that_is_not_there_is_told_by_its_code() {
    let berth = Berth::new().await;
    let job = berth.sh(LONG).await;
    berth.running(&job).await;
    let session = berth.executor().exec(&job.attempt, &words(&["/no/such"]), false).await;
    let code = match session {
        Ok(session) => session.exit.await.unwrap(),
        Err(error) => panic!("{error}"),
    };
    assert!(matches!(code, 126 | 127), "{code}");
}
