//! What is written to the log, and what never is.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use tracing_subscriber::fmt::MakeWriter;

use crate::running::{Running, request};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

// The server runs on this thread as well, so the log is this thread's.
#[tokio::test]
async fn the_access_log_has_the_route_and_nothing_that_was_sent() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Running::start().await;
    let secret =
        "Authorization: Bearer hush-token\r\nX-Mine: hush-header\r\nContent-Type: application/json\r\n";
    server.raw_tcp(request("POST", "/v1/jobs?hush-query", secret, "{\"hush-body\": 1}")).await;
    let headers = "X-Mine: hush-header\r\nContent-Type: application/json\r\n";
    server.raw(request("POST", "/v1/jobs", headers, "{\"hush-body\": 1}")).await;
    server.raw(request("GET", "/v1/jobs/hush-path", headers, "")).await;
    server.raw(request("GET", "/hush-path", headers, "")).await;
    server.raw(b"POST /hush HTTP/1.1\r\nContent-Length: hush\r\n\r\n").await;
    server.raw(request("POST", "/v1/jobs", headers, "{\"project\": \"panic\"}")).await;
    let text = log.text();
    let uid = rustix::process::getuid().as_raw();
    for line in [
        "method=POST route=\"-\" status=401 caller=\"-\"".to_owned(),
        format!("method=POST route=\"/v1/jobs\" status=400 caller=\"uid{uid}\""),
        format!("method=GET route=\"/v1/jobs/{{job}}\" status=400 caller=\"uid{uid}\""),
        format!("method=GET route=\"-\" status=404 caller=\"uid{uid}\""),
        "a request panicked".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(!text.contains("hush"), "{text}");
}
