//! The fake executor as a shared library, for the tests of loading: with sessions that echo, and with faults that its
//! settings ask for.

use std::sync::Arc;

use async_trait::async_trait;
use berth_executor_api::{
    Action, AttemptName, Connection, Description, ExecSession, Executor, ExecutorError, Launch, Launched,
    LogQuery, LogStream, Node, Report, SharedExecutor, Terminal, TerminalSize, Truth, Usage, abi::Settings,
};
use berth_executor_fake::{FakeConfig, FakeExecutor};
use futures::{FutureExt, stream::BoxStream};
use serde::Deserialize;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    #[default]
    None,
    PanicsAtStart,
    RefusesToStart,
    HangsAtStart,
    PanicsInCapacity,
    HangsInCapacity,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    fault: Fault,
}

struct Exported {
    fake: FakeExecutor,
    fault: Fault,
}

#[allow(clippy::panic, reason = "that is the fault")]
async fn start(settings: Settings) -> Result<SharedExecutor, ExecutorError> {
    let unusable = |reason: String| ExecutorError::Unusable { backend: settings.name.clone(), reason };
    let options: Options =
        serde_json::from_value(settings.settings.clone()).map_err(|error| unusable(error.to_string()))?;
    match options.fault {
        Fault::PanicsAtStart => panic!("it was to panic at its start"),
        Fault::RefusesToStart => return Err(unusable("there is no such back end".into())),
        Fault::HangsAtStart => std::future::pending().await,
        _ => {}
    }
    let config = FakeConfig { run_ms: 50, ..FakeConfig::default() };
    let fake = FakeExecutor::new(config).map_err(|error| unusable(error.to_string()))?;
    Ok(Arc::new(Exported { fake, fault: options.fault }))
}

berth_executor_api::export_executor!(start);

#[async_trait]
impl Executor for Exported {
    fn describe(&self) -> Description {
        let mut description = self.fake.describe();
        description.name = "exported".into();
        description.capabilities.exec = true;
        description.capabilities.connect = true;
        description
    }

    #[allow(clippy::panic, reason = "that is the fault")]
    async fn capacity(&self) -> Result<Vec<Node>, ExecutorError> {
        match self.fault {
            Fault::PanicsInCapacity => panic!("it was to panic in capacity"),
            Fault::HangsInCapacity => std::future::pending().await,
            _ => self.fake.capacity().await,
        }
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        self.fake.reports()
    }

    async fn launch(&self, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
        self.fake.launch(batch).await
    }

    async fn reconcile(&self, attempts: &[AttemptName]) -> Result<Vec<Truth>, ExecutorError> {
        self.fake.reconcile(attempts).await
    }

    async fn attempts(&self) -> Result<Vec<AttemptName>, ExecutorError> {
        self.fake.attempts().await
    }

    async fn control(&self, attempt: &AttemptName, action: Action) -> Result<(), ExecutorError> {
        self.fake.control(attempt, action).await
    }

    async fn logs(&self, attempt: &AttemptName, query: LogQuery) -> Result<LogStream, ExecutorError> {
        self.fake.logs(attempt, query).await
    }

    async fn stats(&self, attempt: &AttemptName) -> Result<Usage, ExecutorError> {
        self.fake.stats(attempt).await
    }

    /// Echoes its input and exits with the number of its arguments.
    async fn exec(
        &self,
        _: &AttemptName,
        argv: &[String],
        terminal: bool,
    ) -> Result<ExecSession, ExecutorError> {
        let Connection { input, output } = echo();
        let code = i32::try_from(argv.len()).unwrap_or(i32::MAX);
        let terminal: Option<Box<dyn Terminal>> = terminal.then(|| Box::new(Small) as Box<dyn Terminal>);
        Ok(ExecSession { input, output, exit: async move { Ok(code) }.boxed(), terminal })
    }

    async fn connect(&self, _: &AttemptName, _: u16) -> Result<Connection, ExecutorError> {
        Ok(echo())
    }

    async fn remove(&self, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
        self.fake.remove(attempts).await
    }

    async fn cleanup(&self, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
        self.fake.cleanup(dry_run).await
    }
}

fn echo() -> Connection {
    let (near, far) = tokio::io::duplex(1024);
    let (mut from, mut to) = tokio::io::split(far);
    tokio::spawn(async move {
        if tokio::io::copy(&mut from, &mut to).await.is_ok() {
            // Who waits for the end reads it when both halves are gone.
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut to).await;
        }
    });
    let (output, input) = tokio::io::split(near);
    Connection { input: Box::new(input), output: Box::new(output) }
}

/// A terminal that is no wider than a hundred characters.
struct Small;

#[async_trait]
impl Terminal for Small {
    async fn resize(&self, size: TerminalSize) -> Result<(), ExecutorError> {
        let refused = ExecutorError::Refused { backend: "exported".into(), reason: "too wide".into() };
        if size.columns > 100 { Err(refused) } else { Ok(()) }
    }
}
