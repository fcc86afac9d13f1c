//! Stopping, suspending and removing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use berth_executor_api::{AttemptName, ExecutorError};
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    beside::unknown,
    book::Entry,
    cluster::{Carrier, Cluster},
    error::KubeError,
    names::annotation,
    output,
    standing::{State, is_live},
    tend,
};

/// How long the Pods of ended attempts are waited for to go.
const LETTING_GO: Duration = Duration::from_secs(20);
/// How long the cluster may take to begin with a suspension.
const BEGINNING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Asks an attempt to end, and has it killed `grace` later. That it was asked is noted first: a Pod that is made
/// for it later is ended, too.
pub(crate) async fn terminate(
    cluster: &Arc<Cluster>,
    attempt: &AttemptName,
    grace: Duration,
) -> Result<(), ExecutorError> {
    stop(cluster, attempt, grace).await.map_err(|error| cluster.for_executor(error))
}

async fn stop(cluster: &Arc<Cluster>, attempt: &AttemptName, grace: Duration) -> Result<(), KubeError> {
    let Some(carrier) = cluster.carrier(attempt).await? else { return Ok(()) };
    let job = carrier.job.as_ref().map(|job| place(&job.metadata));
    if cluster.adopt(attempt, carrier).state.is_end() {
        tend::news(cluster, attempt);
        return Ok(());
    }
    let grace = Cluster::grace(grace);
    if let Some((namespace, name)) = job {
        let stop = json!({ "metadata": { "annotations": { annotation::STOP: grace.to_string() } } });
        let job = cluster.patch(&namespace, &name, stop).await?;
        cluster.book.with(attempt, |entry| entry.see_job(job));
        let has_none = cluster.book.with(attempt, |entry| !entry.pods().any(is_live)) == Some(true);
        if has_none {
            // Otherwise the cluster would make one when it can.
            let job = cluster.patch(&namespace, &name, json!({ "spec": { "suspend": true } })).await?;
            cluster.book.with(attempt, |entry| entry.see_job(job));
        }
    }
    let pods = cluster.book.with(attempt, |entry| live_pods(entry)).unwrap_or_default();
    for pod in &pods {
        delete_pod(cluster, pod, Some(grace), false).await?;
    }
    tend::news(cluster, attempt);
    cluster.wake.notify_one();
    Ok(())
}

