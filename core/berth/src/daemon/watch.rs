//! Watchers: shown the running jobs every so often, with what they use.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use berth_engine::{Command, RunningView};
use berth_executor_api::Usage;
use berth_executor_host::Registry;
use berth_model::{AttemptName, EventKind, StopCause};
use berth_policy_host::{Verdict, WatchedJob, Wishes};
use berth_store::Store;
use futures::{StreamExt, stream};
use tokio::sync::watch;

use super::{
    directories::Directories,
    gate,
    message::{Inbox, Message},
    places::Whose,
    policies::{Policies, Watcher},
    turn::now,
};

/// How many answers about usage and directories are waited for at once.
const ASKED_AT_ONCE: usize = 32;

/// How many warnings are remembered of one execution.
const MOST_WORDS: usize = 32;

/// Where watchers' facts come from, and where their verdicts go.
pub struct Sight {
    pub registry: Arc<Registry>,
    pub store: Arc<dyn Store>,
    pub inbox: Inbox,
    pub directories: Directories,
}

/// Begins to watch, with each configured watcher by itself.
pub fn start(policies: &Arc<Policies>, sight: &Arc<Sight>, stop: &watch::Receiver<bool>) {
    for number in 0..policies.watchers.len() {
        let (policies, sight) = (Arc::clone(policies), Arc::clone(sight));
        let mut stop = stop.clone();
        tokio::spawn(async move {
            let Some(watcher) = policies.watchers.get(number) else { return };
            let mut warned = Warned::default();
            loop {
                tokio::select! {
                    () = tokio::time::sleep(watcher.every.max(Duration::from_secs(1))) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                look(&policies, watcher, &sight, &mut warned).await;
            }
        });
    }
}

/// Asks all of them for the first time whether they want to know of starts.
pub async fn ask_wishes(policies: &Policies) {
    for watcher in &policies.watchers {
        match watcher.policy.wishes(now()).await {
            Ok(wishes) => watcher.asks.store(wishes.starts, Ordering::Relaxed),
            Err(error) => tracing::error!(policy = watcher.name, error = %error, "watcher skipped"),
        }
    }
}

/// What executions have been told already, by one watcher.
#[derive(Default)]
struct Warned(BTreeMap<AttemptName, Vec<String>>);

impl Warned {
    fn keep(&mut self, running: &[RunningView]) {
        let running: BTreeSet<&AttemptName> = running.iter().map(|job| &job.attempt).collect();
        self.0.retain(|attempt, _| running.contains(attempt));
    }

    /// Whether these words are new to it; from now on they are not.
    fn is_news(&mut self, attempt: &AttemptName, words: &str) -> bool {
        let told = self.0.entry(attempt.clone()).or_default();
        if told.iter().any(|known| known == words) {
            return false;
        }
        if told.len() == MOST_WORDS {
            told.remove(0);
        }
        told.push(words.to_owned());
        true
    }

    /// It was not told after all.
    fn take_back(&mut self, attempt: &AttemptName, words: &str) {
        if let Some(told) = self.0.get_mut(attempt) {
            told.retain(|known| known != words);
        }
    }
}

async fn look(policies: &Policies, watcher: &Watcher, sight: &Sight, warned: &mut Warned) {
    let wishes = match watcher.policy.wishes(now()).await {
        Ok(wishes) => wishes,
        Err(error) => {
            tracing::error!(policy = watcher.name, error = %error, "watcher skipped; jobs go on unwatched");
            return;
        }
    };
    if watcher.asks.swap(wishes.starts, Ordering::Relaxed) != wishes.starts {
        changed_its_mind(policies, watcher, sight, wishes).await;
    }
    let Some(running) = sight.inbox.look(berth_engine::Engine::running).await else { return };
    warned.keep(&running);
    if running.is_empty() {
        return;
    }
    let facts = stream::iter(running.clone()).map(|job| async move { sight.watched(wishes, &job).await });
    let jobs: Vec<WatchedJob> = facts.buffered(ASKED_AT_ONCE).collect().await;
    match watcher.policy.judge(now(), &jobs).await {
        Ok(verdicts) => {
            for (id, verdict) in verdicts {
                if let Ok(at) = running.binary_search_by_key(&id, |job| job.id)
                    && let Some(job) = running.get(at)
                {
                    sight.act(&watcher.name, job, verdict, warned).await;
                }
            }
        }
        Err(error) => {
            tracing::error!(policy = watcher.name, error = %error, "watcher skipped; jobs go on unwatched");
        }
    }
}

/// It was loaded anew, and wants to know of starts now, or no longer.
async fn changed_its_mind(policies: &Policies, watcher: &Watcher, sight: &Sight, wishes: Wishes) {
    sight.inbox.tell(Message::AskBeforeStarts(policies.asks_before_starts())).await;
    if !wishes.starts {
        return;
    }
    for job in sight.inbox.look(berth_engine::Engine::launched).await.unwrap_or_default() {
        if let Err(error) = watcher.policy.started(now(), gate::starting(job)).await {
            tracing::error!(policy = watcher.name, error = %error, "watcher not told of a start");
        }
    }
}

impl Sight {
    async fn watched(&self, wishes: Wishes, job: &RunningView) -> WatchedJob {
        let usage = match self.registry.get(&job.executor).filter(|_| wishes.usage) {
            Some(executor) => executor.stats(job.attempt.clone()).await.ok(),
            None => None,
        };
        let directory = match wishes.directory {
            true => self.directories.measure(Whose { job: job.id, task: job.task, attempt: 1 }).await,
            false => None,
        };
        let known = |of: fn(&Usage) -> u64| usage.as_ref().map(of);
        WatchedJob {
            id: job.id,
            user: job.owner.clone(),
            project: job.project.clone(),
            needs: job.needs,
            started: job.started,
            active_since: job.active_since,
            suspended: job.suspended,
            time_limit_ms: job.time_limit_ms,
            cpu_micros: known(|usage| usage.cpu_micros),
            memory_bytes: known(|usage| usage.memory_bytes),
            directory,
        }
    }

    async fn act(&self, watcher: &str, job: &RunningView, verdict: Verdict, warned: &mut Warned) {
        let id = job.id;
        let command = match verdict {
            Verdict::GoOn => return,
            Verdict::Warn { words, signal } => {
                if warned.is_news(&job.attempt, &words) && !self.warn(watcher, job, &words, signal).await {
                    warned.take_back(&job.attempt, &words);
                }
                return;
            }
            Verdict::Send(signal) => Command::Signal { job: id, signal },
            Verdict::Stop(reason) => {
                Command::Kill { job: id, cause: StopCause::Watcher { name: watcher.to_owned(), reason } }
            }
        };
        if let Err(error) = self.inbox.command(command).await {
            tracing::warn!(policy = watcher, job = id.0, error = %error, "verdict not carried out");
        }
    }

    /// Tells a job's user, and the job itself, unless they were told before a restart. The signal comes first: if
    /// Berth is killed between the two, it rather comes twice than not at all. False when it could not be noted.
    async fn warn(&self, watcher: &str, job: &RunningView, words: &str, signal: Option<i32>) -> bool {
        let text = format!("watcher {watcher}: {words}");
        if self.was_told(job, &text).await {
            return true;
        }
        let text = match signal {
            None => text,
            Some(signal) => match self.inbox.command(Command::Signal { job: job.id, signal }).await {
                Ok(_) => format!("{text} (signal {signal} was sent)"),
                Err(error) => format!("{text} (signal {signal} could not be sent: {error})"),
            },
        };
        let noted = self.inbox.command(Command::Note { job: job.id, text }).await;
        if let Err(error) = &noted {
            tracing::warn!(policy = watcher, job = job.id.0, error = %error, "warning not noted");
        }
        noted.is_ok()
    }

    async fn was_told(&self, job: &RunningView, text: &str) -> bool {
        let history = self.store.history(job.id).await.unwrap_or_default();
        history.iter().rev().take_while(|event| event.record.at >= job.started).any(|event| {
            matches!(&event.record.kind, EventKind::Note { text: told }
                if told.strip_prefix(text).is_some_and(|rest| rest.is_empty() || rest.starts_with(" (signal ")))
        })
    }
}
