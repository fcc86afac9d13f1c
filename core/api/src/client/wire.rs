//! Connections, and one request over one of them.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header,
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use super::{
    ClientError,
    target::{Address, Place},
};
use crate::{ErrorBody, ErrorCode};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// A connection that has lain unused for longer may have been closed by the other side without our
/// knowing, and a submission sent over it could not be told from one that was lost on the way.
const USED_WITHIN: Duration = Duration::from_secs(5);
const IDLE_AT_MOST: usize = 64;
/// A page of 100,000 jobs has about 50 MB.
const ANSWER_AT_MOST: usize = 1 << 30;

type Sender = SendRequest<Full<Bytes>>;

pub(super) struct Wire {
    address: Address,
    idle: Mutex<Vec<(Sender, Instant)>>,
}

/// What is to be sent.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// From `/v1` on, encoded.
    pub(super) path: &'a str,
    pub(super) content_type: Option<&'static str>,
    pub(super) body: Bytes,
    pub(super) last_event: Option<u64>,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, content_type: None, body: Bytes::new(), last_event: None }
    }
}

impl Wire {
    pub(super) async fn connect(address: Address) -> Result<Self, ClientError> {
        let wire = Self { address, idle: Mutex::new(Vec::new()) };
        let sender = wire.open().await?;
        wire.keep(sender);
        Ok(wire)
    }

    /// The server's name for messages.
    pub(super) fn target(&self) -> &str {
        &self.address.shown
    }

    /// Sends a request and takes the whole answer.
    pub(super) async fn ask(&self, call: Call<'_>) -> Result<Bytes, ClientError> {
        let (sender, answer) = self.send(call).await?;
        let body = self.whole(answer.into_body()).await?;
        self.keep(sender);
        Ok(body)
    }

    /// Sends a request whose answer is to be read as it comes. Refusals are errors here already.
    pub(super) async fn open_answer(&self, call: Call<'_>) -> Result<Response<Incoming>, ClientError> {
        // The sender is dropped: the connection ends with the answer.
        Ok(self.send(call).await?.1)
    }

