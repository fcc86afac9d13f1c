//! Durable state in PostgreSQL, for several Berths of which one leads.
//!
//! One connection writes, and renews the lease that makes this process the leader; a few read. A commit
//! returns when the database says that it is on its disk. What became of a commit whose answer was lost is
//! found out before anything else is written.

mod columns;
mod database;
mod directories;
mod fault;
mod guests;
mod lease;
mod list;
mod migrate;
mod notices;
mod read;
mod restore;
mod rows;
mod session;
mod small;
mod statements;
mod text;
mod usage;
mod writer;

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use berth_engine::{LiveJob, Restored};
use berth_model::{JobId, JobRef, NoticeChoice, StateKind, Submission, UtcMs};
use tokio::sync::{mpsc, oneshot};

use self::{
    database::{Database, snapshot},
    fault::Fault,
    lease::{Candidate, Lease, Standing},
    migrate::Found,
    session::{Session, Small, Wrote},
    writer::{Order, Writer},
};
use crate::{
    Committed, EachRow, GuestDecision, JobDetail, JobRow, ListQuery, NewToken, NoticeCount, NoticeFate,
    OwedNotice, PasswordChange, SeenGuest, SharedBatch, Store, StoreError, StoredEvent, StoredGuest,
    StoredToken, TaskQuery, Tasks, Unmeasured, UsageBy, UsageRow,
};

/// No period that quotas hold for is longer.
const MOST_HOURS: i64 = 366 * 24;

/// How often a stand-by looks at the lease, at least.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How a database is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// `postgres://USER@HOST:PORT/NAME`.
    pub url: String,
    /// A file with the password, if it needs one.
    pub password_file: Option<PathBuf>,
    /// A file with the authority of the server's certificate; without it nothing is encrypted.
    pub tls_ca: Option<PathBuf>,
    /// How long the lease lasts that makes a leader.
    pub lease: Duration,
    /// This Berth's own name. Whoever has the same takes the lead over at once, so that no two processes may
    /// have it at the same time.
    pub instance: String,
    /// What others are told of this Berth when it leads.
    pub leader: String,
    /// How many reads may be under way at once.
    pub readers: usize,
}

/// Durable state in PostgreSQL. Until [`PostgresStore::lead`] returns it stands by: it reads, and writes
/// nothing.
pub struct PostgresStore {
    database: Arc<Database>,
    standing: Arc<Standing>,
    options: PostgresOptions,
    /// Whether the tables are as this program knows them.
    readable: AtomicBool,
    writer: OnceLock<mpsc::UnboundedSender<Order>>,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("database", &self.database.name).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects to the database for the cluster of this name, and makes its tables where there are none.
    ///
    /// # Errors
    /// When it cannot be reached, or does not let Berth in, or is newer than this program or another
    /// cluster's.
    pub async fn open(options: PostgresOptions, cluster: &str) -> Result<Self, StoreError> {
        let database = Arc::new(Database::new(&options)?);
        let prepared = async {
            let mut client = database.connect().await?;
            database.answered(migrate::prepare(&mut client, &database.name, cluster)).await
        };
        let found = prepared.await.map_err(|fault| fault.about(&database.name, "opened"))?;
        Ok(Self {
            standing: Arc::new(Standing::new(options.lease)),
            database,
            options,
            readable: AtomicBool::new(found == Found::Current),
            writer: OnceLock::new(),
        })
    }

