//! Calls of webhooks.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::TlsConnector;

use crate::{Notice, Reach, Undelivered, chain, sign, tls};

/// The longest address.
const MOST_ADDRESS_BYTES: usize = 2000;

/// Where a webhook is: `https://HOST[:PORT]/PATH`, or the same with `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    host: String,
    port: u16,
    encrypted: bool,
}

/// Why something is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is something else.
    #[error("it is no address to call; write https://HOST/PATH")]
    Form,
    /// It is too long.
    #[error("it has {0} bytes; at most {MOST_ADDRESS_BYTES} are possible")]
    Long(usize),
    /// It has a name and a password in it.
    #[error("it has a name in front of its host; a receiver knows Berth by the signature")]
    Login,
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MOST_ADDRESS_BYTES {
            return Err(AddressError::Long(text.len()));
        }
        let uri: Uri = text.parse().map_err(|_| AddressError::Form)?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(AddressError::Form),
        };
        let authority = uri.authority().ok_or(AddressError::Form)?;
        if authority.as_str().contains('@') {
            return Err(AddressError::Login);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(AddressError::Form);
        }
        let usual = if encrypted { 443 } else { 80 };
        // What stands behind the host and is no port is not passed over, as the parser would.
        let behind = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        let port = match authority.port_u16() {
            Some(port) if port > 0 => port,
            None if behind.is_empty() => usual,
            _ => return Err(AddressError::Form),
        };
        Ok(Self { host, port, encrypted, uri })
    }
}

impl Address {
    /// The host's name or address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// How calls are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// The authorities whose word on receivers' certificates counts.
    pub tls_ca: PathBuf,
    /// How long a receiver has for one call.
    pub answer_within: Duration,
}

/// One call.
#[derive(Debug)]
pub struct Call<'c> {
    /// Whom.
    pub address: &'c Address,
    /// Where it may lead; anywhere, where the site itself has named the address.
    pub reach: Option<&'c Reach>,
    /// What it is signed with.
    pub key: &'c [u8],
    /// Names the notice, however often it has to be brought.
    pub id: &'c str,
    /// What is told.
    pub notice: &'c Notice,
    /// Seconds since 1970.
    pub now: u64,
}

/// The body of a call.
#[derive(Serialize)]
struct Body<'c> {
    version: u32,
    id: &'c str,
    #[serde(flatten)]
    notice: &'c Notice,
}

impl Hooks {
    /// Calls once. Redirects are not followed: an answer that is no success is none, whatever it says.
    ///
    /// # Errors
    /// Why it had no success. The receiver may have taken it all the same, where it broke off.
    pub async fn deliver(&self, call: &Call<'_>) -> Result<(), Undelivered> {
        let within = self.answer_within;
        match tokio::time::timeout(within, self.call(call)).await {
            Ok(done) => done,
            Err(_) => Err(Undelivered::Closed(format!("no answer within {within:?}"))),
        }
    }

    async fn call(&self, call: &Call<'_>) -> Result<(), Undelivered> {
        let closed = |error: &dyn std::error::Error| Undelivered::Closed(chain(error));
        let request = request(call)?;
        let stream = connect(call.address, call.reach).await?;
        if !call.address.encrypted {
            return answer(stream, request).await;
        }
        let connector =
            TlsConnector::from(Arc::new(tls::config(&self.tls_ca).map_err(|error| closed(&error))?));
        let name = ServerName::try_from(call.address.host.clone());
        let name =
            name.map_err(|_| Undelivered::Never("its host is no name that a certificate has".to_owned()))?;
        let stream = connector.connect(name, stream).await.map_err(|error| closed(&error))?;
        answer(stream, request).await
    }
}

