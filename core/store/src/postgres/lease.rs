//! Who leads: one Berth at a time, by a lease with a fencing number.
//!
//! The lease is one row. Every transaction that writes raises its `turn`, and is refused where the row's
//! `fencing` is no longer the writer's own. A stand-by takes the lease over when `turn` has not moved for as
//! long as the lease lasts, measured by its own clock alone; the leader counts from before it sent its last
//! transaction, so that its lease is over first however the clocks of both are set. Both use the clock that
//! goes on while a machine sleeps or a process is stopped.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio_postgres::{Client, Row};

use super::{columns::Columns, database::Database, fault::Fault};

/// Time since the machine started, its sleep included.
pub(super) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Where this Berth stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stand {
    /// Another one leads, or none yet.
    By { leader: String },
    /// This one leads until then, unless it renews that.
    Leads { until: Duration },
    /// Another one has taken the lead, or it was given up.
    Deposed { leader: String },
}

/// Where this Berth stands, for all who want to know.
pub(super) struct Standing {
    /// How long the lease lasts.
    pub(super) lasts: Duration,
    stand: Mutex<Stand>,
    deposed: watch::Sender<Option<String>>,
}

impl Standing {
    pub(super) fn new(lasts: Duration) -> Self {
        let stand = Mutex::new(Stand::By { leader: "no Berth yet".to_owned() });
        Self { lasts, stand, deposed: watch::Sender::new(None) }
    }

    fn set(&self, stand: Stand) {
        *self.stand.lock().unwrap_or_else(PoisonError::into_inner) = stand;
    }

    fn get(&self) -> Stand {
        self.stand.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lease was renewed by what was sent then.
    pub(super) fn renewed(&self, sent: Duration) {
        self.set(Stand::Leads { until: sent + self.lasts });
    }

    pub(super) fn stands_by(&self, leader: String) {
        self.set(Stand::By { leader });
    }

    pub(super) fn depose(&self, leader: String) {
        self.set(Stand::Deposed { leader: leader.clone() });
        self.deposed.send_replace(Some(leader));
    }

    /// Whether what this Berth decided may still be done: a quarter of the lease is left for that.
    pub(super) fn may_act(&self) -> bool {
        match self.get() {
            Stand::Leads { until } => since_boot() + self.lasts / 4 < until,
            Stand::By { .. } | Stand::Deposed { .. } => false,
        }
    }

    /// Who leads, where it is not this Berth.
    pub(super) fn other_leader(&self) -> Option<String> {
        match self.get() {
            Stand::Leads { .. } => None,
            Stand::By { leader } | Stand::Deposed { leader } => Some(leader),
        }
    }

    /// Completes with the new leader when this Berth leads no longer.
    pub(super) async fn deposed(&self) -> String {
        let mut deposed = self.deposed.subscribe();
        let leader = deposed.wait_for(Option::is_some).await;
        match leader.ok().and_then(|leader| leader.clone()) {
            Some(leader) => leader,
            // The sender is this very value.
            None => std::future::pending().await,
        }
    }
}

/// The lease as it is stored.
pub(super) struct Lease {
    pub(super) fencing: i64,
    pub(super) turn: i64,
    holder: Option<String>,
    pub(super) leader: String,
    lasts: Duration,
}

/// The columns of the lease, for [`Lease::from`].
const LEASE: &str = "SELECT fencing, turn, holder, leader, lasts_ms FROM lease";

impl Lease {
    fn from(row: &Row) -> Result<Self, Fault> {
        let mut columns = Columns::of(row);
        Ok(Self {
            fencing: columns.get()?,
            turn: columns.get()?,
            holder: columns.get()?,
            leader: columns.get()?,
            lasts: Duration::from_millis(columns.unsigned()?),
        })
    }

    /// As it stands now.
    pub(super) async fn read(client: &Client) -> Result<Self, Fault> {
        Self::from(&client.query_one(LEASE, &[]).await?)
    }

    /// As it stands when no transaction is under way that could change it.
    pub(super) async fn settled(client: &Client) -> Result<Self, Fault> {
        Self::from(&client.query_one(&format!("{LEASE} FOR UPDATE"), &[]).await?)
    }
}

/// One that wants to lead, and watches the one that does.
pub(super) struct Candidate<'a> {
    pub(super) database: &'a Database,
    pub(super) standing: &'a Standing,
    /// This Berth's own name; no two processes have the same at the same time.
    pub(super) instance: &'a str,
    /// What others are told of it.
    pub(super) leader: &'a str,
    /// The lease as it was seen, and when it was first seen so.
    pub(super) seen: Option<(i64, i64, Duration)>,
}

impl Candidate<'_> {
    /// Takes the lease if nobody has it; `None` while somebody does.
    pub(super) async fn try_once(&mut self, client: &Client) -> Result<Option<Lease>, Fault> {
        let found = self.database.answered(Lease::read(client)).await?;
        let seen_at = since_boot();
        let free = match found.holder.as_deref() {
            None => true,
            // It was this one, before it began anew: its last process has gone.
            Some(holder) if holder == self.instance => true,
            Some(_) => self.has_lapsed(&found, seen_at),
        };
        if !free {
            self.standing.stands_by(found.leader);
            return Ok(None);
        }
        let sent = since_boot();
        let taken = self.database.answered(self.take(client, &found)).await?;
        if let Some(taken) = &taken {
            self.standing.renewed(sent);
            tracing::info!(fencing = taken.fencing, before = found.leader, "this Berth leads");
        }
        Ok(taken)
    }

    fn has_lapsed(&mut self, found: &Lease, now: Duration) -> bool {
        match self.seen {
            Some((fencing, turn, since)) if (fencing, turn) == (found.fencing, found.turn) => {
                now.saturating_sub(since) > found.lasts
            }
            _ => {
                self.seen = Some((found.fencing, found.turn, now));
                false
            }
        }
    }

    /// Only as it was seen: whoever was quicker, or has moved since, keeps it.
    async fn take(&self, client: &Client, found: &Lease) -> Result<Option<Lease>, Fault> {
        let sql = "UPDATE lease SET fencing = fencing + 1, turn = turn + 1, holder = $1, leader = $2, \
                   lasts_ms = $3 WHERE fencing = $4 AND turn = $5 \
                   RETURNING fencing, turn, holder, leader, lasts_ms";
        let lasts = i64::try_from(self.standing.lasts.as_millis()).unwrap_or(i64::MAX);
        let given: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&self.instance, &self.leader, &lasts, &found.fencing, &found.turn];
        client.query_opt(sql, &given).await?.as_ref().map(Lease::from).transpose()
    }
}
