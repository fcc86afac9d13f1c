//! Archiving: the directory of an ended job is removed, what is known of the job stays.

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use berth_api::{ErrorBody, ErrorCode};
use berth_engine::{Change, LiveJob};
use berth_model::{EventKind, JobEventRecord, JobId, UtcMs};
use berth_store::{Batch, Extra, TaskQuery};

use super::{Service, failures, rows};
use crate::daemon::{now, places};

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
    pub(super) async fn archive(&self, found: &LiveJob, by: &str) -> Result<Option<String>, ErrorBody> {
        if let Some((array, _)) = found.task_of {
            let words = format!("a task is archived with its array, which is job {array}");
            return Err(ErrorBody::new(ErrorCode::Invalid, words));
        }
        let _occupied = self.busy.occupy(found.id, false)?;
        if let Some(at) = self.daemon.store.archived(found.id).await.map_err(failures::store)? {
            return Ok(Some(format!("it has been archived already, on {at}")));
        }
        // It may have run again since it was looked at; from here on it cannot.
        let again = self.daemon.store.live_job(found.id).await.map_err(failures::store)?;
        if !again.is_some_and(|job| job.moving.state.kind().is_end()) {
            let words = format!("job {} has not ended; only what has ended is archived", found.id);
            return Err(ErrorBody::new(ErrorCode::Conflict, words));
        }
        self.no_task_lives(found).await?;
        let directory = places::directory(&self.daemon.config.now().jobs.directory, rows::whose(found));
        let removed = tokio::task::spawn_blocking(move || remove(&directory)).await;
        removed.map_err(|_| failures::stopping())?.map_err(|error| {
            let words = format!("the directory of job {} cannot be removed: {error}", found.id);
            ErrorBody::new(ErrorCode::Unable, words)
        })?;
        // First removed, then noted: where Berth is killed in between, it is done once more.
        let (at, text) = (now(), format!("archived by {by}: its directory was removed"));
        let event = JobEventRecord { job: found.id, at, kind: EventKind::Note { text } };
        let batch =
            Batch { changes: vec![Change::Event(event)], extras: vec![Extra::Archived { id: found.id, at }] };
        self.daemon.store.commit(Arc::new(batch)).await.map_err(failures::store)?;
        Ok(None)
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
        match self.daemon.store.archived(job).await.map_err(failures::store)? {
            None => Ok(occupied),
            Some(at) => {
                let words =
                    format!("job {job} was archived on {at}, and its files are gone; submit it again");
                Err(ErrorBody::new(ErrorCode::Conflict, words))
            }
        }
    }

    /// Refuses to look for files that are gone.
    pub(super) async fn still_has_files(&self, found: &LiveJob) -> Result<(), ErrorBody> {
        if !found.moving.state.kind().is_end() {
            return Ok(());
        }
        let whose = found.task_of.map_or(found.id, |(array, _)| array);
        match self.daemon.store.archived(whose).await.map_err(failures::store)? {
            None => Ok(()),
            Some(at) => {
                let words = format!("job {whose} was archived on {at}, and its files are gone");
                Err(ErrorBody::new(ErrorCode::NotFound, words))
            }
        }
    }

    /// Archives jobs once they are as old as the site wants, for as long as Berth runs.
    pub async fn archive_old_ones(self: Arc<Self>) {
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

    async fn archive_old(&self, job: JobId) -> bool {
        let done = match self.daemon.store.live_job(job).await.map_err(failures::store) {
            Ok(Some(found)) => self.archive(&found, "berth, for its age").await,
            Ok(None) => return false,
            Err(error) => Err(error),
        };
        if let Err(error) = &done {
            tracing::warn!(job = job.0, error = %error, "an old job is not archived");
        }
        done.is_ok()
    }
}

/// Removes a directory with all that is in it, following no link. One that is gone is fine.
fn remove(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
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
