//! The connection to the supervisor: started where there is none, and made again when it breaks.

use std::{
    collections::HashMap,
    io,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use berth_executor_api::ExecutorError;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::Command,
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::{
    LocalConfig,
    convert::BACKEND,
    reports::Reports,
    supervisor::{
        LOG, SOCKET,
        protocol::{Answer, Ask, Frames, Message, PROTOCOL, Request, Settings, encode},
        setup::at_short_path,
    },
};

/// How soon a supervisor that cannot be started is tried again, the first time and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// One question on its way.
struct Call {
    id: u64,
    frame: Vec<u8>,
    reply: oneshot::Sender<Answer>,
}

/// Asks the supervisor. Copies share one connection, which ends with the last of them.
#[derive(Clone)]
pub(crate) struct Client {
    calls: mpsc::UnboundedSender<Call>,
    next: Arc<AtomicU64>,
    patience: Duration,
}

impl Client {
    /// Connects, starting a supervisor where there is none, and gives what the supervisor notes about itself.
    pub async fn start(
        config: LocalConfig,
        settings: Settings,
        reports: Reports,
    ) -> Result<(Self, Vec<String>), ExecutorError> {
        let patience = config.answer_within;
        let way = Way { config, settings };
        let (connection, notes) = way.connect().await.map_err(|error| error.into_executor_error())?;
        let (calls, waiting) = mpsc::unbounded_channel();
        let client = Self { calls, next: Arc::new(AtomicU64::new(1)), patience };
        // The task must not keep itself alive.
        let asker = Asker { calls: client.calls.downgrade(), next: Arc::clone(&client.next), patience };
        tokio::spawn(serve(way, connection, waiting, reports, asker));
        Ok((client, notes))
    }

    /// Asks and waits for the answer.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, ExecutorError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let frame = encode(&Request { id, ask }).map_err(|source| unreachable(Duration::ZERO, source))?;
        let (reply, answer) = oneshot::channel();
        let away = || unreachable(Duration::ZERO, io::Error::from(io::ErrorKind::NotConnected));
        self.calls.send(Call { id, frame, reply }).map_err(|_| away())?;
        match timeout(self.patience, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(away()),
            Err(late) => Err(unreachable(self.patience, late)),
        }
    }
}

/// What a client can be made of again, as long as somebody else has one.
struct Asker {
    calls: mpsc::WeakUnboundedSender<Call>,
    next: Arc<AtomicU64>,
    patience: Duration,
}

impl Asker {
    fn client(&self) -> Option<Client> {
        let calls = self.calls.upgrade()?;
        Some(Client { calls, next: Arc::clone(&self.next), patience: self.patience })
    }
}

fn unreachable(waited: Duration, source: impl Into<berth_executor_api::BoxError>) -> ExecutorError {
    ExecutorError::Unreachable { backend: BACKEND.into(), waited, source: source.into() }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("the supervisor could not be started: {0}")]
    Start(String),
    #[error("the supervisor does not answer")]
    NoAnswer(#[from] io::Error),
    #[error("{0}")]
    Refused(String),
}

impl ConnectError {
    fn into_executor_error(self) -> ExecutorError {
        ExecutorError::Unusable { backend: BACKEND.into(), reason: crate::convert::with_causes(&self) }
    }
}

/// A stream of messages.
struct Connection {
    stream: UnixStream,
    frames: Frames,
}

impl Connection {
    /// The next message. Safe to be dropped half-way.
    async fn receive(&mut self) -> io::Result<Message> {
        loop {
            if let Some(message) = self.frames.next().map_err(io::Error::other)? {
                return Ok(message);
            }
            let mut buffer = [0; 32 << 10];
            let got = self.stream.read(&mut buffer).await?;
            if got == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            self.frames.extend(buffer.get(..got).unwrap_or_default());
        }
    }
}

/// How the supervisor is reached.
struct Way {
    config: LocalConfig,
    settings: Settings,
}

