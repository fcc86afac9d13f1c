//! Two-way connections with running jobs, and what they use.

use std::sync::Arc;

use berth_api::{ErrorBody, ErrorCode, StatsRow};
use berth_engine::LiveJob;
use berth_executor_api::{Connection, ExecSession, ExecutorError, Terminal, TerminalSize};
use berth_executor_host::{CallError, Supervised};
use berth_model::{AttemptName, JobRef};
use berth_server::{Attached, AttachedEnd, Caller, Resize};
use futures::FutureExt;

use super::{Service, access};

impl Service {
    pub(super) async fn exec_beside(
        &self,
        who: &Caller,
        job: JobRef,
        argv: Vec<String>,
        terminal: bool,
    ) -> Result<Attached, ErrorBody> {
        if argv.first().is_none_or(String::is_empty) {
            return Err(ErrorBody::new(ErrorCode::Invalid, "there is no program to run"));
        }
        let (executor, attempt) = self.running(who, job).await?;
        let session = executor.exec(attempt, argv, terminal).await.map_err(|error| failed(&error))?;
        let ExecSession { input, output, exit, terminal } = session;
        let exit = exit.map(|exit| exit.map_err(|error| not_known(&error))).boxed();
        let resize = terminal.map(resize);
        Ok(Attached { input, output, end: AttachedEnd::Exit(exit), resize, guard: None })
    }

    pub(super) async fn connect_with(
        &self,
        who: &Caller,
        job: JobRef,
        port: u16,
    ) -> Result<Attached, ErrorBody> {
        let (executor, attempt) = self.running(who, job).await?;
        let connection = executor.connect(attempt, port).await.map_err(|error| failed(&error))?;
        let Connection { input, output } = connection;
        Ok(Attached { input, output, end: AttachedEnd::Closed, resize: None, guard: None })
    }

    pub(super) async fn stats_now(&self, who: &Caller, job: JobRef) -> Result<StatsRow, ErrorBody> {
        let found = self.seen(who, job).await?;
        let (executor, attempt) = self.attempt_of(&found, job)?;
        let usage = executor.stats(attempt).await.map_err(|error| failed(&error))?;
        Ok(StatsRow {
            job: job.to_string(),
            cpu_micros: usage.cpu_micros,
            memory_bytes: usage.memory_bytes,
            memory_peak_bytes: usage.memory_peak_bytes,
            read_bytes: usage.read_bytes,
            written_bytes: usage.written_bytes,
            disk_bytes: usage.disk_bytes,
        })
    }

    /// The present execution of a job that the caller may touch.
    async fn running(&self, who: &Caller, job: JobRef) -> Result<(Supervised, AttemptName), ErrorBody> {
        let found = self.seen(who, job).await?;
        access::may_enter(who, &found.owner, &job.to_string())?;
        self.attempt_of(&found, job)
    }

    fn attempt_of(&self, found: &LiveJob, job: JobRef) -> Result<(Supervised, AttemptName), ErrorBody> {
        let state = found.moving.state.kind();
        if !state.is_active() || (found.array.is_some() && found.task_of.is_none()) {
            let words = match found.array.is_some() {
                true => {
                    format!("job {job} is an array and runs nothing itself; name a task, such as {job}.1")
                }
                false => format!("job {job} does not run: it is {}", state.as_str()),
            };
            return Err(ErrorBody::new(ErrorCode::Conflict, words));
        }
        let executor = self.daemon.registry.get(&found.executor).cloned().ok_or_else(|| {
            let words = format!("executor {} is not configured any more", found.executor);
            ErrorBody::new(ErrorCode::Unable, words)
        })?;
        let config = self.daemon.config.now();
        Ok((executor, AttemptName::new(&config.cluster.name, found.id, found.moving.attempt)))
    }
}

/// What becomes of a terminal's size is no reason to end what goes on in it.
fn resize(terminal: Box<dyn Terminal>) -> Resize {
    let terminal: Arc<dyn Terminal> = terminal.into();
    Box::new(move |size| {
        let terminal = Arc::clone(&terminal);
        async move {
            let size = TerminalSize { columns: size.columns, rows: size.rows };
            if let Err(error) = terminal.resize(size).await {
                tracing::debug!(error = %error, "a terminal keeps its size");
            }
        }
        .boxed()
    })
}

fn failed(error: &CallError) -> ErrorBody {
    let code = match error {
        CallError::Executor { source: ExecutorError::Unsupported { .. }, .. } => ErrorCode::Unable,
        CallError::Executor { source: ExecutorError::UnknownAttempt { .. }, .. } => ErrorCode::Conflict,
        CallError::Executor { source: ExecutorError::Refused { .. }, .. } => ErrorCode::Unable,
        CallError::BrokeDown { .. } | CallError::WrongAnswer { .. } => ErrorCode::Internal,
        _ => ErrorCode::Unavailable,
    };
    ErrorBody::new(code, error.words())
}

fn not_known(error: &ExecutorError) -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, format!("how the process ended is not known: {error}"))
}
