//! What all parts of the executor share, and the questions they put to the API server.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use berth_executor_api::{AttemptName, ExecutorError, UtcMs, files::Person};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{batch::v1::Job, core::v1::Pod},
};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::params::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{
    KubernetesConfig,
    access::Door,
    book::{Book, Entry, Writing},
    error::KubeError,
    names::{self, annotation},
    nodes::Nodes,
    output::{self, Outputs},
    reports::Reports,
    standing::{Standing, is_live},
};

/// How Berth's changes are marked.
pub(crate) const FIELD_MANAGER: &str = "berth";

/// So many objects come in one answer.
const PAGE: u32 = 500;

/// Answers to single questions, as a source of news about the server.
pub(crate) const CALLS: &str = "calls";

#[derive(Debug)]
pub(crate) struct Cluster {
    pub config: KubernetesConfig,
    pub door: Door,
    pub book: Book,
    pub reports: Reports,
    /// Something may have to be done about an attempt.
    pub wake: Notify,
    /// The server does not answer questions.
    pub silent: Notify,
    /// The server answers again, and those who wait may try.
    pub retry: Notify,
    /// What watches have told of attempts that nobody has asked about yet.
    strays: Mutex<HashMap<AttemptName, Carrier>>,
    /// Who of those that talk to the server gets no answers.
    away: Mutex<BTreeSet<&'static str>>,
    pub nodes: Mutex<Nodes>,
}

/// A Job with its Pods, or Pods that have lost it.
#[derive(Debug, Default)]
pub(crate) struct Carrier {
    pub job: Option<Job>,
    pub pods: Vec<Pod>,
}

impl Carrier {
    /// Whether it is anything: Pods whose Job was deleted go by themselves, but those that somebody has cut loose
    /// from it go on.
    fn is_there(&self) -> bool {
        self.job.is_some() || self.pods.iter().any(is_orphan)
    }
}

fn is_orphan(pod: &Pod) -> bool {
    let meta = &pod.metadata;
    let owned = meta.owner_references.as_ref().is_some_and(|owners| !owners.is_empty());
    !owned && is_live(pod) && meta.deletion_timestamp.is_none()
}

impl Cluster {
    pub fn new(config: KubernetesConfig, reports: Reports) -> Arc<Self> {
        Arc::new(Self {
            config,
            door: Door::default(),
            book: Book::default(),
            reports,
            wake: Notify::new(),
            silent: Notify::new(),
            retry: Notify::new(),
            strays: Mutex::default(),
            away: Mutex::default(),
            nodes: Mutex::default(),
        })
    }

    /// Now, by Berth's clock.
    pub fn now() -> UtcMs {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UtcMs(0).after(since)
    }

