//! What is remembered of attempts that have a Job: what was last seen of Job and Pods, and what was told. All of it
//! can be had from the cluster again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use berth_executor_api::{AttemptName, PortMapping, UtcMs, files::Phase};
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    names::annotation,
    standing::{Standing, State, Trouble, speaker, standing},
};

/// Where an attempt stands, for who writes its output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub phase: Phase,
    /// The Pod whose log it is.
    pub pod: Option<String>,
    /// The Pod's container was started, and may have written something.
    pub started: bool,
    /// The Pod is on the way out or gone, and its log with it.
    pub leaving: bool,
    /// So much of the output file is of earlier Pods.
    pub base: u64,
}

/// Whether all that the attempt has written is in its file: with words where it is not.
pub(crate) type Written = Option<Result<(), String>>;

/// Who writes the output.
#[derive(Debug)]
pub(crate) struct Writing {
    pub progress: watch::Sender<Progress>,
    pub written: watch::Receiver<Written>,
    pub writer: AbortHandle,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Entry {
    pub namespace: String,
    /// Of its Job.
    pub name: String,
    pub job: Option<Job>,
    pods: HashMap<String, Pod>,
    /// Its Pod as it was when it went.
    gone: Option<Pod>,
    /// The version of the Job after which all of its Pods were last asked for.
    pub listed_for: Option<String>,
    /// What was told last; a later look that finds the same is no news.
    told: Option<Standing>,
    /// The time of the last report. Clocks of nodes differ; reports do not run backwards.
    last_at: UtcMs,
    /// Its end is being told, or was.
    pub ending: bool,
    /// Its end was told.
    pub over: bool,
    /// It was told that it runs.
    pub ran: bool,
    /// Berth was told to ask about it, since its node is away for too long.
    pub given_up: bool,
    /// Since when it gets no further.
    pub trouble: Option<(Trouble, Instant)>,
    /// Something is being done about that.
    pub acting: bool,
    /// Why there is no Pod, as the cluster's events say.
    pub words: Option<String>,
    /// Its published ports, once they are known.
    pub ports: Vec<PortMapping>,
    pub writing: Writing,
    /// For those who read the output file.
    pub phase: watch::Sender<Phase>,
}

impl Entry {
    pub fn new(namespace: String, name: String, writing: Writing) -> Self {
        Self {
            namespace,
            name,
            job: None,
            pods: HashMap::new(),
            gone: None,
            listed_for: None,
            told: None,
            last_at: UtcMs::default(),
            ending: false,
            over: false,
            ran: false,
            given_up: false,
            trouble: None,
            acting: false,
            words: None,
            ports: Vec::new(),
            writing,
            phase: watch::Sender::default(),
        }
    }

    /// Watches and questions overlap: what is older than what is known changes nothing.
    pub fn see_job(&mut self, mut job: Job) {
        job.metadata.managed_fields = None;
        if self.job.as_ref().is_none_or(|known| !is_older(&job.metadata, &known.metadata)) {
            self.job = Some(job);
        }
    }

    pub fn see_pod(&mut self, mut pod: Pod) {
        pod.metadata.managed_fields = None;
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let known = self.pods.get(&uid).map(|known| &known.metadata);
        let was_seen_go = self.gone.as_ref().is_some_and(|gone| gone.metadata.uid == pod.metadata.uid);
        if !was_seen_go && known.is_none_or(|known| !is_older(&pod.metadata, known)) {
            self.pods.insert(uid, pod);
        }
    }

    /// It is not there any more; `last` is how it was when it went, where that was seen.
    pub fn pod_gone(&mut self, uid: &str, last: Option<Pod>) {
        let known = self.pods.remove(uid);
        if let Some(pod) = last.or(known) {
            let before = self.gone.iter().chain(std::iter::once(&pod));
            if speaker(before).is_some_and(|speaker| speaker.metadata.uid == pod.metadata.uid) {
                self.gone = Some(pod);
            }
        }
    }

    /// All of its Pods, as a list of them says.
    pub fn see_all_pods(&mut self, pods: Vec<Pod>) {
        let listed: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        let missing: Vec<_> = self.pods.keys().filter(|uid| !listed.contains(uid)).cloned().collect();
        for uid in missing {
            self.pod_gone(&uid, None);
        }
        pods.into_iter().for_each(|pod| self.see_pod(pod));
    }

    /// Whether all there is to know of its Pods is known, as far as its Job is.
    pub fn knows_its_pods(&self) -> bool {
        let version = self.job.as_ref().and_then(|job| job.metadata.resource_version.as_ref());
        version.is_none() || self.listed_for.as_ref() == version
    }

    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    pub fn standing(&self) -> Standing {
        let mut standing = standing(self.job.as_ref(), speaker(self.pods.values()), self.gone.as_ref());
        if standing.trouble == Some(Trouble::NoPod)
            && let Some(words) = &self.words
        {
            standing.message = Some(format!("the cluster has made no Pod for it yet: {words}"));
        }
        standing
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.job.as_ref()?.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Takes over what a look has found; whether it is news.
    pub fn note(&mut self, standing: &Standing) -> bool {
        let phase = match standing.state {
            State::Starting | State::Suspended => Phase::Waiting,
            State::Running => Phase::Writing,
            State::Exited(_) | State::NoRoom | State::NodeGone => Phase::Ended,
        };
        let base = self.annotation(annotation::BASE).and_then(|base| base.parse().ok()).unwrap_or(0);
        let here = standing.pod.is_some() && speaker(self.pods.values()).is_some();
        let now = Progress {
            phase,
            pod: standing.pod.clone(),
            started: standing.started.is_some(),
            leaving: standing.leaving || !here,
            base,
        };
        self.writing.progress.send_if_modified(|progress| {
            let forward = progress.phase != Phase::Ended && *progress != now;
            if forward {
                *progress = now;
            }
            forward
        });
        if phase == Phase::Writing {
            self.phase.send_if_modified(|phase| {
                let begins = *phase == Phase::Waiting;
                if begins {
                    *phase = Phase::Writing;
                }
                begins
            });
        }
        self.trouble = match (&standing.trouble, self.trouble.take()) {
            (Some(new), Some((old, since))) if *new == old => Some((old, since)),
            (Some(new), _) => Some((new.clone(), Instant::now())),
            (None, _) => None,
        };
        let known = self.told.as_ref().is_some_and(|told| {
            told.state == standing.state && told.message == standing.message && told.node == standing.node
        });
        if !known {
            self.told = Some(standing.clone());
        }
        self.ran |= standing.state == State::Running;
        !known
    }

    /// A time that does not run backwards.
    pub fn time(&mut self, at: UtcMs) -> UtcMs {
        self.last_at = self.last_at.max(at);
        self.last_at
    }
}

/// Versions of objects of one kind are numbers that grow.
fn is_older(new: &ObjectMeta, known: &ObjectMeta) -> bool {
    let number = |meta: &ObjectMeta| meta.resource_version.as_ref().and_then(|text| text.parse::<u64>().ok());
    match (number(new), number(known)) {
        (Some(new), Some(known)) => new < known,
        _ => false,
    }
}

/// All attempts.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<HashMap<AttemptName, Entry>>);

impl Book {
    pub fn entries(&self) -> MutexGuard<'_, HashMap<AttemptName, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with an entry, if there is one.
    pub fn with<T>(&self, attempt: &AttemptName, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.entries().get_mut(attempt).map(act)
    }

    /// Whether there was one.
    pub fn forget(&self, attempt: &AttemptName) -> bool {
        self.entries().remove(attempt).is_some()
    }
}
