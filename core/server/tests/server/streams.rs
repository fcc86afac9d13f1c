//! Streams: events, logs, and how they end.

use std::{sync::atomic::Ordering, time::Duration};

use berth_api::{ApiStream, ClientError, EventRow, LogPart};
use futures::{StreamExt, TryStreamExt};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};

use crate::running::{DEADLINE, Running, eventually, job};

async fn next(events: &mut ApiStream<EventRow>) -> Result<EventRow, ClientError> {
    timeout(DEADLINE, events.next()).await.expect("something comes").expect("it goes on")
}

/// Reads lines of an event stream.
async fn listen(server: &Running, headers: &str) -> tokio::io::Lines<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(&server.socket).await.unwrap();
    let head = format!("GET /v1/events HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next_line().await.unwrap().unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK");
    lines
}

/// The next line that begins like this.
async fn line(lines: &mut tokio::io::Lines<BufReader<UnixStream>>, begin: &str) -> String {
    let find = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it goes on");
            if line.starts_with(begin) {
                return line;
            }
        }
    };
    timeout(DEADLINE, find).await.unwrap_or_else(|_| panic!("no line begins with {begin}"))
}

#[tokio::test]
async fn whatever_happens_after_the_call_is_in_the_stream() {
    let server = Running::start().await;
    let client = server.client().await;
    client.submit(&job("before")).await.unwrap();
    let mut events = client.events(None).await.unwrap();
    client.submit(&job("after")).await.unwrap();
    let event = next(&mut events).await.unwrap();
    assert_eq!((event.seq, event.name.as_str(), event.state.as_str()), (2, "after", "pending"));
    let mut all = client.events(Some(0)).await.unwrap();
    assert_eq!(next(&mut all).await.unwrap().name, "before");
    assert_eq!(next(&mut all).await.unwrap().seq, 2);
}

#[tokio::test]
async fn events_are_resumed_behind_the_last_one_seen() {
    let server = Running::start().await;
    server.backend.fill_events(5);
    let mut lines = listen(&server, "Last-Event-ID: 3\r\n").await;
    assert_eq!(line(&mut lines, "content-type").await, "content-type: text/event-stream");
    assert_eq!(line(&mut lines, "id:").await, "id: 4");
    let data = line(&mut lines, "data:").await;
    let row: EventRow = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(row.seq, 4);
    assert_eq!(line(&mut lines, "id:").await, "id: 5");
    let error = server.client().await.events(Some(99)).await.err().unwrap();
    assert!(error.to_string().contains("no such event"), "{error}");
}

#[tokio::test]
async fn a_quiet_stream_shows_that_it_lives() {
    let server =
        Running::start_with(|settings| settings.patience.heartbeat = Duration::from_millis(20)).await;
    let mut lines = listen(&server, "").await;
    assert_eq!(line(&mut lines, ":").await, ":");
    assert_eq!(line(&mut lines, ":").await, ":");
}

#[tokio::test]
async fn the_client_goes_on_where_it_was_when_the_server_comes_back() {
    let server = Running::start().await;
    let client = server.client().await;
    let mut events = client.events(Some(0)).await.unwrap();
    server.backend.fill_events(2);
    assert_eq!(next(&mut events).await.unwrap().seq, 1);
    assert_eq!(next(&mut events).await.unwrap().seq, 2);
    let (folder, backend) = server.stop().await;
    let waiting = tokio::spawn(async move {
        let event = next(&mut events).await;
        (event, events)
    });
    backend.fill_events(2);
    let _server = Running::start_on(folder, backend, |_| {}).await;
    let (event, mut events) = waiting.await.unwrap();
    assert_eq!(event.unwrap().seq, 3);
    assert_eq!(next(&mut events).await.unwrap().seq, 4);
    // The client's other connections are made anew, too.
    client.info().await.unwrap();
}

#[tokio::test]
async fn a_stream_that_broke_before_anything_was_seen_says_so() {
    let server = Running::start().await;
    let mut events = server.client().await.events(None).await.unwrap();
    server.stop().await;
    let error = next(&mut events).await.unwrap_err();
    assert!(matches!(error, ClientError::Broken(_)), "{error}");
    assert!(events.next().await.is_none(), "an error is the last item");
}

#[tokio::test]
async fn a_reader_that_does_not_keep_up_is_dropped() {
    let server = Running::start_with(|settings| settings.patience.events = Duration::from_millis(100)).await;
    server.backend.fill_events(100_000);
    let lines = listen(&server, "Last-Event-ID: 0\r\n").await;
    let (open, taken) = (server.backend.open_streams.clone(), server.backend.events_taken.clone());
    eventually("the stream is dropped", || open.load(Ordering::SeqCst) == 0).await;
    let taken = taken.load(Ordering::SeqCst);
    assert!(taken < 20_000, "{taken} events were taken for a reader that takes none");
    drop(lines);
}

#[tokio::test]
async fn streams_end_when_their_reader_goes() {
    let server = Running::start().await;
    let client = server.client().await;
    client.submit(&job("one")).await.unwrap();
    let open = server.backend.open_streams.clone();
    let follow = LogPart { follow: true, ..LogPart::default() };
    let mut log = client.logs("1", &follow).await.unwrap();
    assert_eq!(log.next().await.unwrap().unwrap(), "stdout of 1\n");
    let events = client.events(None).await.unwrap();
    assert_eq!(open.load(Ordering::SeqCst), 2);
    drop((log, events));
    eventually("both are let go", || open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn parts_of_a_log_are_given_as_asked() {
    let server = Running::start().await;
    let client = server.client().await;
    client.submit(&job("one")).await.unwrap();
    let part = LogPart { stream: Some("stderr".into()), tail_bytes: Some(5), follow: false, since: None };
    let log: Vec<_> = client.logs("1", &part).await.unwrap().try_collect().await.unwrap();
    assert_eq!(log.concat(), b"of 1\n");
}

#[tokio::test]
async fn shutdown_ends_streams_and_nobody_takes_a_cut_log_for_a_whole_one() {
    let server = Running::start().await;
    let client = server.client().await;
    client.submit(&job("one")).await.unwrap();
    let follow = LogPart { follow: true, ..LogPart::default() };
    let mut log = client.logs("1", &follow).await.unwrap();
    assert!(log.next().await.unwrap().is_ok());
    let socket = server.socket.clone();
    server.stop().await;
    let error = timeout(DEADLINE, log.next()).await.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("broke off before the end"), "{error}");
    assert!(!crate::running::exists(&socket), "the socket goes with the server");
    let error = client.info().await.unwrap_err();
    assert!(matches!(error, ClientError::NoServer { .. }), "{error:?}");
}
