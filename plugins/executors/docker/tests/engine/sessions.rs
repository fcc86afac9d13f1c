//! Processes beside a job's own.

use berth_executor_api::{Executor, TerminalSize};
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
async fn a_terminal_has_the_size_that_it_is_given() {
    let berth = Berth::new().await;
    let job = berth.sh(LONG).await;
    berth.running(&job).await;
    let wait_for =
        |size: &str| format!("until [ \"$(stty size 2>&1)\" = '{size}' ]; do sleep 0.1; done; echo {size};");
    let argv = words(&["/bin/sh", "-c", &(wait_for("24 80") + &wait_for("50 132"))]);
    let session = berth.executor().exec(&job.attempt, &argv, true).await.unwrap();
    let (mut output, terminal) = (session.output, session.terminal.unwrap());
    let mut said = String::new();
    for (columns, rows, shown) in [(80, 24, "24 80\r\n"), (132, 50, "50 132\r\n")] {
        terminal.resize(TerminalSize { columns, rows }).await.unwrap();
        let mut bytes = vec![0; shown.len()];
        output.read_exact(&mut bytes).await.unwrap();
        said += &String::from_utf8(bytes).unwrap();
    }
    assert_eq!(said, "24 80\r\n50 132\r\n");
    assert_eq!(session.exit.await.unwrap(), 0);
    let without = berth.executor().exec(&job.attempt, &words(&["/bin/true"]), false).await.unwrap();
    assert!(without.terminal.is_none());
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
