//! Watching Jobs, Pods and nodes. A watch that is cut off goes on where it was; one that cannot lists everything
//! anew, and what is missing then is asked for before anything is said about it.

use std::{
    collections::HashSet,
    pin::pin,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use berth_docker_engine::label;
use berth_executor_api::AttemptName;
use futures::StreamExt;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::ObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use tokio::{sync::Notify, time::sleep};

use crate::{
    cluster::{CALLS, Cluster},
    config::Capacity,
    error::KubeError,
    names,
    nodes::Nodes,
    tend,
};

/// How soon a server that is away is asked for again, the first time and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// News about nodes that come together are told together.
const TOGETHER: Duration = Duration::from_millis(200);

/// For as long as the executor lives.
pub(crate) async fn watch(cluster: Arc<Cluster>) {
    let changed = Notify::new();
    let share = matches!(cluster.config.capacity, Capacity::Share { .. });
    let nodes = async {
        if !share {
            tokio::join!(
                nodes(&cluster, &changed),
                others(&cluster, &changed),
                tell_nodes(&cluster, &changed)
            );
        }
    };
    tokio::join!(jobs(&cluster), pods(&cluster), nodes, tend::tend(Arc::clone(&cluster)), pulse(&cluster));
}

/// Asks a silent server again and again, so that it is known when it is back.
async fn pulse(cluster: &Cluster) {
    let params = ListParams::default().labels(&names::selector(&cluster.config.cluster)).limit(1);
    loop {
        cluster.silent.notified().await;
        let (mut pause, longest) = RETRY;
        loop {
            sleep(pause).await;
            match cluster.ask(async |client| cluster.scope::<Job>(client).list(&params).await).await {
                Ok(_) | Err(KubeError::Refused(_)) => break,
                Err(_) => pause = (pause * 2).min(longest),
            }
        }
        cluster.retry.notify_waiters();
    }
}

/// Follows a kind of things for ever, and hands on what comes.
async fn follow<K>(
    cluster: &Arc<Cluster>,
    who: &'static str,
    api: impl Fn(Client) -> Api<K>,
    config: watcher::Config,
    mut on: impl FnMut(Event<K>),
) where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let (mut pause, longest) = RETRY;
    loop {
        match cluster.door.client(&cluster.config.access).await {
            Ok(client) => {
                let mut events = pin!(watcher(api(client), config.clone()));
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => {
                            // The first one comes before anything was asked.
                            if !matches!(event, Event::Init) {
                                pause = RETRY.0;
                                cluster.answered(who);
                            }
                            on(event);
                        }
                        Err(error) => {
                            let again = on_error(cluster, who, error);
                            wait(cluster, pause).await;
                            pause = (pause * 2).min(longest);
                            if again == Again::WithAllFilesReadAnew {
                                break;
                            }
                        }
                    }
                }
            }
            Err(error) => {
                cluster.failed(CALLS, &error.to_string());
                cluster.silent.notify_one();
                wait(cluster, pause).await;
                pause = (pause * 2).min(longest);
            }
        }
    }
}

/// For a time, or until the server is known to be back.
async fn wait(cluster: &Cluster, pause: Duration) {
    tokio::select! {
        () = sleep(pause) => {}
        () = cluster.retry.notified() => {}
    }
}

#[derive(PartialEq, Eq)]
enum Again {
    WhereItWas,
    WithAllFilesReadAnew,
}

fn on_error(cluster: &Cluster, who: &'static str, error: watcher::Error) -> Again {
    let error = match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => error,
        // Cut off, or too old to be gone on with: both are taken up again at once.
        other => {
            tracing::debug!(who, error = crate::error::with_causes(&other), "watch was cut off");
            return Again::WhereItWas;
        }
    };
    match KubeError::of(error) {
        // Nobody answers, or nobody knows Berth: that concerns everyone.
        error @ (KubeError::Unreachable { .. } | KubeError::Stranger { .. }) => {
            cluster.failed(CALLS, &error.to_string());
            cluster.silent.notify_one();
            if matches!(error, KubeError::Stranger { .. }) {
                cluster.door.forget();
                return Again::WithAllFilesReadAnew;
            }
        }
        error => cluster.failed(who, &format!("{who} cannot be watched: {error}")),
    }
    Again::WhereItWas
}

fn ours(cluster: &Cluster) -> watcher::Config {
    watcher::Config::default().labels(&names::selector(&cluster.config.cluster))
}

fn attempt_of(cluster: &Cluster, meta: &ObjectMeta) -> Option<AttemptName> {
    names::attempt_of(meta, &cluster.config.cluster)
}

async fn jobs(cluster: &Arc<Cluster>) {
    let mut listed: HashSet<AttemptName> = HashSet::new();
    let on = |event: Event<Job>| match event {
        Event::Init => listed.clear(),
        Event::InitApply(job) | Event::Apply(job) => {
            let Some(attempt) = attempt_of(cluster, &job.metadata) else { return };
            listed.insert(attempt.clone());
            if cluster.see_job(&attempt, job) {
                tend::news(cluster, &attempt);
            }
        }
        Event::InitDone => {
            let missing = |attempt: &&AttemptName| !listed.contains(*attempt);
            let missing: Vec<_> = cluster.book.entries().keys().filter(missing).cloned().collect();
            for attempt in missing {
                tokio::spawn(verify(Arc::clone(cluster), attempt));
            }
            // From here on it would only grow.
            listed = HashSet::new();
        }
        Event::Delete(job) => {
            let Some(attempt) = attempt_of(cluster, &job.metadata) else { return };
            cluster.forget_stray(&attempt);
            tokio::spawn(verify(Arc::clone(cluster), attempt));
        }
    };
    follow(cluster, "jobs", |client| cluster.scope::<Job>(client), ours(cluster), on).await;
}

