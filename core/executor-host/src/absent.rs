//! What stands in for an executor that could not be made.

use std::time::Duration;

use async_trait::async_trait;
use berth_executor_api::{
    Action, AttemptName, Capabilities, Description, Executor, ExecutorError, Launch, LaunchPromise, Launched,
    LogQuery, LogStream, Node, Report, Truth, Usage,
};
use futures::{StreamExt, stream::BoxStream};

/// An executor that could not be made: it has no nodes, and nothing false is said of what it may be running.
pub struct AbsentExecutor {
    name: String,
    why: String,
}

impl AbsentExecutor {
    /// Stands in for the executor of this name.
    #[must_use]
    pub fn new(name: &str, why: &str) -> Self {
        Self { name: name.to_owned(), why: why.to_owned() }
    }

    /// Retryable, since jobs that run there are not lost by it.
    fn away<T>(&self) -> Result<T, ExecutorError> {
        let (backend, source) = (self.name.clone(), self.why.clone().into());
        Err(ExecutorError::Unreachable { backend, waited: Duration::ZERO, source })
    }
}

#[async_trait]
impl Executor for AbsentExecutor {
    fn describe(&self) -> Description {
        Description {
            name: "absent".into(),
            version: String::new(),
            promise: LaunchPromise::AtMostOnce,
            capabilities: Capabilities::default(),
            notes: vec![self.why.clone()],
        }
    }

    async fn capacity(&self) -> Result<Vec<Node>, ExecutorError> {
        Err(ExecutorError::Unusable { backend: self.name.clone(), reason: self.why.clone() })
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        futures::stream::pending().boxed()
    }

    async fn launch(&self, _: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
        self.away()
    }

    async fn reconcile(&self, _: &[AttemptName]) -> Result<Vec<Truth>, ExecutorError> {
        self.away()
    }

    async fn attempts(&self) -> Result<Vec<AttemptName>, ExecutorError> {
        self.away()
    }

    async fn control(&self, _: &AttemptName, _: Action) -> Result<(), ExecutorError> {
        self.away()
    }

    async fn logs(&self, _: &AttemptName, _: LogQuery) -> Result<LogStream, ExecutorError> {
        self.away()
    }

    async fn stats(&self, _: &AttemptName) -> Result<Usage, ExecutorError> {
        self.away()
    }

    async fn remove(&self, _: &[AttemptName]) -> Result<(), ExecutorError> {
        self.away()
    }

    async fn cleanup(&self, _: bool) -> Result<Vec<String>, ExecutorError> {
        self.away()
    }
}