impl Way {
    async fn connect(&self) -> Result<(Connection, Vec<String>), ConnectError> {
        let socket = self.config.spool.join(SOCKET);
        let stream = match open(&socket) {
            Ok(stream) => stream,
            Err(_) => {
                self.start_supervisor().await?;
                open(&socket)?
            }
        };
        let mut connection = Connection { stream, frames: Frames::default() };
        let ask = Ask::Hello { protocol: PROTOCOL, settings: self.settings.clone() };
        let frame = encode(&Request { id: 0, ask }).map_err(io::Error::other)?;
        connection.stream.write_all(&frame).await?;
        let answered = timeout(self.config.answer_within, connection.receive()).await;
        match answered.map_err(io::Error::from)?? {
            Message::Answer { answer: Answer::Hello { notes, .. }, .. } => Ok((connection, notes)),
            Message::Answer { answer: Answer::Failed(words), .. } => Err(ConnectError::Refused(words)),
            _ => Err(ConnectError::NoAnswer(io::Error::from(io::ErrorKind::InvalidData))),
        }
    }

    /// Returns when it listens. It is then no child of this process.
    async fn start_supervisor(&self) -> Result<(), ConnectError> {
        let failed = |words: String| ConnectError::Start(words);
        let Some((program, args)) = self.config.supervisor_command.split_first() else {
            return Err(failed("no command is set for it".into()));
        };
        let settings = serde_json::to_string(&self.settings).map_err(io::Error::other)?;
        let output = Command::new(program)
            .args(args)
            .arg(&self.config.spool)
            .arg(settings)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .await
            .map_err(|error| failed(format!("{}: {error}", program.to_string_lossy())))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let log = self.config.spool.join(LOG);
        Err(failed(if said.is_empty() { format!("see {}", log.display()) } else { said }))
    }
}

fn open(socket: &Path) -> io::Result<UnixStream> {
    let stream = at_short_path(socket, |path| std::os::unix::net::UnixStream::connect(path))?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Carries questions, answers and reports until nobody is left to ask.
async fn serve(
    way: Way,
    mut connection: Connection,
    mut calls: mpsc::UnboundedReceiver<Call>,
    reports: Reports,
    asker: Asker,
) {
    loop {
        let Err(error) = carry(&mut connection, &mut calls, &reports).await else { return };
        tracing::warn!(error = %error, "connection to the local supervisor lost");
        reports.away(&error.to_string());
        match reconnect(&way, &mut calls).await {
            Some(again) => connection = again,
            None => return,
        }
        reports.back(asker.client());
    }
}

/// Until the connection breaks (an error) or nobody asks any more.
async fn carry(
    connection: &mut Connection,
    calls: &mut mpsc::UnboundedReceiver<Call>,
    reports: &Reports,
) -> io::Result<()> {
    let mut waiting: HashMap<u64, oneshot::Sender<Answer>> = HashMap::new();
    loop {
        tokio::select! {
            call = calls.recv() => {
                let Some(Call { id, frame, reply }) = call else { return Ok(()) };
                waiting.insert(id, reply);
                connection.stream.write_all(&frame).await?;
            }
            message = connection.receive() => match message? {
                Message::Reports(all) => all.into_iter().for_each(|report| reports.tell(report)),
                Message::Answer { id, answer } => {
                    if let Some(reply) = waiting.remove(&id) {
                        // Whoever asked may have given up.
                        let _ = reply.send(answer);
                    }
                }
            },
        }
    }
}

/// Tries until it is there again. Questions that come meanwhile are answered by their sender's end.
async fn reconnect(way: &Way, calls: &mut mpsc::UnboundedReceiver<Call>) -> Option<Connection> {
    let (mut pause, longest) = RETRY;
    loop {
        match way.connect().await {
            Ok((connection, _)) => return Some(connection),
            Err(error) => {
                tracing::warn!(error = crate::convert::with_causes(&error), "no local supervisor");
            }
        }
        let over = sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => break,
                call = calls.recv() => drop(call?),
            }
        }
        pause = (pause * 2).min(longest);
    }
}
