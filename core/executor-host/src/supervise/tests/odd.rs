//! An executor that breaks the contract on demand.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use async_trait::async_trait;
use berth_executor_api::{
    Action, AttemptName, Description, Executor, ExecutorError, Launch, Launched, LogQuery, LogStream, Node,
    Report, Truth, Usage,
};
use berth_executor_fake::{FakeConfig, FakeExecutor};
use futures::{StreamExt, stream::BoxStream};

/// What a plugin does that it must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    HangInLaunch,
    PanicInLaunch,
    PanicInReconcile,
    PanicInLogs,
    OneAnswerTooFew,
    StreamEnds,
    ControlUnreachable,
    BlockInLaunch,
}

/// A fake that can be at fault, and notes what it was asked.
pub(super) struct Odd {
    pub fake: FakeExecutor,
    fault: Mutex<Fault>,
    pub batches: Mutex<Vec<usize>>,
    pub controls: AtomicU64,
    pub listened: AtomicU64,
    unblock: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Odd {
    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    pub(super) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

#[async_trait]
impl Executor for Odd {
    fn describe(&self) -> Description {
        self.fake.describe()
    }

    async fn capacity(&self) -> Result<Vec<Node>, ExecutorError> {
        self.fake.capacity().await
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        let first = self.listened.fetch_add(1, Ordering::Relaxed) == 0;
        match self.fault() {
            Fault::StreamEnds if first => futures::stream::empty().boxed(),
            _ => self.fake.reports(),
        }
    }

    async fn launch(&self, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
        self.batches.lock().unwrap().push(batch.len());
        let mut answers = self.fake.launch(batch).await?;
        match self.fault() {
            Fault::HangInLaunch => std::future::pending().await,
            Fault::PanicInLaunch => panic!("launch is broken"),
            Fault::BlockInLaunch => self.unblock.lock().unwrap().recv().unwrap(),
            Fault::OneAnswerTooFew => drop(answers.pop()),
            _ => {}
        }
        Ok(answers)
    }

    async fn reconcile(&self, attempts: &[AttemptName]) -> Result<Vec<Truth>, ExecutorError> {
        assert_ne!(self.fault(), Fault::PanicInReconcile);
        self.fake.reconcile(attempts).await
    }

    async fn attempts(&self) -> Result<Vec<AttemptName>, ExecutorError> {
        self.fake.attempts().await
    }

    async fn control(&self, attempt: &AttemptName, action: Action) -> Result<(), ExecutorError> {
        self.controls.fetch_add(1, Ordering::Relaxed);
        if self.fault() == Fault::ControlUnreachable {
            let source = "no answer".into();
            return Err(ExecutorError::Unreachable { backend: "odd".into(), waited: Duration::ZERO, source });
        }
        self.fake.control(attempt, action).await
    }

    async fn logs(&self, attempt: &AttemptName, query: LogQuery) -> Result<LogStream, ExecutorError> {
        if self.fault() == Fault::PanicInLogs {
            return Ok(futures::stream::poll_fn(|_| panic!("the log is broken")).boxed());
        }
        self.fake.logs(attempt, query).await
    }

    async fn stats(&self, attempt: &AttemptName) -> Result<Usage, ExecutorError> {
        self.fake.stats(attempt).await
    }

    async fn remove(&self, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
        self.fake.remove(attempts).await
    }

    async fn cleanup(&self, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
        self.fake.cleanup(dry_run).await
    }
}

/// The executor, and what ends its blocking.
pub(super) fn odd(config: FakeConfig, fault: Fault) -> (Arc<Odd>, std::sync::mpsc::Sender<()>) {
    let fake = FakeExecutor::new(FakeConfig { count_runs: true, ..config }).unwrap();
    let (unblock, blocked) = std::sync::mpsc::channel();
    let odd = Odd {
        fake,
        fault: Mutex::new(fault),
        batches: Mutex::default(),
        controls: AtomicU64::new(0),
        listened: AtomicU64::new(0),
        unblock: Mutex::new(blocked),
    };
    (Arc::new(odd), unblock)
}
