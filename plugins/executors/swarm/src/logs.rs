//! An attempt's output for whoever asks: from the Swarm's log.

use std::{sync::Arc, time::Duration};

use berth_docker_engine::{Cursor, EngineError, Frame, Logs, last_bytes, log_stream};
use berth_executor_api::{ExecutorError, LogQuery, LogStream, files::Phase};
use futures::{StreamExt, stream};
use tokio::{sync::watch, time::timeout};

use crate::{BACKEND, book::Progress, output, swarm::Swarm};

/// Before a log that broke off is read again.
const PAUSE: Duration = Duration::from_millis(250);

/// The part of the log that is asked for.
pub(crate) async fn logs(
    swarm: Arc<Swarm>,
    progress: watch::Receiver<Progress>,
    query: LogQuery,
) -> Result<LogStream, ExecutorError> {
    let mut reader = Reader::new(swarm, progress);
    let whole = |logs| log_stream(logs, query.stream, query.since, BACKEND);
    let LogQuery { tail_bytes, follow, .. } = query;
    match (tail_bytes, follow) {
        (None, true) => Ok(whole(reader.follow())),
        (None, false) => Ok(whole(reader.what_is_there())),
        (Some(bytes), false) => Ok(last_bytes(whole(reader.what_is_there()), bytes).await),
        (Some(bytes), true) => {
            // First the end of what is there, then what comes after just that.
            let there = reader.take_what_is_there().await.map_err(|error| error.for_executor(BACKEND))?;
            let there = stream::iter(there.into_iter().map(Ok)).boxed();
            let end = last_bytes(whole(there), bytes).await;
            Ok(end.chain(whole(reader.follow())).boxed())
        }
    }
}

struct Reader {
    swarm: Arc<Swarm>,
    progress: watch::Receiver<Progress>,
    cursor: Cursor,
    log: Option<Logs>,
    /// The log that is read is the last one.
    last: bool,
    over: bool,
}

impl Reader {
    fn new(swarm: Arc<Swarm>, progress: watch::Receiver<Progress>) -> Self {
        let (log, cursor) = (None, Cursor::default());
        Self { swarm, progress, cursor, log, last: false, over: false }
    }

    fn what_is_there(mut self) -> Logs {
        self.last = true;
        self.stream()
    }

    fn follow(mut self) -> Logs {
        self.last = false;
        self.over = false;
        self.log = None;
        self.stream()
    }

    fn stream(self) -> Logs {
        stream::unfold(self, |mut reader| async move {
            let frame = reader.next().await.transpose()?;
            reader.over = frame.is_err();
            Some((frame, reader))
        })
        .boxed()
    }

    async fn take_what_is_there(&mut self) -> Result<Vec<Frame>, EngineError> {
        self.last = true;
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await? {
            frames.push(frame);
        }
        Ok(frames)
    }

    async fn next(&mut self) -> Result<Option<Frame>, EngineError> {
        loop {
            if self.over {
                return Ok(None);
            }
            if self.log.is_none() && !self.begin().await? {
                self.over = true;
                return Ok(None);
            }
            let frame = self.piece().await;
            match frame {
                Some(frame) => {
                    let mut frame = frame?;
                    frame.bytes = self.cursor.fresh(&frame);
                    if !frame.bytes.is_empty() {
                        return Ok(Some(frame));
                    }
                }
                None if self.last => self.over = true,
                None => {
                    self.log = None;
                    self.pause().await;
                }
            }
        }
    }

    /// The next piece; nothing when the log ends, or has to be read once more because the task has ended.
    async fn piece(&mut self) -> Option<Result<Frame, EngineError>> {
        let log = self.log.as_mut()?;
        if self.last {
            let patience = self.swarm.config.engine.answer_within;
            let silent = EngineError::Unreachable { words: "no answer in time".into(), waited: patience };
            return timeout(patience, log.next()).await.unwrap_or(Some(Err(silent)));
        }
        tokio::select! {
            frame = log.next() => frame,
            _ = self.progress.wait_for(|now| now.phase == Phase::Ended) => None,
        }
    }

    /// A log that breaks off at once is not asked for again and again.
    async fn pause(&mut self) {
        let ended = self.progress.wait_for(|now| now.phase == Phase::Ended);
        // Either is reason enough to go on.
        let _ = timeout(PAUSE, ended).await;
    }

    /// Begins to read, when there is something to be read; `false` when there never will be.
    async fn begin(&mut self) -> Result<bool, EngineError> {
        if !self.last {
            // Whoever follows waits for it to begin. The log of a task does not end with the task, so it is
            // read once more to its end afterwards.
            let begun = |now: &Progress| now.phase != Phase::Waiting;
            let phase = self.progress.wait_for(begun).await.map_or(Phase::Ended, |now| now.phase);
            self.last = phase == Phase::Ended;
        }
        let now = self.progress.borrow().clone();
        let Some(task) = now.task.filter(|_| now.container) else { return Ok(false) };
        let since = self.cursor.begin();
        self.log = Some(output::read(&self.swarm, &task, !self.last, since).await?);
        Ok(true)
    }
}
