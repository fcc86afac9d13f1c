//! How an attempt ended: the rest of its log, and the report that tells it.

use std::time::Duration;

use berth_docker_engine::bollard::Docker;
use berth_executor_api::{AttemptReport, AttemptState};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Tender, read_log};
use crate::{
    places,
    state::{self, Evidence, Over},
};

/// A container that the engine cannot get rid of is told as it is after so many looks.
const MOST_FADING: u32 = 50;

/// The code of what SIGKILL has ended.
const KILLED: i32 = 137;
/// How long after a kill its container may be removed to count as removed while it ran.
const REMOVAL_AFTER_KILL: Duration = Duration::from_secs(1);

impl Tender<'_> {
    /// It has ended: the rest of its log, then the report.
    pub(super) async fn over(&mut self, docker: &Docker, over: &Over) -> bool {
        self.ready.permit = None;
        if self.ready.outputs.is_none() {
            match places::reopen(&self.ready.facts).await {
                Ok(outputs) => self.ready.outputs = Some(outputs),
                Err(words) => {
                    tracing::warn!(attempt = %self.attempt, error = words, "outputs cannot be written")
                }
            }
        }
        if let Some(outputs) = &mut self.ready.outputs {
            let logs = read_log(docker, &self.attempt, outputs, self.ready.facts.tty, false);
            match outputs.pump(logs, CancellationToken::new()).await {
                Err(error) if error.is_unreachable() => return self.in_doubt(&error).await,
                // Somebody removes it at this very moment; soon that can be said.
                Err(error) if error.says("marked for removal") && self.fading < MOST_FADING => {
                    self.fading += 1;
                    self.wait(Duration::from_millis(200)).await;
                    return false;
                }
                Err(error) if !error.is_missing() => {
                    outputs.trouble.get_or_insert_with(|| format!("the engine cannot read its log: {error}"));
                }
                _ => {}
            }
        }
        if over.code == KILLED && self.is_being_removed().await {
            return self.gone().await;
        }
        self.end(over).await;
        true
    }

    /// A removal by force begins with a kill, and is told a moment after that. Where nobody has asked Berth
    /// for the end, it is worth that moment.
    async fn is_being_removed(&mut self) -> bool {
        let asked = self.shared.with(&self.attempt, |entry| entry.note.stop.is_some());
        let until = Instant::now() + REMOVAL_AFTER_KILL;
        while asked == Some(false) && !self.destroyed && Instant::now() < until {
            self.wait(until.saturating_duration_since(Instant::now())).await;
        }
        self.destroyed
    }

    /// Somebody else has removed its container. What an event told of its end is all that there is.
    pub(super) async fn gone(&mut self) -> bool {
        if !self.started && self.died.is_none() {
            self.ready.permit = None;
            self.vanished = true;
            return true;
        }
        let died = self.died;
        let over =
            Over { code: died.map_or(-1, |died| died.code), at: died.map(|died| died.at), ..Over::default() };
        self.destroyed = true;
        let mut report = self.end_report(&over);
        if died.is_none()
            && let AttemptState::Exited(exit) = &mut report.state
        {
            exit.code = None;
            exit.signal = None;
        }
        // No container tells it any more.
        let ended = Some(Box::new(report.clone()));
        if let Err(error) = self.shared.note(&self.attempt, |note| note.ended = ended).await {
            tracing::warn!(attempt = %self.attempt, error = %error, "the end of an attempt cannot be noted");
        }
        self.shared.tell(report);
        true
    }

    pub(super) async fn end(&mut self, over: &Over) {
        let mut report = self.end_report(over);
        let counters = self.shared.counters.clone();
        let attempt = self.attempt.clone();
        let counted = self.ready.facts.counted;
        let exact =
            tokio::task::spawn_blocking(move || counted.then(|| counters.read(&attempt)).flatten()).await;
        report.usage = exact.ok().flatten().or(self.sample);
        self.shared.tell(report);
    }

    fn end_report(&self, over: &Over) -> AttemptReport {
        let (stopped, mut signals) = self
            .shared
            .with(&self.attempt, |entry| (entry.note.stop.clone(), entry.signals.clone()))
            .unwrap_or_default();
        signals.extend(stopped.iter().flat_map(|stop| stop.signals.iter().copied()));
        let away = *self.shared.last_away.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let engine_away = over.at.zip(away).is_some_and(|(at, (from, until))| from <= at && at <= until);
        let evidence = Evidence { stopped: stopped.is_some(), signals, engine_away, removed: self.destroyed };
        let (exit, words) = state::exit(over, &evidence, self.shared.now());
        let at = exit.at;
        let mut report = self.shared.report(&self.attempt, AttemptState::Exited(exit));
        report.at = at;
        report.message = self.words(words);
        report
    }

    /// What people should know of an end, and which image it was.
    fn words(&self, of_end: Option<String>) -> Option<String> {
        let facts = &self.ready.facts;
        let image = facts.digest.as_ref().map(|digest| format!("image {} was {digest}", facts.image));
        let trouble = self.ready.outputs.as_ref().and_then(|outputs| outputs.trouble.clone());
        let all: Vec<String> =
            [of_end, trouble, self.ready.note.clone(), image].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}
