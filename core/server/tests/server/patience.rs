//! Slow and many clients.

use std::{sync::atomic::Ordering, time::Duration};

use berth_api::{Client, Target};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::running::{Answer, DEADLINE, Running, eventually, job, request};

#[tokio::test]
async fn a_head_that_does_not_come_costs_the_connection() {
    let server = Running::start_with(|settings| settings.patience.head = Duration::from_millis(100)).await;
    for sent in ["", "GET /v1/in", "GET /v1/info HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("it is closed").ok();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{sent}: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let server = Running::start_with(|settings| settings.patience.body = Duration::from_millis(100)).await;
    let head =
        "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{";
    let mut stream = UnixStream::connect(&server.socket).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let words = Answer::read(&mut stream).await.refusal(408, "invalid");
    assert!(words.contains("too slowly"), "{words}");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_let_go() {
    let mut server = Running::start_with(|settings| {
        settings.patience.reader = Duration::from_millis(100);
        settings.patience.shutdown = Duration::from_secs(3600);
    })
    .await;
    server.backend.add_jobs(50_000);
    let mut stream = UnixStream::connect(&server.socket).await.unwrap();
    stream.write_all(b"GET /v1/jobs?limit=50000 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 16];
    stream.read_exact(&mut first).await.unwrap();
    // The server would wait for this reader for an hour.
    server.shutdown.cancel();
    timeout(DEADLINE, &mut server.task).await.expect("the server ends").unwrap();
}

#[tokio::test]
async fn more_clients_than_may_be_wait_and_are_served_in_turn() {
    let server = Running::start_with(|settings| settings.max_connections = 2).await;
    let held = [
        UnixStream::connect(&server.socket).await.unwrap(),
        UnixStream::connect(&server.socket).await.unwrap(),
    ];
    // The third is not answered while the two are there.
    let mut third = UnixStream::connect(&server.socket).await.unwrap();
    third.write_all(request("GET", "/healthz", "", "").as_bytes()).await.unwrap();
    // The network has a room of its own, and its answer shows that the server is not stuck.
    assert_eq!(server.raw_tcp(request("GET", "/healthz", "", "")).await.status, 200);
    let mut byte = [0];
    let early = timeout(Duration::from_millis(50), third.read(&mut byte)).await;
    assert!(early.is_err(), "it was answered though there was no room");
    drop(held);
    assert_eq!(Answer::read(&mut third).await.status, 200);
}

#[tokio::test]
async fn a_request_under_way_is_finished_at_shutdown() {
    let server = Running::start().await;
    let body = "{\"command\": {\"argv\": [\"true\"]}}";
    let text = request("POST", "/v1/jobs", "Content-Type: application/json\r\n", body);
    let (head, tail) = text.split_at(text.len() - 5);
    let mut stream = UnixStream::connect(&server.socket).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually("it is under way", || server.backend.begun.load(Ordering::SeqCst) == 1).await;
    server.shutdown.cancel();
    stream.write_all(tail.as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 201);
    timeout(DEADLINE, server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_finish_is_cut_at_shutdown() {
    let server =
        Running::start_with(|settings| settings.patience.shutdown = Duration::from_millis(100)).await;
    let mut stream = UnixStream::connect(&server.socket).await.unwrap();
    let head =
        "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually("it is under way", || server.backend.begun.load(Ordering::SeqCst) == 1).await;
    server.shutdown.cancel();
    timeout(DEADLINE, server.task).await.expect("the server ends").unwrap();
    let mut rest = Vec::new();
    assert_eq!(timeout(DEADLINE, stream.read_to_end(&mut rest)).await.unwrap().unwrap_or(0), 0, "{rest:?}");
}

#[tokio::test]
async fn a_dropped_server_lets_its_connections_go() {
    let server = Running::start().await;
    let client = server.client().await;
    let _events = client.events(None).await.unwrap();
    server.task.abort();
    let open = server.backend.open_streams.clone();
    eventually("the stream is let go", || open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_submissions_at_once_all_arrive_once() {
    let server = Running::start().await;
    let client = Client::connect(Target::Unix(server.socket.clone())).await.unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for _ in 0..20 {
                    ids.push(client.submit(&job("x")).await.unwrap().id);
                }
                ids
            })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.extend(task.await.unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=1280).collect::<Vec<_>>());
}