fn place(meta: &ObjectMeta) -> (String, String) {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

pub(crate) fn live_pods(entry: &Entry) -> Vec<ObjectMeta> {
    entry.pods().filter(|pod| is_live(pod)).map(|pod| pod.metadata.clone()).collect()
}

/// Asks a Pod to go; `false` when it is not as it was any more, where that is asked for. One that is gone is gone.
pub(crate) async fn delete_pod(
    cluster: &Cluster,
    meta: &ObjectMeta,
    grace: Option<u32>,
    as_it_was: bool,
) -> Result<bool, KubeError> {
    let (namespace, name) = place(meta);
    let params = DeleteParams {
        grace_period_seconds: grace,
        preconditions: Some(Preconditions {
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone().filter(|_| as_it_was),
        }),
        ..DeleteParams::default()
    };
    let deleted = cluster
        .ask(async |client| Api::<Pod>::namespaced(client, &namespace).delete(&name, &params).await)
        .await;
    match deleted {
        Ok(_) => Ok(true),
        Err(error) if error.is_missing() => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Suspends an attempt: its Pod goes, and what it did is lost.
pub(crate) async fn suspend(cluster: &Arc<Cluster>, attempt: &AttemptName) -> Result<(), ExecutorError> {
    let (namespace, name) = under_way(cluster, attempt).await?;
    let now = Cluster::now().to_string();
    let change = json!({
        "metadata": { "annotations": { annotation::SUSPENDED: now } },
        "spec": { "suspend": true },
    });
    change_job(cluster, attempt, &namespace, &name, change).await
}

/// Lets it begin anew.
pub(crate) async fn resume(cluster: &Arc<Cluster>, attempt: &AttemptName) -> Result<(), ExecutorError> {
    let (namespace, name) = under_way(cluster, attempt).await?;
    let suspended = cluster
        .book
        .with(attempt, |entry| entry.job.as_ref().and_then(|job| job.spec.as_ref()?.suspend) == Some(true));
    if suspended != Some(true) {
        return Ok(());
    }
    // A suspension that was just asked for may not have begun yet; what the old Pod writes belongs before the new.
    let mut change = json!({ "spec": { "suspend": false } });
    if goes(cluster, attempt).await
        && let Some(outputs) = cluster.outputs(attempt)
    {
        let written = output::written_so_far(&outputs).await.to_string();
        change = json!({
            "metadata": { "annotations": { annotation::BASE: written } },
            "spec": { "suspend": false },
        });
    }
    change_job(cluster, attempt, &namespace, &name, change).await
}

/// Waits for a suspended attempt's Pod to be over; `false` when it was not even asked to go.
async fn goes(cluster: &Cluster, attempt: &AttemptName) -> bool {
    let state = || cluster.book.with(attempt, |entry| entry.standing());
    let begins = async {
        while state().is_some_and(|now| now.state != State::Suspended && !now.leaving) {
            sleep(PAUSE).await;
        }
    };
    if timeout(BEGINNING, begins).await.is_err() {
        return false;
    }
    let ends = async {
        while state().is_some_and(|now| now.state != State::Suspended) {
            sleep(PAUSE).await;
        }
    };
    timeout(cluster.config.answer_within, ends).await.is_ok()
}

async fn change_job(
    cluster: &Arc<Cluster>,
    attempt: &AttemptName,
    namespace: &str,
    name: &str,
    change: serde_json::Value,
) -> Result<(), ExecutorError> {
    match cluster.patch(namespace, name, change).await {
        Ok(job) => {
            cluster.book.with(attempt, |entry| entry.see_job(job));
            tend::news(cluster, attempt);
            Ok(())
        }
        Err(error) if error.is_missing() => Err(unknown(attempt)),
        Err(error) => Err(cluster.for_executor(error)),
    }
}

/// The Job of an attempt that is not over.
async fn under_way(cluster: &Arc<Cluster>, attempt: &AttemptName) -> Result<(String, String), ExecutorError> {
    let carrier = cluster.carrier(attempt).await.map_err(|error| cluster.for_executor(error))?;
    let Some(carrier) = carrier else { return Err(unknown(attempt)) };
    let job = carrier.job.as_ref().map(|job| place(&job.metadata));
    let standing = cluster.adopt(attempt, carrier);
    match job {
        Some(job) if !standing.state.is_end() => Ok(job),
        _ => Err(unknown(attempt)),
    }
}

/// Removes the Job of an attempt that has ended; one that still runs is left alone.
pub(crate) async fn remove(cluster: &Arc<Cluster>, attempt: &AttemptName) -> Result<(), ExecutorError> {
    let removed = async {
        let Some(carrier) = cluster.carrier(attempt).await? else {
            cluster.book.forget(attempt);
            return Ok(());
        };
        let job = carrier.job.clone();
        let standing = cluster.adopt(attempt, carrier);
        if !standing.state.is_end() {
            return Ok(());
        }
        // After a crash nobody knows whether its output is in its file; its log goes with the Pod.
        cluster.book.with(attempt, |entry| entry.note(&standing));
        if let Err(words) = tend::written(cluster, attempt).await {
            tracing::warn!(%attempt, words, "Job is removed without its output");
        }
        // First from the book, so that its removal is no news.
        cluster.book.forget(attempt);
        match job {
            Some(job) => delete(cluster, &job).await,
            None => Ok(()),
        }
    };
    removed.await.map_err(|error| cluster.for_executor(error))
}

/// Deletes a Job, and with it, in the background, its Pod. Without being told so Kubernetes would leave the Pod.
pub(crate) async fn delete(cluster: &Cluster, job: &Job) -> Result<(), KubeError> {
    let (namespace, name) = place(&job.metadata);
    let params = DeleteParams::background()
        .preconditions(Preconditions { uid: job.metadata.uid.clone(), resource_version: None });
    let deleted = cluster
        .ask(async |client| Api::<Job>::namespaced(client, &namespace).delete(&name, &params).await)
        .await;
    match deleted {
        Ok(_) => Ok(()),
        // Another one of the same name is none of ours.
        Err(error) if error.is_missing() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes all Jobs and Pods of this cluster, and says which.
pub(crate) async fn cleanup(cluster: &Arc<Cluster>, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
    clean(cluster, dry_run).await.map_err(|error| cluster.for_executor(error))
}

async fn clean(cluster: &Arc<Cluster>, dry_run: bool) -> Result<Vec<String>, KubeError> {
    let all: HashMap<AttemptName, Carrier> = cluster.all_carriers().await?;
    let mut lines: Vec<String> = all.iter().map(|(attempt, carrier)| line(attempt, carrier)).collect();
    lines.sort();
    if dry_run {
        return Ok(lines);
    }
    for (attempt, carrier) in &all {
        cluster.book.forget(attempt);
        if let Some(job) = &carrier.job {
            delete(cluster, job).await?;
        }
        for pod in carrier.pods.iter().filter(|pod| is_live(pod)) {
            delete_pod(cluster, &pod.metadata, Some(1), false).await?;
        }
    }
    let mut waited = Duration::ZERO;
    while cluster.list::<Pod>().await?.iter().any(is_live) && waited < LETTING_GO {
        sleep(PAUSE * 4).await;
        waited += PAUSE * 4;
    }
    Ok(lines)
}

fn line(attempt: &AttemptName, carrier: &Carrier) -> String {
    let meta = carrier.job.as_ref().map(|job| ("job", &job.metadata));
    let meta = meta.or_else(|| carrier.pods.first().map(|pod| ("pod", &pod.metadata)));
    match meta {
        Some((kind, meta)) => {
            let (namespace, name) = place(meta);
            format!("{kind} {namespace}/{name} of attempt {attempt}")
        }
        None => format!("attempt {attempt}"),
    }
}
