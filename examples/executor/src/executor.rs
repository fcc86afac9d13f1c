//! The trait, over folders.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use berth_executor_api::{
    Action, AttemptName, AttemptReport, AttemptState, Capabilities, Description, Executor, ExecutorError,
    Launch, LaunchPromise, Launched, LogQuery, LogStream, Node, NodeState, Report, Resources, Stream, Truth,
    Usage,
    files::{self, Phase},
};
use futures::{StreamExt, stream::BoxStream};
use rustix::process::Signal;
use tokio::sync::{mpsc, watch};

use crate::{
    Options,
    folder::{Folder, Stands, now},
    start::start,
};

/// How often it is looked whether a job has ended.
const LOOK: Duration = Duration::from_millis(50);

/// Detached processes of this machine.
pub struct Detached {
    name: String,
    options: Node,
    shared: Arc<Shared>,
}

struct Shared {
    attempts: PathBuf,
    /// Those that somebody waits for already.
    followed: Mutex<BTreeSet<AttemptName>>,
    reports: mpsc::UnboundedSender<Report>,
    /// Taken by who listens.
    heard: Mutex<Option<mpsc::UnboundedReceiver<Report>>>,
}

impl Detached {
    /// Uses what is in its folder already.
    ///
    /// # Errors
    /// When that folder cannot be made.
    pub fn new(name: &str, state: &Path, options: &Options) -> io::Result<Self> {
        let attempts = state.join("attempts");
        fs::create_dir_all(&attempts)?;
        let total = Resources { cpu_millis: u64::from(options.cpus) * 1000, ..Resources::default() };
        let (reports, heard) = mpsc::unbounded_channel();
        let node = Node {
            name: options.node.clone(),
            total,
            labels: BTreeMap::new(),
            named: BTreeMap::new(),
            state: NodeState::Up,
        };
        let shared = Shared { attempts, followed: Mutex::default(), reports, heard: Mutex::new(Some(heard)) };
        Ok(Self { name: name.to_owned(), options: node, shared: Arc::new(shared) })
    }

    fn folder(&self, attempt: &AttemptName) -> Folder {
        Folder::of(&self.shared.attempts, attempt)
    }

    fn unknown(&self, attempt: &AttemptName) -> ExecutorError {
        ExecutorError::UnknownAttempt { backend: self.name.clone(), attempt: attempt.to_string() }
    }

    /// The disk that everything stands on did not do what was asked.
    fn away(&self, error: io::Error) -> ExecutorError {
        let waited = Duration::ZERO;
        ExecutorError::Unreachable { backend: self.name.clone(), waited, source: error.into() }
    }

    async fn launch_one(&self, launch: &Launch) -> Launched {
        let folder = self.folder(&launch.attempt);
        let begun = async {
            folder.make(launch)?;
            self.shared.follow(folder.clone());
            if !folder.is_begun() {
                start(&folder, launch).await?;
            }
            io::Result::Ok(())
        };
        match begun.await {
            Ok(()) => Launched::Taken,
            Err(error) => {
                // It was not begun: that is its last step.
                let _ = folder.forget();
                Launched::Refused { words: error.to_string() }
            }
        }
    }

    fn all(&self) -> io::Result<Vec<Folder>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.shared.attempts)? {
            let name = entry?.file_name();
            // Half removed ones have a dot, which no attempt's name has.
            let attempt = serde_json::from_value(name.to_string_lossy().into()).ok();
            all.extend(
                attempt
                    .filter(|_| !name.to_string_lossy().contains('.'))
                    .map(|attempt| self.folder(&attempt)),
            );
        }
        Ok(all)
    }
}

impl Shared {
    /// Reports what becomes of an attempt, once however often it is asked for.
    fn follow(self: &Arc<Self>, folder: Folder) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if !followed.insert(folder.attempt().clone()) {
            return;
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let mut running = false;
            loop {
                match folder.stands() {
                    Stands::Running(_) if !running => {
                        running = true;
                        shared.tell(&folder, AttemptState::Running);
                    }
                    Stands::Exited(exit) => {
                        shared.tell(&folder, AttemptState::Exited(exit));
                        break;
                    }
                    // Berth asks what became of those when it wants to know.
                    Stands::Absent | Stands::Gone => break,
                    _ => {}
                }
                tokio::time::sleep(LOOK).await;
            }
            shared.followed.lock().unwrap_or_else(PoisonError::into_inner).remove(folder.attempt());
        });
    }

    fn is_followed(&self, attempt: &AttemptName) -> bool {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).contains(attempt)
    }

    fn tell(&self, folder: &Folder, state: AttemptState) {
        let at = match &state {
            AttemptState::Exited(exit) => exit.at,
            _ => now(),
        };
        // Nobody listens when Berth is on its way out.
        let _ = self.reports.send(Report::Attempt(AttemptReport::new(folder.attempt().clone(), state, at)));
    }
}

#[async_trait]
impl Executor for Detached {
    fn describe(&self) -> Description {
        Description {
            name: "detached".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            promise: LaunchPromise::Exact,
            capabilities: Capabilities { suspend: true, signal: true, logs: true, ..Capabilities::default() },
            notes: vec!["neither CPUs nor memory are held to what was asked for".into()],
        }
    }

