//! The executor's face.

use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use berth_executor_api::{
    Action, AttemptName, Capabilities, Connection, Description, ExecSession, Executor, ExecutorError, Launch,
    LaunchPromise, Launched, LogQuery, LogStream, Node, Report, Truth, Usage,
};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{self as core, Pod},
};
use kube::{Api, api::ListParams};
use tokio::task::JoinHandle;

use crate::{
    BACKEND, KubernetesConfig, beside,
    cluster::Cluster,
    config::Capacity,
    control, launch, logs, names,
    options::KEYS,
    reconcile,
    reports::{ReportStream, Reports},
    watch,
};

/// So many attempts of a batch are launched or removed at the same time.
const AT_ONCE: usize = 16;

/// Runs attempts as Jobs of a Kubernetes cluster.
#[derive(Debug)]
pub struct KubernetesExecutor {
    cluster: Arc<Cluster>,
    stream: ReportStream,
    watcher: JoinHandle<()>,
}

impl KubernetesExecutor {
    /// Begins to watch the cluster. One that cannot be reached yet is waited for. To be called within a tokio
    /// runtime.
    #[must_use]
    pub fn start(config: KubernetesConfig) -> Self {
        let (reports, stream) = Reports::new();
        let cluster = Cluster::new(config, reports);
        let watcher = tokio::spawn(watch::watch(Arc::clone(&cluster)));
        Self { cluster, stream, watcher }
    }
}

impl Drop for KubernetesExecutor {
    fn drop(&mut self) {
        self.watcher.abort();
        // Ends what writes the attempts' outputs.
        self.cluster.book.entries().clear();
    }
}

fn notes(config: &KubernetesConfig) -> Vec<String> {
    let mut notes = vec![
        "limits: memory and, where asked for, CPU are held by each node".to_owned(),
        "time limit: held by the node, which counts from when it begins to prepare the job, its image among other things"
            .to_owned(),
        "output: Kubernetes keeps one log, so that both streams go to the file of standard output; a node may drop \
         the beginning of a log that grows faster than it is read"
            .to_owned(),
        "grace: in whole seconds, and one at least".to_owned(),
        format!("no room: a job that waits in the cluster for longer than {:?} is taken back", config.no_room_after),
        "jobs' variables and scripts can be read by whoever may read Jobs and Pods in their namespace".to_owned(),
        "nodes that are away: their jobs are unreachable, then lost, and never started again by themselves".to_owned(),
        format!("ended Jobs that Berth does not remove are kept for {:?}", config.keep_for),
    ];
    match config.suspend {
        true => notes.push(
            "suspending: the job's Pod is deleted, and what it did is lost; when it is resumed, it begins anew"
                .to_owned(),
        ),
        false => notes.push("suspending: not offered, as it would delete the job's Pod".to_owned()),
    }
    match config.host_paths.is_empty() && config.claims.is_empty() {
        true => notes.push(
            "jobs' directories live and die with their Pods, since no volume is named; outputs are kept by Berth"
                .to_owned(),
        ),
        false => notes.push(
            "what is below host-paths has to lie at the same path on Berth's machine and on all nodes".to_owned(),
        ),
    }
    notes.extend(config.images.note());
    notes
}

/// Who makes the GPUs that a resource stands for: by the first word of its domain.
fn vendor(resource: &str) -> Option<String> {
    let domain = resource.split_once('/')?.0;
    let known = ["nvidia", "amd", "intel"];
    domain.split('.').find(|word| known.contains(word)).map(str::to_owned)
}

#[async_trait]
impl Executor for KubernetesExecutor {
    fn describe(&self) -> Description {
        let config = &self.cluster.config;
        Description {
            name: BACKEND.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            promise: LaunchPromise::Exact,
            capabilities: Capabilities {
                suspend: config.suspend,
                suspend_restarts: config.suspend,
                logs: true,
                logs_since: true,
                outputs_merged: true,
                exec: config.exec,
                connect: config.exec,
                time_limit: true,
                images: true,
                ports: config.services,
                volumes: true,
                scratch: true,
                queues: true,
                gpu_vendors: vendor(&config.gpu_resource).into_iter().collect(),
                extensions: KEYS.map(str::to_owned).to_vec(),
                ..Capabilities::default()
            },
            notes: notes(config),
        }
    }

    async fn capacity(&self) -> Result<Vec<Node>, ExecutorError> {
        let cluster = &self.cluster;
        let failed = |error| cluster.for_executor(error);
        if matches!(cluster.config.capacity, Capacity::Share { .. }) {
            // It is as it is set; what has to be known is whether the cluster is there.
            let one = ListParams::default().labels(&names::selector(&cluster.config.cluster)).limit(1);
            cluster
                .ask(async |client| cluster.scope::<Job>(client).list(&one).await)
                .await
                .map_err(failed)?;
        } else {
            let all = ListParams::default();
            let nodes = cluster.ask(async |client| Api::<core::Node>::all(client).list(&all).await).await;
            let nodes = nodes.map_err(failed)?;
            let others = ListParams::default().labels(&watch::of_others(cluster));
            let others = cluster.ask(async |client| Api::<Pod>::all(client).list(&others).await).await;
            let others = others.map_err(failed)?;
            let mut known = cluster.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            nodes.items.iter().for_each(|node| {
                known.see(node, &cluster.config);
            });
            others.items.iter().for_each(|pod| known.see_other(pod, &cluster.config));
        }
        let known = cluster.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.all(&cluster.config))
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        self.stream.take()
    }

    async fn launch(&self, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
        let launches: Vec<_> = batch.iter().map(|one| launch::launch(&self.cluster, one)).collect();
        stream::iter(launches).buffered(AT_ONCE).try_collect().await
    }

    async fn reconcile(&self, attempts: &[AttemptName]) -> Result<Vec<Truth>, ExecutorError> {
        reconcile::reconcile(&self.cluster, attempts).await
    }

    async fn attempts(&self) -> Result<Vec<AttemptName>, ExecutorError> {
        let all = self.cluster.all_carriers().await;
        Ok(all.map_err(|error| self.cluster.for_executor(error))?.into_keys().collect())
    }

    async fn control(&self, attempt: &AttemptName, action: Action) -> Result<(), ExecutorError> {
        let may_suspend = self.cluster.config.suspend;
        match action {
            Action::Terminate { grace } => control::terminate(&self.cluster, attempt, grace).await,
            Action::Suspend if may_suspend => control::suspend(&self.cluster, attempt).await,
            Action::Resume if may_suspend => control::resume(&self.cluster, attempt).await,
            other => Err(beside::not_offered(other)),
        }
    }

    async fn logs(&self, attempt: &AttemptName, query: LogQuery) -> Result<LogStream, ExecutorError> {
        logs::logs(&self.cluster, attempt, query).await
    }

    async fn stats(&self, _attempt: &AttemptName) -> Result<Usage, ExecutorError> {
        Err(beside::unsupported("tell what jobs use"))
    }

    async fn exec(
        &self,
        attempt: &AttemptName,
        argv: &[String],
        terminal: bool,
    ) -> Result<ExecSession, ExecutorError> {
        beside::exec(&self.cluster, attempt, argv, terminal).await
    }

    async fn connect(&self, attempt: &AttemptName, port: u16) -> Result<Connection, ExecutorError> {
        beside::connect(&self.cluster, attempt, port).await
    }

    async fn remove(&self, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
        let removed: Vec<_> =
            attempts.iter().map(|attempt| control::remove(&self.cluster, attempt)).collect();
        stream::iter(removed).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn cleanup(&self, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
        control::cleanup(&self.cluster, dry_run).await
    }
}
