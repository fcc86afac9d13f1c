//! A stand-in for a Kubernetes cluster.
//!
//! It speaks the API over HTTP in the shape in which a real server was recorded, as far as Berth's executor uses it:
//! Jobs, Pods, nodes, Services and events, watches with versions and bookmarks, logs, exec and port-forward. Pods are
//! placed and run: their containers are processes of this machine, so that what a test sees of a job has happened.
//! And it can be made to fail in the ways in which clusters do.
//!
//! It proves nothing of a real cluster's rights, admission, scheduling and timing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod answers;
mod api;
mod beside;
mod controller;
mod faults;
mod kubelet;
mod logs;
mod selectors;
mod store;
mod watching;

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    http::{Method, Uri},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

pub use crate::store::Kind;
use crate::{
    answers::Failure,
    faults::{Effect, Fault, Faults},
    logs::Logs,
    store::{Store, set, text},
};

/// The node that is there from the start.
pub const NODE: &str = "node-1";
/// How long anything may take on a machine that is busy elsewhere.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a test may change.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub token: Option<String>,
    pub job_quota: Option<usize>,
    pub pod_quota: Option<usize>,
    pub missing_namespaces: HashSet<String>,
    pub forbidden: HashSet<(String, &'static str)>,
    pub frozen: HashSet<String>,
    pub no_kubelet: bool,
    pub no_controller: bool,
    pub bookmark_every: Duration,
    /// Between the end of a container and that of its Pod.
    pub lag: Duration,
}

#[derive(Debug)]
pub(crate) struct Shared {
    store: Store,
    faults: Faults,
    logs: Logs,
    /// Streams are cut whenever this changes.
    cuts: watch::Sender<u64>,
    settings: Mutex<Settings>,
    /// Methods and URLs of all requests so far.
    requests: Mutex<Vec<String>>,
}

impl Shared {
    pub fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self, method: &Method, uri: &Uri) {
        let line = format!("{method} {uri}");
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// A cluster of one node, to begin with. It ends, with all that runs there, when it is dropped.
#[derive(Debug)]
pub struct StandIn {
    shared: Arc<Shared>,
    address: SocketAddr,
    door: Mutex<Option<JoinHandle<()>>>,
    workers: Vec<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.cut_off();
        self.workers.iter().for_each(JoinHandle::abort);
    }
}

