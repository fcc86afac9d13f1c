//! An issuer of identities that stands in for a real one: it serves what says where its keys are, and the keys, over
//! HTTPS on this machine's loopback, and does not always behave.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use berth_testbed::{Authority, SigningKey};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::free_port;

/// What an issuer does when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Answers as it should.
    Answers,
    /// Takes the connection and says nothing.
    Hangs,
    /// Answers that something is wrong.
    Fails,
    /// Says that it is somebody else.
    Lies,
}

struct Shared {
    url: String,
    keys: Mutex<Vec<Value>>,
    does: Mutex<Asked>,
    asked: AtomicUsize,
}

/// An issuer. It stops listening when it is dropped.
pub struct StandIn {
    /// Its authority and certificate.
    pub authority: Authority,
    port: u16,
    shared: Arc<Shared>,
    tls: TlsAcceptor,
    listening: Option<tokio::task::JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl StandIn {
    /// One that has this key.
    pub async fn start(key: &SigningKey) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "issuer");
        let port = free_port();
        let shared = Arc::new(Shared {
            url: format!("https://127.0.0.1:{port}"),
            keys: Mutex::new(vec![key.jwk()]),
            does: Mutex::new(Asked::Answers),
            asked: AtomicUsize::new(0),
        });
        let tls = acceptor(&authority);
        let mut issuer = Self { authority, port, shared, tls, listening: None, folder };
        issuer.listen().await;
        issuer
    }

    /// Listens again after it was down.
    pub async fn listen(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        let (tls, shared) = (self.tls.clone(), Arc::clone(&self.shared));
        self.listening = Some(tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(serve(stream, tls.clone(), Arc::clone(&shared)));
            }
        }));
    }

    /// Nobody answers any more.
    pub async fn go_down(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            let _ = listening.await;
        }
    }

    /// Its address, as its tokens have it.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Has these keys, and no others.
    pub fn publish(&self, keys: &[&SigningKey]) {
        *self.shared.keys.lock().unwrap() = keys.iter().map(|key| key.jwk()).collect();
    }

    /// Has it do this from now on.
    pub fn does(&self, what: Asked) {
        *self.shared.does.lock().unwrap() = what;
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Its table in berth.toml.
    pub fn table(&self, more: &str) -> String {
        let (url, ca) = (self.url(), &self.authority.ca);
        let pace = if more.contains("look-again") { "" } else { "look-again = \"1s\"\n" };
        format!("[[issuers]]\nurl = {url:?}\naudience = \"berth-t\"\ntls-ca = {ca:?}\n{pace}{more}\n")
    }

    /// An honest token for somebody, good for an hour.
    pub fn token(&self, key: &SigningKey, subject: &str) -> String {
        self.token_with(key, subject, json!({}))
    }

    /// One that says something more, or something else.
    pub fn token_with(&self, key: &SigningKey, subject: &str, more: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": self.url(), "aud": "berth-t", "sub": subject, "iat": now - 1, "exp": now + 3600,
        });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key.token(&claims)
    }

    /// A folder that goes when it does.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
    }
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(&authority.certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&authority.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>) {
    let does = shared.does.lock().unwrap().clone();
    if does == Asked::Hangs {
        let _kept = stream;
        return tokio::time::sleep(Duration::from_secs(600)).await;
    }
    let Ok(mut stream) = tls.accept(stream).await else { return };
    let mut head = Vec::new();
    let mut piece = [0_u8; 4096];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(count) if count > 0 => head.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match path {
        _ if does == Asked::Fails => (500, json!({ "error": "so it is" })),
        "/.well-known/openid-configuration" => {
            let issuer = if does == Asked::Lies { "https://somebody.else" } else { shared.url.as_str() };
            (200, json!({ "issuer": issuer, "jwks_uri": format!("{}/keys", shared.url) }))
        }
        "/keys" => {
            shared.asked.fetch_add(1, Ordering::SeqCst);
            (200, json!({ "keys": *shared.keys.lock().unwrap() }))
        }
        _ => (404, json!({})),
    };
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status} So\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}
