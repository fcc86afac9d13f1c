//! The executor's face.

use std::sync::Arc;

use async_trait::async_trait;
use berth_executor_api::{
    Action, AttemptName, Capabilities, Description, Executor, ExecutorError, Launch, LaunchPromise, Launched,
    LogQuery, LogStream, Node, Report, Stream, Truth, Usage, files,
};
use futures::{StreamExt, stream::BoxStream};
use tokio::task::JoinHandle;

use crate::{
    BACKEND, SgeConfig,
    book::Book,
    commands::Commands,
    control,
    convert::KEYS,
    launch, reconcile,
    reports::{ReportStream, Reports},
    watch::{Shared, watch},
};

/// Runs attempts as jobs of a Grid Engine cell.
#[derive(Debug)]
pub struct SgeExecutor {
    shared: Arc<Shared>,
    stream: ReportStream,
    watcher: JoinHandle<()>,
}

impl SgeExecutor {
    /// Reads what was noted and begins to watch. A cell that cannot be reached yet is waited for. To be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// `Unusable` when notes cannot be kept or SGE's programs are not there.
    pub fn start(config: SgeConfig) -> Result<Self, ExecutorError> {
        let unusable = |reason: String| ExecutorError::Unusable { backend: BACKEND.into(), reason };
        for program in ["qsub", "qstat", "qacct", "qdel", "qhost"] {
            let path = config.binaries.join(program);
            if !path.exists() {
                return Err(unusable(format!("{} does not exist; set `binaries`", path.display())));
            }
        }
        let book = Book::open(&config.state);
        let book = book.map_err(|error| unusable(format!("notes in {}: {error}", config.state.display())))?;
        let commands =
            Commands::new(Arc::new(config.clone())).map_err(|error| unusable(error.to_string()))?;
        let (reports, stream) = Reports::new();
        let (shared, asked) = Shared::new(config, commands, book, reports);
        let shared = Arc::new(shared);
        let watcher = tokio::spawn(watch(Arc::clone(&shared), asked));
        Ok(Self { shared, stream, watcher })
    }
}

impl Drop for SgeExecutor {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

fn notes(config: &SgeConfig) -> Vec<String> {
    let mut notes = vec![
        format!("launches: exactly one, as long as {} and the jobs' directories are kept", config.state.display()),
        format!("changes are seen within {:?}: SGE has to be asked for them", config.look_every),
        "jobs' directories, mounts and outputs have to lie at the same path on all nodes".to_owned(),
        "grace: a job is killed after it, or after the time that its queue calls `notify`, whichever is shorter"
            .to_owned(),
        "nodes: queues; SGE itself chooses the host".to_owned(),
        "suspending: left to SGE, which stops a job that was resumed soon after; what it suspends is told".to_owned(),
    ];
    match &config.memory_complex {
        Some(complex) => notes.push(format!("memory is asked for as {complex}")),
        None => notes.push("memory is not asked for in SGE".to_owned()),
    }
    notes
}

#[async_trait]
impl Executor for SgeExecutor {
    fn describe(&self) -> Description {
        Description {
            name: BACKEND.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            promise: LaunchPromise::Exact,
            capabilities: Capabilities {
                logs: true,
                volumes: true,
                queues: true,
                // What `qsub` was told of it stands.
                new_time_limit: !self.shared.config.wall_time,
                extensions: KEYS.map(str::to_owned).to_vec(),
                ..Capabilities::default()
            },
            notes: notes(&self.shared.config),
        }
    }

    async fn capacity(&self) -> Result<Vec<Node>, ExecutorError> {
        let nodes = self.shared.ask_nodes().await;
        nodes.map_err(|error| error.for_executor(self.shared.config.answer_within))
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        self.stream.take()
    }

    async fn launch(&self, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
        launch::launch(&self.shared, batch).await
    }

    async fn reconcile(&self, attempts: &[AttemptName]) -> Result<Vec<Truth>, ExecutorError> {
        reconcile::reconcile(&self.shared, attempts).await
    }

    async fn attempts(&self) -> Result<Vec<AttemptName>, ExecutorError> {
        Ok(self.shared.book.lock().entries.keys().cloned().collect())
    }

    async fn control(&self, attempt: &AttemptName, action: Action) -> Result<(), ExecutorError> {
        match action {
            Action::Terminate { grace } => control::terminate(&self.shared, attempt, grace).await,
            Action::Suspend | Action::Resume => Err(unsupported("suspend jobs")),
            Action::Signal(_) => Err(unsupported("send signals")),
            Action::TimeLimit { .. } if self.shared.config.wall_time => {
                Err(unsupported("change the time limit of what runs"))
            }
            // Berth's own timer holds jobs to it.
            Action::TimeLimit { .. } => Ok(()),
        }
    }

    async fn logs(&self, attempt: &AttemptName, query: LogQuery) -> Result<LogStream, ExecutorError> {
        let found = {
            let book = self.shared.book.lock();
            book.entries.get(attempt).map(|entry| (entry.kept.clone(), entry.phase.subscribe()))
        };
        let Some((kept, phase)) = found else {
            let (backend, attempt) = (BACKEND.into(), attempt.to_string());
            return Err(ExecutorError::UnknownAttempt { backend, attempt });
        };
        let path = match query.stream {
            Stream::Stdout => kept.stdout,
            Stream::Stderr => kept.stderr,
        };
        let stream = match query.follow {
            true => files::follow(path, kept.uid, query.tail_bytes, phase),
            false => files::read(path, kept.uid, query.tail_bytes),
        };
        let failed = |error: files::FileError| ExecutorError::Refused {
            backend: BACKEND.into(),
            reason: error.to_string(),
        };
        Ok(stream.map(move |piece| piece.map_err(failed)).boxed())
    }

    async fn stats(&self, _attempt: &AttemptName) -> Result<Usage, ExecutorError> {
        Err(unsupported("tell what running jobs use"))
    }

    async fn remove(&self, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
        control::remove(&self.shared, attempts).await
    }

    async fn cleanup(&self, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
        control::cleanup(&self.shared, dry_run).await
    }
}

fn unsupported(what: &'static str) -> ExecutorError {
    ExecutorError::Unsupported { backend: BACKEND.into(), what }
}
