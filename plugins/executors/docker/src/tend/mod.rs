//! One attempt with a container, from its start to its end: a task of its own that starts it, carries its
//! outputs into its files, and tells what becomes of it.
//!
//! That a container is over is seen in three ways, because none of them is certain alone: its log ends, an
//! event says so, and asking after a reconnect. What counts is what the engine answers when it is asked then.

mod ending;

use std::{sync::Arc, time::Duration};

use berth_docker_engine::{
    EngineError, Logs,
    bollard::{
        Docker,
        models::ContainerInspectResponse,
        query_parameters::{InspectContainerOptions, KillContainerOptions, LogsOptions, StatsOptions},
    },
    demultiplex,
};
use berth_executor_api::{AttemptName, AttemptReport, AttemptState, Exit, Usage, UtcMs};
use futures::StreamExt;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    books::{Died, Nudge, Reins},
    facts::Facts,
    launching::{give_back, never_ran, remove_container},
    outputs::Outputs,
    places,
    shared::{Shared, own_now},
    state::{self, Look, Over, StartFailure},
    usage,
};

/// After an event has told of the end, the log may take so long to end as well.
const LOG_AFTER_END: Duration = Duration::from_secs(10);
/// How often use is sampled where it is not counted.
const SAMPLE_EVERY: Duration = Duration::from_secs(15);
/// How soon a kill is tried again that did no good.
const KILL_AGAIN: Duration = Duration::from_secs(2);
/// How often a start is tried again after its network was made again.
const MOST_NETWORKS: u32 = 3;
/// The longest wait before a running container's log is read again that has ended.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A container, and what came with it from its making.
pub(crate) struct Ready {
    pub facts: Arc<Facts>,
    /// `None` where an earlier Berth made it: they are opened again.
    pub outputs: Option<Outputs>,
    /// The right to start it now.
    pub permit: Option<OwnedSemaphorePermit>,
    /// Of one that an earlier Berth made and started nobody knows what it has done.
    pub may_have_run: bool,
    /// What people should know.
    pub note: Option<String>,
}

struct Tender<'r> {
    shared: Arc<Shared>,
    attempt: AttemptName,
    nudges: &'r mut mpsc::UnboundedReceiver<Nudge>,
    ready: Ready,
    died: Option<Died>,
    destroyed: bool,
    sample: Option<Usage>,
    kill_at: Option<Instant>,
    /// How often its log has ended while it went on.
    idle: u32,
    /// How often the engine was in the middle of removing it.
    fading: u32,
    /// How often its network was made again.
    networks: u32,
    /// Whether it may have run.
    started: bool,
    vanished: bool,
}

/// What became of tending a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tended {
    /// Its end was told.
    Over,
    /// It was gone before it had ever run: as when its making was broken off with an earlier Berth.
    NeverWas,
}

/// Until its end was told, or it is given up.
pub(crate) async fn tend(
    shared: Arc<Shared>,
    attempt: AttemptName,
    reins: &mut Reins,
    ready: Ready,
) -> Tended {
    let mut tender = Tender {
        kill_at: None,
        started: ready.may_have_run,
        vanished: false,
        shared,
        attempt,
        nudges: &mut reins.nudges,
        ready,
        died: None,
        destroyed: false,
        sample: None,
        idle: 0,
        fading: 0,
        networks: 0,
    };
    tender.set_kill();
    let mut over = tender.ready.permit.is_some() && tender.first().await;
    while !over {
        over = tender.round().await;
    }
    if tender.vanished { Tended::NeverWas } else { Tended::Over }
}