fn request(call: &Call<'_>) -> Result<Request<Full<Bytes>>, Undelivered> {
    let never = |words: String| Undelivered::Never(words);
    let body = serde_json::to_vec(&Body { version: 1, id: call.id, notice: call.notice });
    let body = body.map_err(|error| never(chain(&error)))?;
    let uri = &call.address.uri;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::post(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("berth/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .header("Berth-Delivery", call.id)
        .header("Berth-Event", call.notice.event.as_str())
        .header("Berth-Signature", sign(call.key, call.now, &body))
        .body(Full::new(Bytes::from(body)));
    request.map_err(|error| never(chain(&error)))
}

/// Connects with one of the host's addresses that may be called. What is looked at is what is connected with: a name
/// that leads elsewhere a moment later leads Berth nowhere.
async fn connect(address: &Address, reach: Option<&Reach>) -> Result<TcpStream, Undelivered> {
    let host = &address.host;
    if let Some(reach) = reach
        && !reach.allows_host(host)
    {
        return Err(Undelivered::Never(format!("{host} is none of the hosts that may be called")));
    }
    let found = lookup_host((host.as_str(), address.port)).await;
    let found: Vec<SocketAddr> =
        found.map_err(|error| Undelivered::Closed(format!("{host} is not found: {error}")))?.collect();
    let may = |at: &&SocketAddr| reach.is_none_or(|reach| reach.allows_address(at.ip()));
    let mut last = Undelivered::NotNow(format!("{host} leads to where nobody may be called"));
    for at in found.iter().filter(may) {
        match TcpStream::connect(at).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Undelivered::Closed(format!("{at}: {error}")),
        }
    }
    Err(last)
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(), Undelivered> {
    let closed = |error: hyper::Error| Undelivered::Closed(chain(&error));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(closed)?;
    // Both end with this call: nothing is left behind of one that is given up. What the receiver has to say beyond
    // the status is not read.
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // The answer may have been its last word.
        ended = connection => match (answer.await, ended) {
            (Err(_), Err(error)) => Err(error),
            (answer, _) => answer,
        },
    };
    judged(answer.map_err(closed)?.status())
}

fn judged(status: StatusCode) -> Result<(), Undelivered> {
    if status.is_success() {
        return Ok(());
    }
    let words = format!("it answered {}", status.as_u16());
    Err(match status {
        StatusCode::GONE => Undelivered::Never(words),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Undelivered::Closed(words),
        status if status.is_redirection() => {
            Undelivered::NotNow(format!("{words}, and redirects are not followed"))
        }
        _ => Undelivered::NotNow(words),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_that_can_be_called() {
        let read = |text: &str| text.parse::<Address>();
        let address = read("https://hooks.example.org/a?b=c").unwrap();
        assert_eq!((address.host(), address.port, address.encrypted), ("hooks.example.org", 443, true));
        let address = read("http://[::1]:8080").unwrap();
        assert_eq!((address.host(), address.port, address.encrypted), ("::1", 8080, false));
        for bad in [
            "",
            "hooks.example.org",
            "ftp://a/",
            "file:///etc/passwd",
            "https:///x",
            "http://",
            "https://a:0/",
            "https://a:99999/",
            "/x",
            "https://a b/",
            "https://a/\r\nHost: b",
        ] {
            assert_eq!(read(bad), Err(AddressError::Form), "{bad:?}");
        }
        assert_eq!(read("https://user:pass@a/"), Err(AddressError::Login));
        assert!(matches!(read(&format!("https://a/{}", "x".repeat(3000))), Err(AddressError::Long(_))));
    }

    #[test]
    fn a_receiver_that_is_gone_for_good_is_not_called_again() {
        let judged = |code: u16| judged(StatusCode::from_u16(code).unwrap());
        assert!(judged(204).is_ok());
        assert!(matches!(judged(410), Err(Undelivered::Never(_))));
        assert!(matches!(judged(503), Err(Undelivered::Closed(_))));
        for code in [302, 400, 404, 500] {
            assert!(matches!(judged(code), Err(Undelivered::NotNow(_))), "{code}");
        }
    }
}
