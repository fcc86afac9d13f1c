//! Watchers: shown the running jobs every so often, with what they use.

use std::{sync::Arc, time::Duration};

use berth_engine::{Command, RunningView};
use berth_executor_api::Usage;
use berth_executor_host::Registry;
use berth_model::{JobId, StopCause};
use berth_policy_host::{Verdict, WatchedJob};
use futures::{StreamExt, stream};
use tokio::sync::watch;

use super::{
    message::Inbox,
    policies::{Policies, Watcher},
    turn::now,
};

/// How many executors' answers about usage are waited for at once.
const ASKED_AT_ONCE: usize = 32;

/// Begins to watch, with each configured watcher by itself.
pub fn start(
    policies: &Arc<Policies>,
    registry: &Arc<Registry>,
    inbox: &Inbox,
    stop: &watch::Receiver<bool>,
) {
    for number in 0..policies.watchers.len() {
        let (policies, registry, inbox) = (Arc::clone(policies), Arc::clone(registry), inbox.clone());
        let mut stop = stop.clone();
        tokio::spawn(async move {
            let Some(watcher) = policies.watchers.get(number) else { return };
            let mut warned = Warned::default();
            loop {
                tokio::select! {
                    () = tokio::time::sleep(watcher.every.max(Duration::from_secs(1))) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                look(watcher, &registry, &inbox, &mut warned).await;
            }
        });
    }
}

/// What jobs have been told already.
#[derive(Default)]
struct Warned(std::collections::BTreeMap<JobId, String>);

async fn look(watcher: &Watcher, registry: &Registry, inbox: &Inbox, warned: &mut Warned) {
    let Some(running) = inbox.look(berth_engine::Engine::running).await else { return };
    warned.0.retain(|id, _| running.iter().any(|job| job.id == *id));
    if running.is_empty() {
        return;
    }
    let jobs: Vec<WatchedJob> =
        stream::iter(running).map(|job| watched(registry, job)).buffered(ASKED_AT_ONCE).collect().await;
    match watcher.policy.judge(now(), &jobs).await {
        Ok(verdicts) => {
            for (job, verdict) in verdicts {
                act(&watcher.name, job, verdict, inbox, warned).await;
            }
        }
        Err(error) => {
            tracing::error!(policy = watcher.name, error = %error, "watcher skipped; jobs go on unwatched");
        }
    }
}

async fn watched(registry: &Registry, job: RunningView) -> WatchedJob {
    let usage = match registry.get(&job.executor) {
        Some(executor) => executor.stats(job.attempt).await.ok(),
        None => None,
    };
    let known = |of: fn(&Usage) -> u64| usage.as_ref().map(of);
    WatchedJob {
        id: job.id,
        user: job.owner,
        project: job.project,
        needs: job.needs,
        started: job.started,
        time_limit_ms: job.time_limit_ms,
        cpu_micros: known(|usage| usage.cpu_micros),
        memory_bytes: known(|usage| usage.memory_bytes),
        // Executors that do not measure it say 0, which no directory has.
        disk_bytes: known(|usage| usage.disk_bytes).filter(|&bytes| bytes > 0),
    }
}

async fn act(watcher: &str, job: JobId, verdict: Verdict, inbox: &Inbox, warned: &mut Warned) {
    let command = match verdict {
        Verdict::GoOn => return,
        Verdict::Warn(words) => {
            if warned.0.get(&job) == Some(&words) {
                return;
            }
            warned.0.insert(job, words.clone());
            Command::Note { job, text: format!("watcher {watcher}: {words}") }
        }
        Verdict::Send(signal) => Command::Signal { job, signal },
        Verdict::Stop(reason) => {
            Command::Kill { job, cause: StopCause::Watcher { name: watcher.to_owned(), reason } }
        }
    };
    if let Err(error) = inbox.command(command).await {
        tracing::warn!(policy = watcher, job = job.0, error = %error, "verdict not carried out");
    }
}
