//! Archiving: the directory of an ended job is removed or packed, what is known of the job stays.

use std::{
    collections::HashMap,
    error::Error,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use berth_api::{ErrorBody, ErrorCode};
use berth_config::Archive;
use berth_engine::{Change, Command, LiveJob};
use berth_model::{EventKind, JobEventRecord, JobId, UtcMs};
use berth_store::{Batch, Extra, TaskQuery};

use super::{Service, failures, outputs};
use crate::{
    daemon::{now, places, places::Whose},
    packs::{self, Bounds, PackError, Place},
};

/// How often old jobs are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// How many are archived before others are looked for.
const AT_ONCE: u64 = 200;

/// Jobs that are being archived, or are about to run again: not both at a time.
#[derive(Clone, Debug, Default)]
pub struct Busy(Arc<Mutex<HashMap<JobId, Work>>>);

/// What is being done with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Archiving,
    /// So many of it, or of its tasks, are about to run again.
    Rerunning(u32),
}

/// Nobody does the other thing with the job as long as this is kept.
#[derive(Debug)]
pub struct Occupied {
    busy: Busy,
    job: JobId,
}

impl Busy {
    fn occupy(&self, job: JobId, rerun: bool) -> Result<Occupied, ErrorBody> {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match (busy.get(&job), rerun) {
            (None, false) => Work::Archiving,
            (None, true) => Work::Rerunning(1),
            (Some(Work::Rerunning(reruns)), true) => Work::Rerunning(reruns + 1),
            (Some(Work::Archiving), _) => return Err(in_the_way(job, "being archived")),
            (Some(Work::Rerunning(_)), false) => return Err(in_the_way(job, "about to run again")),
        };
        busy.insert(job, next);
        Ok(Occupied { busy: self.clone(), job })
    }
}

fn in_the_way(job: JobId, what: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::Conflict, format!("job {job} is {what}"))
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let mut busy = self.busy.0.lock().unwrap_or_else(PoisonError::into_inner);
        match busy.get_mut(&self.job) {
            Some(Work::Rerunning(reruns)) if *reruns > 1 => *reruns -= 1,
            _ => {
                busy.remove(&self.job);
            }
        }
    }
}

impl Service {
    /// Archives an ended job; says when there was nothing to do.
    pub(super) async fn archive(
        &self,
        found: &LiveJob,
        by: &str,
        how: Archive,
    ) -> Result<Option<String>, ErrorBody> {
        if let Some((array, _)) = found.task_of {
            let words = format!("a task is archived with its array, which is job {array}");
            return Err(ErrorBody::new(ErrorCode::Invalid, words));
        }
        let _occupied = self.busy.occupy(found.id, false)?;
        if let Some(at) = self.daemon.store.archived(found.id).await.map_err(failures::store)? {
            self.directory_gone(found).await;
            return Ok(Some(format!("it has been archived already, on {at}")));
        }
        // It may have run again since it was looked at; from here on it cannot.
        let again = self.daemon.store.live_job(found.id).await.map_err(failures::store)?;
        if !again.is_some_and(|job| job.moving.state.kind().is_end()) {
            let words = format!("job {} has not ended; only what has ended is archived", found.id);
            return Err(ErrorBody::new(ErrorCode::Conflict, words));
        }
        self.no_task_lives(found).await?;
        let done = match how {
            Archive::Remove => self.remove_files(found).await,
            Archive::Pack => self.pack_files(found).await,
        };
        let done = done?.map_err(|error| not_archived(found.id, &error))?;
        // First done, then noted: where Berth is killed in between, it is done once more.
        let (at, text) = (now(), format!("archived by {by}: its directory was {done}"));
        let event = JobEventRecord { job: found.id, at, kind: EventKind::Note { text } };
        let batch =
            Batch { changes: vec![Change::Event(event)], extras: vec![Extra::Archived { id: found.id, at }] };
        self.daemon.store.commit(Arc::new(batch)).await.map_err(failures::store)?;
        self.directory_gone(found).await;
        let place = self.pack_of(found.id);
        tokio::task::spawn_blocking(move || place.settled()).await.map_err(|_| failures::stopping())?;
        Ok(None)
    }

