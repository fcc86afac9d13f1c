//! Processes beside a job's own, and connections with its ports, through the API server.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use berth_executor_api::{
    Action, AttemptName, Connection, ExecSession, ExecutorError, Terminal, TerminalSize,
};
use futures::{FutureExt, SinkExt, channel::mpsc};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess, TerminalSize as Size},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex, split},
    time::{sleep, timeout},
};

use crate::{BACKEND, cluster::Cluster, error::KubeError, names::CONTAINER, reconcile, standing::State};

/// How soon a node says that nobody listens at a port.
const NOBODY_THERE: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(50);
const BUFFER: usize = 64 << 10;

pub(crate) fn unknown(attempt: &AttemptName) -> ExecutorError {
    ExecutorError::UnknownAttempt { backend: BACKEND.into(), attempt: attempt.to_string() }
}

pub(crate) fn unsupported(what: &'static str) -> ExecutorError {
    ExecutorError::Unsupported { backend: BACKEND.into(), what }
}

fn refused(reason: impl Into<String>) -> ExecutorError {
    ExecutorError::Refused { backend: BACKEND.into(), reason: reason.into() }
}

/// The running Pod of an attempt; one that is about to run is waited for.
async fn running(cluster: &Arc<Cluster>, attempt: &AttemptName) -> Result<(String, String), ExecutorError> {
    if cluster.book.with(attempt, |_| ()).is_none() {
        reconcile::reconcile(cluster, std::slice::from_ref(attempt)).await?;
    }
    let begins = async {
        loop {
            let now = cluster.book.with(attempt, |entry| (entry.namespace.clone(), entry.standing()));
            let Some((namespace, standing)) = now else { return Err(unknown(attempt)) };
            match (standing.state, standing.pod) {
                (State::Running, Some(pod)) if !standing.leaving => return Ok((namespace, pod)),
                (State::Running | State::Starting, _) => sleep(PAUSE).await,
                _ => return Err(unknown(attempt)),
            }
        }
    };
    timeout(cluster.config.answer_within, begins).await.unwrap_or_else(|_| Err(unknown(attempt)))
}

fn not_there(cluster: &Cluster, attempt: &AttemptName, error: KubeError) -> ExecutorError {
    match error.is_missing() {
        true => unknown(attempt),
        false => cluster.for_executor(error),
    }
}

/// Starts a process beside an attempt's own, as the same user.
pub(crate) async fn exec(
    cluster: &Arc<Cluster>,
    attempt: &AttemptName,
    argv: &[String],
    terminal: bool,
) -> Result<ExecSession, ExecutorError> {
    if !cluster.config.exec {
        return Err(unsupported("exec"));
    }
    let (namespace, pod) = running(cluster, attempt).await?;
    let params =
        AttachParams::default().container(CONTAINER).stdin(true).stdout(true).stderr(!terminal).tty(terminal);
    let begun = cluster.ask(async |client| {
        Api::<Pod>::namespaced(client, &namespace).exec(&pod, argv.to_vec(), &params).await
    });
    let process = begun.await.map_err(|error| not_there(cluster, attempt, error))?;
    session(process).ok_or_else(|| refused("the API server gave no streams of the process"))
}

/// Its streams: both outputs as one, as they come.
fn session(mut process: AttachedProcess) -> Option<ExecSession> {
    let input = process.stdin()?;
    let status = process.take_status()?;
    let resize = process.terminal_size();
    let mut stdout = process.stdout()?;
    let stderr = process.stderr();
    let (ours, theirs) = duplex(BUFFER);
    let (output, _) = split(ours);
    tokio::spawn(async move {
        let (_, mut writer) = split(theirs);
        let (mut out, mut err) = (vec![0; BUFFER], vec![0; BUFFER]);
        let mut stderr = stderr;
        let mut out_is_open = true;
        // Until both have ended, or nobody wants them any more. The process's connection lives as long.
        while out_is_open || stderr.is_some() {
            let written = tokio::select! {
                read = stdout.read(&mut out), if out_is_open => match read {
                    Ok(bytes) if bytes > 0 => writer.write_all(out.get(..bytes).unwrap_or_default()).await,
                    _ => { out_is_open = false; Ok(()) }
                },
                read = async { match &mut stderr { Some(stderr) => stderr.read(&mut err).await, None => Ok(0) } },
                    if stderr.is_some() => match read {
                    Ok(bytes) if bytes > 0 => writer.write_all(err.get(..bytes).unwrap_or_default()).await,
                    _ => { stderr = None; Ok(()) }
                },
            };
            if written.is_err() {
                break;
            }
        }
        // Both sides are told; that one may be gone already is no news.
        let _ = writer.shutdown().await;
        let _ = process.join().await;
    });
    Some(ExecSession {
        terminal: resize.map(|resize| Box::new(ExecTerminal(resize)) as Box<dyn Terminal>),
        input: Box::new(input),
        output: Box::new(output),
        exit: status.map(exit).boxed(),
    })
}

/// The exit code stands in the status that comes last.
fn exit(status: Option<Status>) -> Result<i32, ExecutorError> {
    let Some(status) = status else { return Err(refused("the connection ended before the process")) };
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref());
    let is_code = |cause: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause| {
        cause.reason.as_deref() == Some("ExitCode")
    };
    let code = causes.into_iter().flatten().find(is_code);
    let code = code.and_then(|cause| cause.message.as_deref()?.parse().ok());
    code.ok_or_else(|| refused(status.message.unwrap_or_else(|| "the process could not be started".into())))
}

/// The terminal of a process.
struct ExecTerminal(mpsc::Sender<Size>);

#[async_trait]
impl Terminal for ExecTerminal {
    async fn resize(&self, size: TerminalSize) -> Result<(), ExecutorError> {
        let size = Size { width: size.columns, height: size.rows };
        self.0.clone().send(size).await.map_err(|_| refused("the process has ended"))
    }
}

/// Connects with a port inside a Pod; it need not be published.
pub(crate) async fn connect(
    cluster: &Arc<Cluster>,
    attempt: &AttemptName,
    port: u16,
) -> Result<Connection, ExecutorError> {
    if !cluster.config.exec {
        return Err(unsupported("connect to ports of jobs"));
    }
    let (namespace, pod) = running(cluster, attempt).await?;
    let begun = cluster
        .ask(async |client| Api::<Pod>::namespaced(client, &namespace).portforward(&pod, &[port]).await);
    let mut forwarder = begun.await.map_err(|error| not_there(cluster, attempt, error))?;
    let (Some(stream), Some(mut failure)) =
        (forwarder.take_stream(port), forwarder.take_error(port).map(FutureExt::boxed))
    else {
        return Err(refused("the API server gave no stream of the port"));
    };
    // That somebody listens is said by nobody; that nobody does, soon.
    if let Ok(Some(words)) = timeout(NOBODY_THERE, &mut failure).await {
        return Err(refused(format!("port {port} of {attempt}: {}", words.trim())));
    }
    let (output, input) = split(stream);
    // It goes on until either side has had enough.
    tokio::spawn(async move { forwarder.join().await });
    Ok(Connection { input: Box::new(input), output: Box::new(output) })
}

/// What is asked of an attempt and not offered.
pub(crate) fn not_offered(action: Action) -> ExecutorError {
    match action {
        Action::Signal(_) => unsupported("send signals"),
        _ => unsupported("suspend jobs"),
    }
}