impl Tender<'_> {
    /// Starts what has just been made, without asking the engine first where it stands; whether it is over.
    async fn first(&mut self) -> bool {
        let docker = self.shared.docker_when_there().await;
        self.start(&docker).await
    }

    /// Looks once and does what follows from that; whether it is over.
    async fn round(&mut self) -> bool {
        let docker = self.shared.docker_when_there().await;
        let inspected = docker.inspect_container(self.attempt.as_str(), None::<InspectContainerOptions>);
        let container = match self.shared.engine.answer(inspected).await {
            Ok(container) => container,
            Err(error) if error.is_missing() => return self.gone().await,
            Err(error) => return self.in_doubt(&error).await,
        };
        let state = container.state.clone().unwrap_or_default();
        let look = state::look(&state);
        self.started |= !matches!(look, Look::Made | Look::NotStarted(_));
        match look {
            Look::Made => self.start(&docker).await,
            Look::NotStarted(failure) => self.not_started(&docker, failure).await,
            Look::Between => {
                self.ready.permit = None;
                self.wait(Duration::from_secs(1)).await;
                false
            }
            Look::Running { since } => self.runs(&docker, &container, since, false).await,
            Look::Paused { since } => self.runs(&docker, &container, since, true).await,
            Look::Over(over) => self.over(&docker, &over).await,
        }
    }

    async fn in_doubt(&mut self, error: &EngineError) -> bool {
        self.ready.permit = None;
        tracing::debug!(attempt = %self.attempt, error = %error, "no answer about a container");
        self.shared.doubt.notify_one();
        self.wait(Duration::from_millis(200)).await;
        false
    }

    /// Waits, but hears what is said meanwhile.
    async fn wait(&mut self, time: Duration) {
        tokio::select! {
            nudge = self.nudges.recv() => {
                if let Some(nudge) = nudge {
                    self.heard(nudge);
                }
            }
            () = sleep(time) => {}
        }
    }

    fn heard(&mut self, nudge: Nudge) {
        match nudge {
            Nudge::Paused(at) => self.tell_state(AttemptState::Suspended, at),
            Nudge::Unpaused(at) => self.tell_state(AttemptState::Running, at),
            Nudge::Died(died) => self.died = Some(died),
            Nudge::Destroyed => self.destroyed = true,
            Nudge::Stop => self.set_kill(),
            Nudge::Look => {}
        }
    }

    fn tell_state(&self, state: AttemptState, at: UtcMs) {
        let last = self.shared.with(&self.attempt, |entry| entry.last.clone());
        if let Some(last) = last {
            self.shared.tell(AttemptReport { state, at, message: None, ..last });
        }
    }

    /// When it is to be killed, if it is to end.
    fn set_kill(&mut self) {
        let kill_at =
            self.shared.with(&self.attempt, |entry| entry.note.stop.as_ref().map(|stop| stop.kill_at));
        if let Some(at) = kill_at.flatten() {
            self.kill_at = Some(Instant::now() + at.since(own_now()));
        }
    }

    async fn start(&mut self, docker: &Docker) -> bool {
        let stopped = self.shared.with(&self.attempt, |entry| entry.note.stop.is_some());
        if stopped != Some(false) {
            let words = "it was stopped before it had started";
            never_ran(&self.shared, &self.attempt, words.into()).await;
            return true;
        }
        if self.ready.permit.is_none() {
            self.ready.permit = Arc::clone(&self.shared.starts).acquire_owned().await.ok();
        }
        let started = loop {
            match self.try_start(docker).await {
                Err(error) if is_network_missing(&error) && self.networks < MOST_NETWORKS => {
                    self.networks += 1;
                    if let Err(error) = self.make_network(docker).await {
                        break Err(error);
                    }
                }
                started => break started,
            }
        };
        self.ready.permit = None;
        match started {
            // What it says now is what counts.
            Ok(()) => {
                self.started = true;
                false
            }
            Err(error) if error.is_missing() && !is_network_missing(&error) => self.gone().await,
            Err(error) => match state::refusal(&error) {
                Some(failure) => self.not_started(docker, failure).await,
                None => {
                    self.started = true;
                    self.in_doubt(&error).await
                }
            },
        }
    }

    async fn try_start(&self, docker: &Docker) -> Result<(), EngineError> {
        let patience = self.shared.config.start_within;
        let patient = docker.clone().with_timeout(patience);
        let started = patient.start_container(self.attempt.as_str(), None);
        self.shared.engine.answer_within(patience, started).await
    }

    /// Somebody has removed it since the container was made.
    async fn make_network(&self, docker: &Docker) -> Result<(), EngineError> {
        self.shared.networks.missed().await;
        let on_demand = self.shared.with(&self.attempt, |entry| entry.facts.network.clone()).flatten();
        if let Some(wanted) = on_demand {
            return self.shared.networks.ensure_on_demand(&self.shared.engine, &wanted).await;
        }
        let inspected = docker.inspect_container(self.attempt.as_str(), None::<InspectContainerOptions>);
        let container = self.shared.engine.answer(inspected).await?;
        let name = container.host_config.and_then(|config| config.network_mode);
        self.shared.networks.ensure(&self.shared.engine, &name.unwrap_or_default()).await
    }

    async fn not_started(&mut self, docker: &Docker, failure: StartFailure) -> bool {
        self.ready.permit = None;
        match failure {
            StartFailure::NoRoom(words) => {
                if let Err(error) = remove_container(&self.shared, docker, &self.attempt).await {
                    return self.in_doubt(&error).await;
                }
                give_back(&self.shared, &self.attempt, words);
            }
            StartFailure::Program { code, words } => {
                let over = Over { code, at: Some(self.shared.now()), error: words, ..Over::default() };
                self.end(&over).await;
            }
            StartFailure::Never(words) => {
                let exit = Exit {
                    could_not_launch: Some(format!("its container cannot be started: {words}")),
                    before_stop: true,
                    at: self.shared.now(),
                    ..Exit::default()
                };
                self.shared.tell(self.shared.report(&self.attempt, AttemptState::Exited(exit)));
            }
        }
        true
    }

    fn running_report(&self, container: &ContainerInspectResponse, since: Option<UtcMs>) -> AttemptReport {
        let mut report = self.shared.running(&self.attempt, container);
        report.at = since.unwrap_or_else(|| self.shared.now());
        report
    }

    async fn runs(
        &mut self,
        docker: &Docker,
        container: &ContainerInspectResponse,
        since: Option<UtcMs>,
        paused: bool,
    ) -> bool {
        self.ready.permit = None;
        let report = self.running_report(container, since);
        let suspended = self.shared.with(&self.attempt, |entry| entry.note.suspended).flatten();
        self.shared.tell(report.clone());
        if paused || suspended.is_some() {
            let at = suspended.unwrap_or_else(|| self.shared.now());
            self.shared.tell(AttemptReport { state: AttemptState::Suspended, at, ..report });
        }
        if self.ready.outputs.is_none() {
            match places::reopen(&self.ready.facts).await {
                Ok(outputs) => self.ready.outputs = Some(outputs),
                Err(words) => return self.without_outputs(docker, &words).await,
            }
        }
        self.follow(docker).await;
        false
    }

    /// Its files are gone: it goes on all the same, and the engine keeps its log.
    async fn without_outputs(&mut self, docker: &Docker, words: &str) -> bool {
        tracing::warn!(attempt = %self.attempt, error = words, "outputs cannot be written");
        self.kill_if_due(docker).await;
        self.wait(Duration::from_secs(1)).await;
        false
    }

    /// Carries its log into its files until one of them ends, or there is reason to look again.
    async fn follow(&mut self, docker: &Docker) {
        let Some(mut outputs) = self.ready.outputs.take() else { return };
        let enough = CancellationToken::new();
        let logs = read_log(docker, &self.attempt, &mut outputs, self.ready.facts.tty, true);
        let before = outputs.cursor.bytes();
        let mut look_again = false;
        {
            let pump = outputs.pump(logs, enough.clone());
            tokio::pin!(pump);
            let mut give_up: Option<Instant> = self.died.map(|_| Instant::now() + LOG_AFTER_END);
            let mut samples = tokio::time::interval(SAMPLE_EVERY);
            loop {
                tokio::select! {
                    ended = &mut pump => {
                        if let Err(error) = ended {
                            tracing::debug!(attempt = %self.attempt, error = %error, "a log has broken off");
                        }
                        break;
                    }
                    nudge = self.nudges.recv() => match nudge {
                        Some(nudge) => {
                            self.heard(nudge);
                            match nudge {
                                Nudge::Died(_) => give_up = Some(Instant::now() + LOG_AFTER_END),
                                Nudge::Destroyed | Nudge::Look => {
                                    look_again = true;
                                    enough.cancel();
                                }
                                _ => {}
                            }
                        }
                        None => enough.cancel(),
                    },
                    () = due(give_up) => {
                        look_again = true;
                        give_up = None;
                        enough.cancel();
                    }
                    () = due(self.kill_at) => self.kill_if_due(docker).await,
                    _ = samples.tick(), if !self.ready.facts.counted => self.take_sample(docker).await,
                }
            }
        }
        let moved = outputs.cursor.bytes() != before;
        self.ready.outputs = Some(outputs);
        if look_again || moved {
            self.idle = 0;
        }
        // A log that ends is mostly an end; the engine needs a moment to say so.
        if !look_again && self.died.is_none() {
            let pause = Duration::from_millis(10 << self.idle.min(8)).min(LONGEST_PAUSE);
            self.idle += 1;
            self.wait(pause).await;
        }
    }

    async fn kill_if_due(&mut self, docker: &Docker) {
        if self.kill_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        // Told as sent before it is: the other way round, an end in between would look like the job's own.
        let noted = self.shared.note(&self.attempt, |note| {
            note.stop.get_or_insert_default().signals.insert(SIGKILL);
        });
        if let Err(error) = noted.await {
            tracing::warn!(attempt = %self.attempt, error = %error, "a kill cannot be noted");
        }
        let kill = KillContainerOptions { signal: "SIGKILL".into() };
        let killed =
            self.shared.engine.answer(docker.kill_container(self.attempt.as_str(), Some(kill))).await;
        if let Err(error) = killed {
            tracing::debug!(attempt = %self.attempt, error = %error, "a kill did nothing");
        }
        self.kill_at = Some(Instant::now() + KILL_AGAIN);
    }

    async fn take_sample(&mut self, docker: &Docker) {
        let once = StatsOptions { stream: false, one_shot: true };
        let mut stats = docker.stats(self.attempt.as_str(), Some(once));
        let sample = tokio::time::timeout(self.shared.config.answer_within, stats.next()).await;
        if let Ok(Some(Ok(stats))) = sample {
            let usage = usage::sampled(&stats);
            self.sample = Some(self.sample.map_or(usage, |before| usage::most(before, usage)));
        }
    }
}

const SIGKILL: i32 = 9;

fn is_network_missing(error: &EngineError) -> bool {
    error.is_missing() && error.says("network")
}

/// Never, where there is no time.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The log from where the outputs have it.
fn read_log(docker: &Docker, attempt: &AttemptName, outputs: &mut Outputs, tty: bool, follow: bool) -> Logs {
    let options = LogsOptions {
        follow,
        stdout: true,
        stderr: true,
        since: outputs.cursor.begin(),
        timestamps: !tty,
        tail: "all".into(),
        ..LogsOptions::default()
    };
    let docker = docker.clone();
    demultiplex(docker.logs(attempt.as_str(), Some(options)), !tty)
}
