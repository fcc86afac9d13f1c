//! What an executor plugin is: one trait, its types, and a conformance kit.
//!
//! An executor makes one back end run attempts and reports what becomes of them. It keeps no books
//! and decides nothing: which job starts where was settled before it hears of it.

#![deny(missing_docs)]

pub mod abi;
#[cfg(feature = "conformance")]
pub mod conformance;
mod environment;
mod error;
pub mod files;
mod launch;
mod report;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
pub use berth_model::{
    Attempt, AttemptName, Command, Exit, Identity, JobFile, JobId, Mount, NamedGrant, NetworkAttachment,
    Resources, Stock, UtcMs,
};
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

pub use crate::{
    environment::Places,
    error::{BoxError, ExecutorError},
    launch::{Launch, LaunchSpec, Launched, Task},
    report::{
        AttemptReport, AttemptState, Capabilities, Description, LaunchPromise, Node, NodeState, PortMapping,
        Report, Truth, Usage,
    },
};

/// A stream of log bytes; it ends when there is nothing more to come.
pub type LogStream = BoxStream<'static, Result<Vec<u8>, ExecutorError>>;

/// What an attempt is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Stop for a while, keeping memory and resources. Needs [`Capabilities::suspend`].
    Suspend,
    /// Go on after a suspend.
    Resume,
    /// Get this signal, all of its processes.
    Signal(i32),
    /// End: asked kindly now, killed `grace` later (wall clock; zero kills at once).
    Terminate {
        /// The time between the two.
        grace: Duration,
    },
    /// Run no longer than this, counted from its start, in place of what its launch said. What has run as long already
    /// is ended now, as at its limit. Needs [`Capabilities::new_time_limit`].
    TimeLimit {
        /// How long.
        limit: Duration,
    },
}

/// Which of the two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Which part of a log is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Which stream.
    pub stream: Stream,
    /// Only this many bytes from the end of what is there now; all of it where `None`.
    pub tail_bytes: Option<u64>,
    /// Go on with what is written later, until the attempt ends.
    pub follow: bool,
    /// Only what was written from then on, by the back end's clock. Needs [`Capabilities::logs_since`].
    pub since: Option<UtcMs>,
}

/// A two-way session with a process beside a running attempt.
pub struct ExecSession {
    /// Goes to the process's standard input.
    pub input: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    /// Comes from the process; with a terminal, both of its outputs.
    pub output: Box<dyn tokio::io::AsyncRead + Send + Unpin>,
    /// The process's exit code, once it is known.
    pub exit: futures::future::BoxFuture<'static, Result<i32, ExecutorError>>,
    /// The terminal that it has; `None` where it has none, or one whose size is fixed.
    pub terminal: Option<Box<dyn Terminal>>,
}

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Its width.
    pub columns: u16,
    /// Its height.
    pub rows: u16,
}

/// The terminal of a process beside an attempt.
#[async_trait]
pub trait Terminal: Send + Sync {
    /// Makes it this large; programs that care hear of it. Called once at the start where the size is known,
    /// and after each change.
    ///
    /// # Errors
    /// When it stays as it was; the session goes on all the same.
    async fn resize(&self, size: TerminalSize) -> Result<(), ExecutorError>;
}

/// A connection with a port of a running attempt.
pub struct Connection {
    /// Goes to whoever listens there; shut down, the other side reads an end.
    pub input: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    /// Comes from there.
    pub output: Box<dyn tokio::io::AsyncRead + Send + Unpin>,
}

/// Runs attempts on one back end and reports what becomes of them.
///
/// All methods may be called at the same time from several tasks. None may block the thread. A call
/// that is dropped half-way must leave nothing that a repeat could not find again by the attempt's name.
#[async_trait]
pub trait Executor: Send + Sync {
    /// What this executor is and can do. Asked once after creation; must not wait for the back end.
    fn describe(&self) -> Description;

    /// The nodes with what they have in total and what of it Berth may use.
    ///
    /// Asked at the start and after each reconnect; changes in between come as [`Report::Capacity`].
    ///
    /// # Errors
    /// `Unreachable` when the back end does not answer; it is asked again later.
    async fn capacity(&self) -> Result<Vec<Node>, ExecutorError>;

