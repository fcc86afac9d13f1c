//! What an operator may choose, and how long this side waits for the other one.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use axum::http::HeaderName;

/// How a server listens.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Unix socket, if there is to be one.
    pub socket: Option<PathBuf>,
    /// Its permission bits.
    pub socket_mode: u32,
    /// Addresses to listen on without encryption, for callers with tokens.
    pub listen: Vec<SocketAddr>,
    /// The longest body of a request.
    pub request_limit_bytes: u64,
    /// The longest policy component that is sent for a check.
    pub component_limit_bytes: u64,
    /// Whether GO-Docker's clients are answered, too.
    pub godocker: bool,
    /// Who is believed to have made sure who somebody is, if anybody.
    pub proxy: Option<Proxy>,
    /// Connections at a time over the Unix socket, and as many again over all addresses: a crowd of the one
    /// kind does not shut out the other. More of them wait to be taken.
    pub max_connections: usize,
    /// How long to wait for what.
    pub patience: Patience,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: None,
            socket_mode: 0o666,
            listen: Vec::new(),
            request_limit_bytes: 4 << 20,
            component_limit_bytes: 64 << 20,
            godocker: false,
            proxy: None,
            max_connections: 1024,
            patience: Patience::default(),
        }
    }
}

/// How long to wait for the other side.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of a request, and for the next request of an idle connection.
    pub head: Duration,
    /// For the whole body of a request.
    pub body: Duration,
    /// For a reader of events that does not keep up; it can come back and resume.
    pub events: Duration,
    /// For any reader that takes nothing at all. Long, because people page through logs.
    pub reader: Duration,
    /// Between two signs of life on a quiet stream of events.
    pub heartbeat: Duration,
    /// For requests under way when the server is to end.
    pub shutdown: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            body: Duration::from_secs(30),
            events: Duration::from_secs(30),
            reader: Duration::from_secs(900),
            heartbeat: Duration::from_secs(15),
            shutdown: Duration::from_secs(5),
        }
    }
}

/// A proxy in front of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The header with the user's name.
    pub user_header: HeaderName,
    /// Where the proxy is; the header means nothing from elsewhere.
    pub from: Vec<IpAddr>,
    /// What it sends in the header `Berth-Proxy-Secret`.
    pub secret: String,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("user_header", &self.user_header)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}
