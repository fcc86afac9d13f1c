//! An attempt's output: from the Swarm's log into its files, as it comes, and whole before its end is told.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use berth_docker_engine::{
    Cursor, EngineError, Frame, Logs,
    bollard::{container::LogOutput, errors::Error, query_parameters::LogsOptionsBuilder},
    demultiplex,
};
use berth_executor_api::{
    AttemptName, Stream,
    files::{Person, Phase, as_user},
};
use futures::StreamExt;
use rustix::fs::OFlags;
use tokio::{
    fs::File,
    io::AsyncWriteExt,
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    book::{Progress, Written},
    swarm::Swarm,
};

/// How often what is missing at the end is asked for, and the pause between.
const LAST_TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause before a log that broke off is asked for again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Where it goes, and with whose rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outputs {
    pub stdout: PathBuf,
    pub stderr: PathBuf,
    pub person: Person,
}

/// Why it does not get there.
#[derive(Debug, thiserror::Error)]
enum OutputError {
    #[error("its output cannot be had: {0}")]
    Log(#[from] EngineError),
    #[error("its output cannot be written to {}: {source}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Begins to read the log of a task, with times.
pub(crate) async fn read(swarm: &Swarm, task: &str, follow: bool, since: i32) -> Result<Logs, EngineError> {
    let options = LogsOptionsBuilder::new().follow(follow).stdout(true).stderr(true).timestamps(true);
    let options = options.since(since).build();
    let docker = swarm.engine.docker().await.map_err(|error| EngineError::Unreachable {
        words: error.to_string(),
        waited: swarm.config.engine.answer_within,
    })?;
    let log = docker.task_logs(task, Some(options));
    Ok(demultiplex(log.map(tell_apart), true))
}

/// A manager that could not get all of a log says so in a third stream, which the client has no word for.
fn tell_apart(piece: Result<LogOutput, Error>) -> Result<LogOutput, Error> {
    match piece {
        Ok(LogOutput::Console { message }) if message.first() == Some(&3) => {
            let words = message.get(8..).unwrap_or_default();
            Err(Error::DockerStreamError { error: String::from_utf8_lossy(words).trim().to_owned() })
        }
        other => other,
    }
}

/// Writes all that an attempt puts out, until it has ended and everything is there.
pub(crate) async fn write(
    swarm: Arc<Swarm>,
    attempt: AttemptName,
    outputs: Option<Outputs>,
    mut progress: watch::Receiver<Progress>,
    tell: watch::Sender<Written>,
) {
    let Some(mut writer) = outputs.map(Writer::new) else {
        tell.send_replace(Some(Err("its service does not say where its output goes".into())));
        return;
    };
    let done = writer.run(&swarm, &mut progress).await;
    if let Err(error) = &done {
        tracing::warn!(%attempt, %error, "output is not complete");
    }
    tell.send_replace(Some(done.map_err(|error| error.to_string())));
}

struct Writer {
    outputs: Outputs,
    files: Option<Files>,
    cursor: Cursor,
}

struct Files {
    stdout: File,
    /// `None` where both go to the same file.
    stderr: Option<File>,
    /// So many bytes of both together are in their one file already.
    known: u64,
}

impl Writer {
    fn new(outputs: Outputs) -> Self {
        Self { outputs, files: None, cursor: Cursor::default() }
    }

    async fn run(
        &mut self,
        swarm: &Swarm,
        progress: &mut watch::Receiver<Progress>,
    ) -> Result<(), OutputError> {
        let mut pause = PAUSE;
        loop {
            let now = progress.borrow_and_update().clone();
            match (now.phase, now.task) {
                (Phase::Ended, Some(task)) if now.container => return self.write_rest(swarm, &task).await,
                (Phase::Ended, _) => return Ok(()),
                (Phase::Writing, Some(task)) => {
                    if let Err(error) = self.write_while_it_runs(swarm, &task, progress).await {
                        tracing::debug!(%error, "log broke off");
                    }
                    // A log that breaks off at once is not asked for again and again.
                    let changed = timeout(pause, progress.wait_for(|now| now.phase == Phase::Ended)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    if matches!(changed, Ok(Err(_))) {
                        return Ok(());
                    }
                }
                _ => {
                    if progress.changed().await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Such a log does not end with its task.
    async fn write_while_it_runs(
        &mut self,
        swarm: &Swarm,
        task: &str,
        progress: &mut watch::Receiver<Progress>,
    ) -> Result<(), OutputError> {
        self.open().await?;
        let mut log = read(swarm, task, true, self.cursor.begin()).await?;
        loop {
            let frame = tokio::select! {
                frame = log.next() => frame,
                _ = progress.wait_for(|now| now.phase == Phase::Ended) => return Ok(()),
            };
            match frame {
                Some(frame) => self.write(&frame?).await?,
                None => return Ok(()),
            }
        }
    }

    /// What has not been written when it ends.
    async fn write_rest(&mut self, swarm: &Swarm, task: &str) -> Result<(), OutputError> {
        self.open().await?;
        let mut tried = 0;
        loop {
            tried += 1;
            match self.write_all(swarm, task).await {
                Err(OutputError::Log(error)) if tried < LAST_TRIES && !error.is_missing() => {
                    tracing::debug!(%error, "log cannot be had yet");
                    sleep(PAUSE * tried).await;
                }
                done => return done,
            }
        }
    }

    async fn write_all(&mut self, swarm: &Swarm, task: &str) -> Result<(), OutputError> {
        let patience = swarm.config.engine.answer_within;
        let mut log = read(swarm, task, false, self.cursor.begin()).await?;
        loop {
            let silent = || EngineError::Unreachable { words: "no answer in time".into(), waited: patience };
            match timeout(patience, log.next()).await.map_err(|_| silent())? {
                Some(frame) => self.write(&frame?).await?,
                None => return Ok(()),
            }
        }
    }

    async fn open(&mut self) -> Result<(), OutputError> {
        if self.files.is_some() {
            return Ok(());
        }
        let Outputs { stdout, stderr, person } = &self.outputs;
        let (out, out_bytes) = open(stdout, person).await?;
        let mut files = Files { stdout: out, stderr: None, known: 0 };
        if stdout == stderr {
            files.known = out_bytes;
        } else {
            let (err, err_bytes) = open(stderr, person).await?;
            files.stderr = Some(err);
            self.cursor = Cursor::after_bytes(out_bytes, err_bytes);
        }
        self.files = Some(files);
        Ok(())
    }

    async fn write(&mut self, frame: &Frame) -> Result<(), OutputError> {
        let Some(files) = &mut self.files else { return Ok(()) };
        let mut bytes = self.cursor.fresh(frame);
        let (file, path) = match (&mut files.stderr, frame.output) {
            (Some(stderr), Stream::Stderr) => (stderr, &self.outputs.stderr),
            _ => (&mut files.stdout, &self.outputs.stdout),
        };
        let known = files.known.min(bytes.len() as u64);
        files.known -= known;
        bytes = bytes.slice(usize::try_from(known).unwrap_or(bytes.len())..);
        let failed = |source| OutputError::File { path: path.clone(), source };
        file.write_all(&bytes).await.map_err(failed)?;
        // The file is followed by others while it grows.
        file.flush().await.map_err(failed)
    }
}

/// Opens a file to be added to, as its user, and says how much is in it. What is no file is not waited for.
async fn open(path: &Path, person: &Person) -> Result<(File, u64), OutputError> {
    let at = path.to_owned();
    let opened = as_user(person, move || {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).custom_flags(flags).open(at)?;
        let about = file.metadata()?;
        match about.is_file() {
            true => Ok((file, about.len())),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
        }
    });
    let failed = |source| OutputError::File { path: path.to_owned(), source };
    let (file, bytes) = opened.await.map_err(failed)?;
    Ok((File::from_std(file), bytes))
}
