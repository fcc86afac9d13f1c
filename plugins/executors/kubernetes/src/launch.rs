//! Launching: one Job for each attempt.

use std::sync::Arc;

use berth_executor_api::{ExecutorError, Launch, Launched, files::prepare};
use k8s_openapi::api::{batch::v1::Job, core::v1::Service};
use kube::{Api, api::PostParams};

use crate::{
    cluster::{Cluster, FIELD_MANAGER},
    convert::{self, ports_of},
    error::KubeError,
    names, options, tend,
};

/// Why an attempt was not launched.
enum Not {
    Refused(String),
    NoRoom(String),
    /// Nobody knows.
    Error(KubeError),
}

impl From<KubeError> for Not {
    fn from(error: KubeError) -> Self {
        Self::Error(error)
    }
}

fn refused(error: impl std::fmt::Display) -> Not {
    Not::Refused(error.to_string())
}

/// Launches one attempt.
pub(crate) async fn launch(cluster: &Arc<Cluster>, launch: &Launch) -> Result<Launched, ExecutorError> {
    match try_launch(cluster, launch).await {
        Ok(()) => {
            tend::news(cluster, &launch.attempt);
            Ok(Launched::Taken)
        }
        Err(Not::Refused(words)) => Ok(Launched::Refused { words }),
        Err(Not::NoRoom(words)) => Ok(Launched::NoRoom { words }),
        Err(Not::Error(error)) => Err(cluster.for_executor(error)),
    }
}

async fn try_launch(cluster: &Arc<Cluster>, launch: &Launch) -> Result<(), Not> {
    // What exists is left as it is, and so are its files.
    if let Some(carrier) = cluster.carrier(&launch.attempt).await? {
        cluster.adopt(&launch.attempt, carrier);
        return Ok(());
    }
    let options = options::parse(&launch.spec.extensions).map_err(refused)?;
    let job = convert::job(launch, &options, &cluster.config).map_err(refused)?;
    if let Some(node) = launch.node.as_deref().filter(|node| lacks(cluster, node)) {
        return Err(Not::NoRoom(format!("node {node} is not in the cluster now, or not for jobs")));
    }
    prepare(launch, convert::SCRIPT)
        .await
        .map_err(|error| refused(format!("its files cannot be made: {error}")))?;
    let job = create(cluster, launch, job).await?;
    let ports = ports_of(&job);
    cluster.adopt_new(&launch.attempt, job.clone());
    if !ports.is_empty() {
        // Without it the job still runs, and it is tried again when it does.
        if let Err(error) = publish(cluster, &job, &ports).await {
            tracing::warn!(attempt = %launch.attempt, %error, "ports are not published yet");
        }
    }
    Ok(())
}

fn lacks(cluster: &Cluster, node: &str) -> bool {
    let nodes = cluster.nodes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    matches!(cluster.config.capacity, crate::Capacity::Nodes) && nodes.lacks(node)
}

async fn create(cluster: &Cluster, launch: &Launch, job: Job) -> Result<Job, Not> {
    let namespace = job.metadata.namespace.clone().unwrap_or_default();
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let create = cluster
        .ask(async |client| Api::<Job>::namespaced(client, &namespace).create(&params, &job).await)
        .await;
    let error = match create {
        Ok(job) => return Ok(job),
        Err(error) => error,
    };
    match error {
        // Made by a request that was thought to be lost.
        error if error.is_conflict() => match found(cluster, launch, &namespace).await? {
            Some(job) => Ok(job),
            None => Err(refused(format!("a Job of this name is there that is not Berth's: {error}"))),
        },
        // A fault within the server may have come after it was made.
        KubeError::Failed(_) | KubeError::Unreachable { .. } => {
            found(cluster, launch, &namespace).await?.ok_or(Not::Error(error))
        }
        KubeError::Refused(_) if may_pass(&error) => Err(Not::NoRoom(error.to_string())),
        KubeError::Refused(_) => Err(refused(error)),
        KubeError::Stranger { .. } => Err(error.into()),
    }
}

/// Whether the server's no has nothing to do with the job as it is written.
fn may_pass(error: &KubeError) -> bool {
    match error.code() {
        // The namespace is not there.
        Some(404) => true,
        // A webhook has looked at the job; all else is a quota that is used up, rights that Berth lacks, or a
        // namespace that is going.
        Some(403) => !error.says("admission webhook"),
        _ => false,
    }
}

/// The attempt's Job, if there is one by its name.
async fn found(cluster: &Cluster, launch: &Launch, namespace: &str) -> Result<Option<Job>, KubeError> {
    let name = names::object_name(&launch.attempt);
    let job =
        cluster.ask(async |client| Api::<Job>::namespaced(client, namespace).get_opt(&name).await).await?;
    let ours = |job: &Job| {
        names::attempt_of(&job.metadata, &cluster.config.cluster).as_ref() == Some(&launch.attempt)
    };
    Ok(job.filter(ours))
}

/// Sees that there is a Service for a Job's ports.
pub(crate) async fn publish(cluster: &Cluster, job: &Job, ports: &[u16]) -> Result<Service, KubeError> {
    let namespace = job.metadata.namespace.clone().unwrap_or_default();
    let service = convert::service(job, ports);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let made = cluster
        .ask(async |client| Api::<Service>::namespaced(client, &namespace).create(&params, &service).await)
        .await;
    match made {
        Err(error) if error.is_conflict() => {
            let name = job.metadata.name.clone().unwrap_or_default();
            cluster.ask(async |client| Api::<Service>::namespaced(client, &namespace).get(&name).await).await
        }
        other => other,
    }
}