    async fn send(&self, call: Call<'_>) -> Result<(Sender, Response<Incoming>), ClientError> {
        let repeatable = call.method == Method::GET;
        let request = self.request(call)?;
        let answered = timeout(ANSWER_WITHIN, self.exchange(request, repeatable)).await;
        let (sender, answer) = answered.map_err(|_| {
            let what = format!("no answer within {} s; {}", ANSWER_WITHIN.as_secs(), fate(repeatable));
            ClientError::broken(self.target(), what, None)
        })??;
        if answer.status().is_success() {
            return Ok((sender, answer));
        }
        Err(self.refusal(answer).await)
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        repeatable: bool,
    ) -> Result<(Sender, Response<Incoming>), ClientError> {
        let mut request = request;
        if let Some(mut sender) = self.idle_sender().await {
            let again = repeatable.then(|| request.clone());
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok((sender, answer)),
                Err(mut failed) => match failed.take_message().or(again) {
                    Some(unsent) => request = unsent,
                    None => return Err(self.cut_off(repeatable, failed.into_error())),
                },
            }
        }
        let mut sender = self.open().await?;
        match sender.send_request(request).await {
            Ok(answer) => Ok((sender, answer)),
            Err(error) => Err(self.cut_off(repeatable, error)),
        }
    }

    fn cut_off(&self, repeatable: bool, error: hyper::Error) -> ClientError {
        let what = format!("the connection ended before the answer came; {}", fate(repeatable));
        ClientError::broken(self.target(), what, Some(error.into()))
    }

    fn request(&self, call: Call<'_>) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.address.prefix, call.path))
            .header(header::HOST, &self.address.host)
            .header(header::USER_AGENT, concat!("berth/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.address.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        if let Some(kind) = call.content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if let Some(seq) = call.last_event {
            request = request.header("last-event-id", seq);
        }
        request.body(Full::new(call.body)).map_err(|error| {
            ClientError::broken(self.target(), "the request cannot be written", Some(error.into()))
        })
    }

    /// Collects a body, within bounds.
    async fn whole(&self, body: Incoming) -> Result<Bytes, ClientError> {
        match Limited::new(body, ANSWER_AT_MOST).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(source) => {
                Err(ClientError::broken(self.target(), "the answer ended before it was whole", Some(source)))
            }
        }
    }

    /// Asks for a connection to become a WebSocket, and gives its bytes. Refusals are errors here already.
    pub(super) async fn upgrade(&self, path: &str) -> Result<Upgraded, ClientError> {
        let mut request = self.request(Call::get(path))?;
        let key = generate_key();
        let accepted = derive_accept_key(key.as_bytes());
        let headers = request.headers_mut();
        for (name, value) in [
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, key.as_str()),
        ] {
            let value = header::HeaderValue::from_str(value).map_err(|error| {
                ClientError::broken(self.target(), "the request cannot be written", Some(error.into()))
            })?;
            headers.insert(name, value);
        }
        let mut sender = self.open().await?;
        let answered = timeout(ANSWER_WITHIN, sender.send_request(request)).await;
        let answer = answered
            .map_err(|_| ClientError::broken(self.target(), "no answer in time; try again", None))?
            .map_err(|error| self.cut_off(true, error))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.refusal(answer).await);
        }
        let said = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT).map(header::HeaderValue::as_bytes);
        if said != Some(accepted.as_bytes()) {
            return Err(ClientError::broken(self.target(), "what answered is no WebSocket server", None));
        }
        hyper::upgrade::on(answer).await.map_err(|error| self.cut_off(true, error))
    }

    async fn refusal(&self, answer: Response<Incoming>) -> ClientError {
        let status = answer.status();
        let body = match self.whole(answer.into_body()).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => ClientError::Refused(body),
            // A proxy in between, or something else altogether.
            Err(_) => ClientError::broken(
                self.target(),
                format!(
                    "answered {status} in words that are not Berth's; is this the address of a Berth server?"
                ),
                None,
            ),
        }
    }

    async fn open(&self) -> Result<Sender, ClientError> {
        match &self.address.place {
            Place::Unix(path) => self.shake_hands(self.reach(UnixStream::connect(path)).await?).await,
            Place::Tcp { host, port } => {
                let stream = self.reach(TcpStream::connect((host.as_str(), *port))).await?;
                // Requests are small and wait for their answers.
                stream.set_nodelay(true).ok();
                self.shake_hands(stream).await
            }
        }
    }

    async fn reach<S>(&self, connecting: impl Future<Output = std::io::Result<S>>) -> Result<S, ClientError> {
        let reached = timeout(CONNECT_WITHIN, connecting).await;
        reached
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(|source| ClientError::NoServer { target: self.target().to_owned(), source })
    }

    async fn shake_hands<S>(&self, stream: S) -> Result<Sender, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| {
            ClientError::broken(self.target(), "the connection could not be set up", Some(error.into()))
        })?;
        // Its errors reach whoever waits for an answer.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    async fn idle_sender(&self) -> Option<Sender> {
        loop {
            let (mut sender, since) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            // One that has just been used, or opened, takes a moment.
            if since.elapsed() < USED_WITHIN && sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_AT_MOST {
            idle.push((sender, Instant::now()));
        }
    }
}

fn fate(repeatable: bool) -> &'static str {
    if repeatable { "try again" } else { "it is not known whether it was done: look with `berth jobs`" }
}

/// Reads an answer.
pub(super) fn read<T: serde::de::DeserializeOwned>(target: &str, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| {
        let what = "the answer cannot be read; are client and server of the same version?";
        ClientError::broken(target, what, Some(error.into()))
    })
}

/// A refusal that this side finds out by itself.
pub(super) fn refused(code: ErrorCode, message: impl Into<String>) -> ClientError {
    ClientError::Refused(ErrorBody::new(code, message))
}