impl StandIn {
    /// Begins, on a port of its own.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared {
            store: Store::new(),
            faults: Faults::default(),
            logs: Logs::default(),
            cuts: watch::channel(0).0,
            settings: Mutex::new(Settings {
                token: None,
                job_quota: None,
                pod_quota: None,
                missing_namespaces: HashSet::new(),
                forbidden: HashSet::new(),
                frozen: HashSet::new(),
                no_kubelet: false,
                no_controller: false,
                bookmark_every: Duration::from_secs(60),
                lag: Duration::from_millis(30),
            }),
            requests: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let workers = vec![
            tokio::spawn(controller::control(Arc::clone(&shared))),
            tokio::spawn(kubelet::run_pods(Arc::clone(&shared))),
        ];
        let door = Mutex::new(Some(tokio::spawn(serve(Arc::clone(&shared), listener))));
        let folder = tempfile::tempdir().unwrap();
        let stand_in = Self { shared, address, door, workers, folder };
        stand_in
            .add_node(NODE, json!({ "cpu": "64", "memory": "64Gi", "pods": "500", "nvidia.com/gpu": "2" }));
        stand_in
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A kubeconfig that leads to it, with this token.
    #[must_use]
    pub fn kubeconfig(&self, token: &str) -> PathBuf {
        let path = self.folder.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "stand-in",
            "clusters": [{ "name": "stand-in", "cluster": { "server": self.url() } }],
            "users": [{ "name": "berth", "user": { "token": token } }],
            "contexts": [{ "name": "stand-in", "context": { "cluster": "stand-in", "user": "berth", "namespace": "default" } }],
        });
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }

    /// Nobody gets any answer or a connection any more; what runs goes on.
    pub fn cut_off(&self) {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(door) = door {
            door.abort();
        }
    }

    /// Undoes it.
    pub async fn mend(&self) {
        let is_open = self.door.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if is_open {
            return;
        }
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let door = tokio::spawn(serve(Arc::clone(&self.shared), listener));
        *self.door.lock().unwrap_or_else(PoisonError::into_inner) = Some(door);
    }

    /// All watches and logs that are followed break off, watches in the middle of a line.
    pub fn cut_streams(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// No watch can begin at a version that there has been so far.
    pub fn forget_history(&self) {
        self.shared.store.change(|contents| contents.forgotten = contents.version() + 1);
        // So that there is one to begin at.
        self.add_node("node-of-history", json!({ "cpu": "0", "memory": "0" }));
        self.shared.store.change(|contents| contents.remove(Kind::Node, "", "node-of-history"));
    }

    /// Only this token is accepted from now on.
    pub fn accept_only(&self, token: &str) {
        self.shared.settings().token = Some(token.to_owned());
    }

    /// The next requests of this method with `part` in their URL are answered with a failure, and nothing is done.
    pub fn fail(&self, method: &str, part: &str, code: u16, times: usize) {
        self.fault(method, part, times, Effect::Answer(failure(code)));
    }

    /// The same, after it was done.
    pub fn fail_after_doing(&self, method: &str, part: &str, code: u16, times: usize) {
        self.fault(method, part, times, Effect::AfterDoing(failure(code)));
    }

    /// The same, with words.
    pub fn refuse(&self, method: &str, part: &str, code: u16, message: &str) {
        self.fault(method, part, 1, Effect::Answer(Failure { message: message.into(), ..failure(code) }));
    }

    /// The server is too busy, and says for how long, as it does without a status object.
    pub fn too_busy(&self, method: &str, part: &str, times: usize, seconds: u32) {
        let text = "Too many requests, please try again later.";
        self.fault(method, part, times, Effect::Text { code: 429, text, retry_after: Some(seconds) });
    }

    /// There is never an answer.
    pub fn hang(&self, method: &str, part: &str, times: usize) {
        self.fault(method, part, times, Effect::Hang);
    }

    fn fault(&self, method: &str, part: &str, times: usize, effect: Effect) {
        let method = method.parse().unwrap();
        self.shared.faults.add(Fault { method, part: part.to_owned(), times, effect });
    }

    /// All goes well again.
    pub fn no_faults(&self) {
        self.shared.faults.clear();
        let mut settings = self.shared.settings();
        settings.forbidden.clear();
        settings.frozen.clear();
        settings.token = None;
    }

    /// Takes a right away.
    pub fn forbid(&self, verb: &'static str, plural: &str) {
        self.shared.settings().forbidden.insert((plural.to_owned(), verb));
    }

    /// How many Jobs there may be.
    pub fn job_quota(&self, most: Option<usize>) {
        self.shared.settings().job_quota = most;
    }

    /// How many Pods there may be that are not over.
    pub fn pod_quota(&self, most: Option<usize>) {
        self.shared.settings().pod_quota = most;
        self.stir();
    }

    /// There is no namespace of this name.
    pub fn without_namespace(&self, name: &str) {
        self.shared.settings().missing_namespaces.insert(name.to_owned());
    }

    /// Nodes do nothing with Pods, so that a test says what becomes of them.
    pub fn by_hand(&self) {
        self.shared.settings().no_kubelet = true;
    }

    /// Nobody makes any Pods.
    pub fn asleep(&self) {
        self.shared.settings().no_controller = true;
    }

    /// Something has changed that nobody was told of.
    fn stir(&self) {
        self.change(Kind::Node, "", NODE, &json!({ "metadata": { "annotations": { "stirred": store::now(), "at": self.requests().len().to_string() } } }));
    }

    /// A further node with this much.
    pub fn add_node(&self, name: &str, allocatable: Value) {
        let mut node = json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64" } },
            "spec": {},
            "status": { "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": store::now() }] },
        });
        set(&mut node, &["status", "allocatable"], allocatable);
        self.shared.store.change(|contents| contents.insert(Kind::Node, node));
    }

    /// Whether a node answers. One that does not says nothing of its Pods either, which go on.
    pub fn node_answers(&self, name: &str, answers: bool) {
        {
            let mut settings = self.shared.settings();
            match answers {
                true => settings.frozen.remove(name),
                false => settings.frozen.insert(name.to_owned()),
            };
        }
        let status = if answers { "True" } else { "Unknown" };
        let ready = json!([{ "type": "Ready", "status": status, "lastTransitionTime": store::now() }]);
        self.change(Kind::Node, "", name, &json!({ "status": { "conditions": ready } }));
    }

    /// Puts something in that is not Berth's.
    pub fn put(&self, kind: Kind, object: Value) {
        self.shared.store.change(|contents| contents.insert(kind, object));
    }

    /// Changes whatever is there, as the cluster itself would: what is in `change` takes the place of what was.
    pub fn change(&self, kind: Kind, namespace: &str, name: &str, change: &Value) {
        self.shared.store.change(|contents| {
            contents.update(kind, namespace, name, |object| api::merge(object, change));
        });
    }

    /// Somebody removes it, and nothing is left of it.
    pub fn remove(&self, kind: Kind, namespace: &str, name: &str) {
        self.shared.store.change(|contents| contents.remove(kind, namespace, name));
    }

    /// All of a kind, as they are now.
    #[must_use]
    pub fn all(&self, kind: Kind) -> Vec<Value> {
        self.shared.store.lock().all(kind).cloned().collect()
    }

    /// The one of this name.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        self.shared.store.lock().get(kind, namespace, name).cloned()
    }

    /// The only Pod of a Job, as soon as it is as wanted.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn pod_of(&self, job: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let find = || {
            let is_its = |pod: &Value| text(pod, "/metadata/labels/job-name") == job && wanted(pod);
            self.all(Kind::Pod).into_iter().find(is_its)
        };
        assert!(
            kubelet::soon(|| find().is_some(), PATIENCE).await,
            "no such Pod of {job}: {:#?}",
            self.all(Kind::Pod)
        );
        find().unwrap()
    }

    /// Methods and URLs of all requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn failure(code: u16) -> Failure {
    match code {
        401 => Failure::unauthorized(),
        403 => Failure::new(403, "Forbidden", "forbidden by the test"),
        409 => Failure::new(409, "Conflict", "conflict made by the test"),
        410 => Failure::new(410, "Expired", "too old resource version"),
        422 => Failure::new(422, "Invalid", "invalid, says the test"),
        429 => Failure { retry_after: Some(1), ..Failure::new(429, "TooManyRequests", "too many requests") },
        503 => {
            Failure::new(503, "ServiceUnavailable", "the server is currently unable to handle the request")
        }
        code => Failure::new(code, "InternalError", "a fault made by the test"),
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let router = Router::new().fallback(api::answer).with_state(shared);
    // Dropped with this, which ends them.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            // Whoever was at the other end knows best.
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod shape_tests;
