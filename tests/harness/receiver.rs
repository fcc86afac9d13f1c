//! Somebody who is called by webhooks, and does not always behave.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{DEADLINE, eventually};

/// What a receiver does with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// Answers with this status.
    Answers(u16),
    /// Answers that something is elsewhere.
    Redirects(String),
    /// Reads it all and says nothing.
    Hangs,
    /// Reads it all and closes the connection.
    BreaksOff,
}

/// One call, as it came.
#[derive(Clone, Debug)]
pub struct Called {
    /// The request line and the headers, names in small letters.
    pub head: String,
    /// What was told.
    pub body: serde_json::Value,
    /// The same, byte by byte.
    pub raw: Vec<u8>,
}

impl Called {
    /// A header's value.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let found = self.head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name);
        found.unwrap_or_else(|| panic!("no {name}: {}", self.head)).1
    }

    /// What names the notice.
    pub fn id(&self) -> &str {
        self.header("berth-delivery")
    }

    /// The job and what happened to it, as `12 end succeeded`.
    pub fn short(&self) -> String {
        let text = |key: &str| self.body[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", self.body["job"], text("event"), text("state"))
    }
}

struct Shared {
    calls: Mutex<Vec<Called>>,
    does: Mutex<(VecDeque<Does>, Does)>,
}

/// A receiver on this machine's loopback. It stops listening when it is dropped.
pub struct Receiver {
    /// Its port on 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
    listening: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::on(0).await
    }

    /// One on this port.
    pub async fn on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            does: Mutex::new((VecDeque::new(), Does::Answers(204))),
        });
        let of_task = Arc::clone(&shared);
        let listening = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(serve(stream, Arc::clone(&of_task)));
            }
        });
        Self { port, shared, listening }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// Has it do these, one call after the other, and then the last of them always.
    pub fn does(&self, these: impl IntoIterator<Item = Does>) {
        let these: VecDeque<Does> = these.into_iter().collect();
        let last = these.back().cloned().unwrap_or(Does::Answers(204));
        *self.shared.does.lock().unwrap() = (these, last);
    }

    /// All calls that were read to their end, whatever was answered.
    pub fn calls(&self) -> Vec<Called> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Waits for a call that fits; all that came.
    pub async fn until(&self, what: &str, fits: impl Fn(&Called) -> bool) -> Vec<Called> {
        eventually(what, async || self.calls().iter().any(&fits)).await;
        self.calls()
    }

    /// Waits until so many have come; all of them.
    pub async fn at_least(&self, count: usize) -> Vec<Called> {
        eventually(&format!("{count} calls"), async || self.calls().len() >= count).await;
        self.calls()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let read = tokio::time::timeout(DEADLINE, read(&mut stream)).await;
    let Ok(Some(called)) = read else { return };
    let does = {
        let mut does = shared.does.lock().unwrap();
        does.0.pop_front().unwrap_or_else(|| does.1.clone())
    };
    shared.calls.lock().unwrap().push(called);
    let answer = match does {
        Does::Answers(status) => format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n"),
        Does::Redirects(to) => {
            format!("HTTP/1.1 307 Elsewhere\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
        }
        Does::Hangs => return tokio::time::sleep(Duration::from_secs(600)).await,
        Does::BreaksOff => return,
    };
    stream.write_all(answer.as_bytes()).await.ok();
}

async fn read(stream: &mut TcpStream) -> Option<Called> {
    let mut all = Vec::new();
    let mut piece = [0_u8; 4096];
    loop {
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        all.extend_from_slice(&piece[..count]);
        let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&all[..end]).into_owned();
        let lines = head.split("\r\n").map(|line| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}\n", name.to_lowercase()),
            None => format!("{line}\n"),
        });
        let head: String = lines.collect();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok())?;
        let raw = &all[end + 4..];
        if raw.len() >= length {
            let raw = raw[..length].to_vec();
            return Some(Called { head, body: serde_json::from_slice(&raw).ok()?, raw });
        }
    }
}
