//! Keys from an issuer, or from a file. Only the authorities that the site names are believed; redirects are followed by
//! nobody, since what they lead to was named by nobody.

use std::{fs::File, io::Read, path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{SourceFault, keys::Keys};

/// The longest answer that is read, and the longest file.
const MOST_BYTES: usize = 512 << 10;

/// What an issuer says of itself, as far as it is of use here.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

/// The keys of an issuer, by its own word on where they are.
pub(crate) async fn keys(issuer: &str, ca: &Path) -> Result<Keys, SourceFault> {
    let tls = TlsConnector::from(Arc::new(tls(ca)?));
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let answer = get(&tls, &address).await?;
    let configuration: Configuration = serde_json::from_slice(&answer)
        .map_err(|_| SourceFault::Answer("its configuration has no issuer and no jwks_uri".to_owned()))?;
    if configuration.issuer != issuer {
        let words = "its configuration is that of another issuer".to_owned();
        return Err(SourceFault::Answer(words));
    }
    let answer = get(&tls, &configuration.jwks_uri).await?;
    Keys::read(&answer).map_err(|words| SourceFault::Answer(words.to_owned()))
}

/// The keys in a file.
pub(crate) fn file(path: &Path) -> Result<Keys, SourceFault> {
    let failed = |words: String| SourceFault::File(format!("{}: {words}", path.display()));
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() > MOST_BYTES {
        return Err(failed("it is too long to be a set of keys".to_owned()));
    }
    Keys::read(&bytes).map_err(|words| failed(words.to_owned()))
}

fn tls(ca: &Path) -> Result<ClientConfig, SourceFault> {
    let failed = |words: String| SourceFault::Unreachable(format!("ca {}: {words}", ca.display()));
    let pem = std::fs::read(ca).map_err(|error| failed(error.to_string()))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let mut roots = RootCertStore::empty();
    // A system's bundle may have one that is beyond the library; the others count.
    let (added, _) = roots.add_parsable_certificates(all.unwrap_or_default());
    if added == 0 {
        return Err(failed("it has no certificate in PEM form".to_owned()));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| failed(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The host and the port of an address that begins with `https://`.
fn place(uri: &Uri) -> Option<(String, u16)> {
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https"))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let behind = authority.as_str().strip_prefix(authority.host())?;
    let port = match authority.port_u16() {
        Some(port) => port,
        None if behind.is_empty() => 443,
        None => return None,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

async fn get(tls: &TlsConnector, address: &str) -> Result<Bytes, SourceFault> {
    let no_address = || SourceFault::Answer(format!("{address:?} is no address that begins with https://"));
    let uri: Uri = address.parse().map_err(|_| no_address())?;
    let (host, port) = place(&uri).ok_or_else(no_address)?;
    let failed =
        |error: &dyn std::error::Error| SourceFault::Unreachable(format!("{host}: {}", chain(error)));
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| failed(&error))?;
    let name = ServerName::try_from(host.clone()).map_err(|error| failed(&error))?;
    let stream = tls.connect(name, stream).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(header::USER_AGENT, concat!("berth/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(SourceFault::Answer(format!("{host} answered {}", status.as_u16())));
        }
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| failed(&*error))
    };
    // Both end with this call: nothing is left behind of one that is given up.
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // What it has sent by then is read.
        _ = connection => answer.await,
    }
}

/// An error with all that is behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        source = cause.source();
    }
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}
