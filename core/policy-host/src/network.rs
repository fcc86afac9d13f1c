//! Network policies: say which network and which host ports a job gets.
//!
//! The host keeps what was given out, tells a fresh instance of it, and checks each answer against it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use berth_model::{JobId, NetworkAttachment, UtcMs};

use crate::{
    Attached, LoadError, NetworkRefusal, NetworkRequest, OnSupervised, PluginStatus, PolicyHost, PolicySpec,
    Unanswered,
    bindings::v0_1_0::network::{self as wit, NetworkPolicy as World},
    words::shown,
    workers::{Prepare, Workers},
};

/// What is attached now.
#[derive(Clone, Default)]
struct Books(Arc<Mutex<BTreeMap<JobId, (String, NetworkAttachment)>>>);

impl Books {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, (String, NetworkAttachment)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A network policy that is running. Its thread ends when this is dropped.
pub struct NetworkPolicy {
    workers: Workers<World>,
    words_bytes: usize,
    books: Books,
}

impl NetworkPolicy {
    /// Loads the policy, tries its settings, tells it what is `attached`, and starts its thread.
    ///
    /// # Errors
    /// When the policy cannot be loaded or refuses its settings.
    pub fn spawn(
        host: &PolicyHost,
        spec: PolicySpec,
        attached: Vec<Attached>,
        on_supervised: OnSupervised,
    ) -> Result<Self, LoadError> {
        let words_bytes = spec.limits.words_bytes;
        let books = Books::default();
        books
            .lock()
            .extend(attached.into_iter().map(|attached| (attached.job, (attached.node, attached.what))));
        let workers = Workers::spawn(host, spec, 1, told_of(&books), on_supervised)?;
        Ok(Self { workers, words_bytes, books })
    }

    /// Attaches a job. Asked again for the same job it gives the same answer.
    ///
    /// # Errors
    /// When the job gets no network, for good or for now.
    pub async fn attach(
        &self,
        now: UtcMs,
        request: &NetworkRequest,
    ) -> Result<NetworkAttachment, NetworkRefusal> {
        let (asked, books, most) = (request.clone(), self.books.clone(), self.words_bytes);
        let answer = self
            .workers
            .call(now, move |store, world| {
                let wanted = wit::NetworkRequest::from(&asked);
                let answer = world.berth_policy_network().call_attach(store, now.0, &wanted)?;
                Ok(match answer {
                    Ok(attachment) => entered(&books, attachment, &asked).map(Ok),
                    Err(refusal) => Ok(Err(refused(refusal, most))),
                })
            })
            .await;
        answer.map_err(not_now)?
    }

    /// The job is over. What it had is free again, whatever becomes of the call.
    ///
    /// # Errors
    /// When the policy could not be told; a fresh instance will not hear of the job.
    pub async fn release(&self, now: UtcMs, job: JobId) -> Result<(), Unanswered> {
        let books = self.books.clone();
        books.lock().remove(&job);
        let told = move |store: &mut _, world: &World| {
            world.berth_policy_network().call_release(store, now.0, job.0)?;
            Ok(Ok(()))
        };
        self.workers.call(now, told).await
    }

    /// Loads a version anew, tries it with its settings and what is attached, and lets it take over on
    /// probation.
    ///
    /// # Errors
    /// When it cannot be loaded or refuses its settings. Nothing has changed then.
    pub fn reload(&self, host: &PolicyHost, spec: PolicySpec) -> Result<(), LoadError> {
        self.workers.reload(host, spec)
    }

    /// The spec of the version that decides.
    #[must_use]
    pub fn spec(&self) -> PolicySpec {
        self.workers.spec()
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> PluginStatus {
        self.workers.status()
    }
}

/// Tells a fresh instance what is attached.
fn told_of(books: &Books) -> Prepare<World> {
    let books = books.clone();
    Arc::new(move |instance| {
        let attached = books.lock().clone();
        for (job, (node, what)) in &attached {
            let what = wit::Attachment {
                network: what.network.clone(),
                on_demand: what.on_demand,
                internal: what.internal,
                ports: what.ports.iter().map(|(job, host)| wit::Port { job: *job, host: *host }).collect(),
            };
            instance
                .call(|store, world| world.berth_policy_network().call_attached(store, job.0, node, &what))?;
        }
        Ok(())
    })
}

/// Fails closed: the job waits.
fn not_now(unanswered: Unanswered) -> NetworkRefusal {
    let words = match &unanswered {
        Unanswered::Failed { policy, fault } => format!("network policy {policy} failed: {fault}"),
        other => format!("network {other}"),
    };
    NetworkRefusal::NotNow(words)
}

fn refused(refusal: wit::Refusal, most: usize) -> NetworkRefusal {
    match refusal {
        wit::Refusal::Never(words) => NetworkRefusal::Never(shown(&words, most)),
        wit::Refusal::NotNow(words) => NetworkRefusal::NotNow(shown(&words, most)),
    }
}

/// Enters an attachment that fits the request and the books.
fn entered(
    books: &Books,
    attachment: wit::Attachment,
    asked: &NetworkRequest,
) -> Result<NetworkAttachment, String> {
    let attachment = NetworkAttachment::from(attachment);
    let mut books = books.lock();
    if let Some((_, before)) = books.get(&asked.job) {
        let same = *before == attachment;
        return if same {
            Ok(attachment)
        } else {
            Err(format!("job {} got another answer before", asked.job))
        };
    }
    let taken = books
        .values()
        .filter(|(node, _)| *node == asked.node)
        .flat_map(|(_, what)| what.ports.iter().map(|(_, host)| *host))
        .collect();
    fits(&attachment, asked, &taken)?;
    books.insert(asked.job, (asked.node.clone(), attachment.clone()));
    Ok(attachment)
}

/// Whether each port that was asked for has one on the host that nobody has.
pub(crate) fn fits(
    attachment: &NetworkAttachment,
    asked: &NetworkRequest,
    taken: &HashSet<u16>,
) -> Result<(), String> {
    if attachment.network.len() > 256 || attachment.network.chars().any(char::is_control) {
        return Err("it gave a name that no network has".to_owned());
    }
    if attachment.on_demand && attachment.network.is_empty() {
        return Err("it gave a network to be made, and no name for it".to_owned());
    }
    let mut given: Vec<u16> = attachment.ports.iter().map(|(job, _)| *job).collect();
    let mut wanted = asked.ports.clone();
    given.sort_unstable();
    wanted.sort_unstable();
    if given != wanted {
        return Err(format!("it gave ports for {given:?} where {wanted:?} were asked for"));
    }
    let mut hosts = taken.clone();
    match attachment.ports.iter().find(|(_, host)| *host == 0 || !hosts.insert(*host)) {
        Some((_, host)) => Err(format!("port {host} of node {} is not free", asked.node)),
        None => Ok(()),
    }
}

impl From<wit::Attachment> for NetworkAttachment {
    fn from(attachment: wit::Attachment) -> Self {
        let ports = attachment.ports.iter().map(|port| (port.job, port.host)).collect();
        let wit::Attachment { network, on_demand, internal, .. } = attachment;
        Self { network, on_demand, internal, ports }
    }
}

impl From<&NetworkRequest> for wit::NetworkRequest {
    fn from(request: &NetworkRequest) -> Self {
        Self {
            job: request.job.0,
            user: request.user.clone(),
            project: request.project.clone(),
            label: request.label.clone(),
            ports: request.ports.clone(),
            node: request.node.clone(),
        }
    }
}
