//! What all parts of the executor share.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use berth_docker_engine::{
    Engine, EngineError, EngineInfo,
    bollard::{Docker, models::ContainerInspectResponse},
};
use berth_executor_api::{AttemptName, AttemptReport, AttemptState, ExecutorError, Report, UtcMs};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    BACKEND,
    books::{Books, Entry},
    config::DockerConfig,
    convert,
    images::Images,
    networks::{self, Networks},
    notes::{Note, Notes},
    reports::Reports,
    usage::Counters,
};

/// Whether the engine answers, and the books say what it says.
#[derive(Clone)]
pub(crate) enum Reach {
    /// It was not asked yet.
    Unasked,
    /// It does.
    Synced(Arc<EngineInfo>),
    /// It did not when it was asked for the so-manieth time.
    Away { words: String, tries: u64 },
}

pub(crate) struct Shared {
    pub config: DockerConfig,
    pub engine: Engine,
    pub reports: Reports,
    pub images: Images,
    pub networks: Networks,
    pub notes: Notes,
    pub counters: Counters,
    /// Bounds how many containers are made and started at a time.
    pub starts: Arc<Semaphore>,
    pub reach: watch::Sender<Reach>,
    /// Somebody got no answer: the engine is to be looked at.
    pub doubt: Notify,
    /// Cores became free or taken; see [`crate::cores`].
    pub cores_changed: Notify,
    /// The latest time that the engine was away, by its own clock.
    pub last_away: Mutex<Option<(UtcMs, UtcMs)>>,
    /// Ends everything that was begun here.
    pub life: CancellationToken,
    books: Mutex<Books>,
    clock_ahead_ms: AtomicI64,
}

impl Shared {
    pub fn new(config: DockerConfig, images: Images, notes: Notes) -> Self {
        Self {
            engine: Engine::new(config.engine()),
            networks: Networks::new(&config.cluster),
            counters: Counters::new(&config),
            starts: Arc::new(Semaphore::new(config.starts_at_once.max(1))),
            reports: Reports::new(),
            reach: watch::Sender::new(Reach::Unasked),
            doubt: Notify::new(),
            cores_changed: Notify::new(),
            last_away: Mutex::default(),
            life: CancellationToken::new(),
            books: Mutex::default(),
            clock_ahead_ms: AtomicI64::new(0),
            config,
            images,
            notes,
        }
    }

    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at one entry, or changes it.
    pub fn with<T>(&self, attempt: &AttemptName, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.books().entries.get_mut(attempt).map(act)
    }

    /// Runs something for as long as this executor lives and `life` lasts.
    pub fn spawn(&self, life: CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(async move {
            life.run_until_cancelled(work).await;
        });
    }

    /// Now, by the engine's clock.
    pub fn now(&self) -> UtcMs {
        UtcMs(own_now().0.saturating_add_signed(self.clock_ahead_ms.load(Ordering::Relaxed)))
    }

    pub fn set_clock(&self, info: &EngineInfo) {
        self.clock_ahead_ms.store(info.clock_ahead_ms, Ordering::Relaxed);
    }

    /// A report that says nothing but the state, as of now.
    pub fn report(&self, attempt: &AttemptName, state: AttemptState) -> AttemptReport {
        AttemptReport { node: self.node(), ..AttemptReport::new(attempt.clone(), state, self.now()) }
    }

    /// What a running container's state says to people and tools.
    pub fn running(&self, attempt: &AttemptName, container: &ContainerInspectResponse) -> AttemptReport {
        let mut report = self.report(attempt, AttemptState::Running);
        let Some(settings) = &container.network_settings else { return report };
        let networks = settings.networks.iter().flatten();
        let addresses = networks.flat_map(|(_, network)| [&network.ip_address, &network.global_ipv6_address]);
        report.addresses = addresses.flatten().filter(|address| !address.is_empty()).cloned().collect();
        let host = self.config.publish_host.clone();
        let everywhere = matches!(self.config.publish.as_str(), "" | "0.0.0.0" | "::");
        let host = host.or_else(|| (!everywhere).then(|| self.config.publish.clone()));
        let host = host.or_else(|| self.node()).unwrap_or_default();
        report.ports = convert::mapped(settings, &host);
        report
    }

    /// The node's name, once the engine has told it.
    pub fn node(&self) -> Option<String> {
        let hostname = || match &*self.reach.borrow() {
            Reach::Synced(info) => info.info.name.clone(),
            _ => None,
        };
        self.config.node.clone().or_else(hostname)
    }

