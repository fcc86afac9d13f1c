//! An attempt's output: from its Pod's log into its file, as it comes, and whole before its end is told.
//!
//! A log is read without times, which Kubernetes would put into the middle of long lines: what is in the file
//! already is known by its length. Both streams come as one and go to the file of the first.

use std::{fs::OpenOptions, io, os::unix::fs::OpenOptionsExt, path::PathBuf, sync::Arc, time::Duration};

use berth_executor_api::{
    AttemptName,
    files::{Person, Phase, as_user},
};
use futures::{AsyncRead, AsyncReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams};
use rustix::fs::OFlags;
use tokio::{
    fs::File,
    io::AsyncWriteExt,
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    book::{Progress, Written},
    cluster::Cluster,
    error::KubeError,
    names::CONTAINER,
};

/// How often what is missing at the end is asked for, and the pause between.
const LAST_TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause before a log that broke off is asked for again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a log that is followed may go on after its container has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
const PIECE_BYTES: usize = 64 << 10;

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
    Log(#[from] KubeError),
    #[error("its output cannot be written to {}: {source}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("its Pod went before all of its output was read")]
    Gone,
}

/// The log of a Pod, from its beginning or from a time on.
pub(crate) async fn read(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    params: LogParams,
) -> Result<impl AsyncRead + Send + Unpin + use<>, KubeError> {
    let params = LogParams { container: Some(CONTAINER.into()), ..params };
    let stream =
        cluster.ask(async |client| Api::<Pod>::namespaced(client, namespace).log_stream(pod, &params).await);
    Ok(Box::pin(stream.await?))
}

/// Writes all that an attempt puts out, until it has ended and everything is there.
pub(crate) async fn write(
    cluster: Arc<Cluster>,
    namespace: String,
    attempt: AttemptName,
    outputs: Option<Outputs>,
    mut progress: watch::Receiver<Progress>,
    tell: watch::Sender<Written>,
) {
    let Some(outputs) = outputs else {
        tell.send_replace(Some(Err("it has no Job that would say where its output goes".into())));
        return;
    };
    let mut writer = Writer { namespace, outputs, file: None, whole: None };
    let done = writer.run(&cluster, &mut progress).await;
    if let Err(error) = &done {
        tracing::warn!(%attempt, %error, "output is not complete");
    }
    tell.send_replace(Some(done.map_err(|error| error.to_string())));
}

struct Writer {
    namespace: String,
    outputs: Outputs,
    /// The file, and how much is in it.
    file: Option<(File, u64)>,
    /// The Pod whose log was followed to its end.
    whole: Option<String>,
}

