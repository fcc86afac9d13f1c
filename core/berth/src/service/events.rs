//! The stream of changes: what is stored first, then what happens, without a gap.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use berth_api::{Cause, ErrorBody, EventRow};
use berth_model::{End, EventKind, JobState, StateKind};
use berth_server::{Caller, EventStream};
use berth_store::{Store, StoredEvent};
use futures::{StreamExt, stream};
use tokio::sync::broadcast;

use super::{Service, access, causes, failures, rows};
use crate::daemon::{About, Events, Memberships};

/// Events read from the store at once.
const PAGE: u64 = 1000;

struct Following {
    store: Arc<dyn Store>,
    memberships: Arc<Memberships>,
    who: Caller,
    /// The number of the last event that was looked at.
    seen: u64,
    live: broadcast::Receiver<Events>,
    /// There may be stored events that were not looked at.
    behind: bool,
    waiting: VecDeque<EventRow>,
}

impl Service {
    pub(super) async fn follow_events(
        &self,
        who: &Caller,
        after: Option<u64>,
    ) -> Result<EventStream, ErrorBody> {
        if self.daemon.inbox.stands_by() {
            // Nothing would ever come.
            return Err(self.not_now());
        }
        // Listened to before the store is asked, so that nothing falls between the two.
        let live = self.daemon.feed.listen();
        let store = Arc::clone(&self.daemon.store);
        let memberships = Arc::clone(&self.daemon.memberships);
        let last = store.last_event().await.map_err(failures::store)?;
        let seen = after.unwrap_or(last).min(last);
        let behind = seen < last;
        let following = Following {
            store,
            memberships,
            who: who.clone(),
            seen,
            live,
            behind,
            waiting: Default::default(),
        };
        Ok(stream::unfold(following, |mut following| async move {
            let row = following.next().await?;
            Some((row, following))
        })
        .boxed())
    }
}

impl Following {
    /// The next event that the caller may see; `None` when Berth is shutting down or the store fails.
    async fn next(&mut self) -> Option<EventRow> {
        loop {
            if let Some(row) = self.waiting.pop_front() {
                return Some(row);
            }
            if self.behind {
                let page = self.store.events_after(self.seen, PAGE).await.ok()?;
                self.behind = page.len() as u64 == PAGE;
                for event in &page {
                    self.take(event, None).await;
                }
                continue;
            }
            match self.live.recv().await {
                Ok(events) => {
                    // A gap means that events were told while nobody listened yet; they are stored.
                    let next = events.first().map_or(self.seen + 1, |told| told.event.seq);
                    if next > self.seen + 1 {
                        self.behind = true;
                        continue;
                    }
                    for told in events.iter() {
                        self.take(&told.event, told.about.as_deref()).await;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.behind = true,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    async fn take(&mut self, event: &StoredEvent, about: Option<&About>) {
        if event.seq <= self.seen {
            return;
        }
        self.seen = event.seq;
        // What says itself where its job stands needs no look into the store.
        let row = match (about, after(&event.record.kind)) {
            (Some(about), Some(stood)) => self
                .sees(&about.owner, &about.project)
                .then(|| row(event, about.label.clone(), &about.owner, &about.name, stood)),
            (_, stood) => self.looked_up(event, stood).await,
        };
        self.waiting.extend(row);
    }

    fn sees(&self, owner: &str, project: &str) -> bool {
        access::sees_job(&self.who, &self.memberships, owner, project)
    }

    async fn looked_up(&self, event: &StoredEvent, stood: Option<Stood>) -> Option<EventRow> {
        let job = self.store.live_job(event.record.job).await.ok()??;
        if !self.sees(&job.owner, &job.project) {
            return None;
        }
        let label = rows::label(job.id, job.task_of, job.array);
        let stood = stood.unwrap_or_else(|| stands(&event.record.kind, &job.moving.state));
        Some(row(event, label, &job.owner, &job.name, stood))
    }
}

/// A state, and the exit code and the cause where it is an end.
type Stood = (StateKind, Option<i32>, Option<Cause>);

fn ended(end: &End) -> Stood {
    (end.kind(), end.exit_code(), causes::of_end(end))
}

/// Where a job stands now, for an event that does not say it. One from before its end says nothing of that.
fn stands(event: &EventKind, now: &JobState) -> Stood {
    match (event, now) {
        (EventKind::Submitted { .. } | EventKind::Released { .. }, JobState::Ended { .. }) => {
            (StateKind::Pending, None, None)
        }
        (_, JobState::Ended { end }) => ended(end),
        (_, state) => (state.kind(), None, None),
    }
}

fn row(event: &StoredEvent, label: String, owner: &str, name: &str, stood: Stood) -> EventRow {
    let (state, exit_code, cause) = stood;
    let words = rows::history_row(event);
    EventRow {
        seq: event.seq,
        id: event.record.job.0,
        label,
        user: owner.to_owned(),
        name: name.to_owned(),
        state: state.as_str().to_owned(),
        at: words.at,
        exit_code,
        cause,
        extra: BTreeMap::from([("event".to_owned(), words.event), ("text".to_owned(), words.text)]),
    }
}

/// Where a job stood after an event; `None` for one that does not say.
fn after(event: &EventKind) -> Option<Stood> {
    let state = match event {
        EventKind::Held { .. } => StateKind::Held,
        EventKind::GivenBack { .. } | EventKind::Requeued { .. } => StateKind::Pending,
        EventKind::Starting { .. } => StateKind::Starting,
        EventKind::Running { .. } | EventKind::Resumed => StateKind::Running,
        EventKind::Suspended => StateKind::Suspended,
        EventKind::Stopping { .. } => StateKind::Stopping,
        EventKind::Ended { end, .. } => return Some(ended(end)),
        EventKind::Submitted { .. }
        | EventKind::Released { .. }
        | EventKind::LateNews { .. }
        | EventKind::Act { .. }
        | EventKind::Message { .. }
        | EventKind::Note { .. } => return None,
    };
    Some((state, None, None))
}