    /// Waits until this Berth leads: at once where nobody does, else when the one that does gives the lead
    /// up, or has not been seen to write for as long as its lease lasts.
    ///
    /// # Errors
    /// When that will not come about without a change. A database that is away is waited for.
    pub async fn lead(&self) -> Result<(), StoreError> {
        let mut candidate = Candidate {
            database: &self.database,
            standing: &self.standing,
            instance: &self.options.instance,
            leader: &self.options.leader,
            seen: None,
        };
        let pause = (self.options.lease / 8).min(LOOK_EVERY);
        let mut client = None;
        let mut away = false;
        loop {
            match self.try_to_lead(&mut candidate, &mut client).await {
                Ok(true) => return Ok(()),
                Ok(false) => away = false,
                Err(fault) => {
                    client = None;
                    let error = fault.about(&self.database.name, "opened");
                    if !error.may_pass() {
                        return Err(error);
                    }
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(error = %error, "the lease cannot be looked at; it is tried again");
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn try_to_lead(
        &self,
        candidate: &mut Candidate<'_>,
        kept: &mut Option<tokio_postgres::Client>,
    ) -> Result<bool, Fault> {
        let client = match kept.take() {
            Some(client) if !client.is_closed() => client,
            _ => self.database.connect().await?,
        };
        let Some(lease) = candidate.try_once(&client).await? else {
            *kept = Some(client);
            return Ok(false);
        };
        self.begin_to_write(client, &lease).await?;
        Ok(true)
    }

    /// The lease is ours: the tables are brought up to date, and the writer starts.
    async fn begin_to_write(&self, mut client: tokio_postgres::Client, lease: &Lease) -> Result<(), Fault> {
        let name = &self.database.name;
        migrate::migrate(&mut client, name, lease.fencing, migrate::STEPS).await?;
        self.readable.store(true, Ordering::Relaxed);
        let old = "DELETE FROM usage_hours WHERE hour < (SELECT max(hour) FROM usage_hours) - $1";
        client.execute(old, &[&MOST_HOURS]).await?;
        let durable: String = client.query_one("SHOW fsync", &[]).await?.try_get(0)?;
        if durable != "on" {
            tracing::warn!(fsync = durable, "the database may lose what it has said is stored");
        }
        let last = client.query_one("SELECT coalesce(max(seq), 0) FROM events", &[]).await?;
        let last_event = columns::Columns::of(&last).unsigned()?;
        let session = Session::new(client).await?;
        let lease = Lease::read(&session.client).await?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let writer =
            Writer::new(Arc::clone(&self.database), Arc::clone(&self.standing), session, &lease, last_event);
        tokio::spawn(writer.run(inbox));
        // Nobody leads twice: a deposed one begins anew as another process.
        let _ = self.writer.set(orders);
        Ok(())
    }

    /// What the writer answers.
    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Order,
    ) -> Result<T, StoreError> {
        let Some(writer) = self.writer.get() else {
            let leader = self.standing.other_leader().unwrap_or_else(|| "no Berth yet".to_owned());
            return Err(StoreError::StandsBy { leader });
        };
        let (reply, answer) = oneshot::channel();
        writer.send(order(reply)).map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    async fn small(&self, small: Small) -> Result<Wrote, StoreError> {
        self.order(|reply| Order::Small(small, reply)).await
    }

    /// A connection that reads.
    async fn reader(&self) -> Result<deadpool_postgres::Client, Fault> {
        if !self.readable.load(Ordering::Relaxed) {
            let leader = self.standing.other_leader().unwrap_or_default();
            return Err(StoreError::StandsBy { leader }.into());
        }
        self.database.reader().await
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn may_act(&self) -> bool {
        self.standing.may_act()
    }

    fn other_leader(&self) -> Option<String> {
        self.standing.other_leader()
    }

    async fn deposed(&self) -> String {
        self.standing.deposed().await
    }

    async fn resign(&self) -> Result<(), StoreError> {
        self.order(Order::Resign).await
    }

    async fn commit(&self, batch: SharedBatch) -> Result<Committed, StoreError> {
        self.order(|reply| Order::Commit(batch, reply)).await
    }

    async fn restore(&self) -> Result<Restored, StoreError> {
        let restored = async {
            let mut client = self.reader().await?;
            restore::restore(&snapshot(&mut client).await?).await
        };
        restored.await.map_err(|fault: Fault| fault.about(&self.database.name, "read"))
    }

    async fn job(&self, id: JobId) -> Result<Option<JobDetail>, StoreError> {
        let read = async {
            let mut client = self.reader().await?;
            read::job(&snapshot(&mut client).await?, id).await
        };
        self.database.read(read).await
    }

    async fn live_job(&self, id: JobId) -> Result<Option<LiveJob>, StoreError> {
        let read = async {
            let mut client = self.reader().await?;
            read::live_job(&snapshot(&mut client).await?, id).await
        };
        self.database.read(read).await
    }

    async fn resolve(&self, job: JobRef) -> Result<Option<JobId>, StoreError> {
        self.database.read(async { read::resolve(&self.reader().await?, job).await }).await
    }

    async fn state_of(&self, ids: &[JobId]) -> Result<Vec<(JobId, StateKind)>, StoreError> {
        self.database.read(async { read::state_of(&self.reader().await?, ids).await }).await
    }

    async fn submission(&self, id: JobId) -> Result<Option<Arc<Submission>>, StoreError> {
        let found = self.database.read(async { read::submission(&self.reader().await?, id).await }).await?;
        Ok(found.map(Arc::new))
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<JobRow>, StoreError> {
        self.database.read(async { list::list(&self.reader().await?, &query).await }).await
    }

    async fn list_each(&self, query: ListQuery, each: EachRow) -> Result<(), StoreError> {
        let listed = async { list::list_each(&self.reader().await?, &query, each).await };
        listed.await.map_err(|fault: Fault| fault.about(&self.database.name, "read"))
    }

    async fn tasks_of(&self, array: JobId, query: TaskQuery) -> Result<Tasks, StoreError> {
        let read = async {
            let mut client = self.reader().await?;
            list::tasks_of(&snapshot(&mut client).await?, array, &query).await
        };
        self.database.read(read).await
    }

    async fn history(&self, id: JobId) -> Result<Vec<StoredEvent>, StoreError> {
        self.database.read(async { read::history(&self.reader().await?, id).await }).await
    }

    async fn events_after(&self, seq: u64, limit: u64) -> Result<Vec<StoredEvent>, StoreError> {
        self.database.read(async { read::events_after(&self.reader().await?, seq, limit).await }).await
    }

    async fn last_event(&self) -> Result<u64, StoreError> {
        self.database.read(async { read::last_event(&self.reader().await?).await }).await
    }

    async fn usage(&self, by: UsageBy, since: UtcMs) -> Result<Vec<UsageRow>, StoreError> {
        self.database.read(async { usage::usage(&self.reader().await?, by, since).await }).await
    }

    async fn counts(&self, since: UtcMs) -> Result<Vec<(StateKind, u64)>, StoreError> {
        self.database.read(async { usage::counts(&self.reader().await?, since).await }).await
    }

    async fn archived(&self, id: JobId) -> Result<Option<UtcMs>, StoreError> {
        self.database.read(async { read::archived(&self.reader().await?, id).await }).await
    }

    async fn to_archive(&self, ended: (UtcMs, UtcMs), limit: u64) -> Result<Vec<(JobId, UtcMs)>, StoreError> {
        self.database.read(async { read::to_archive(&self.reader().await?, ended, limit).await }).await
    }

    async fn notice_cursor(&self) -> Result<Option<u64>, StoreError> {
        self.database.read(async { notices::cursor(&self.reader().await?).await }).await
    }

    async fn owe_notices(&self, seen: u64, notices: Vec<OwedNotice>) -> Result<(), StoreError> {
        self.small(Small::OweNotices { seen, notices }).await.map(drop)
    }

    async fn first_notice(&self, sink: &str) -> Result<Option<OwedNotice>, StoreError> {
        self.database.read(async { notices::first(&self.reader().await?, sink).await }).await
    }

    async fn settle_notice(&self, id: &str, fate: NoticeFate) -> Result<(), StoreError> {
        self.small(Small::SettleNotice { id: id.to_owned(), fate }).await.map(drop)
    }

    async fn count_notices(&self) -> Result<Vec<NoticeCount>, StoreError> {
        self.database.read(async { notices::counts(&self.reader().await?).await }).await
    }

    async fn notice_choices(&self) -> Result<Vec<(String, NoticeChoice)>, StoreError> {
        self.database.read(async { notices::choices(&self.reader().await?).await }).await
    }

    async fn choose_notices(&self, owner: &str, choice: Option<NoticeChoice>) -> Result<(), StoreError> {
        self.small(Small::ChooseNotices { owner: owner.to_owned(), choice }).await.map(drop)
    }

    async fn unmeasured(&self, after: JobId, limit: u64) -> Result<Vec<Unmeasured>, StoreError> {
        self.database.read(async { directories::unmeasured(&self.reader().await?, after, limit).await }).await
    }

    async fn add_token(&self, token: NewToken) -> Result<u64, StoreError> {
        match self.small(Small::AddToken(token)).await? {
            Wrote::Number(id) => Ok(id),
            Wrote::Whether(_) => Err(StoreError::Stopped),
        }
    }

    async fn token(&self, hash: &str) -> Result<Option<StoredToken>, StoreError> {
        self.database.read(async { small::token(&self.reader().await?, hash).await }).await
    }

    async fn tokens(&self, user: Option<&str>) -> Result<Vec<StoredToken>, StoreError> {
        self.database.read(async { small::tokens(&self.reader().await?, user).await }).await
    }

    async fn revoke_token(&self, id: u64, at: UtcMs) -> Result<bool, StoreError> {
        Ok(self.small(Small::RevokeToken { id, at: at.0 }).await? == Wrote::Whether(true))
    }

    async fn password(&self, user: &str) -> Result<Option<String>, StoreError> {
        self.database.read(async { small::password(&self.reader().await?, user).await }).await
    }

    async fn passwords(&self) -> Result<Vec<(String, UtcMs)>, StoreError> {
        self.database.read(async { small::passwords(&self.reader().await?).await }).await
    }

    async fn change_password(&self, change: PasswordChange) -> Result<bool, StoreError> {
        Ok(self.small(Small::ChangePassword(change)).await? == Wrote::Whether(true))
    }

    async fn guest(&self, name: &str) -> Result<Option<StoredGuest>, StoreError> {
        self.database.read(async { guests::one(&self.reader().await?, name).await }).await
    }

    async fn guests(&self) -> Result<Vec<StoredGuest>, StoreError> {
        self.database.read(async { guests::all(&self.reader().await?).await }).await
    }

    async fn see_guest(&self, guest: SeenGuest, most_waiting: u64) -> Result<bool, StoreError> {
        Ok(self.small(Small::SeeGuest { guest, most_waiting }).await? == Wrote::Whether(true))
    }

    async fn decide_guest(&self, decision: GuestDecision) -> Result<bool, StoreError> {
        Ok(self.small(Small::DecideGuest(decision)).await? == Wrote::Whether(true))
    }

    async fn remove_guest(&self, name: &str, at: UtcMs) -> Result<bool, StoreError> {
        Ok(self.small(Small::RemoveGuest { name: name.to_owned(), at }).await? == Wrote::Whether(true))
    }

    async fn guest_measured(&self, name: &str, bytes: u64, at: UtcMs) -> Result<(), StoreError> {
        self.small(Small::GuestMeasured { name: name.to_owned(), bytes, at }).await.map(drop)
    }

    async fn policy_state(&self, policy: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.read(async { small::policy_state(&self.reader().await?, policy, key).await }).await
    }

    async fn set_policy_state(
        &self,
        policy: &str,
        key: &str,
        value: &[u8],
        most_bytes: u64,
    ) -> Result<(), StoreError> {
        let (policy, key, value) = (policy.to_owned(), key.to_owned(), value.to_vec());
        self.small(Small::SetState { policy, key, value, most_bytes }).await.map(drop)
    }

    async fn delete_policy_state(&self, policy: &str, key: &str) -> Result<bool, StoreError> {
        let (policy, key) = (policy.to_owned(), key.to_owned());
        Ok(self.small(Small::DropState { policy, key }).await? == Wrote::Whether(true))
    }

    async fn policy_keys(&self, policy: &str, prefix: &str, limit: u64) -> Result<Vec<String>, StoreError> {
        let read = async { small::policy_keys(&self.reader().await?, policy, prefix, limit).await };
        self.database.read(read).await
    }
}
