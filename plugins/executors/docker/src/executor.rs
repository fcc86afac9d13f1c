//! The executor itself.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use berth_docker_engine::bollard::query_parameters::StatsOptions;
use berth_executor_api::{
    Action, AttemptName, Capabilities, Connection, Description, ExecSession, Executor, ExecutorError, Launch,
    LaunchPromise, Launched, LogQuery, LogStream, Node, NodeState, Report, Resources, Truth, Usage,
};
use futures::{StreamExt, stream::BoxStream};
use tokio_util::sync::DropGuard;

use crate::{
    BACKEND, KEYS, adopt, cleanup,
    config::{DockerConfig, Enforce, Pull},
    control, cores, events,
    images::Images,
    launching, logs,
    notes::Notes,
    reconcile, session,
    shared::Shared,
    usage,
};

/// Runs jobs as containers of one Docker Engine.
pub struct DockerExecutor {
    shared: Arc<Shared>,
    /// Ends all tasks with the executor, as a crash of Berth would: the engine has what matters.
    _life: DropGuard,
}

impl DockerExecutor {
    /// Reads what is noted from before and begins to look for the engine. One that is away is waited for, and
    /// said to be away: after a boot Berth may well be there before it.
    ///
    /// # Errors
    /// `Unusable` when the state folder cannot be used.
    pub async fn start(config: DockerConfig) -> Result<Self, ExecutorError> {
        let unusable = |what: &str, error: std::io::Error| ExecutorError::Unusable {
            backend: BACKEND.into(),
            reason: format!("{what}: {error}"),
        };
        let state = config.state.clone();
        let in_state = |error| unusable(&format!("its state folder {}", state.display()), error);
        let notes = Notes::open(config.state.join("attempts")).map_err(in_state)?;
        let images =
            Images::open(config.images.clone(), config.state.join("images.json")).map_err(in_state)?;
        let shared = Arc::new(Shared::new(config, images, notes));
        shared.spawn(shared.life.clone(), events::watch(Arc::clone(&shared)));
        shared.spawn(shared.life.clone(), cores::keep_apart(Arc::clone(&shared)));
        Ok(Self { _life: shared.life.clone().drop_guard(), shared })
    }
}

#[async_trait]
impl Executor for DockerExecutor {
    fn describe(&self) -> Description {
        describe(&self.shared.config)
    }

    async fn capacity(&self) -> Result<Vec<Node>, ExecutorError> {
        let (docker, _) = self.shared.synced().await?;
        let info =
            self.shared.engine.answer(docker.info()).await.map_err(|error| self.shared.failed(error))?;
        let config = &self.shared.config;
        let hostname = info.name.clone().unwrap_or_else(|| "docker".into());
        let own = [
            ("hostname", hostname.clone()),
            ("arch", arch(info.architecture.as_deref().unwrap_or_default()).to_owned()),
            ("os", info.os_type.clone().unwrap_or_else(|| "linux".into())),
        ];
        let whole = |amount: Option<i64>| amount.and_then(|amount| u64::try_from(amount).ok()).unwrap_or(0);
        let labels = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        Ok(vec![Node {
            name: config.node.clone().unwrap_or(hostname),
            total: Resources {
                cpu_millis: config.cpu_millis.unwrap_or_else(|| whole(info.ncpu) * 1000),
                memory_bytes: config.memory_bytes.unwrap_or_else(|| whole(info.mem_total)),
                gpus: u32::try_from(config.gpus.ids.len()).unwrap_or(u32::MAX),
            },
            labels: labels.chain(config.labels.iter().cloned()).collect(),
            named: BTreeMap::new(),
            state: NodeState::Up,
        }])
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        self.shared.reports.take()
    }

    async fn launch(&self, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
        launching::launch(&self.shared, batch).await
    }

    async fn reconcile(&self, attempts: &[AttemptName]) -> Result<Vec<Truth>, ExecutorError> {
        reconcile::reconcile(&self.shared, attempts).await
    }