    /// Says what was done with the directory.
    async fn remove_files(&self, found: &LiveJob) -> Result<Result<String, PackError>, ErrorBody> {
        let directory = self.directory_of(found.id);
        let place = self.pack_of(found.id);
        let removed = tokio::task::spawn_blocking(move || {
            match (place.exists(), directory.exists()) {
                // Packed before a crash.
                (true, false) => return Ok("packed".to_owned()),
                (true, true) => place.discard()?,
                (false, _) => {}
            }
            packs::remove(&directory).map(|()| "removed".to_owned())
        });
        removed.await.map_err(|_| failures::stopping())
    }

    async fn pack_files(&self, found: &LiveJob) -> Result<Result<String, PackError>, ErrorBody> {
        let submission = self.submission(found).await?;
        let jobs = self.daemon.config.now().jobs.clone();
        let directory = self.directory_of(found.id);
        let bounds = Bounds::new(jobs.archive_limit_bytes);
        let packed =
            packs::pack(directory, self.pack_of(found.id), outputs::writer(&submission), bounds).await;
        Ok(packed.map(|contents| match contents {
            None => "packed".to_owned(),
            Some(contents) => {
                let left_out = match contents.left_out {
                    0 => String::new(),
                    some => format!("; {some} that its owner cannot read were left out"),
                };
                let bytes = berth_model::format_bytes(contents.bytes);
                format!("packed: {} files, {bytes}{left_out}", contents.files)
            }
        }))
    }

    /// The directory of a job or array.
    fn directory_of(&self, job: JobId) -> PathBuf {
        let whose = Whose { job, task: None, attempt: 1 };
        places::directory(&self.daemon.config.now().jobs.directory, whose)
    }

    /// Where the pack of a job or array is, if there is one.
    pub(super) fn pack_of(&self, job: JobId) -> Place {
        Place::new(&self.daemon.config.now().jobs.archive_directory, job)
    }

    /// What the directory took is given back to whom it counted for. The store knows already that it is gone: where
    /// this is not heard, it is so after the next start, or when it is asked for once more.
    async fn directory_gone(&self, found: &LiveJob) {
        let tasks = found.array.map_or(0, |range| range.tasks());
        let command = Command::DirectoryGone { job: found.id, tasks };
        if let Err(error) = self.daemon.inbox.command(command).await {
            tracing::warn!(job = found.id.0, error = %error, "a directory that is gone still counts");
        }
    }

    /// A task that runs again after its array is over has its directory in the array's.
    async fn no_task_lives(&self, found: &LiveJob) -> Result<(), ErrorBody> {
        if found.array.is_none() {
            return Ok(());
        }
        let counts = TaskQuery { limit: Some(0), ..TaskQuery::default() };
        let tasks = self.daemon.store.tasks_of(found.id, counts).await.map_err(failures::store)?;
        match tasks.counts.iter().find(|(state, _)| !state.is_end()) {
            None => Ok(()),
            Some((state, _)) => {
                let words = format!("a task of job {} is {state}; only what has ended is archived", found.id);
                Err(ErrorBody::new(ErrorCode::Conflict, words))
            }
        }
    }

    /// Refuses a job that has been archived, and keeps it from that as long as the answer is kept.
    pub(super) async fn not_archived(&self, job: JobId) -> Result<Occupied, ErrorBody> {
        let occupied = self.busy.occupy(job, true)?;
        if let Some(at) = self.daemon.store.archived(job).await.map_err(failures::store)? {
            let words = format!("job {job} was archived on {at}; submit it again");
            return Err(ErrorBody::new(ErrorCode::Conflict, words));
        }
        let directory = self.directory_of(job);
        let place = self.pack_of(job);
        let is_packed = tokio::task::spawn_blocking(move || place.exists() && !directory.exists()).await;
        match is_packed.map_err(|_| failures::stopping())? {
            false => Ok(occupied),
            true => {
                Err(in_the_way(job, "packed, though a crash kept that from being noted; archive it again"))
            }
        }
    }

