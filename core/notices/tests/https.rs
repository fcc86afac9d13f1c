//! Webhooks over TLS, with a receiver whose certificate is made for the test.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, sync::Arc, time::Duration};

use berth_model::{Occasion, UtcMs};
use berth_notices::{Call, Hooks, Notice, Undelivered, sign};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const KEY: &[u8] = b"a key of the site";

/// An authority, and the file with its certificate.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn hooks(&self) -> Hooks {
        Hooks { tls_ca: self.folder.path().join("ca.pem"), answer_within: Duration::from_secs(10) }
    }

    /// A receiver of this name: where it listens, and what it was sent by the one who gets as far as that.
    async fn receiver(&self, name: &str) -> (u16, tokio::task::JoinHandle<Option<String>>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let got = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.ok()?;
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                if stream.read_buf(&mut request).await.unwrap() == 0 {
                    break;
                }
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            stream.shutdown().await.ok();
            Some(String::from_utf8(request).unwrap())
        });
        (port, got)
    }
}

fn notice() -> Notice {
    Notice {
        cluster: "berth".into(),
        event: Occasion::End,
        at: UtcMs(0),
        job: 7,
        label: "7".into(),
        name: "first".into(),
        user: "ada".into(),
        project: "default".into(),
        state: "succeeded".into(),
        cause: None,
        exit_code: Some(0),
        message: None,
        attempt: 1,
        tasks: None,
        node: None,
        submitted: UtcMs(0),
        started: None,
        ended: None,
        cpu_micros: None,
        memory_peak_bytes: None,
    }
}

async fn deliver(hooks: &Hooks, port: u16) -> Result<(), Undelivered> {
    let address = format!("https://localhost:{port}/hook").parse().unwrap();
    let notice = notice();
    let call =
        Call { address: &address, reach: None, key: KEY, id: "n1", notice: &notice, now: 1_700_000_000 };
    hooks.deliver(&call).await
}

#[tokio::test]
async fn a_receiver_with_a_certificate_of_the_sites_authority_gets_the_call_and_its_signature() {
    let authority = Authority::new();
    let (port, got) = authority.receiver("localhost").await;
    deliver(&authority.hooks(), port).await.unwrap();
    let request = got.await.unwrap().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    let signature = sign(KEY, 1_700_000_000, body.as_bytes());
    assert!(head.contains(&format!("\r\nberth-signature: {signature}")), "{head}");
}

#[tokio::test]
async fn a_receiver_that_a_strange_authority_vouches_for_is_told_nothing() {
    let (authority, strange) = (Authority::new(), Authority::new());
    let (port, got) = strange.receiver("localhost").await;
    let refused = deliver(&authority.hooks(), port).await.unwrap_err();
    assert!(matches!(&refused, Undelivered::Closed(words) if words.contains("certificate")), "{refused}");
    assert_eq!(got.await.unwrap(), None);
}

#[tokio::test]
async fn a_receiver_with_another_hosts_certificate_is_told_nothing() {
    let authority = Authority::new();
    let (port, got) = authority.receiver("elsewhere.example.org").await;
    let refused = deliver(&authority.hooks(), port).await.unwrap_err();
    assert!(matches!(&refused, Undelivered::Closed(words) if words.contains("certificate")), "{refused}");
    assert_eq!(got.await.unwrap(), None);
}
