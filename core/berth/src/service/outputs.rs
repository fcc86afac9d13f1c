//! Logs and files of jobs.

use std::{path::PathBuf, time::Duration};

use berth_api::{ErrorBody, ErrorCode, FileRow, LogPart};
use berth_engine::LiveJob;
use berth_executor_api::{
    LogQuery, Stream,
    files::{self, FileError},
};
use berth_model::{AttemptName, JobRef, Submission, UtcMs};
use berth_server::{ByteStream, Caller};
use futures::StreamExt;

use super::{Service, access, failures, rows};
use crate::daemon::{now, places};

/// The most entries of a directory that are shown.
const MOST_ENTRIES: usize = 100_000;

impl Service {
    pub(super) async fn read_logs(
        &self,
        who: &Caller,
        job: JobRef,
        part: LogPart,
    ) -> Result<ByteStream, ErrorBody> {
        let query = log_query(&part)?;
        let found = self.seen(who, job).await?;
        if found.array.is_some() && found.task_of.is_none() {
            let words =
                format!("job {job} is an array and writes nothing itself; ask for a task, such as {job}.1");
            return Err(ErrorBody::new(ErrorCode::Invalid, words));
        }
        let found = match part.follow {
            true => self.begun(who, job, found).await?,
            false => found,
        };
        if query.since.is_some() {
            self.can_tell_since(&found, job)?;
        }
        if found.moving.state.kind().is_active()
            && let Some(stream) = self.live_logs(&found, query).await?
        {
            return Ok(stream);
        }
        self.kept_logs(&found, query).await
    }

    /// Files do not know when their lines were written.
    fn can_tell_since(&self, found: &LiveJob, job: JobRef) -> Result<(), ErrorBody> {
        let executor = self.daemon.registry.get(&found.executor);
        let able = executor.is_some_and(|executor| executor.description().capabilities.logs_since);
        let words = match (able, found.moving.state.kind().is_active()) {
            (true, true) => return Ok(()),
            (true, false) => format!("job {job} does not run; what is kept of its output has no times"),
            (false, _) => {
                format!("executor {} does not know when what part of a log was written", found.executor)
            }
        };
        Err(ErrorBody::new(ErrorCode::Unable, words))
    }

    /// Waits until a job writes, or never will.
    async fn begun(&self, who: &Caller, job: JobRef, mut found: LiveJob) -> Result<LiveJob, ErrorBody> {
        let mut events = self.daemon.feed.listen();
        // What happened before the feed was listened to is in the store.
        found = match found.moving.state.kind() {
            kind if kind.is_active() || kind.is_end() => return Ok(found),
            _ => self.seen(who, job).await.unwrap_or(found),
        };
        while !found.moving.state.kind().is_active() && !found.moving.state.kind().is_end() {
            match events.recv().await {
                Ok(batch) if batch.iter().all(|told| told.event.record.job != found.id) => continue,
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return Err(failures::stopping()),
                _ => found = self.seen(who, job).await?,
            }
        }
        Ok(found)
    }