    /// Tells where an attempt stands, if that is news.
    pub fn tell(&self, report: AttemptReport) {
        let ended = matches!(report.state, AttemptState::Exited(_));
        let attempt = report.attempt.clone();
        let (told, freed) = {
            let mut books = self.books();
            let told = books.note(report);
            let freed = told.is_some() && ended && books.shares.give_back(&attempt);
            (told, freed)
        };
        if let Some(report) = told {
            self.reports.tell(report);
        }
        if freed {
            self.doubt_cores();
        }
    }

    /// Cores became free or taken; see [`crate::cores`].
    pub fn doubt_cores(&self) {
        self.cores_changed.notify_one();
    }

    /// An attempt leaves the books and its tender is ended. Its end is not told.
    pub fn forget(self: &Arc<Self>, attempt: &AttemptName) {
        let (freed, network) = {
            let mut books = self.books();
            let mut network = None;
            if let Some(entry) = books.entries.remove(attempt) {
                entry.life.cancel();
                entry.phase.send_replace(berth_executor_api::files::Phase::Ended);
                network = entry.facts.network.clone().filter(|network| !books.needs_network(&network.name));
            }
            (books.shares.give_back(attempt), network)
        };
        if freed {
            self.doubt_cores();
        }
        if let Some(network) = network {
            networks::let_go(self, network);
        }
    }

    /// Changes an attempt's note, in memory and on the disk.
    pub async fn note(&self, attempt: &AttemptName, change: impl FnOnce(&mut Note)) -> std::io::Result<()> {
        self.with(attempt, |entry| change(&mut entry.note));
        self.save_notes(std::slice::from_ref(attempt)).await
    }

    /// Writes down what is noted of attempts by now.
    pub async fn save_notes(&self, attempts: &[AttemptName]) -> std::io::Result<()> {
        let now = || {
            let books = self.books();
            let note =
                |attempt: &AttemptName| Some((attempt.clone(), books.entries.get(attempt)?.note.clone()));
            attempts.iter().filter_map(note).collect()
        };
        self.notes.write(now).await
    }

    /// Waits for as long as the engine is away.
    pub async fn docker_when_there(&self) -> Docker {
        let mut reach = self.reach.subscribe();
        loop {
            let synced = matches!(&*reach.borrow_and_update(), Reach::Synced(_));
            if let (true, Some(docker)) = (synced, self.engine.connected()) {
                return docker;
            }
            // The sender lives in `self`.
            let _ = tokio::time::timeout(Duration::from_secs(1), reach.changed()).await;
        }
    }

    /// The engine, if it answers: an engine that is away is looked for once more before that is said.
    pub async fn synced(&self) -> Result<(Docker, Arc<EngineInfo>), ExecutorError> {
        let mut reach = self.reach.subscribe();
        let tried_before = match &*reach.borrow_and_update() {
            Reach::Away { tries, .. } => *tries,
            Reach::Unasked | Reach::Synced(_) => 0,
        };
        let wait = async {
            loop {
                let now = reach.borrow_and_update().clone();
                match (now, self.engine.connected()) {
                    (Reach::Synced(info), Some(docker)) => return Ok((docker, info)),
                    (Reach::Away { words, tries }, _) if tries > tried_before => {
                        return Err(self.engine.away(&words));
                    }
                    _ => {}
                }
                self.doubt.notify_one();
                if reach.changed().await.is_err() {
                    return Err(self.engine.away("the executor has ended"));
                }
            }
        };
        let patience = self.config.answer_within * 2;
        let late = || self.engine.away("it was not found again in time");
        tokio::time::timeout(patience, wait).await.unwrap_or_else(|_| Err(late()))
    }

    /// The error for whoever asked; where the engine did not answer, it is looked at.
    pub fn failed(&self, error: EngineError) -> ExecutorError {
        if error.is_unreachable() {
            self.doubt.notify_one();
        }
        error.for_executor(BACKEND)
    }

    /// The error for an attempt that is not there.
    pub fn unknown(attempt: &AttemptName) -> ExecutorError {
        ExecutorError::UnknownAttempt { backend: BACKEND.into(), attempt: attempt.to_string() }
    }

    pub fn refused(reason: impl Into<String>) -> ExecutorError {
        ExecutorError::Refused { backend: BACKEND.into(), reason: reason.into() }
    }

    /// The engine does not answer. Told once.
    pub fn set_away(&self, words: &str) {
        let mut news = false;
        self.reach.send_modify(|reach| {
            let tries = match reach {
                Reach::Away { tries, .. } => *tries + 1,
                Reach::Unasked | Reach::Synced(_) => {
                    news = true;
                    1
                }
            };
            *reach = Reach::Away { words: words.to_owned(), tries };
        });
        if news {
            self.engine.lost();
            self.reports.send(Report::Away(words.to_owned()));
        }
    }
}

/// Now, by this machine's clock.
pub(crate) fn own_now() -> UtcMs {
    UtcMs(0).after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
