//! Streams that go both ways.

use berth_executor_api::{Attempt, AttemptName, Executor, JobId, TerminalSize};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{PATIENCE, load};

fn somebody() -> AttemptName {
    AttemptName::new("kit", JobId(1), Attempt { number: 1, returned: 0 })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_comes_back_whole_and_so_does_the_exit_code() {
    let executor = load(json!({})).await.unwrap();
    let argv = ["a".to_owned(), "b".to_owned()];
    let mut session = executor.exec(&somebody(), &argv, false).await.unwrap();
    assert!(session.terminal.is_none());
    // More than any buffer on the way holds, so that it has to be read while it is written.
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let writing = async {
        session.input.write_all(&sent).await.unwrap();
        session.input.shutdown().await.unwrap();
    };
    let reading = async {
        let mut got = Vec::new();
        session.output.read_to_end(&mut got).await.unwrap();
        got
    };
    let ((), got) = tokio::time::timeout(PATIENCE, async { tokio::join!(writing, reading) }).await.unwrap();
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    assert_eq!(session.exit.await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_input_is_dropped_ends() {
    let executor = load(json!({})).await.unwrap();
    let mut connection = executor.connect(&somebody(), 80).await.unwrap();
    connection.input.write_all(b"hello").await.unwrap();
    drop(connection.input);
    let mut got = String::new();
    tokio::time::timeout(PATIENCE, connection.output.read_to_string(&mut got)).await.unwrap().unwrap();
    assert_eq!(got, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn terminals_are_resized_and_say_when_they_cannot_be() {
    let executor = load(json!({})).await.unwrap();
    let session = executor.exec(&somebody(), &[], true).await.unwrap();
    let terminal = session.terminal.unwrap();
    terminal.resize(TerminalSize { columns: 80, rows: 24 }).await.unwrap();
    let refused = terminal.resize(TerminalSize { columns: 101, rows: 24 }).await.err().unwrap();
    assert!(refused.to_string().contains("too wide"), "{refused}");
}