    async fn capacity(&self) -> Result<Vec<Node>, ExecutorError> {
        Ok(vec![self.options.clone()])
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        let heard = self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner).take();
        match heard {
            Some(heard) => {
                futures::stream::unfold(heard, async |mut heard| Some((heard.recv().await?, heard))).boxed()
            }
            None => futures::stream::pending().boxed(),
        }
    }

    async fn launch(&self, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
        let mut answers = Vec::with_capacity(batch.len());
        for launch in batch {
            answers.push(self.launch_one(launch).await);
        }
        Ok(answers)
    }

    async fn reconcile(&self, attempts: &[AttemptName]) -> Result<Vec<Truth>, ExecutorError> {
        let truth = |attempt| {
            let folder = self.folder(attempt);
            let truth = folder.truth(self.shared.is_followed(attempt));
            if matches!(&truth, Truth::Known(report) if !matches!(report.state, AttemptState::Exited(_))) {
                self.shared.follow(folder);
            }
            truth
        };
        Ok(attempts.iter().map(truth).collect())
    }

    async fn attempts(&self) -> Result<Vec<AttemptName>, ExecutorError> {
        let all = self.all().map_err(|error| self.away(error))?;
        Ok(all.iter().map(|folder| folder.attempt().clone()).collect())
    }

    async fn control(&self, attempt: &AttemptName, action: Action) -> Result<(), ExecutorError> {
        let folder = self.folder(attempt);
        let runs = matches!(folder.stands(), Stands::Running(_) | Stands::Suspended(_));
        if !runs && !matches!(action, Action::Terminate { .. }) {
            return Err(self.unknown(attempt));
        }
        let done = match action {
            Action::Suspend => folder.signal(Signal::STOP).and_then(|()| folder.note_suspended(true)),
            Action::Resume => folder.note_suspended(false).and_then(|()| folder.signal(Signal::CONT)),
            Action::Signal(number) => match Signal::from_named_raw(number) {
                Some(signal) => folder.signal(signal),
                None => {
                    return Err(ExecutorError::Refused {
                        backend: self.name.clone(),
                        reason: format!("{number} is no signal"),
                    });
                }
            },
            // It does not say that it can, so that nobody asks.
            Action::TimeLimit { .. } => {
                let (backend, reason) = (self.name.clone(), "it holds nothing to a time limit".to_owned());
                return Err(ExecutorError::Refused { backend, reason });
            }
            Action::Terminate { grace } => {
                let told = folder.note_stop();
                let first = if grace.is_zero() { Signal::KILL } else { Signal::TERM };
                let told = told.and_then(|()| folder.signal(first));
                // One that stands still hears nothing else before it goes on.
                let told = told.and_then(|()| folder.signal(Signal::CONT));
                let late = folder.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(grace).await;
                    let _ = late.signal(Signal::KILL);
                });
                told
            }
        };
        done.map_err(|error| self.away(error))?;
        match action {
            Action::Suspend => self.shared.tell(&folder, AttemptState::Suspended),
            Action::Resume => self.shared.tell(&folder, AttemptState::Running),
            _ => {}
        }
        Ok(())
    }

    async fn logs(&self, attempt: &AttemptName, query: LogQuery) -> Result<LogStream, ExecutorError> {
        let folder = self.folder(attempt);
        let launch = folder.launch().map_err(|_| self.unknown(attempt))?;
        let path = match query.stream {
            Stream::Stdout => launch.stdout,
            Stream::Stderr => launch.stderr,
        };
        let owner = if launch.spec.as_root { 0 } else { launch.spec.identity.uid };
        let log = match query.follow {
            false => files::read(path.into(), owner, query.tail_bytes),
            true => files::follow(path.into(), owner, query.tail_bytes, phase(folder)),
        };
        let backend = self.name.clone();
        let failed = move |error: files::FileError| ExecutorError::Refused {
            backend: backend.clone(),
            reason: error.to_string(),
        };
        Ok(log.map(move |part| part.map_err(&failed)).boxed())
    }

    async fn stats(&self, _: &AttemptName) -> Result<Usage, ExecutorError> {
        Err(ExecutorError::Unsupported { backend: self.name.clone(), what: "tell usage" })
    }

    async fn remove(&self, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
        for attempt in attempts {
            let folder = self.folder(attempt);
            if matches!(folder.stands(), Stands::Exited(_) | Stands::Gone) {
                folder.forget().map_err(|error| self.away(error))?;
            }
        }
        Ok(())
    }

    async fn cleanup(&self, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
        let mut told = Vec::new();
        for folder in self.all().map_err(|error| self.away(error))? {
            told.push(format!("attempt {}", folder.attempt()));
            if !dry_run {
                let killed = folder.signal(Signal::KILL);
                killed.and_then(|()| folder.forget()).map_err(|error| self.away(error))?;
            }
        }
        Ok(told)
    }
}

/// Tells who follows a log how far its writer is.
fn phase(folder: Folder) -> watch::Receiver<Phase> {
    let (tell, phase) = watch::channel(Phase::Waiting);
    tokio::spawn(async move {
        loop {
            let phase = match folder.stands() {
                Stands::Beginning => Phase::Waiting,
                Stands::Running(_) | Stands::Suspended(_) => Phase::Writing,
                Stands::Absent | Stands::Exited(_) | Stands::Gone => Phase::Ended,
            };
            tell.send_replace(phase);
            if phase == Phase::Ended || tell.is_closed() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    phase
}
