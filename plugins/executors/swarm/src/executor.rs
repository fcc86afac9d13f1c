//! The executor's face.

use std::sync::Arc;

use async_trait::async_trait;
use berth_executor_api::{
    Action, AttemptName, Capabilities, Description, Executor, ExecutorError, Launch, LaunchPromise, Launched,
    LogQuery, LogStream, Node, Report, Truth, Usage,
};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use tokio::task::JoinHandle;

use crate::{
    BACKEND, SwarmConfig, control, launch, logs,
    options::KEYS,
    reconcile,
    reports::{ReportStream, Reports},
    swarm::Swarm,
    watch,
};

/// So many attempts of a batch are launched or removed at the same time.
const AT_ONCE: usize = 8;

/// Runs attempts as services of a Docker Swarm.
#[derive(Debug)]
pub struct SwarmExecutor {
    swarm: Arc<Swarm>,
    stream: ReportStream,
    watcher: JoinHandle<()>,
}

impl SwarmExecutor {
    /// Begins to watch the Swarm. One that cannot be reached yet is waited for. To be called within a
    /// tokio runtime.
    #[must_use]
    pub fn start(config: SwarmConfig) -> Self {
        let (reports, stream) = Reports::new();
        let swarm = Swarm::new(config, reports);
        let watcher = tokio::spawn(watch::watch(Arc::clone(&swarm)));
        Self { swarm, stream, watcher }
    }
}

impl Drop for SwarmExecutor {
    fn drop(&mut self) {
        self.watcher.abort();
        // Ends what writes the attempts' outputs.
        self.swarm.book.entries().clear();
    }
}

fn unsupported(what: &'static str) -> ExecutorError {
    ExecutorError::Unsupported { backend: BACKEND.into(), what }
}

fn notes(config: &SwarmConfig) -> Vec<String> {
    let always = [
        "limits: memory and, where asked for, CPU are held by each node's engine",
        "grace: a job is killed after the grace it was submitted with; a shorter one holds on the node whose engine Berth asks",
        "nodes: draining one ends its jobs, as Swarm does; pausing one lets them finish",
        "out of memory: shown for jobs on the node whose engine Berth asks; elsewhere a Swarm tells only 137",
        "nodes that are away: their jobs are unreachable, then lost, and never started again by themselves",
        "jobs' directories, mounts and outputs have to lie at the same path on all nodes",
    ];
    let own = "images: pulled with users' own logins; a node gives what it has to everybody";
    let own = config.registries.user_logins.then_some(own);
    always.into_iter().chain(own).map(str::to_owned).chain(config.images.note()).collect()
}

#[async_trait]
impl Executor for SwarmExecutor {
    fn describe(&self) -> Description {
        Description {
            name: BACKEND.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            promise: LaunchPromise::Exact,
            capabilities: Capabilities {
                logs: true,
                logs_since: true,
                images: true,
                ports: true,
                networks: true,
                volumes: true,
                queues: true,
                new_time_limit: true,
                extensions: KEYS.map(str::to_owned).to_vec(),
                ..Capabilities::default()
            },
            notes: notes(&self.swarm.config),
        }
    }

    async fn capacity(&self) -> Result<Vec<Node>, ExecutorError> {
        if self.swarm.engine.connected().is_none() {
            self.swarm.connect().await?;
        }
        self.swarm.refresh_nodes().await?;
        Ok(self.swarm.nodes().told())
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        self.stream.take()
    }

    async fn launch(&self, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
        let launches: Vec<_> = batch.iter().map(|one| launch::launch(&self.swarm, one)).collect();
        stream::iter(launches).buffered(AT_ONCE).try_collect().await
    }

    async fn reconcile(&self, attempts: &[AttemptName]) -> Result<Vec<Truth>, ExecutorError> {
        reconcile::reconcile(&self.swarm, attempts).await
    }

    async fn attempts(&self) -> Result<Vec<AttemptName>, ExecutorError> {
        Ok(self.swarm.all_services().await?.into_keys().collect())
    }

    async fn control(&self, attempt: &AttemptName, action: Action) -> Result<(), ExecutorError> {
        match action {
            Action::Terminate { grace } => control::terminate(&self.swarm, attempt, grace).await,
            Action::Suspend | Action::Resume => Err(unsupported("suspend jobs")),
            Action::Signal(_) => Err(unsupported("send signals")),
            // Berth's own timer holds jobs to it.
            Action::TimeLimit { .. } => Ok(()),
        }
    }

    async fn logs(&self, attempt: &AttemptName, query: LogQuery) -> Result<LogStream, ExecutorError> {
        let progress = || self.swarm.book.with(attempt, |entry| entry.progress.subscribe());
        let known = match progress() {
            Some(known) => Some(known),
            None => {
                // Not looked at yet since Berth has started.
                reconcile::reconcile(&self.swarm, std::slice::from_ref(attempt)).await?;
                progress()
            }
        };
        match known {
            Some(progress) => logs::logs(Arc::clone(&self.swarm), progress, query).await,
            None => {
                let (backend, attempt) = (BACKEND.into(), attempt.to_string());
                Err(ExecutorError::UnknownAttempt { backend, attempt })
            }
        }
    }

    async fn stats(&self, _attempt: &AttemptName) -> Result<Usage, ExecutorError> {
        Err(unsupported("tell what jobs use"))
    }

    async fn remove(&self, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
        let removed: Vec<_> = attempts.iter().map(|attempt| control::remove(&self.swarm, attempt)).collect();
        stream::iter(removed).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn cleanup(&self, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
        control::cleanup(&self.swarm, dry_run).await
    }
}