    /// Archives jobs once they are as old as the site wants, for as long as Berth runs.
    pub async fn archive_old_ones(self: Arc<Self>) {
        self.take_up_interrupted().await;
        let mut since = UtcMs(0);
        loop {
            since = self.archive_those_since(since).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Gives the instant behind which others are to be looked for.
    async fn archive_those_since(&self, mut since: UtcMs) -> UtcMs {
        loop {
            let Some(age) = self.daemon.config.now().jobs.archive_after else { return UtcMs(0) };
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let before = UtcMs(now().0.saturating_sub(age));
            let jobs = match self.daemon.store.to_archive((since, before), AT_ONCE).await {
                Ok(jobs) => jobs,
                Err(error) => {
                    tracing::warn!(error = %error, "old jobs cannot be looked for");
                    return since;
                }
            };
            let full = jobs.len() as u64 == AT_ONCE;
            let mut archived = 0;
            for (job, ended) in jobs {
                since = ended;
                archived += u64::from(self.archive_old(job).await);
            }
            // Those that cannot be archived would stand in the way of all that ended later.
            since = if archived == 0 { UtcMs(since.0 + 1) } else { since };
            if !full {
                return since;
            }
        }
    }

    /// Goes on with what a crash interrupted. The files are safe in any case: in the directory, or in the pack.
    async fn take_up_interrupted(&self) {
        let archive = self.daemon.config.now().jobs.archive_directory.clone();
        let jobs = tokio::task::spawn_blocking(move || packs::interrupted(&archive)).await;
        for job in jobs.unwrap_or_default() {
            let place = self.pack_of(job);
            let over = match self.daemon.store.live_job(job).await.map_err(failures::store) {
                // One that was begun anew before it was packed has its directory.
                Ok(Some(found)) if !found.moving.state.kind().is_end() => true,
                Ok(Some(found)) => self.archive(&found, "berth, after a crash", Archive::Pack).await.is_ok(),
                Ok(None) => true,
                Err(_) => false,
            };
            if over {
                let _ = tokio::task::spawn_blocking(move || place.settled()).await;
            } else {
                tracing::warn!(job = job.0, "a job whose archiving was interrupted is not archived");
            }
        }
    }

    async fn archive_old(&self, job: JobId) -> bool {
        let how = self.daemon.config.now().jobs.archive;
        let done = match self.daemon.store.live_job(job).await.map_err(failures::store) {
            Ok(Some(found)) => self.archive(&found, "berth, for its age", how).await,
            Ok(None) => return false,
            Err(error) => Err(error),
        };
        if let Err(error) = &done {
            tracing::warn!(job = job.0, error = %error, "an old job is not archived");
        }
        done.is_ok()
    }
}

fn not_archived(job: JobId, error: &PackError) -> ErrorBody {
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    ErrorBody::new(ErrorCode::Unable, format!("job {job} is not archived: {error}{cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_to_run_again_is_not_archived_and_the_other_way_round() {
        let busy = Busy::default();
        let rerun = || busy.occupy(JobId(1), true);
        let (first, second) = (rerun().unwrap(), rerun().unwrap());
        drop(first);
        assert_eq!(busy.occupy(JobId(1), false).unwrap_err().message, "job 1 is about to run again");
        drop(second);
        let archived = busy.occupy(JobId(1), false).unwrap();
        assert_eq!(rerun().unwrap_err().message, "job 1 is being archived");
        assert!(busy.occupy(JobId(2), false).is_ok());
        drop(archived);
        assert!(rerun().is_ok());
    }
}