    /// The reports, from now on. Called once. Dropping the stream ends nothing in the back end.
    ///
    /// A report may come late, doubled, or not at all (after a lost connection [`Report::Back`] says so,
    /// and Berth then reconciles); it may not come before the truth of what it says.
    fn reports(&self) -> BoxStream<'static, Report>;

    /// Makes the back end take every attempt of `batch`; returns then, not when the jobs run or end.
    ///
    /// One answer per attempt, in order. Called again with the same attempt after a crash or a lost
    /// answer: an attempt that exists already is left as it is and counts as taken.
    ///
    /// # Errors
    /// `Unreachable` if it is unknown which of them exist now; Berth then reconciles before it tries again.
    async fn launch(&self, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError>;

    /// The truth now for each of these attempts, in order.
    ///
    /// # Errors
    /// `Unreachable` when the back end does not answer. Never `Absent` for an attempt about which the
    /// back end could not be asked.
    async fn reconcile(&self, attempts: &[AttemptName]) -> Result<Vec<Truth>, ExecutorError>;

    /// All attempts of this cluster that the back end has, however they stand, in no particular order.
    ///
    /// Asked at the start and after each reconnect. Those whose ends are on record and of which a crash kept
    /// Berth from saying so are then removed.
    ///
    /// # Errors
    /// `Unreachable`; it is asked again later.
    async fn attempts(&self) -> Result<Vec<AttemptName>, ExecutorError>;

    /// Asks the attempt to do something; its reports tell when it has. An attempt that has ended, or
    /// was never known, is not an error for `Terminate`.
    ///
    /// # Errors
    /// `Unsupported` for what [`Description`] does not offer; `UnknownAttempt` for other actions on
    /// what is not there; `Unreachable`.
    async fn control(&self, attempt: &AttemptName, action: Action) -> Result<(), ExecutorError>;

    /// What the attempt has written. Works from `taken` until `remove`.
    ///
    /// # Errors
    /// `UnknownAttempt`, `Unsupported`, `Unreachable`.
    async fn logs(&self, attempt: &AttemptName, query: LogQuery) -> Result<LogStream, ExecutorError>;

    /// What the attempt uses now.
    ///
    /// # Errors
    /// `UnknownAttempt` when it does not run, `Unsupported`, `Unreachable`.
    async fn stats(&self, attempt: &AttemptName) -> Result<Usage, ExecutorError>;

    /// Starts a process beside the attempt's own. Needs [`Capabilities::exec`].
    ///
    /// # Errors
    /// `Unsupported`, `UnknownAttempt`, `Unreachable`.
    async fn exec(
        &self,
        attempt: &AttemptName,
        argv: &[String],
        terminal: bool,
    ) -> Result<ExecSession, ExecutorError> {
        let _ = (attempt, argv, terminal);
        Err(ExecutorError::Unsupported { backend: self.describe().name, what: "exec" })
    }

    /// Connects with a port of the attempt, published or not. Needs [`Capabilities::connect`].
    ///
    /// # Errors
    /// `Unsupported`, `UnknownAttempt` when it does not run, `Refused` when nobody listens there,
    /// `Unreachable`.
    async fn connect(&self, attempt: &AttemptName, port: u16) -> Result<Connection, ExecutorError> {
        let _ = (attempt, port);
        Err(ExecutorError::Unsupported { backend: self.describe().name, what: "connect to ports of jobs" })
    }

    /// Forgets ended attempts and frees what the back end keeps of them. What is not known is not an
    /// error. An attempt that still runs is left alone.
    ///
    /// # Errors
    /// `Unreachable`; it is asked again later.
    async fn remove(&self, attempts: &[AttemptName]) -> Result<(), ExecutorError>;

    /// Removes everything of this cluster from the back end and says what it was, one line each. With
    /// `dry_run` it only says so.
    ///
    /// # Errors
    /// `Unreachable`.
    async fn cleanup(&self, dry_run: bool) -> Result<Vec<String>, ExecutorError>;
}

/// An executor that several tasks share.
pub type SharedExecutor = Arc<dyn Executor>;
