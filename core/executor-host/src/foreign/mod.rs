//! Executors from shared libraries, wrapped back into the trait. `berth_executor.h` in the plugin API is the contract.

mod library;
mod line;
mod sessions;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use berth_executor_api::{
    Action, AttemptName, Connection, Description, ExecSession, Executor, ExecutorError, Launch, Launched,
    LogQuery, LogStream, Node, Report, Truth, Usage,
    abi::{Batch, Error, ErrorKind, Message, Opened, Settings, Status, Words, method},
};
use futures::stream::BoxStream;
use serde::{Serialize, de::DeserializeOwned};

pub use self::library::LibraryError;
use self::line::{Answer, Line};

/// An executor from a shared library.
pub struct ForeignExecutor {
    description: Description,
    calls: Arc<Calls>,
}

/// Calls of one executor, with what they are about as values.
struct Calls {
    name: String,
    line: Line,
}

impl ForeignExecutor {
    /// Loads a library and has it make an executor, which may take `within`.
    ///
    /// # Errors
    /// When the library is none, is not to be trusted, speaks another version, refuses its settings or does not
    /// answer. What it has begun by then is left as it is.
    pub async fn load(path: &Path, settings: &Settings, within: Duration) -> Result<Self, LibraryError> {
        let (file, no_answer) =
            (path.to_owned(), |what| LibraryError::NoAnswer { path: path.to_owned(), what, waited: within });
        let refused = |words: String| LibraryError::Refused { path: path.to_owned(), words };
        // Initialisers of a library are code of its own, too, and may hang.
        let opening = tokio::task::spawn_blocking(move || library::open(&file));
        let opened = tokio::time::timeout(within, opening).await.map_err(|_| no_answer("being loaded"))?;
        let symbols = opened.map_err(|error| refused(error.to_string()))??;
        let json = serde_json::to_vec(settings).map_err(|error| refused(error.to_string()))?;
        let begun = Line::begin(&settings.name, symbols, json).map_err(|error| refused(error.to_string()));
        let (line, pending) = begun?;
        let answer = tokio::time::timeout(within, pending.answer()).await;
        let answer = answer.map_err(|_| no_answer("making the executor"))?.map_err(refused)?;
        let description =
            read(&settings.name, Duration::ZERO, answer).map_err(|error| refused(reason(&error)))?;
        Ok(Self { description, calls: Arc::new(Calls { name: settings.name.clone(), line }) })
    }
}

