//! Reads what happens, and writes down what is owed because of it.

use std::{sync::Arc, time::Duration};

use berth_model::Occasion;
use berth_store::{OwedNotice, StoreError, StoredEvent};
use tokio::sync::{broadcast, watch};

use super::{Notices, ledger::Room};
use crate::daemon::{About, Events, Listening, now};

/// Events read from the store at once.
const PAGE: u64 = 1000;
/// After so many events because of which nothing is owed it is written down that they were read.
const NOTED_EVERY: u64 = 10_000;
/// How long to wait for the store.
const STORE_AGAIN: Duration = Duration::from_secs(1);

struct Desk {
    notices: Arc<Notices>,
    live: broadcast::Receiver<Events>,
    /// The last event that was looked at.
    seen: u64,
    /// The last one that a restart will not look at again.
    noted: u64,
    /// There may be stored events that were not looked at.
    behind: bool,
    owed: Vec<OwedNotice>,
}

/// Begins behind the event that was looked at last, by whatever run of Berth's.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn open(
    notices: &Arc<Notices>,
    feed: &Listening,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    // Listened to before the store is asked, so that nothing falls between the two.
    let live = feed.listen();
    let store = &notices.store;
    let seen = match store.notice_cursor().await? {
        Some(seen) => seen,
        None => {
            let last = store.last_event().await?;
            store.owe_notices(last, Vec::new()).await?;
            last
        }
    };
    let desk = Desk { notices: Arc::clone(notices), live, seen, noted: seen, behind: true, owed: Vec::new() };
    let mut stopped = stopped.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = desk.run() => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    });
    Ok(())
}

impl Desk {
    async fn run(mut self) {
        loop {
            if self.behind {
                if let Err(error) = self.read_page().await {
                    tracing::warn!(error = %error, "what happened cannot be read for notices");
                    tokio::time::sleep(STORE_AGAIN).await;
                }
                continue;
            }
            match self.live.recv().await {
                Ok(events) => {
                    let next = events.first().map_or(self.seen + 1, |told| told.event.seq);
                    // A gap means that events were told while nobody listened yet; they are stored.
                    self.behind = next > self.seen + 1;
                    if !self.behind {
                        self.take_all(&events).await;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.behind = true,
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    async fn read_page(&mut self) -> Result<(), StoreError> {
        let page = self.notices.store.events_after(self.seen, PAGE).await?;
        self.behind = page.len() as u64 == PAGE;
        for event in &page {
            self.take(event, None).await;
        }
        self.write_down().await;
        Ok(())
    }

    async fn take_all(&mut self, events: &Events) {
        for told in events.iter() {
            self.take(&told.event, told.about.as_deref()).await;
        }
        self.write_down().await;
    }

    async fn take(&mut self, event: &StoredEvent, about: Option<&About>) {
        if event.seq <= self.seen {
            return;
        }
        if self.may_matter(event, about) {
            self.owe(event).await;
        }
        self.seen = event.seq;
    }

    /// Most events are nobody's business, which is seen without a look into the store.
    fn may_matter(&self, event: &StoredEvent, about: Option<&About>) -> bool {
        let occasions = Occasion::of(&event.record.kind);
        if occasions.is_empty() || now().since(event.record.at) > self.notices.patience.give_up_after {
            return false;
        }
        let Some(about) = about else { return true };
        // Of an array one is told once, not task by task.
        if about.task {
            return false;
        }
        let chosen = || self.notices.choice(&about.owner).on.iter().any(|on| occasions.contains(on));
        about.asks_for_notices || self.notices.rules.site_may_want(occasions) || chosen()
    }

    async fn owe(&mut self, event: &StoredEvent) {
        let job = loop {
            match self.notices.store.job(event.record.job).await {
                Ok(job) => break job,
                Err(error) => {
                    tracing::warn!(error = %error, "a job cannot be read for its notices");
                    tokio::time::sleep(STORE_AGAIN).await;
                }
            }
        };
        let Some(job) = job.filter(|job| job.job.task_of.is_none()) else { return };
        let choice = self.notices.choice(&job.job.owner);
        let occasions = Occasion::of(&event.record.kind);
        for notice in self.notices.rules.owed(event, occasions, &job, &choice, now()) {
            match self.notices.ledger.room(&notice, &self.owed, self.notices.patience.most_waiting) {
                Room::Free => self.owed.push(notice),
                Room::Full => {}
                Room::FullNow => tracing::warn!(
                    sink = notice.sink,
                    user = notice.owner,
                    "so many notices wait that more are dropped"
                ),
            }
        }
    }

    /// Writes until it is written: an event is looked at once.
    async fn write_down(&mut self) {
        if self.owed.is_empty() && self.seen - self.noted < NOTED_EVERY {
            return;
        }
        let owed = std::mem::take(&mut self.owed);
        while let Err(error) = self.notices.store.owe_notices(self.seen, owed.clone()).await {
            tracing::warn!(error = %error, "what is owed cannot be stored yet");
            tokio::time::sleep(STORE_AGAIN).await;
        }
        self.noted = self.seen;
        for notice in &owed {
            self.notices.ledger.add(notice);
            self.notices.send_courier(&notice.sink);
        }
    }
}