    /// Whatever of a kind may be of this cluster.
    pub fn scope<K>(&self, client: Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match self.config.namespace.only() {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }

    /// Puts a question. An answer that takes too long is none.
    pub async fn ask<T, Answer>(&self, question: impl FnOnce(Client) -> Answer) -> Result<T, KubeError>
    where
        Answer: Future<Output = Result<T, kube::Error>>,
    {
        let client = match self.door.client(&self.config.access).await {
            Ok(client) => client,
            Err(error) => return Err(self.on_error(error)),
        };
        let patience = self.config.answer_within;
        match timeout(patience, question(client)).await {
            Ok(Ok(value)) => {
                self.answered(CALLS);
                Ok(value)
            }
            Ok(Err(error)) => Err(self.on_error(KubeError::of(error))),
            Err(_) => {
                let words = format!("the API server did not answer within {patience:?}");
                Err(self.on_error(KubeError::Unreachable { words }))
            }
        }
    }

    fn on_error(&self, error: KubeError) -> KubeError {
        match &error {
            KubeError::Stranger { .. } | KubeError::Unreachable { .. } => {
                self.door.forget();
                self.failed(CALLS, &error.to_string());
                self.silent.notify_one();
            }
            // It has answered.
            KubeError::Refused(_) => self.answered(CALLS),
            KubeError::Failed(_) => {}
        }
        error
    }

    pub fn for_executor(&self, error: KubeError) -> ExecutorError {
        error.for_executor(self.config.answer_within)
    }

    /// One of those that talk to the server gets no answers. What others hear does not matter then.
    pub fn failed(&self, who: &'static str, words: &str) {
        let first = {
            let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
            let first = away.is_empty();
            away.insert(who);
            first
        };
        if first {
            tracing::warn!(words, "API server cannot be used");
            self.reports.away(words.to_owned());
        }
    }

    pub fn answered(&self, who: &'static str) {
        let back = {
            let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
            away.remove(who) && away.is_empty()
        };
        if back {
            tracing::info!("API server can be used again");
            self.reports.back();
        }
    }

    /// The Job of an attempt and its Pods, if there is anything.
    pub async fn carrier(&self, attempt: &AttemptName) -> Result<Option<Carrier>, KubeError> {
        let selector = names::selector_of(&self.config.cluster, attempt);
        let params = ListParams::default().labels(&selector);
        // The Job first: one that is gone by then has no Pods that matter.
        let jobs = self.ask(async |client| self.scope::<Job>(client).list(&params).await).await?;
        let pods = self.ask(async |client| self.scope::<Pod>(client).list(&params).await).await?;
        let is_its = |meta: &_| names::attempt_of(meta, &self.config.cluster).as_ref() == Some(attempt);
        let carrier = Carrier {
            job: jobs.items.into_iter().find(|job| is_its(&job.metadata)),
            pods: pods.items.into_iter().filter(|pod| is_its(&pod.metadata)).collect(),
        };
        Ok(carrier.is_there().then_some(carrier))
    }

    /// Those of all attempts of this cluster.
    pub async fn all_carriers(&self) -> Result<HashMap<AttemptName, Carrier>, KubeError> {
        let mut all: HashMap<AttemptName, Carrier> = HashMap::new();
        for job in self.list::<Job>().await? {
            if let Some(attempt) = names::attempt_of(&job.metadata, &self.config.cluster) {
                all.entry(attempt).or_default().job = Some(job);
            }
        }
        for pod in self.list::<Pod>().await? {
            if let Some(attempt) = names::attempt_of(&pod.metadata, &self.config.cluster) {
                all.entry(attempt).or_default().pods.push(pod);
            }
        }
        all.retain(|_, carrier| carrier.is_there());
        Ok(all)
    }

    /// All of a kind that is of this cluster, page by page.
    pub async fn list<K>(&self) -> Result<Vec<K>, KubeError>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let mut params = ListParams::default().labels(&names::selector(&self.config.cluster)).limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page = self.ask(async |client| self.scope::<K>(client).list(&params).await).await;
            let page = match page {
                // What was begun is too old to be gone on with.
                Err(error) if error.code() == Some(410) && params.continue_token.is_some() => {
                    all.clear();
                    params.continue_token = None;
                    continue;
                }
                other => other?,
            };
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(all),
            }
        }
    }

    /// Changes a Job. Annotations and whether it is suspended can be changed at any time.
    pub async fn patch(&self, namespace: &str, name: &str, change: Value) -> Result<Job, KubeError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let change = Patch::Merge(change);
        let patched =
            async |client| Api::<Job>::namespaced(client, namespace).patch(name, &params, &change).await;
        self.ask(patched).await
    }

    /// Notes something on an attempt's Job; `false` when there is none.
    pub async fn annotate(&self, attempt: &AttemptName, key: &str, value: &str) -> Result<bool, KubeError> {
        let Some((namespace, name)) =
            self.book.with(attempt, |entry| (entry.namespace.clone(), entry.name.clone()))
        else {
            return Ok(false);
        };
        let change = json!({ "metadata": { "annotations": { key: value } } });
        match self.patch(&namespace, &name, change).await {
            Ok(job) => {
                self.book.with(attempt, |entry| entry.see_job(job));
                Ok(true)
            }
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Keeps an eye on an attempt from now on, and says where it stands. `pods` are all that there are.
    pub fn adopt(self: &Arc<Self>, attempt: &AttemptName, carrier: Carrier) -> Standing {
        let Carrier { job, pods } = carrier;
        let mut entries = self.book.entries();
        self.strays().remove(attempt);
        let entry =
            entries.entry(attempt.clone()).or_insert_with(|| self.entry(attempt, job.as_ref(), &pods));
        if let Some(job) = job {
            entry.listed_for.clone_from(&job.metadata.resource_version);
            entry.see_job(job);
        }
        entry.see_all_pods(pods);
        entry.standing()
    }

    /// The same for one that was just made, of whose Pods nobody was asked.
    pub fn adopt_new(self: &Arc<Self>, attempt: &AttemptName, job: Job) {
        let mut entries = self.book.entries();
        let stray = self.strays().remove(attempt).unwrap_or_default();
        let entry = entries.entry(attempt.clone()).or_insert_with(|| self.entry(attempt, Some(&job), &[]));
        entry.see_job(job);
        if let Some(job) = stray.job {
            entry.see_job(job);
        }
        stray.pods.into_iter().for_each(|pod| entry.see_pod(pod));
    }

    fn strays(&self) -> MutexGuard<'_, HashMap<AttemptName, Carrier>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A watch tells of a Job; `true` when it is one that somebody cares about.
    pub fn see_job(&self, attempt: &AttemptName, job: Job) -> bool {
        let mut entries = self.book.entries();
        if let Some(entry) = entries.get_mut(attempt) {
            entry.see_job(job);
            return true;
        }
        self.strays().entry(attempt.clone()).or_default().job = Some(job);
        false
    }

    /// A watch tells of a Pod.
    pub fn see_pod(&self, attempt: &AttemptName, pod: Pod) -> bool {
        let mut entries = self.book.entries();
        if let Some(entry) = entries.get_mut(attempt) {
            entry.see_pod(pod);
            return true;
        }
        let mut strays = self.strays();
        let pods = &mut strays.entry(attempt.clone()).or_default().pods;
        pods.retain(|known| known.metadata.uid != pod.metadata.uid);
        pods.push(pod);
        false
    }

    /// Nobody will ask about it any more.
    pub fn forget_stray(&self, attempt: &AttemptName) {
        self.strays().remove(attempt);
    }

    pub fn forget_stray_pod(&self, attempt: &AttemptName, uid: &str) {
        if let Some(stray) = self.strays().get_mut(attempt) {
            stray.pods.retain(|pod| pod.metadata.uid.as_deref() != Some(uid));
        }
    }

    fn entry(self: &Arc<Self>, attempt: &AttemptName, job: Option<&Job>, pods: &[Pod]) -> Entry {
        let meta = job.map(|job| &job.metadata).or_else(|| pods.first().map(|pod| &pod.metadata));
        let namespace = meta.and_then(|meta| meta.namespace.clone()).unwrap_or_default();
        let name = names::object_name(attempt);
        let outputs = job.and_then(outputs);
        let (progress, watched) = watch::channel(crate::book::Progress::default());
        let (tell, written) = watch::channel(None);
        let writer =
            output::write(Arc::clone(self), namespace.clone(), attempt.clone(), outputs, watched, tell);
        let writer = tokio::spawn(writer).abort_handle();
        Entry::new(namespace, name, Writing { progress, written, writer })
    }

    /// Where an attempt's output goes, and whose it is.
    pub fn outputs(&self, attempt: &AttemptName) -> Option<Outputs> {
        self.book.with(attempt, |entry| entry.job.as_ref().and_then(outputs)).flatten()
    }

    /// A grace as Kubernetes counts it. Zero would not wait for the node to say that it is over.
    pub fn grace(grace: Duration) -> u32 {
        let up = u64::from(grace.subsec_nanos() > 0);
        u32::try_from(grace.as_secs().saturating_add(up)).unwrap_or(u32::MAX).max(1)
    }
}

fn outputs(job: &Job) -> Option<Outputs> {
    let annotations = job.metadata.annotations.as_ref()?;
    let path = |key: &str| annotations.get(key).map(std::path::PathBuf::from);
    let numbers: Option<Vec<u32>> =
        annotations.get(annotation::OWNER)?.split(',').map(|number| number.parse().ok()).collect();
    let numbers = numbers?;
    let (&[uid, gid], groups) = numbers.split_first_chunk::<2>()?;
    let person = Person { uid, gid, groups: groups.to_vec() };
    Some(Outputs { stdout: path(annotation::STDOUT)?, stderr: path(annotation::STDERR)?, person })
}