    async fn live_logs(&self, found: &LiveJob, query: LogQuery) -> Result<Option<ByteStream>, ErrorBody> {
        let Some(executor) = self.daemon.registry.get(&found.executor) else { return Ok(None) };
        if !executor.description().capabilities.logs {
            return Ok(None);
        }
        let attempt =
            AttemptName::new(&self.daemon.config.now().cluster.name, found.id, found.moving.attempt);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        loop {
            match executor.logs(attempt.clone(), query).await {
                Ok(stream) => {
                    let stream = stream.map(|part| {
                        part.map_err(|error| ErrorBody::new(ErrorCode::Unavailable, error.to_string()))
                    });
                    return Ok(Some(stream.boxed()));
                }
                // It may be about to start, or over by now.
                Err(_) if query.follow && tokio::time::Instant::now() < deadline => {
                    let state = self.daemon.store.live_job(found.id).await.map_err(failures::store)?;
                    if state.is_none_or(|job| !job.moving.state.kind().is_active()) {
                        return Ok(None);
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(_) => return Ok(None),
            }
        }
    }

    /// What is in the job's directory.
    async fn kept_logs(&self, found: &LiveJob, query: LogQuery) -> Result<ByteStream, ErrorBody> {
        self.still_has_files(found).await?;
        let submission = self.submission(found).await?;
        let config = self.daemon.config.now();
        let jobs = &config.jobs.directory;
        // It may have begun another execution while the question was asked.
        let (stdout, stderr) = places::outputs(jobs, rows::whose(found), &submission.spec);
        let path = match query.stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        Ok(bytes_of(files::read(path, owner_uid(&submission), query.tail_bytes)))
    }

    async fn submission(&self, found: &LiveJob) -> Result<std::sync::Arc<Submission>, ErrorBody> {
        let submission = self.daemon.store.submission(found.id).await.map_err(failures::store)?;
        submission.ok_or_else(|| access::no_such_job(&found.id.to_string()))
    }

    async fn place(&self, who: &Caller, job: JobRef, path: &str) -> Result<(PathBuf, u32), ErrorBody> {
        let found = self.seen(who, job).await?;
        self.still_has_files(&found).await?;
        let submission = self.submission(&found).await?;
        let mut place = places::directory(&self.daemon.config.now().jobs.directory, rows::whose(&found));
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." || part.contains('\0') {
                let words = format!("{path:?} leads out of the job's directory");
                return Err(ErrorBody::new(ErrorCode::Invalid, words));
            }
            place.push(part);
        }
        Ok((place, owner_uid(&submission)))
    }

    pub(super) async fn list_files(
        &self,
        who: &Caller,
        job: JobRef,
        path: &str,
    ) -> Result<Vec<FileRow>, ErrorBody> {
        let (place, owner) = self.place(who, job, path).await?;
        let listed = tokio::task::spawn_blocking(move || files::list(&place, owner, MOST_ENTRIES)).await;
        let entries = listed.map_err(|_| failures::stopping())?.map_err(file_error)?;
        let row = |entry: files::Entry| FileRow {
            name: entry.name,
            kind: if entry.directory { "directory" } else { "file" }.to_owned(),
            size_bytes: entry.bytes,
        };
        Ok(entries.into_iter().map(row).collect())
    }

    pub(super) async fn read_file(
        &self,
        who: &Caller,
        job: JobRef,
        path: &str,
    ) -> Result<(u64, ByteStream), ErrorBody> {
        let (place, owner) = self.place(who, job, path).await?;
        let path = place.clone();
        let opened = tokio::task::spawn_blocking(move || files::open_file(&path, owner)).await;
        let file = opened.map_err(|_| failures::stopping())?.map_err(file_error)?;
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        Ok((size, bytes_of(files::read(place, owner, None))))
    }
}

/// As whom the files of a job are written.
fn owner_uid(submission: &Submission) -> u32 {
    match submission.spec.root && submission.grant.as_root {
        true => 0,
        false => submission.owner.uid,
    }
}

fn log_query(part: &LogPart) -> Result<LogQuery, ErrorBody> {
    let stream = match part.stream.as_deref() {
        None | Some("stdout") => Stream::Stdout,
        Some("stderr") => Stream::Stderr,
        Some(other) => {
            let words = format!("{other:?} is not a stream; there are stdout and stderr");
            return Err(ErrorBody::new(ErrorCode::Invalid, words));
        }
    };
    let since = part.since.as_deref().map(since).transpose()?;
    Ok(LogQuery { stream, tail_bytes: part.tail_bytes, follow: part.follow, since })
}

/// An instant, or a span before now.
fn since(text: &str) -> Result<UtcMs, ErrorBody> {
    let ago = |span: Duration| UtcMs(now().0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(0)));
    let at = text.parse::<UtcMs>().ok();
    at.or_else(|| berth_model::parse_duration(text).ok().map(ago)).ok_or_else(|| {
        let words =
            format!("since: {text:?} is no instant; write 2030-01-31T18:00:00Z, or a span such as 10m");
        ErrorBody::new(ErrorCode::Invalid, words)
    })
}

fn bytes_of(stream: files::FileStream) -> ByteStream {
    stream.map(|part| part.map_err(file_error)).boxed()
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn file_error(error: FileError) -> ErrorBody {
    let code = match &error {
        FileError::Missing { .. } => ErrorCode::NotFound,
        FileError::Forbidden { .. } => ErrorCode::Forbidden,
        _ => ErrorCode::Unavailable,
    };
    ErrorBody::new(code, error.to_string())
}
