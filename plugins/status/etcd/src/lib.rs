//! Processes tell of themselves in etcd, through the JSON gateway of its v3 API.
//!
//! Each has one key, `PREFIX/CLUSTER/INSTANCE`, that hangs on a lease: when nobody keeps the lease, the key goes. What
//! is told again keeps the lease, and makes a new one where it has run out.
//!
//! Source: etcd's documentation, *Why gRPC gateway* and *API reference*, of version 3.4 and later.

use std::time::Duration;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use berth_status_api::{Answer, Board, BoardError, Http, Method, Process, Reach};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::Mutex;

/// Who Berth is to etcd, where it wants to know.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// Their password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How etcd is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdConfig {
    /// Its servers.
    pub reach: Reach,
    /// What all keys begin with, without a slash at its end.
    pub prefix: String,
    /// For how long a process is believed that says nothing more; whole seconds, at least 2.
    pub ttl: Duration,
    /// Who Berth is there.
    pub login: Option<Login>,
}

/// A board in etcd.
#[derive(Debug)]
pub struct Etcd {
    config: EtcdConfig,
    http: Http,
    /// The lease, for the one who tells; taken by one call at a time.
    lease: Mutex<Option<String>>,
    /// What stands for the login, once it was made.
    token: std::sync::Mutex<Option<String>>,
}

impl Etcd {
    /// A board there. Nobody is asked yet.
    ///
    /// # Errors
    /// In words, when the authorities of `reach` cannot be used.
    pub fn new(config: EtcdConfig) -> Result<Self, String> {
        let http = Http::new(config.reach.clone())?;
        Ok(Self { config, http, lease: Mutex::default(), token: std::sync::Mutex::default() })
    }

    fn key(&self, cluster: &str, instance: &str) -> String {
        format!("{}/{cluster}/{instance}", self.config.prefix)
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, BoardError> {
        let first = self.ask_as(self.token(), path, body).await?;
        let Some(login) = self.config.login.as_ref().filter(|_| wants_login(&first)) else {
            return first.read();
        };
        // The token is missing, or has run out.
        let who = Authenticate { name: &login.user, password: &login.password };
        let token: Token = self.ask_as(None, "/v3/auth/authenticate", &who).await?.read()?;
        *self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(token.token.clone());
        self.ask_as(Some(token.token), path, body).await?.read()
    }

    fn token(&self) -> Option<String> {
        self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    async fn ask_as(
        &self,
        token: Option<String>,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Answer, BoardError> {
        let headers: Vec<(&str, &str)> =
            token.as_deref().map(|token| ("authorization", token)).into_iter().collect();
        self.http.ask(Method::POST, path, &headers, Some(body)).await
    }

    /// The lease that a key is to hang on: the one of before where it could be kept.
    async fn kept(&self, before: Option<String>) -> Result<String, BoardError> {
        if let Some(id) = before {
            let kept: KeptAlive = self.ask("/v3/lease/keepalive", &LeaseId { id: &id }).await?;
            if kept.result.ttl > 0 {
                return Ok(id);
            }
        }
        let ttl = self.config.ttl.as_secs().max(2);
        let granted: Granted = self.ask("/v3/lease/grant", &Grant { ttl }).await?;
        Ok(granted.id)
    }
}

/// Whether a refusal is one that a new login may mend.
fn wants_login(answer: &Answer) -> bool {
    let words = String::from_utf8_lossy(&answer.body);
    !answer.is_success()
        && (answer.status == 401
            || words.contains("user name is empty")
            || words.contains("invalid auth token"))
}

#[async_trait]
impl Board for Etcd {
    async fn tell(&self, process: &Process) -> Result<(), BoardError> {
        let mut lease = self.lease.lock().await;
        let id = self.kept(lease.take()).await?;
        let value = serde_json::to_vec(process)
            .map_err(|error| BoardError::Unreadable { at: "Berth".to_owned(), words: error.to_string() })?;
        let put = Put {
            key: STANDARD.encode(self.key(&process.cluster, &process.instance)),
            value: STANDARD.encode(value),
            lease: &id,
        };
        let _: Ignored = self.ask("/v3/kv/put", &put).await?;
        *lease = Some(id);
        Ok(())
    }

    async fn processes(&self, cluster: &str) -> Result<Vec<Process>, BoardError> {
        // From the first key behind the slash to the last.
        let from = self.key(cluster, "");
        let mut to = from.clone().into_bytes();
        if let Some(last) = to.last_mut() {
            *last += 1;
        }
        let range = Range { key: STANDARD.encode(&from), range_end: STANDARD.encode(&to) };
        let found: Found = self.ask("/v3/kv/range", &range).await?;
        // What others have put there is none of ours.
        let read = |kv: Kv| serde_json::from_slice(&STANDARD.decode(kv.value).ok()?).ok();
        Ok(found.kvs.into_iter().filter_map(read).collect())
    }

    async fn leave(&self, process: &Process) -> Result<(), BoardError> {
        let mut lease = self.lease.lock().await;
        match lease.take() {
            Some(id) => {
                let _: Ignored = self.ask("/v3/lease/revoke", &LeaseId { id: &id }).await?;
            }
            None => {
                let key = STANDARD.encode(self.key(&process.cluster, &process.instance));
                let _: Ignored = self.ask("/v3/kv/deleterange", &Delete { key }).await?;
            }
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Authenticate<'a> {
    name: &'a str,
    password: &'a str,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

#[derive(Serialize)]
struct Grant {
    #[serde(rename = "TTL")]
    ttl: u64,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Serialize)]
struct LeaseId<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
}

#[derive(Deserialize)]
struct KeptAlive {
    result: Kept,
}

/// A lease that has run out has no time to live, and the gateway leaves zeros out.
#[derive(Deserialize)]
struct Kept {
    #[serde(rename = "TTL", default, deserialize_with = "number_as_text")]
    ttl: i64,
}

#[derive(Serialize)]
struct Put<'a> {
    key: String,
    value: String,
    lease: &'a str,
}

#[derive(Serialize)]
struct Range {
    key: String,
    range_end: String,
}

#[derive(Serialize)]
struct Delete {
    key: String,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    kvs: Vec<Kv>,
}

#[derive(Deserialize)]
struct Kv {
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Ignored {}

/// The gateway writes numbers of 64 bits as text.
fn number_as_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}