async fn pods(cluster: &Arc<Cluster>) {
    let mut listed: HashSet<String> = HashSet::new();
    let on = |event: Event<Pod>| match event {
        Event::Init => listed.clear(),
        Event::InitApply(pod) | Event::Apply(pod) => {
            let Some(attempt) = attempt_of(cluster, &pod.metadata) else { return };
            listed.extend(pod.metadata.uid.clone());
            if cluster.see_pod(&attempt, pod) {
                tend::news(cluster, &attempt);
            }
        }
        Event::InitDone => {
            let missing: Vec<AttemptName> = {
                let entries = cluster.book.entries();
                let lacks = |entry: &crate::book::Entry| {
                    entry.pods().any(|pod| pod.metadata.uid.as_ref().is_none_or(|uid| !listed.contains(uid)))
                };
                entries.iter().filter(|(_, entry)| lacks(entry)).map(|(attempt, _)| attempt.clone()).collect()
            };
            for attempt in missing {
                tokio::spawn(verify(Arc::clone(cluster), attempt));
            }
            listed = HashSet::new();
        }
        Event::Delete(pod) => {
            let Some(attempt) = attempt_of(cluster, &pod.metadata) else { return };
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            if cluster.book.with(&attempt, |entry| entry.pod_gone(&uid, Some(pod))).is_some() {
                tend::news(cluster, &attempt);
            } else {
                cluster.forget_stray_pod(&attempt, &uid);
            }
        }
    };
    follow(cluster, "pods", |client| cluster.scope::<Pod>(client), ours(cluster), on).await;
}

/// Something of an attempt is missing: is it there?
pub(crate) async fn verify(cluster: Arc<Cluster>, attempt: AttemptName) {
    let found = loop {
        if cluster.book.with(&attempt, |_| ()).is_none() {
            return;
        }
        match cluster.carrier(&attempt).await {
            // Nobody else would ask again.
            Err(KubeError::Unreachable { .. } | KubeError::Stranger { .. } | KubeError::Failed(_)) => {
                wait(&cluster, RETRY.1).await;
            }
            found => break found,
        }
    };
    match found {
        Ok(Some(carrier)) => {
            cluster.adopt(&attempt, carrier);
            tend::news(&cluster, &attempt);
        }
        // What Berth removes itself is not in the book any more.
        Ok(None) if cluster.book.forget(&attempt) => {
            tracing::warn!(%attempt, "Job was removed by someone else");
            // Berth asks, and hears that it is absent.
            cluster.reports.back();
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%attempt, %error, "attempt cannot be looked at"),
    }
}

fn known(cluster: &Cluster) -> MutexGuard<'_, Nodes> {
    cluster.nodes.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn nodes(cluster: &Arc<Cluster>, changed: &Notify) {
    let mut listed = Vec::new();
    let on = |event: Event<Node>| match event {
        Event::Init => listed.clear(),
        Event::InitApply(node) => {
            known(cluster).see(&node, &cluster.config);
            listed.extend(node.metadata.name);
        }
        Event::InitDone => {
            known(cluster).only_nodes(&listed);
            changed.notify_one();
        }
        Event::Apply(node) => {
            if known(cluster).see(&node, &cluster.config) {
                on_reach_of(cluster, node.metadata.name.as_deref());
            }
            changed.notify_one();
        }
        Event::Delete(node) => {
            known(cluster).gone(node.metadata.name.as_deref().unwrap_or_default());
            changed.notify_one();
        }
    };
    follow(cluster, "nodes", Api::all, watcher::Config::default(), on).await;
}

/// A node went away or came back.
fn on_reach_of(cluster: &Arc<Cluster>, node: Option<&str>) {
    let there: Vec<_> = {
        let entries = cluster.book.entries();
        let is_there = |entry: &crate::book::Entry| entry.standing().node.as_deref() == node;
        entries.iter().filter(|(_, entry)| is_there(entry)).map(|(attempt, _)| attempt.clone()).collect()
    };
    for attempt in there {
        tend::news(cluster, &attempt);
    }
    cluster.wake.notify_one();
}

/// What selects Pods that are not this cluster's.
pub(crate) fn of_others(cluster: &Cluster) -> String {
    format!("{}!={}", label::CLUSTER, names::label_value(&cluster.config.cluster))
}

async fn others(cluster: &Arc<Cluster>, changed: &Notify) {
    let mut listed = HashSet::new();
    let on = |event: Event<Pod>| match event {
        Event::Init => listed.clear(),
        Event::InitApply(pod) => {
            known(cluster).see_other(&pod, &cluster.config);
            listed.extend(pod.metadata.uid);
        }
        Event::InitDone => {
            known(cluster).only_others(&listed);
            listed = HashSet::new();
            changed.notify_one();
        }
        Event::Apply(pod) => {
            known(cluster).see_other(&pod, &cluster.config);
            changed.notify_one();
        }
        Event::Delete(pod) => {
            known(cluster).other_gone(pod.metadata.uid.as_deref().unwrap_or_default());
            changed.notify_one();
        }
    };
    let config = watcher::Config::default().labels(&of_others(cluster));
    follow(cluster, "pods of others", Api::all, config, on).await;
}

async fn tell_nodes(cluster: &Cluster, changed: &Notify) {
    loop {
        changed.notified().await;
        sleep(TOGETHER).await;
        let news = known(cluster).news(&cluster.config);
        if let Some(nodes) = news {
            cluster.reports.capacity(nodes);
        }
    }
}