impl Writer {
    async fn run(
        &mut self,
        cluster: &Cluster,
        progress: &mut watch::Receiver<Progress>,
    ) -> Result<(), OutputError> {
        let mut pause = PAUSE;
        loop {
            let now = progress.borrow_and_update().clone();
            match (now.phase, now.pod.clone()) {
                (Phase::Ended, Some(pod)) if now.started => {
                    return self.write_rest(cluster, &pod, &now).await;
                }
                (Phase::Ended, _) => return Ok(()),
                (Phase::Writing, Some(pod)) if self.whole.as_ref() != Some(&pod) => {
                    match self.follow(cluster, &pod, now.base, progress).await {
                        Ok(()) => pause = PAUSE,
                        Err(error) => tracing::debug!(%error, "log broke off"),
                    }
                    // A log that breaks off at once is not asked for again and again.
                    let other = |now: &Progress| now.phase == Phase::Ended || now.pod.as_ref() != Some(&pod);
                    let changed = timeout(pause, progress.wait_for(other)).await;
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

    async fn follow(
        &mut self,
        cluster: &Cluster,
        pod: &str,
        base: u64,
        progress: &mut watch::Receiver<Progress>,
    ) -> Result<(), OutputError> {
        self.open().await?;
        let params = LogParams { follow: true, ..LogParams::default() };
        let mut log = read(cluster, &self.namespace, pod, params).await?;
        let mut known = self.length().saturating_sub(base);
        let mut piece = vec![0; PIECE_BYTES];
        let over = |now: &Progress| now.phase == Phase::Ended || now.pod.as_deref() != Some(pod);
        let mut ended = std::pin::pin!(async {
            let _ = progress.wait_for(over).await;
            sleep(LAST_WORDS).await;
        });
        loop {
            let read = tokio::select! {
                read = log.read(&mut piece) => read,
                () = &mut ended => return Ok(()),
            };
            match read.map_err(broken)? {
                0 => {
                    self.whole = Some(pod.to_owned());
                    return Ok(());
                }
                bytes => self.append(piece.get(..bytes).unwrap_or_default(), &mut known).await?,
            }
        }
    }

    /// What has not been written when it ends.
    async fn write_rest(&mut self, cluster: &Cluster, pod: &str, now: &Progress) -> Result<(), OutputError> {
        self.open().await?;
        let mut tried = 0;
        loop {
            tried += 1;
            match self.write_all(cluster, pod, now.base).await {
                // It went with its Pod, which was asked to go; what came of it while it ended is all there is.
                Err(OutputError::Log(error)) if error.is_missing() => {
                    return match self.whole.as_deref() == Some(pod) {
                        true => Ok(()),
                        false => Err(OutputError::Gone),
                    };
                }
                Err(OutputError::Log(error)) if tried < LAST_TRIES => {
                    tracing::debug!(%error, "log cannot be had yet");
                    sleep(PAUSE * tried).await;
                }
                done => return done,
            }
        }
    }

    async fn write_all(&mut self, cluster: &Cluster, pod: &str, base: u64) -> Result<(), OutputError> {
        let patience = cluster.config.answer_within;
        let mut log = read(cluster, &self.namespace, pod, LogParams::default()).await?;
        let mut known = self.length().saturating_sub(base);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let silent = || KubeError::Unreachable { words: "no answer in time".into() };
            match timeout(patience, log.read(&mut piece)).await.map_err(|_| silent())?.map_err(broken)? {
                0 => return Ok(()),
                bytes => self.append(piece.get(..bytes).unwrap_or_default(), &mut known).await?,
            }
        }
    }

    fn length(&self) -> u64 {
        self.file.as_ref().map_or(0, |(_, length)| *length)
    }

    async fn open(&mut self) -> Result<(), OutputError> {
        if self.file.is_none() {
            self.file = Some(open(&self.outputs).await?);
        }
        Ok(())
    }

    /// Adds what is new of a piece of the log; of what comes, `known` bytes are there already.
    async fn append(&mut self, piece: &[u8], known: &mut u64) -> Result<(), OutputError> {
        let skipped = usize::try_from(*known).unwrap_or(usize::MAX).min(piece.len());
        *known -= skipped as u64;
        let new = piece.get(skipped..).unwrap_or_default();
        let Some((file, length)) = self.file.as_mut().filter(|_| !new.is_empty()) else { return Ok(()) };
        let failed = |source| OutputError::File { path: self.outputs.stdout.clone(), source };
        file.write_all(new).await.map_err(failed)?;
        // The file is followed by others while it grows.
        file.flush().await.map_err(failed)?;
        *length += new.len() as u64;
        Ok(())
    }
}

fn broken(error: io::Error) -> OutputError {
    OutputError::Log(KubeError::Unreachable { words: crate::error::with_causes(&error) })
}

/// Opens the file to be added to, as its user, and says how much is in it. What is no file is not waited for.
async fn open(outputs: &Outputs) -> Result<(File, u64), OutputError> {
    let path = outputs.stdout.clone();
    let at = path.clone();
    let opened = as_user(&outputs.person, move || {
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
    let (file, bytes) = opened.await.map_err(|source| OutputError::File { path, source })?;
    Ok((File::from_std(file), bytes))
}

/// How much has been written so far.
pub(crate) async fn written_so_far(outputs: &Outputs) -> u64 {
    open(outputs).await.map_or(0, |(_, bytes)| bytes)
}
