//! A server that runs for one test.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use berth_api::{Client, CommandText, Submit, Target};
use berth_server::{Server, Settings};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::memory::Memory;

/// Whatever is waited for comes long before that.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Running {
    pub backend: Arc<Memory>,
    pub socket: PathBuf,
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<()>,
    pub folder: TempDir,
}

impl Running {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_on(tempfile::tempdir().unwrap(), Arc::default(), change).await
    }

    pub async fn start_on(folder: TempDir, backend: Arc<Memory>, change: impl FnOnce(&mut Settings)) -> Self {
        let socket = folder.path().join("berth.sock");
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let mut settings = Settings { socket: Some(socket.clone()), listen, ..Settings::default() };
        change(&mut settings);
        let server = Server::bind(settings, backend.clone()).await.unwrap();
        let address = server.addresses()[0];
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(server.serve(shutdown.clone()));
        Self { backend, socket, address, shutdown, task, folder }
    }

    /// Ends the server, and keeps what it had.
    pub async fn stop(self) -> (TempDir, Arc<Memory>) {
        self.shutdown.cancel();
        timeout(DEADLINE, self.task).await.expect("the server ends").unwrap();
        (self.folder, self.backend)
    }

    pub async fn client(&self) -> Client {
        Client::connect(Target::Unix(self.socket.clone())).await.unwrap()
    }

    pub async fn remote(&self, token: &str) -> Client {
        let target = Target::Http { url: format!("http://{}", self.address), token: Some(token.to_owned()) };
        Client::connect(target).await.unwrap()
    }

    /// Sends bytes over the socket and takes what comes back until the server closes.
    pub async fn raw(&self, text: impl AsRef<[u8]>) -> Answer {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(text.as_ref()).await.unwrap();
        Answer::read(&mut stream).await
    }

    /// The same over TCP.
    pub async fn raw_tcp(&self, text: impl AsRef<[u8]>) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_ref()).await.unwrap();
        Answer::read(&mut stream).await
    }

    /// Posts a body over the socket.
    pub async fn post(&self, path: &str, kind: &str, body: &str) -> Answer {
        self.raw(request("POST", path, &format!("Content-Type: {kind}\r\n"), body)).await
    }
}

pub fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// An answer, taken apart by hand: what the client makes of it is not what is tested here.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut bytes = Vec::new();
        timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("the server closes").unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = bytes[end..].to_vec();
        if head.contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Self { status, head, body }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The words of a refusal with this status and code.
    pub fn refusal(&self, status: u16, code: &str) -> String {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk");
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
}

pub fn job(name: &str) -> Submit {
    Submit {
        name: Some(name.to_owned()),
        command: Some(CommandText::Argv(vec!["true".to_owned()])),
        ..Submit::default()
    }
}

/// Looks again until it is so.
pub async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

pub fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
