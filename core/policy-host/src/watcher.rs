//! Watcher policies: asked every so often whether running jobs may go on.

use std::{collections::HashSet, sync::Arc};

use berth_model::{JobId, UtcMs};

use crate::{
    LoadError, OnSupervised, PluginStatus, PolicyHost, PolicySpec, Unanswered, Verdict, WatchedJob,
    bindings::v0_1_0::{
        types,
        watcher::{self as wit, WatcherPolicy as World},
    },
    words::shown,
    workers::Workers,
};

/// The most that is judged in one call.
const CHUNK: usize = 10_000;

/// A watcher policy that is running. Its thread ends when this is dropped.
pub struct WatcherPolicy {
    workers: Workers<World>,
    words_bytes: usize,
}

/// Why a watcher has not judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unjudged {
    /// It failed, or is benched: it is skipped, and jobs go on.
    #[error(transparent)]
    Skipped(#[from] Unanswered),
    /// It cannot say at the moment, in its words.
    #[error("the watcher cannot judge now: {0}")]
    NotNow(String),
}

impl WatcherPolicy {
    /// Loads the policy, tries its settings, and starts its thread.
    ///
    /// # Errors
    /// When the policy cannot be loaded or refuses its settings.
    pub fn spawn(
        host: &PolicyHost,
        spec: PolicySpec,
        on_supervised: OnSupervised,
    ) -> Result<Self, LoadError> {
        let words_bytes = spec.limits.words_bytes;
        let workers = Workers::spawn(host, spec, 1, Arc::new(|_| Ok(())), on_supervised)?;
        Ok(Self { workers, words_bytes })
    }

    /// Judges jobs. Those that are not in the answer go on.
    ///
    /// # Errors
    /// When it is to be skipped this time. [`crate::Supervised::Benched`] has told if that is for longer.
    pub async fn judge(&self, now: UtcMs, jobs: &[WatchedJob]) -> Result<Vec<(JobId, Verdict)>, Unjudged> {
        let mut verdicts = Vec::new();
        for part in jobs.chunks(CHUNK) {
            let asked: Vec<wit::WatchedJob> = part.iter().map(Into::into).collect();
            let most = self.words_bytes;
            let answer = self
                .workers
                .call(now, move |store, world| {
                    let answer = world.berth_policy_watcher().call_judge(store, now.0, &asked)?;
                    Ok(match answer {
                        Ok(judgements) => among_asked(judgements, &asked, most).map(Ok),
                        Err(types::Error::Other(words)) => Ok(Err(shown(&words, most))),
                        Err(types::Error::BadSettings(words)) => {
                            Err(format!("it refuses its settings: {}", shown(&words, most)))
                        }
                    })
                })
                .await?;
            verdicts.extend(answer.map_err(Unjudged::NotNow)?);
        }
        Ok(verdicts)
    }

    /// Loads a version anew, tries its settings, and lets it take over on probation.
    ///
    /// # Errors
    /// When it cannot be loaded or refuses its settings. Nothing has changed then.
    pub fn reload(&self, host: &PolicyHost, spec: PolicySpec) -> Result<(), LoadError> {
        self.workers.reload(host, spec)
    }

    /// The spec of the version that judges.
    #[must_use]
    pub fn spec(&self) -> PolicySpec {
        self.workers.spec()
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> PluginStatus {
        self.workers.status()
    }
}

/// Judgements of jobs that were asked about, at most one for each.
pub(crate) fn among_asked(
    judgements: Vec<wit::Judgement>,
    asked: &[wit::WatchedJob],
    most: usize,
) -> Result<Vec<(JobId, Verdict)>, String> {
    let mut left: HashSet<u64> = asked.iter().map(|job| job.id).collect();
    let mut verdicts = Vec::with_capacity(judgements.len().min(asked.len()));
    for wit::Judgement { job, verdict } in judgements {
        if !left.remove(&job) {
            return Err(format!("it judged job {job}, which was not asked about, or twice"));
        }
        let verdict = match verdict {
            wit::Verdict::GoOn => continue,
            wit::Verdict::Warn(words) => Verdict::Warn(shown(&words, most)),
            wit::Verdict::Send(signal @ 1..=64) => Verdict::Send(signal),
            wit::Verdict::Send(signal) => return Err(format!("there is no signal {signal}")),
            wit::Verdict::Stop(words) => Verdict::Stop(shown(&words, most)),
        };
        verdicts.push((JobId(job), verdict));
    }
    Ok(verdicts)
}

impl From<&WatchedJob> for wit::WatchedJob {
    fn from(job: &WatchedJob) -> Self {
        Self {
            id: job.id.0,
            user: job.user.clone(),
            project: job.project.clone(),
            needs: job.needs.into(),
            started_ms: job.started.0,
            time_limit_ms: job.time_limit_ms,
            cpu_micros: job.cpu_micros,
            memory_bytes: job.memory_bytes,
            disk_bytes: job.disk_bytes,
        }
    }
}
