//! Two-way connections with jobs.

use std::sync::atomic::Ordering;

use berth_api::{AttachedOutput, Piece, TerminalSize};

use crate::running::{Running, job, request};

/// All bytes that come, and the last word.
async fn all(output: &mut AttachedOutput) -> (Vec<u8>, Piece) {
    let mut bytes = Vec::new();
    loop {
        match output.next().await.unwrap() {
            Piece::Bytes(piece) => bytes.extend_from_slice(&piece),
            last => return (bytes, last),
        }
    }
}

#[tokio::test]
async fn bytes_go_both_ways_and_the_exit_code_comes_last() {
    let server = Running::start().await;
    let client = server.client().await;
    client.submit(&job("one")).await.unwrap();
    let (mut input, mut output) = client.exec("1", &["cat".into()], false).await.unwrap();
    let sent: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    for piece in sent.chunks(50_000) {
        assert!(input.send(piece.to_vec()).await);
    }
    assert!(input.end().await);
    let (came, last) = all(&mut output).await;
    assert_eq!((came == sent, last), (true, Piece::Exit(200_000)));
}

#[tokio::test]
async fn the_clients_size_reaches_the_terminal_and_the_last_one_counts() {
    let server = Running::start().await;
    let client = server.client().await;
    client.submit(&job("one")).await.unwrap();
    let (mut input, mut output) = client.exec("1", &["cat".into()], true).await.unwrap();
    let mut sizes = server.backend.sizes.subscribe();
    for columns in [80, 132] {
        assert!(input.resize(TerminalSize { columns, rows: 24 }).await);
    }
    sizes.wait_for(|size| *size == Some(TerminalSize { columns: 132, rows: 24 })).await.unwrap();
    // Bytes that come after it are bytes as before.
    assert!(input.send("still here").await && input.end().await);
    assert_eq!(all(&mut output).await, (b"still here".to_vec(), Piece::Exit(10)));
}

#[tokio::test]
async fn a_port_is_reached_and_closes() {
    let server = Running::start().await;
    let client = server.client().await;
    client.submit(&job("one")).await.unwrap();
    let (mut input, mut output) = client.connect_port("1", 7).await.unwrap();
    assert!(input.send("ping").await);
    assert!(input.end().await);
    assert_eq!(all(&mut output).await, (b"ping".to_vec(), Piece::End));
    let refused = client.connect_port("1", 8).await.err().unwrap();
    assert_eq!(refused.to_string(), "nobody listens on port 8");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_connection() {
    let server = Running::start().await;
    let client = server.client().await;
    client.submit(&job("one")).await.unwrap();
    let session = client.exec("1", &["cat".into()], false).await.unwrap();
    assert_eq!(server.backend.open_streams.load(Ordering::SeqCst), 1);
    drop(session);
    while server.backend.open_streams.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_plain_request_is_told_what_is_spoken_here() {
    let server = Running::start().await;
    server.client().await.submit(&job("one")).await.unwrap();
    for path in ["/v1/jobs/1/exec?argv=%5B%22true%22%5D", "/v1/jobs/1/ports/7"] {
        let words = server.raw(request("GET", path, "", "")).await.refusal(400, "invalid");
        assert!(words.starts_with("this address speaks WebSocket only"), "{words}");
    }
    let words = server.raw(request("GET", "/v1/jobs/1/ports/0", "", "")).await.refusal(400, "invalid");
    assert_eq!(words, "port: a port is a number from 1 to 65535");
}

#[tokio::test]
async fn a_server_that_ends_does_not_wait_for_connections() {
    let server = Running::start().await;
    let client = server.client().await;
    client.submit(&job("one")).await.unwrap();
    let (_input, mut output) = client.exec("1", &["cat".into()], false).await.unwrap();
    server.stop().await;
    let error = output.next().await.unwrap_err().to_string();
    assert!(error.contains("the job itself goes on"), "{error}");
}
