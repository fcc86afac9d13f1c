//! Keeps count of what job directories take, as long as somebody is bounded in it.
//!
//! Directories of running jobs are measured every so often, and each one once more at the job's end. What ended while
//! nobody measured, because of a crash or since nobody was bounded, is found in the store and caught up on.

use std::{sync::Arc, time::Duration};

use berth_engine::{Command, Engine, Measured, RunningView};
use berth_model::JobId;
use berth_store::{Store, Unmeasured};
use futures::{StreamExt, stream};
use tokio::sync::{mpsc, watch};

use super::{LiveConfig, directories::Directories, message::Inbox, places::Whose};

/// How many measurements are waited for at once.
const AT_ONCE: usize = 8;
/// How many are told of at once.
const TOLD_AT_ONCE: usize = 256;
/// How often ended jobs are looked for whose directory could not be measured.
const CATCH_UP_EVERY: Duration = Duration::from_secs(3600);
/// How long to wait after a failure.
const AGAIN: Duration = Duration::from_secs(30);

/// What it takes.
pub struct Keeper {
    pub store: Arc<dyn Store>,
    pub inbox: Inbox,
    pub config: LiveConfig,
    pub directories: Directories,
}

/// Keeps count until `stop` says so. `bounded` says whether anybody is bounded, `ended` which jobs have ended.
pub fn start(
    keeper: Keeper,
    mut bounded: watch::Receiver<bool>,
    ended: mpsc::UnboundedReceiver<Unmeasured>,
    mut stop: watch::Receiver<bool>,
) {
    let keeper = Arc::new(keeper);
    let at_ends = Arc::clone(&keeper);
    let mut stop_too = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = at_ends.measure_at_ends(ended) => {}
            _ = stop_too.wait_for(|stop| *stop) => {}
        }
    });
    tokio::spawn(async move {
        tokio::select! {
            () = keeper.keep(&mut bounded) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    });
}

impl Keeper {
    async fn keep(&self, bounded: &mut watch::Receiver<bool>) {
        while bounded.wait_for(|bounded| *bounded).await.is_ok() {
            let mut still = bounded.clone();
            tokio::select! {
                () = self.measure_running_ones() => {}
                () = self.catch_up() => {}
                free = still.wait_for(|bounded| !*bounded) => if free.is_err() { return },
            }
        }
    }

    async fn measure_at_ends(&self, mut ended: mpsc::UnboundedReceiver<Unmeasured>) {
        let mut jobs = Vec::new();
        while ended.recv_many(&mut jobs, TOLD_AT_ONCE).await > 0 {
            self.measure_ended(std::mem::take(&mut jobs)).await;
        }
    }

    async fn measure_running_ones(&self) {
        loop {
            // The engine takes no step while nothing can be written; that passes.
            let running = self.inbox.look(Engine::running).await.unwrap_or_default();
            for some in running.chunks(TOLD_AT_ONCE) {
                let sizes = stream::iter(some.to_vec()).map(|job| self.running(job));
                self.tell(sizes.buffer_unordered(AT_ONCE).filter_map(async |size| size).collect().await)
                    .await;
            }
            tokio::time::sleep(self.config.now().quotas.measure_every).await;
        }
    }

    async fn catch_up(&self) {
        loop {
            let mut after = JobId(0);
            let wait = loop {
                match self.store.unmeasured(after, TOLD_AT_ONCE as u64).await {
                    Ok(jobs) => match jobs.last() {
                        Some(last) => {
                            after = last.job;
                            self.measure_ended(jobs).await;
                        }
                        None => break CATCH_UP_EVERY,
                    },
                    Err(error) => {
                        tracing::warn!(error = %error, "cannot look for directories to measure");
                        break AGAIN;
                    }
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn running(&self, job: RunningView) -> Option<Measured> {
        let bytes = self.directories.bytes(Whose { job: job.id, task: job.task, attempt: 1 }).await?;
        let RunningView { id: job, owner, project, runs_over: after, .. } = job;
        Some(Measured { job, owner, project, after, bytes })
    }

    async fn measure_ended(&self, jobs: Vec<Unmeasured>) {
        let tops: Vec<(JobId, JobId)> =
            jobs.iter().map(|job| (job.job, job.task.map_or(job.job, |(array, _)| array))).collect();
        let sizes = stream::iter(jobs).map(async |job| {
            let bytes = self.directories.bytes(Whose { job: job.job, task: job.task, attempt: 1 }).await;
            if bytes.is_none() {
                tracing::warn!(job = job.job.0, "directory not measured; it is tried again later");
            }
            let Unmeasured { job, owner, project, after, .. } = job;
            Some(Measured { job, owner, project, after, bytes: bytes? })
        });
        self.tell(sizes.buffer_unordered(AT_ONCE).filter_map(async |size| size).collect().await).await;
        for (job, top) in tops {
            self.forget_what_is_archived(job, top).await;
        }
    }

    /// A job may be archived while its directory is measured. Whoever archives it says that the directory is gone
    /// after it is noted as archived; where this was told later than that, it is seen here.
    async fn forget_what_is_archived(&self, job: JobId, top: JobId) {
        if let Ok(Some(_)) = self.store.archived(top).await
            && let Err(error) = self.inbox.command(Command::DirectoryGone { job, tasks: 0 }).await
        {
            tracing::warn!(job = job.0, error = %error, "a directory that is gone still counts");
        }
    }

    async fn tell(&self, sizes: Vec<Measured>) {
        if sizes.is_empty() {
            return;
        }
        while let Err(error) = self.inbox.command(Command::Measured { sizes: sizes.clone() }).await {
            tracing::warn!(error = %error, "sizes of directories not noted; they are told again");
            tokio::time::sleep(AGAIN).await;
        }
    }
}
