//! Logs and files of jobs.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use berth_api::{ErrorBody, ErrorCode, FileRow, LogPart};
use berth_engine::LiveJob;
use berth_executor_api::{
    LogQuery, Stream,
    files::{self, FileError, Person},
};
use berth_model::{AttemptName, Identity, JobRef, Submission, UtcMs};
use berth_server::{ByteStream, Caller};
use futures::StreamExt;

use super::{Service, access, failures, rows};
use crate::{
    daemon::{now, places},
    packs::Packed,
};

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
        let submission = self.submission(found).await?;
        let config = self.daemon.config.now();
        let jobs = &config.jobs.directory;
        // It may have begun another execution while the question was asked.
        let (stdout, stderr) = places::outputs(jobs, rows::whose(found), &submission.spec);
        let path = match query.stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        let owner = writer(&submission).uid;
        // What went elsewhere is not the archive's.
        let inside = path.strip_prefix(places::directory(jobs, rows::whose(found))).map(Path::to_owned);
        if let Ok(inside) = inside
            && let Kept::Packed(packed) = self.kept(found, owner).await?
        {
            return match packed.read(&inside, query.tail_bytes).await {
                // As with a job that has written nothing.
                Err(FileError::Missing { .. }) => Ok(futures::stream::empty().boxed()),
                read => Ok(bytes_of(read.map_err(file_error)?.bytes)),
            };
        }
        Ok(bytes_of(files::read(path, owner, query.tail_bytes)))
    }

    /// Where the files of a job are by now.
    async fn kept(&self, found: &LiveJob, owner: u32) -> Result<Kept, ErrorBody> {
        let whose = rows::whose(found);
        let directory = places::directory(&self.daemon.config.now().jobs.directory, whose);
        if !found.moving.state.kind().is_end() {
            return Ok(Kept::Directory(directory));
        }
        let job = found.task_of.map_or(found.id, |(array, _)| array);
        let archived = self.daemon.store.archived(job).await.map_err(failures::store)?;
        let place = self.pack_of(job);
        let within = whose.task.map_or_else(PathBuf::new, |(_, index)| index.to_string().into());
        let looked = tokio::task::spawn_blocking(move || {
            match (archived.is_none() && directory.exists(), place.exists()) {
                (true, _) => Some(Kept::Directory(directory)),
                (false, true) => {
                    let pack = place.pack().to_owned();
                    Some(Kept::Packed(Packed { pack, within, owner }))
                }
                (false, false) => archived.is_none().then_some(Kept::Directory(directory)),
            }
        });
        looked.await.map_err(|_| failures::stopping())?.ok_or_else(|| {
            let at = archived.map_or_else(String::new, |at| format!(" on {at}"));
            ErrorBody::new(ErrorCode::NotFound, format!("job {job} was archived{at}, and its files are gone"))
        })
    }

    pub(super) async fn submission(&self, found: &LiveJob) -> Result<std::sync::Arc<Submission>, ErrorBody> {
        let submission = self.daemon.store.submission(found.id).await.map_err(failures::store)?;
        submission.ok_or_else(|| access::no_such_job(&found.id.to_string()))
    }

    /// Where the files of a job are that somebody may see, and the part of them that a path means.
    async fn place(&self, who: &Caller, job: JobRef, path: &str) -> Result<(Kept, PathBuf, u32), ErrorBody> {
        let found = self.seen(who, job).await?;
        let submission = self.submission(&found).await?;
        let mut below = PathBuf::new();
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." || part.contains('\0') {
                let words = format!("{path:?} leads out of the job's directory");
                return Err(ErrorBody::new(ErrorCode::Invalid, words));
            }
            below.push(part);
        }
        let owner = writer(&submission).uid;
        Ok((self.kept(&found, owner).await?, below, owner))
    }

    pub(super) async fn list_files(
        &self,
        who: &Caller,
        job: JobRef,
        path: &str,
    ) -> Result<Vec<FileRow>, ErrorBody> {
        let (kept, below, owner) = self.place(who, job, path).await?;
        let listed = tokio::task::spawn_blocking(move || match kept {
            Kept::Directory(directory) => files::list(&directory.join(below), owner, MOST_ENTRIES),
            Kept::Packed(packed) => packed.list(&below, MOST_ENTRIES),
        });
        let entries = listed.await.map_err(|_| failures::stopping())?.map_err(file_error)?;
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
        let (kept, below, owner) = self.place(who, job, path).await?;
        let place = match kept {
            Kept::Directory(directory) => directory.join(below),
            Kept::Packed(packed) => {
                let part = packed.read(&below, None).await.map_err(file_error)?;
                return Ok((part.size, bytes_of(part.bytes)));
            }
        };
        let path = place.clone();
        let opened = tokio::task::spawn_blocking(move || files::open_file(&path, owner)).await;
        let file = opened.map_err(|_| failures::stopping())?.map_err(file_error)?;
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        Ok((size, bytes_of(files::read(place, owner, None))))
    }
}

/// Where the files of a job are.
enum Kept {
    Directory(PathBuf),
    Packed(Packed),
}

/// As whom the files of a job are written.
pub(super) fn writer(submission: &Submission) -> Person {
    let Identity { uid, gid, groups, .. } = submission.owner.clone();
    match submission.spec.root && submission.grant.as_root {
        true => Person { uid: 0, gid: 0, groups: Vec::new() },
        false => Person { uid, gid, groups },
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
