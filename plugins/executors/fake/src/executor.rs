//! The trait over the simulated back end.

use std::sync::Arc;

use async_trait::async_trait;
use berth_executor_api::{
    Action, AttemptName, Capabilities, Description, Executor, ExecutorError, Launch, Launched, LogQuery,
    LogStream, Node, Report, Truth, Usage,
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::{
    BACKEND,
    config::{FakeConfig, Lack},
    control::FakeControl,
    convert::KEYS,
    entry::Entry,
    logs,
    shared::{Shared, unreachable},
};

/// An executor that simulates everything.
pub struct FakeExecutor {
    shared: Arc<Shared>,
    config: FakeConfig,
}

impl FakeExecutor {
    /// Makes a simulated back end, or goes on with the one in the state file, and connects to it.
    ///
    /// # Errors
    /// `Unusable` when two nodes have one name or the state file cannot be used.
    pub fn new(config: FakeConfig) -> Result<Self, ExecutorError> {
        let made = Shared::new(config.clone());
        let shared = made.map_err(|reason| ExecutorError::Unusable { backend: BACKEND.into(), reason })?;
        Ok(Self { shared, config })
    }

    pub(crate) fn on(shared: Arc<Shared>) -> Self {
        let config = shared.lock().cluster.config.clone();
        Self { shared, config }
    }

    /// The handle that makes things happen in the back end.
    #[must_use]
    pub fn control_handle(&self) -> FakeControl {
        FakeControl::new(Arc::clone(&self.shared))
    }

    fn needs(&self, what: Lack, words: &'static str) -> Result<(), ExecutorError> {
        match self.config.has(what) {
            true => Ok(()),
            false => Err(ExecutorError::Unsupported { backend: BACKEND.into(), what: words }),
        }
    }
}

fn unknown(attempt: &AttemptName) -> ExecutorError {
    ExecutorError::UnknownAttempt { backend: BACKEND.into(), attempt: attempt.to_string() }
}

#[async_trait]
impl Executor for FakeExecutor {
    fn describe(&self) -> Description {
        let has = |what| self.config.has(what);
        let gpus = self.config.nodes.iter().any(|node| node.resources.gpus > 0);
        Description {
            name: BACKEND.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            promise: self.config.promise,
            capabilities: Capabilities {
                suspend: has(Lack::Suspend),
                signal: has(Lack::Signal),
                logs: has(Lack::Logs),
                stats: has(Lack::Stats),
                time_limit: has(Lack::TimeLimit),
                new_time_limit: has(Lack::TimeLimit),
                ports: has(Lack::Ports),
                gpu_vendors: gpus.then(|| BACKEND.to_owned()).into_iter().collect(),
                extensions: KEYS.iter().map(|(key, _)| (*key).to_owned()).collect(),
                ..Capabilities::default()
            },
            notes: vec!["everything is simulated; no command is executed".into()],
        }
    }

    async fn capacity(&self) -> Result<Vec<Node>, ExecutorError> {
        self.shared.reach().await?;
        self.shared.with(|state, _| state.cluster.world.nodes.all())
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        self.shared.listen().map(stream::iter).flatten().boxed()
    }

    async fn launch(&self, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
        self.shared.reach().await?;
        let answers = self.shared.with(|state, now| state.cluster.launch(batch, now))?;
        match answers.lost {
            false => Ok(answers.launched),
            true => Err(unreachable("the answer was lost, as asked".into())),
        }
    }

    async fn reconcile(&self, attempts: &[AttemptName]) -> Result<Vec<Truth>, ExecutorError> {
        self.shared.reach().await?;
        self.shared.with(|state, _| attempts.iter().map(|attempt| state.cluster.truth(attempt)).collect())
    }

    async fn attempts(&self) -> Result<Vec<AttemptName>, ExecutorError> {
        self.shared.reach().await?;
        self.shared.with(|state, _| state.cluster.attempts())
    }

    async fn control(&self, attempt: &AttemptName, action: Action) -> Result<(), ExecutorError> {
        match action {
            Action::Suspend | Action::Resume => self.needs(Lack::Suspend, "suspend")?,
            Action::Signal(_) => self.needs(Lack::Signal, "send signals")?,
            Action::TimeLimit { .. } => self.needs(Lack::TimeLimit, "hold attempts to a time limit")?,
            Action::Terminate { .. } => {}
        }
        self.shared.reach().await?;
        let found = self.shared.with(|state, now| state.cluster.control(attempt, action, now))?;
        match action {
            Action::Terminate { .. } => Ok(()),
            _ if found => Ok(()),
            _ => Err(unknown(attempt)),
        }
    }

    async fn logs(&self, attempt: &AttemptName, query: LogQuery) -> Result<LogStream, ExecutorError> {
        self.needs(Lack::Logs, "show logs")?;
        self.shared.reach().await?;
        let text = |entry: &Entry| entry.output(query.stream);
        let found = self.shared.with(|state, _| state.cluster.entry(attempt).map(text))?;
        let text = found.ok_or_else(|| unknown(attempt))?;
        Ok(logs::log(Arc::clone(&self.shared), attempt.clone(), query, text))
    }

    async fn stats(&self, attempt: &AttemptName) -> Result<Usage, ExecutorError> {
        self.needs(Lack::Stats, "tell usage")?;
        self.shared.reach().await?;
        let usage = self.shared.with(|state, now| {
            state.cluster.entry(attempt).filter(|entry| !entry.is_over()).map(|entry| entry.usage(now))
        })?;
        usage.ok_or_else(|| unknown(attempt))
    }

    async fn remove(&self, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
        self.shared.reach().await?;
        self.shared.with(|state, now| attempts.iter().for_each(|attempt| state.cluster.remove(attempt, now)))
    }

    async fn cleanup(&self, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
        self.shared.reach().await?;
        self.shared.with(|state, now| state.cluster.cleanup(dry_run, now))
    }
}

#[cfg(test)]
#[path = "executor_tests.rs"]
mod tests;
