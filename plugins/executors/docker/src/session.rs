//! Processes beside a job's own, and connections with its ports.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use berth_docker_engine::{
    EngineError,
    bollard::{
        Docker,
        exec::{StartExecOptions, StartExecResults},
        models::ExecConfig,
        query_parameters::{InspectContainerOptions, ResizeExecOptions},
    },
};
use berth_executor_api::{AttemptName, Connection, ExecSession, ExecutorError, Terminal, TerminalSize};
use futures::{FutureExt, StreamExt};
use tokio::{
    io::AsyncWrite,
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_util::io::StreamReader;

use crate::shared::Shared;

/// How long a port of a container may take to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Starts a process beside an attempt's own, as the same user.
pub(crate) async fn exec(
    shared: &Arc<Shared>,
    attempt: &AttemptName,
    argv: &[String],
    terminal: bool,
) -> Result<ExecSession, ExecutorError> {
    let (docker, _) = shared.synced().await?;
    let user = shared.with(attempt, |entry| format!("{}:{}", entry.facts.uid, entry.facts.gid));
    let Some(user) = user else { return Err(Shared::unknown(attempt)) };
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(terminal),
        cmd: Some(argv.to_vec()),
        user: Some(user),
        ..ExecConfig::default()
    };
    let made = shared.engine.answer(docker.create_exec(attempt.as_str(), config)).await;
    let id = made.map_err(|error| not_there(shared, attempt, error))?.id;
    let options = StartExecOptions { tty: terminal, ..StartExecOptions::default() };
    let started = shared.engine.answer(docker.start_exec(&id, Some(options))).await;
    match started.map_err(|error| not_there(shared, attempt, error))? {
        StartExecResults::Attached { output, input } => {
            let pieces = output.map(|piece| piece.map(|piece| piece.into_bytes()).map_err(io::Error::other));
            let own = ExecTerminal { shared: Arc::clone(shared), docker: docker.clone(), id: id.clone() };
            Ok(ExecSession {
                terminal: terminal.then(|| Box::new(own) as Box<dyn Terminal>),
                input: Box::new(Pinned(input)),
                output: Box::new(StreamReader::new(pieces)),
                exit: exit(Arc::clone(shared), docker, id).boxed(),
            })
        }
        StartExecResults::Detached => Err(Shared::refused("the engine gave no streams of the process")),
    }
}

/// The terminal of a process that the engine knows by this number.
struct ExecTerminal {
    shared: Arc<Shared>,
    docker: Docker,
    id: String,
}

#[async_trait]
impl Terminal for ExecTerminal {
    async fn resize(&self, size: TerminalSize) -> Result<(), ExecutorError> {
        let options = ResizeExecOptions { h: size.rows.into(), w: size.columns.into() };
        let resized = self.docker.resize_exec(&self.id, options);
        self.shared.engine.answer(resized).await.map_err(|error| self.shared.failed(error))
    }
}

fn not_there(shared: &Shared, attempt: &AttemptName, error: EngineError) -> ExecutorError {
    match error.is_missing() || error.says("is not running") {
        true => Shared::unknown(attempt),
        false => shared.failed(error),
    }
}

/// Asked for until it is there: no event tells it to those who are not listening all the time.
async fn exit(shared: Arc<Shared>, docker: Docker, id: String) -> Result<i32, ExecutorError> {
    let mut pause = Duration::from_millis(20);
    loop {
        let now =
            shared.engine.answer(docker.inspect_exec(&id)).await.map_err(|error| shared.failed(error))?;
        if let (Some(false), Some(code)) = (now.running, now.exit_code) {
            return Ok(i32::try_from(code).unwrap_or(-1));
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// A pinned writer as one that can be moved.
struct Pinned(std::pin::Pin<Box<dyn AsyncWrite + Send>>);

impl AsyncWrite for Pinned {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(context)
    }
}

/// Connects with a port inside a container, by its address in the engine's network: it need not be published.
pub(crate) async fn connect(
    shared: &Arc<Shared>,
    attempt: &AttemptName,
    port: u16,
) -> Result<Connection, ExecutorError> {
    let (docker, _) = shared.synced().await?;
    if shared.with(attempt, |entry| entry.over) != Some(false) {
        return Err(Shared::unknown(attempt));
    }
    let inspected = docker.inspect_container(attempt.as_str(), None::<InspectContainerOptions>);
    let container =
        shared.engine.answer(inspected).await.map_err(|error| not_there(shared, attempt, error))?;
    if container.state.as_ref().and_then(|state| state.running) != Some(true) {
        return Err(Shared::unknown(attempt));
    }
    let networks = container.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let own = networks.values().find_map(|network| network.ip_address.clone().filter(|ip| !ip.is_empty()));
    let of_host = networks.contains_key("host").then(|| "127.0.0.1".to_owned());
    let Some(address) = own.or(of_host) else {
        return Err(Shared::refused("it is attached to no network that can be reached from here"));
    };
    let connected = timeout(CONNECT_WITHIN, TcpStream::connect((address.as_str(), port))).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Shared::refused(format!("port {port} of {attempt}: {error}"))),
        Err(_) => return Err(Shared::refused(format!("port {port} of {attempt} does not answer"))),
    };
    let (output, input) = stream.into_split();
    Ok(Connection { input: Box::new(input), output: Box::new(output) })
}
