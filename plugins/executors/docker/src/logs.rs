//! What attempts have written, for those who ask.

use std::{path::PathBuf, sync::Arc};

use berth_docker_engine::{
    Logs,
    bollard::{Docker, query_parameters::LogsOptions},
    demultiplex, last_bytes, log_stream,
};
use berth_executor_api::{
    AttemptName, ExecutorError, LogQuery, LogStream, Stream, UtcMs,
    files::{self, FileError, Phase},
};
use futures::StreamExt;

use crate::{BACKEND, shared::Shared};

/// From its files, which have all of it, or from the engine's log, which knows when each line was written.
pub(crate) async fn logs(
    shared: &Arc<Shared>,
    attempt: &AttemptName,
    query: LogQuery,
) -> Result<LogStream, ExecutorError> {
    let found = shared.with(attempt, |entry| (Arc::clone(&entry.facts), entry.phase.subscribe(), entry.made));
    let Some((facts, phase, made)) = found else {
        // That nothing is known counts only while the engine answers.
        let (docker, _) = shared.synced().await?;
        shared.engine.answer(docker.ping()).await.map_err(|error| shared.failed(error))?;
        return Err(Shared::unknown(attempt));
    };
    if let (Some(since), true) = (query.since, made) {
        let (docker, _) = shared.synced().await?;
        return Ok(since_then(&docker, attempt, query, since, facts.tty).await);
    }
    let path = PathBuf::from(match query.stream {
        Stream::Stdout => &facts.stdout,
        Stream::Stderr => &facts.stderr,
    });
    let stream = match query.follow {
        true => files::follow(path, facts.uid, query.tail_bytes, phase),
        // What is there before it has started is from an attempt before it.
        false if *phase.borrow() == Phase::Waiting => futures::stream::empty().boxed(),
        false => files::read(path, facts.uid, query.tail_bytes),
    };
    Ok(stream.map(|piece| piece.map_err(|error| file_error(&error))).boxed())
}

fn file_error(error: &FileError) -> ExecutorError {
    ExecutorError::Refused { backend: BACKEND.into(), reason: error.to_string() }
}

async fn since_then(
    docker: &Docker,
    attempt: &AttemptName,
    query: LogQuery,
    since: UtcMs,
    tty: bool,
) -> LogStream {
    // A terminal's log has no times between its bytes; whole seconds are as near as it gets.
    let read = |follow| read(docker, attempt, query.stream, since, tty, follow);
    let from = (!tty).then_some(since);
    let Some(most) = query.tail_bytes else {
        return log_stream(read(query.follow), query.stream, from, BACKEND);
    };
    let tail = last_bytes(log_stream(read(false), query.stream, from, BACKEND), most).await;
    if !query.follow {
        return tail;
    }
    // What comes after what was there: the same log, less what has been read.
    let mut cursor = berth_docker_engine::Cursor::default();
    let mut there = read(false);
    while let Some(Ok(frame)) = there.next().await {
        cursor.fresh(&frame);
    }
    let later = read(true).map(move |frame| {
        frame.map(|frame| berth_docker_engine::Frame { bytes: cursor_fresh(&mut cursor, &frame), ..frame })
    });
    tail.chain(log_stream(later.boxed(), query.stream, from, BACKEND)).boxed()
}

fn cursor_fresh(
    cursor: &mut berth_docker_engine::Cursor,
    frame: &berth_docker_engine::Frame,
) -> bytes::Bytes {
    cursor.fresh(frame)
}

fn read(
    docker: &Docker,
    attempt: &AttemptName,
    stream: Stream,
    since: UtcMs,
    tty: bool,
    follow: bool,
) -> Logs {
    let options = LogsOptions {
        follow,
        stdout: stream == Stream::Stdout,
        stderr: stream == Stream::Stderr,
        since: i32::try_from(since.0 / 1000).unwrap_or(i32::MAX),
        timestamps: !tty,
        tail: "all".into(),
        ..LogsOptions::default()
    };
    demultiplex(docker.logs(attempt.as_str(), Some(options)), !tty)
}