    async fn attempts(&self) -> Result<Vec<AttemptName>, ExecutorError> {
        let (docker, _) = self.shared.synced().await?;
        let there =
            adopt::containers(&self.shared, &docker).await.map_err(|error| self.shared.failed(error))?;
        let mut all: Vec<AttemptName> = there.into_keys().collect();
        all.extend(self.shared.books().entries.keys().cloned());
        all.sort();
        all.dedup();
        Ok(all)
    }

    async fn control(&self, attempt: &AttemptName, action: Action) -> Result<(), ExecutorError> {
        control::control(&self.shared, attempt, action).await
    }

    async fn logs(&self, attempt: &AttemptName, query: LogQuery) -> Result<LogStream, ExecutorError> {
        logs::logs(&self.shared, attempt, query).await
    }

    async fn stats(&self, attempt: &AttemptName) -> Result<Usage, ExecutorError> {
        let (docker, _) = self.shared.synced().await?;
        let known = self.shared.with(attempt, |entry| entry.made && !entry.over);
        if known != Some(true) {
            self.shared.engine.answer(docker.ping()).await.map_err(|error| self.shared.failed(error))?;
            return Err(Shared::unknown(attempt));
        }
        let once = StatsOptions { stream: false, one_shot: true };
        let mut stats = docker.stats(attempt.as_str(), Some(once));
        let next = async { stats.next().await.unwrap_or(Err(no_stats())) };
        let stats = self.shared.engine.answer(next).await;
        let sampled = usage::sampled(&stats.map_err(|error| match error.is_missing() {
            true => Shared::unknown(attempt),
            false => self.shared.failed(error),
        })?);
        let counters = self.shared.counters.clone();
        let attempt = attempt.clone();
        let exact = tokio::task::spawn_blocking(move || counters.read(&attempt)).await.ok().flatten();
        Ok(match exact {
            Some(exact) => usage::most(exact, Usage { memory_bytes: sampled.memory_bytes, ..exact }),
            None => sampled,
        })
    }

    async fn exec(
        &self,
        attempt: &AttemptName,
        argv: &[String],
        terminal: bool,
    ) -> Result<ExecSession, ExecutorError> {
        session::exec(&self.shared, attempt, argv, terminal).await
    }

    async fn connect(&self, attempt: &AttemptName, port: u16) -> Result<Connection, ExecutorError> {
        session::connect(&self.shared, attempt, port).await
    }

    async fn remove(&self, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
        cleanup::remove(&self.shared, attempts).await
    }

    async fn cleanup(&self, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
        cleanup::cleanup(&self.shared, dry_run).await
    }
}

fn no_stats() -> berth_docker_engine::bollard::errors::Error {
    berth_docker_engine::bollard::errors::Error::DockerResponseServerError {
        status_code: 404,
        message: "it does not run".into(),
    }
}

/// The engine's words for processors differ from the compiler's.
fn arch(of_engine: &str) -> &str {
    match of_engine {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

fn describe(config: &DockerConfig) -> Description {
    let mut notes = vec![
        "limits: ".to_owned()
            + match config.enforce {
                Enforce::Asked => "held to memory that is asked for, and to CPU likewise",
                Enforce::Always => "held to all that a job has",
                Enforce::Never => "none, use is only counted",
            },
        "signals: go to a job's first process, which hands them on to its own child only".into(),
        "use: exact where the engine keeps control groups as files on this machine; elsewhere sampled every 15 \
         seconds, and what happened after the last sample is not known"
            .into(),
        "host: a container on any network can reach addresses of the host itself".into(),
    ];
    if config.images.pull == Pull::Never {
        notes.push("images: none is pulled".into());
    }
    notes.extend(config.images.rules.note());
    Description {
        name: BACKEND.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        promise: LaunchPromise::Exact,
        capabilities: Capabilities {
            suspend: true,
            signal: true,
            logs: true,
            logs_since: true,
            stats: true,
            exec: true,
            connect: true,
            exclusive_cpus: true,
            images: true,
            ports: true,
            networks: true,
            volumes: true,
            scratch: true,
            new_time_limit: true,
            gpu_vendors: config.gpus.vendor.iter().map(|vendor| vendor.as_str().to_owned()).collect(),
            extensions: KEYS.iter().map(|(key, _)| (*key).to_owned()).collect(),
            ..Capabilities::default()
        },
        notes,
    }
}