/// Why, without the name in front that is known anyway.
fn reason(error: &ExecutorError) -> String {
    match error {
        ExecutorError::Unusable { reason, .. } | ExecutorError::Refused { reason, .. } => reason.clone(),
        ExecutorError::Broken { words, .. } => words.clone(),
        ExecutorError::Unreachable { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

impl Calls {
    async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        request: &impl Serialize,
    ) -> Result<T, ExecutorError> {
        let asked = Instant::now();
        let answer = self.answer(method, request, Vec::new()).await?;
        read(&self.name, asked.elapsed(), answer)
    }

    async fn answer(
        &self,
        method: &'static str,
        request: &impl Serialize,
        body: Vec<u8>,
    ) -> Result<Answer, ExecutorError> {
        let broken = |words: String| ExecutorError::Broken { backend: self.name.clone(), words };
        let json = serde_json::to_vec(request).map_err(|error| broken(error.to_string()))?;
        let pending = self.line.call(method, json, body).map_err(broken)?;
        pending.answer().await.map_err(broken)
    }

    /// Begins a call that nobody waits for.
    fn tell(&self, method: &'static str, message: &Message) {
        let Ok(json) = serde_json::to_vec(message) else { return };
        drop(self.line.call(method, json, Vec::new()));
    }
}

/// What an answer says that was waited for so long.
fn read<T: DeserializeOwned>(name: &str, waited: Duration, answer: Answer) -> Result<T, ExecutorError> {
    let Answer { status, json, .. } = answer;
    let backend = name.to_owned();
    let wrong = |error: serde_json::Error| ExecutorError::Broken {
        backend: name.to_owned(),
        words: format!("its answer makes no sense: {error}"),
    };
    match status {
        Status::Ok => serde_json::from_slice(&json).map_err(wrong),
        Status::Error => Err(error_of(backend, waited, serde_json::from_slice(&json).map_err(wrong)?)),
        Status::Broken => {
            let Words { words } = serde_json::from_slice(&json).map_err(wrong)?;
            Err(ExecutorError::Broken { backend, words })
        }
    }
}

fn error_of(backend: String, waited: Duration, error: Error) -> ExecutorError {
    let Error { kind, words } = error;
    match kind {
        ErrorKind::Unreachable => ExecutorError::Unreachable { backend, waited, source: words.into() },
        ErrorKind::Refused => ExecutorError::Refused { backend, reason: words },
        ErrorKind::Unusable => ExecutorError::Unusable { backend, reason: words },
        ErrorKind::Unsupported => ExecutorError::Unsupported { backend, what: "do that" },
        ErrorKind::UnknownAttempt => ExecutorError::UnknownAttempt { backend, attempt: words },
    }
}

/// A request about one attempt.
fn about(attempt: &AttemptName) -> Message {
    Message { attempt: Some(attempt.clone()), ..Message::default() }
}

#[async_trait]
impl Executor for ForeignExecutor {
    fn describe(&self) -> Description {
        self.description.clone()
    }

    async fn capacity(&self) -> Result<Vec<Node>, ExecutorError> {
        self.calls.ask(method::CAPACITY, &Message::default()).await
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        sessions::reports(Arc::clone(&self.calls))
    }

    async fn launch(&self, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
        self.calls.ask(method::LAUNCH, &Batch::of(batch)).await
    }

    async fn reconcile(&self, attempts: &[AttemptName]) -> Result<Vec<Truth>, ExecutorError> {
        let message = Message { attempts: attempts.to_vec(), ..Message::default() };
        self.calls.ask(method::RECONCILE, &message).await
    }

    async fn attempts(&self) -> Result<Vec<AttemptName>, ExecutorError> {
        self.calls.ask(method::ATTEMPTS, &Message::default()).await
    }

    async fn control(&self, attempt: &AttemptName, action: Action) -> Result<(), ExecutorError> {
        self.calls.ask(method::CONTROL, &Message { action: Some(action), ..about(attempt) }).await
    }

    async fn logs(&self, attempt: &AttemptName, query: LogQuery) -> Result<LogStream, ExecutorError> {
        let opened: Opened =
            self.calls.ask(method::LOGS, &Message { query: Some(query), ..about(attempt) }).await?;
        Ok(sessions::log(Arc::clone(&self.calls), opened.stream))
    }

    async fn stats(&self, attempt: &AttemptName) -> Result<Usage, ExecutorError> {
        self.calls.ask(method::STATS, &about(attempt)).await
    }

    async fn exec(
        &self,
        attempt: &AttemptName,
        argv: &[String],
        terminal: bool,
    ) -> Result<ExecSession, ExecutorError> {
        let message = Message { argv: argv.to_vec(), terminal, ..about(attempt) };
        let opened = self.calls.ask(method::EXEC, &message).await?;
        Ok(sessions::session(&self.calls, opened))
    }

    async fn connect(&self, attempt: &AttemptName, port: u16) -> Result<Connection, ExecutorError> {
        let message = Message { port: Some(port), ..about(attempt) };
        let opened: Opened = self.calls.ask(method::CONNECT, &message).await?;
        Ok(sessions::connection(&self.calls, opened.stream))
    }

    async fn remove(&self, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
        let message = Message { attempts: attempts.to_vec(), ..Message::default() };
        self.calls.ask(method::REMOVE, &message).await
    }

    async fn cleanup(&self, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
        self.calls.ask(method::CLEANUP, &Message { dry_run, ..Message::default() }).await
    }
}
