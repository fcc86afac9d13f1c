//! Asking servers that speak JSON over HTTP, one after the other until one answers.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::Serialize;

use crate::BoardError;

pub use hyper::Method;

/// The longest answer that is read.
const MOST_BYTES: usize = 4 << 20;

/// How much of a refusal is repeated.
const MOST_WORDS: usize = 300;

/// Where servers are, and how they are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// `http://HOST:PORT` or `https://HOST:PORT`, without anything behind it. They are tried in this order.
    pub endpoints: Vec<String>,
    /// The authorities whose word on certificates counts, in PEM form; needed for `https`.
    pub tls_ca: Option<PathBuf>,
    /// How long one server has for one answer.
    pub answer_within: Duration,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which server.
    pub at: String,
    /// Its status.
    pub status: u16,
    /// What it said.
    pub body: Bytes,
}

/// Asks servers.
pub struct Http {
    reach: Reach,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("reach", &self.reach).finish_non_exhaustive()
    }
}

impl Http {
    /// A way to these servers. Nobody is asked yet.
    ///
    /// # Errors
    /// In words, when the authorities cannot be used.
    pub fn new(reach: Reach) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &reach.tls_ca {
            let shown = path.display();
            let pem = fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
            let all: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
            let (added, _) = roots.add_parsable_certificates(all);
            if added == 0 {
                return Err(format!("{shown} has no certificate in PEM form"));
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        // A word every few seconds needs no connection that is kept, which may be dead by then.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { reach, client })
    }

    /// Asks the first server that answers. What it answers may be a refusal.
    ///
    /// # Errors
    /// When none answers in time.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Answer, BoardError> {
        let body = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| BoardError::Unreadable { at: "Berth".to_owned(), words: error.to_string() })?;
        let body = body.map(Bytes::from);
        let mut last =
            BoardError::Away { at: "no server".to_owned(), words: "none is configured".to_owned() };
        for at in &self.reach.endpoints {
            let asked = self.ask_one(at, (method.clone(), path), headers, body.clone());
            match tokio::time::timeout(self.reach.answer_within, asked).await {
                Ok(Ok(answer)) if answer.status < 500 => return Ok(answer),
                Ok(Ok(answer)) => last = answer.refusal(),
                Ok(Err(words)) => last = BoardError::Away { at: at.clone(), words },
                Err(_) => {
                    let words = format!("no answer within {:?}", self.reach.answer_within);
                    last = BoardError::Away { at: at.clone(), words };
                }
            }
        }
        Err(last)
    }

    async fn ask_one(
        &self,
        at: &str,
        (method, path): (Method, &str),
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer, String> {
        let uri: Uri = format!("{at}{path}").parse().map_err(|_| "it is no address".to_owned())?;
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::USER_AGENT, concat!("berth/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.unwrap_or_default()));
        let request = request.map_err(|_| "what it would be asked cannot be sent".to_owned())?;
        let answer = self.client.request(request).await.map_err(|error| chain(&error))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
        let body = body.map_err(|error| format!("its answer breaks off: {error}"))?.to_bytes();
        Ok(Answer { at: at.to_owned(), status, body })
    }
}

impl Answer {
    /// Whether it has done what it was asked.
    #[must_use]
    pub fn is_success(&self) -> bool {
        StatusCode::from_u16(self.status).is_ok_and(|status| status.is_success())
    }

    /// The answer as a refusal, with the beginning of the server's words.
    #[must_use]
    pub fn refusal(&self) -> BoardError {
        let words: String = String::from_utf8_lossy(&self.body)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MOST_WORDS)
            .collect();
        BoardError::Refused { at: self.at.clone(), words: format!("{} {}", self.status, words.trim()) }
    }

    /// What it says, where it is no refusal.
    ///
    /// # Errors
    /// When it is one, or something else than was expected.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, BoardError> {
        if !self.is_success() {
            return Err(self.refusal());
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| BoardError::Unreadable { at: self.at.clone(), words: error.to_string() })
    }
}

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
    words
}
