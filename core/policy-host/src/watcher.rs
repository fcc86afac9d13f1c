//! Watcher policies: asked whether jobs may start, and every so often whether running ones may go on.
//!
//! The host keeps which jobs were started, and tells a fresh instance of them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use berth_model::{JobId, UtcMs};

use crate::{
    DirectorySize, LoadError, OnSupervised, PluginStatus, PolicyHost, PolicySpec, StartRefusal, StartingJob,
    Unanswered, Verdict, WatchedJob, Wishes,
    bindings::v0_1_0::{
        types,
        watcher::{self as wit, WatcherPolicy as World},
    },
    words::shown,
    workers::{Prepare, Workers},
};

/// The most that is judged in one call.
const CHUNK: usize = 10_000;

/// Jobs that were started and are not over, each with when that was told.
#[derive(Clone, Default)]
struct Books(Arc<Mutex<BTreeMap<JobId, (UtcMs, StartingJob)>>>);

impl Books {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, (UtcMs, StartingJob)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watcher policy that is running. Its thread ends when this is dropped.
pub struct WatcherPolicy {
    workers: Workers<World>,
    words_bytes: usize,
    books: Books,
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
    /// Loads the policy, tries its settings, tells it which jobs were `started` before, if it wants to know of
    /// starts, and starts its thread.
    ///
    /// # Errors
    /// When the policy cannot be loaded or refuses its settings.
    pub fn spawn(
        host: &PolicyHost,
        spec: PolicySpec,
        now: UtcMs,
        started: Vec<StartingJob>,
        on_supervised: OnSupervised,
    ) -> Result<Self, LoadError> {
        let words_bytes = spec.limits.words_bytes;
        let books = Books::default();
        books.lock().extend(started.into_iter().map(|job| (job.id, (now, job))));
        let workers = Workers::spawn(host, spec, 1, told_of(&books), on_supervised)?;
        Ok(Self { workers, words_bytes, books })
    }

    /// What it has to be given, by its present settings.
    ///
    /// # Errors
    /// When it failed, or is benched.
    pub async fn wishes(&self, now: UtcMs) -> Result<Wishes, Unanswered> {
        self.workers
            .call(now, |store, world| Ok(Ok(world.berth_policy_watcher().call_wants(store)?.into())))
            .await
    }

    /// Whether a job may start.
    ///
    /// # Errors
    /// `Ok` within when it refuses; else that it failed, or is benched.
    pub async fn may_start(
        &self,
        now: UtcMs,
        job: &StartingJob,
    ) -> Result<Result<(), StartRefusal>, Unanswered> {
        let (asked, most) = (wit::StartingJob::from(job), self.words_bytes);
        self.workers
            .call(now, move |store, world| {
                let answer = world.berth_policy_watcher().call_may_start(store, now.0, &asked)?;
                Ok(Ok(answer.map_err(|refusal| match refusal {
                    wit::Refusal::Never(words) => StartRefusal::Never(shown(&words, most)),
                    wit::Refusal::NotNow(words) => StartRefusal::NotNow(shown(&words, most)),
                })))
            })
            .await
    }

    /// A job is launched.
    ///
    /// # Errors
    /// When the policy could not be told; a fresh instance will hear of the job.
    pub async fn started(&self, now: UtcMs, job: StartingJob) -> Result<(), Unanswered> {
        let told = wit::StartingJob::from(&job);
        self.books.lock().insert(job.id, (now, job));
        let tell = move |store: &mut _, world: &World| {
            world.berth_policy_watcher().call_started(store, now.0, &told)?;
            Ok(Ok(()))
        };
        self.workers.call(now, tell).await
    }

    /// A job is over, or was not launched after all.
    ///
    /// # Errors
    /// When the policy could not be told; a fresh instance will not hear of the job.
    pub async fn ended(&self, now: UtcMs, job: JobId) -> Result<(), Unanswered> {
        self.books.lock().remove(&job);
        let tell = move |store: &mut _, world: &World| {
            world.berth_policy_watcher().call_ended(store, now.0, job.0)?;
            Ok(Ok(()))
        };
        self.workers.call(now, tell).await
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
            wit::Verdict::Warn(wit::Warning { signal: Some(signal), .. }) | wit::Verdict::Send(signal)
                if !(1..=64).contains(&signal) =>
            {
                return Err(format!("there is no signal {signal}"));
            }
            wit::Verdict::Warn(wit::Warning { words, signal }) => {
                Verdict::Warn { words: shown(&words, most), signal }
            }
            wit::Verdict::Send(signal) => Verdict::Send(signal),
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
            active_since_ms: job.active_since.0,
            suspended: job.suspended,
            time_limit_ms: job.time_limit_ms,
            cpu_micros: job.cpu_micros,
            memory_bytes: job.memory_bytes,
            directory: job
                .directory
                .map(|DirectorySize { bytes, whole }| wit::DirectorySize { bytes, whole }),
        }
    }
}

/// Tells a fresh instance which jobs are started, if it wants to know.
fn told_of(books: &Books) -> Prepare<World> {
    let books = books.clone();
    Arc::new(move |instance| {
        let wishes = instance.call(|store, world| world.berth_policy_watcher().call_wants(store))?;
        if !Wishes::from(wishes).starts {
            return Ok(());
        }
        let started = books.lock().clone();
        for (at, job) in started.values() {
            let job = wit::StartingJob::from(job);
            instance.call(|store, world| world.berth_policy_watcher().call_started(store, at.0, &job))?;
        }
        Ok(())
    })
}

impl From<wit::Wishes> for Wishes {
    fn from(wishes: wit::Wishes) -> Self {
        Self {
            usage: wishes.contains(wit::Wishes::USAGE),
            directory: wishes.contains(wit::Wishes::DIRECTORY),
            starts: wishes.contains(wit::Wishes::STARTS),
        }
    }
}

impl From<&StartingJob> for wit::StartingJob {
    fn from(job: &StartingJob) -> Self {
        Self {
            id: job.id.0,
            user: job.user.clone(),
            project: job.project.clone(),
            needs: job.needs.into(),
            time_limit_ms: job.time_limit_ms,
            node: job.node.clone(),
        }
    }
}
