//! Processes tell of themselves to a Consul agent, as instances of one service with a check that they keep up.
//!
//! What a process says of itself is in the service's `Meta`, whose values Consul bounds to 512 bytes. An instance whose
//! check has run out is critical at once, and is not listed here; Consul forgets it by itself a minute later at the
//! soonest.
//!
//! Source: Consul's documentation of its HTTP API: *Service - Agent*, *Check - Agent*, *Health*.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use berth_status_api::{Answer, Board, BoardError, Http, Method, Process, Reach};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

/// The longest value of `Meta`.
const MOST_META: usize = 512;

/// How Consul is used.
#[derive(Clone, PartialEq, Eq)]
pub struct ConsulConfig {
    /// Agents; the first that answers is told.
    pub reach: Reach,
    /// The service's name.
    pub service: String,
    /// For how long a process is believed that says nothing more.
    pub ttl: Duration,
    /// The token that lets Berth register and look.
    pub token: Option<String>,
}

impl std::fmt::Debug for ConsulConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsulConfig")
            .field("reach", &self.reach)
            .field("service", &self.service)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// A board in Consul.
#[derive(Debug)]
pub struct Consul {
    config: ConsulConfig,
    http: Http,
    /// What the agent was last told.
    told: Mutex<Option<Process>>,
}

impl Consul {
    /// A board there. Nobody is asked yet.
    ///
    /// # Errors
    /// In words, when the authorities of `reach` cannot be used.
    pub fn new(config: ConsulConfig) -> Result<Self, String> {
        let http = Http::new(config.reach.clone())?;
        Ok(Self { config, http, told: Mutex::default() })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Answer, BoardError> {
        let token = self.config.token.as_deref();
        let headers: Vec<(&str, &str)> = token.map(|token| ("x-consul-token", token)).into_iter().collect();
        self.http.ask(method, path, &headers, body).await
    }

    /// The instance's number in Consul: the service and the cluster are in it, since an agent has one list for all.
    fn id(&self, process: &Process) -> String {
        format!("{}-{}-{}", self.config.service, process.cluster, process.instance)
    }

    async fn register(&self, process: &Process) -> Result<(), BoardError> {
        let id = self.id(process);
        let registration = Registration {
            id: &id,
            name: &self.config.service,
            tags: [process.cluster.clone(), process.role.to_string()],
            meta: meta(process),
            check: Check {
                ttl: format!("{}s", self.config.ttl.as_secs().max(1)),
                // What is here is what Consul takes at least.
                deregister_after: "1m",
                status: "passing",
            },
        };
        let path = "/v1/agent/service/register?replace-existing-checks=true";
        done(&self.ask(Method::PUT, path, Some(&registration)).await?)
    }
}

fn done(answer: &Answer) -> Result<(), BoardError> {
    if answer.is_success() { Ok(()) } else { Err(answer.refusal()) }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn meta(process: &Process) -> BTreeMap<&'static str, String> {
    let short = |text: &str| text.chars().take(MOST_META / 4).collect::<String>();
    // Where there are too many doors, the last ones are left out.
    let mut doors = String::new();
    for door in &process.doors {
        if doors.len() + door.len() < MOST_META {
            doors = if doors.is_empty() { door.clone() } else { format!("{doors} {door}") };
        }
    }
    BTreeMap::from([
        ("cluster", process.cluster.clone()),
        ("instance", process.instance.clone()),
        ("role", process.role.to_string()),
        ("host", short(&process.host)),
        ("pid", process.pid.to_string()),
        ("version", short(&process.version)),
        ("doors", doors),
        ("started", process.started_ms.to_string()),
    ])
}

fn process(meta: &BTreeMap<String, String>) -> Option<Process> {
    let role = serde_json::from_value(serde_json::Value::String(meta.get("role")?.clone())).ok()?;
    Some(Process {
        cluster: meta.get("cluster")?.clone(),
        instance: meta.get("instance")?.clone(),
        role,
        host: meta.get("host")?.clone(),
        pid: meta.get("pid")?.parse().ok()?,
        version: meta.get("version")?.clone(),
        doors: meta.get("doors")?.split_whitespace().map(str::to_owned).collect(),
        started_ms: meta.get("started")?.parse().ok()?,
    })
}

#[async_trait]
impl Board for Consul {
    async fn tell(&self, process: &Process) -> Result<(), BoardError> {
        let mut told = self.told.lock().await;
        if told.as_ref() == Some(process) {
            let path = format!("/v1/agent/check/pass/service:{}", encoded(&self.id(process)));
            let passed = self.ask(Method::PUT, &path, None::<&()>).await?;
            // An agent that began anew, or another one, knows of no such check.
            if passed.is_success() {
                return Ok(());
            }
        }
        *told = None;
        self.register(process).await?;
        *told = Some(process.clone());
        Ok(())
    }

    async fn processes(&self, cluster: &str) -> Result<Vec<Process>, BoardError> {
        let path = format!("/v1/health/service/{}?passing=true", encoded(&self.config.service));
        let found: Vec<Entry> = self.ask(Method::GET, &path, None::<&()>).await?.read()?;
        let processes = found.iter().filter_map(|entry| process(&entry.service.meta));
        Ok(processes.filter(|process| process.cluster == cluster).collect())
    }

    async fn leave(&self, process: &Process) -> Result<(), BoardError> {
        *self.told.lock().await = None;
        let path = format!("/v1/agent/service/deregister/{}", encoded(&self.id(process)));
        let answer = self.ask(Method::PUT, &path, None::<&()>).await?;
        // It is gone already.
        if answer.status == 404 { Ok(()) } else { done(&answer) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Registration<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    tags: [String; 2],
    meta: BTreeMap<&'static str, String>,
    check: Check,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "TTL")]
    ttl: String,
    #[serde(rename = "DeregisterCriticalServiceAfter")]
    deregister_after: &'static str,
    status: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    service: Service,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(default)]
    meta: BTreeMap<String, String>,
}
