//! Brings what is owed to one sink, one after the other, for as long as something is owed there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use berth_notices::{Undelivered, wait};
use berth_store::{NoticeFate, OwedNotice};
use tokio::sync::Notify;

use super::Notices;
use crate::daemon::now;

/// The longest until one that was not taken is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// The longest that a sink that does not answer is left alone.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// How long to wait for the store.
const STORE_AGAIN: Duration = Duration::from_secs(1);

struct Courier {
    notices: Arc<Notices>,
    sink: String,
    wake: Arc<Notify>,
    /// How often the sink has not answered, one time after the other.
    closed: u32,
    /// Until when it is left alone.
    rests: Option<Instant>,
}

impl Notices {
    /// Sees to it that somebody brings what is owed to a sink.
    pub(super) fn send_courier(self: &Arc<Self>, sink: &str) {
        if let Some(wake) = self.ledger.needs_courier(sink) {
            let courier =
                Courier { notices: Arc::clone(self), sink: sink.to_owned(), wake, closed: 0, rests: None };
            tokio::spawn(courier.run());
        }
    }
}

impl Courier {
    async fn run(mut self) {
        loop {
            let added = self.notices.ledger.added(&self.sink);
            match self.notices.store.first_notice(&self.sink).await {
                Ok(Some(notice)) => self.take(notice).await,
                Ok(None) => {
                    if self.notices.ledger.is_done(&self.sink, added) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(sink = self.sink, error = %error, "what is owed cannot be read");
                    tokio::time::sleep(STORE_AGAIN).await;
                }
            }
        }
    }

    async fn take(&mut self, notice: OwedNotice) {
        let patience = &self.notices.patience;
        let at = now();
        if at.since(notice.at) > patience.give_up_after {
            let age = berth_model::format_duration(at.since(notice.at));
            return self.give_up(&notice, &format!("it is {age} old")).await;
        }
        if notice.tries >= patience.attempts {
            return self.give_up(&notice, &format!("it was refused {} times", notice.tries)).await;
        }
        if let Some(rests) = self.rests.take_if(|rests| *rests > Instant::now()) {
            // What comes meanwhile does not wake it. What is due then is looked for anew.
            tokio::time::sleep_until(rests.into()).await;
            return;
        }
        if notice.due > at {
            // One that comes meanwhile may be due sooner.
            let _ = tokio::time::timeout(notice.due.since(at), self.wake.notified()).await;
            return;
        }
        match self.notices.deliver(&notice, at.0 / 1000).await {
            Ok(()) => {
                self.closed = 0;
                self.settle(&notice, NoticeFate::Gone).await;
                self.notices.ledger.delivered(&notice);
            }
            Err(Undelivered::Never(words)) => self.give_up(&notice, &words).await,
            Err(Undelivered::NotNow(words)) => self.put_off(&notice, &words).await,
            Err(Undelivered::Closed(words)) => self.rest(&notice, &words).await,
        }
    }

    /// The sink answers, and does not take this one.
    async fn put_off(&mut self, notice: &OwedNotice, words: &str) {
        self.closed = 0;
        let tries = notice.tries.saturating_add(1);
        tracing::warn!(sink = self.sink, notice = notice.id, tries, reason = words, "a notice was not taken");
        self.notices.ledger.failed(&self.sink, now(), words);
        let span = wait(tries, self.notices.patience.retry, LONGEST_WAIT, chance());
        self.settle(notice, NoticeFate::Again { tries, due: now().after(span) }).await;
    }

    /// The sink does not answer. That is not this notice's fault, unless it is: others are tried before it next time.
    async fn rest(&mut self, notice: &OwedNotice, words: &str) {
        if self.closed == 0 {
            tracing::warn!(sink = self.sink, reason = words, "notices cannot be brought");
        }
        self.closed = self.closed.saturating_add(1);
        self.notices.ledger.failed(&self.sink, now(), words);
        let span = wait(self.closed, self.notices.patience.retry, LONGEST_REST, chance());
        self.rests = Some(Instant::now() + span);
        self.settle(notice, NoticeFate::Again { tries: notice.tries, due: now() }).await;
    }

    async fn give_up(&mut self, notice: &OwedNotice, words: &str) {
        tracing::warn!(sink = self.sink, notice = notice.id, reason = words, "a notice is given up");
        self.settle(notice, NoticeFate::Gone).await;
        self.notices.ledger.dropped(notice, now(), words);
    }

    /// Writes until it is written: what was delivered would come again otherwise.
    async fn settle(&self, notice: &OwedNotice, fate: NoticeFate) {
        while let Err(error) = self.notices.store.settle_notice(&notice.id, fate).await {
            tracing::warn!(sink = self.sink, error = %error, "what became of a notice cannot be stored yet");
            tokio::time::sleep(STORE_AGAIN).await;
        }
    }
}

/// From 0 to 1, so that many do not try at the same instant.
fn chance() -> f64 {
    let mut bytes = [0_u8; 4];
    // Without any it is no worse than the same each time.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}
