//! Where reports go: to the one stream, and to whoever follows an attempt's output.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use berth_executor_api::{AttemptName, AttemptReport, Report, files::Phase};
use futures::{StreamExt, stream, stream::BoxStream};
use tokio::sync::{mpsc, watch};

use crate::{
    client::Client,
    convert,
    supervisor::protocol::{Answer, Ask},
};

type Followed = HashMap<AttemptName, watch::Sender<Phase>>;

/// The receiving end, until somebody takes it.
type Stream = Mutex<Option<mpsc::UnboundedReceiver<Report>>>;

#[derive(Clone)]
pub(crate) struct Reports {
    sender: mpsc::UnboundedSender<Report>,
    followed: Arc<Mutex<Followed>>,
}

impl Reports {
    /// With the stream that they come out of.
    pub fn new() -> (Self, ReportStream) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, followed: Arc::default() }, ReportStream(Mutex::new(Some(receiver))))
    }

    pub fn tell(&self, report: AttemptReport) {
        self.advance(&report.attempt, convert::phase(&report.state));
        self.send(Report::Attempt(report));
    }

    pub fn away(&self, words: &str) {
        self.send(Report::Away(format!("the local supervisor is away: {words}")));
    }

    /// What happened meanwhile was not reported; who follows an attempt has to hear of its end all the same.
    pub fn back(&self, client: Option<Client>) {
        self.send(Report::Back);
        let followed: Vec<AttemptName> = self.followed().keys().cloned().collect();
        if let (Some(client), false) = (client, followed.is_empty()) {
            let reports = self.clone();
            tokio::spawn(async move {
                for attempt in followed {
                    reports.look_at(&client, attempt).await;
                }
            });
        }
    }

    async fn look_at(&self, client: &Client, attempt: AttemptName) {
        match client.ask(Ask::Find { attempt: attempt.clone() }).await {
            Ok(Answer::Found(found)) => self.advance(&attempt, convert::phase_found(&found)),
            Ok(_) => self.advance(&attempt, Phase::Ended),
            // Away again; when it is back, this is done once more.
            Err(_) => {}
        }
    }

    /// Hears where the attempt stands from now on.
    pub fn follow(&self, attempt: &AttemptName) -> watch::Receiver<Phase> {
        let mut followed = self.followed();
        followed.retain(|_, sender| !sender.is_closed());
        followed.entry(attempt.clone()).or_default().subscribe()
    }

    /// Tells those who follow the attempt. An attempt never goes back.
    pub fn advance(&self, attempt: &AttemptName, phase: Phase) {
        let mut followed = self.followed();
        if let Some(sender) = followed.get(attempt) {
            sender.send_if_modified(|now| {
                let forward = rank(phase) > rank(*now);
                if forward {
                    *now = phase;
                }
                forward
            });
            if phase == Phase::Ended {
                followed.remove(attempt);
            }
        }
    }

    fn send(&self, report: Report) {
        // Nobody may want them any more.
        let _ = self.sender.send(report);
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Waiting => 0,
        Phase::Writing => 1,
        Phase::Ended => 2,
    }
}

pub(crate) struct ReportStream(Stream);

impl ReportStream {
    /// The stream for the first who asks; for others one that stays silent.
    pub fn take(&self) -> BoxStream<'static, Report> {
        let receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match receiver {
            Some(receiver) => stream::unfold(receiver, |mut receiver| async move {
                let report = receiver.recv().await?;
                Some((report, receiver))
            })
            .boxed(),
            None => stream::pending().boxed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_executor_api::{Attempt, JobId};

    use super::*;

    #[test]
    fn a_follower_hears_of_the_end_and_never_goes_back() {
        let (reports, _stream) = Reports::new();
        let name = AttemptName::new("c", JobId(1), Attempt { number: 1, returned: 0 });
        let mut one = reports.follow(&name);
        reports.advance(&name, Phase::Writing);
        let two = reports.follow(&name);
        assert_eq!((*one.borrow_and_update(), *two.borrow()), (Phase::Writing, Phase::Writing));
        reports.advance(&name, Phase::Waiting);
        assert!(!one.has_changed().unwrap());
        reports.advance(&name, Phase::Ended);
        assert_eq!((*one.borrow(), *two.borrow()), (Phase::Ended, Phase::Ended));
        assert!(reports.followed().is_empty());
    }
}
