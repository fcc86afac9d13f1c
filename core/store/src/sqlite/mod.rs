//! Durable state in one SQLite file.
//!
//! One connection writes, on a thread of its own; a few read, each on a blocking thread; one moves the
//! write-ahead log into the file behind them. A commit returns when the log is on the disk.

mod accounts;
mod archive;
mod columns;
mod directories;
mod fault;
mod guests;
mod kv;
mod list;
mod migrate;
mod notices;
mod open;
mod passwords;
mod pool;
mod read;
mod restore;
mod tokens;
mod usage;
mod write;
mod writer;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use berth_engine::{LiveJob, Restored};
use berth_model::{JobId, JobRef, NoticeChoice, StateKind, Submission, UtcMs};

use self::{pool::Pool, writer::WriterHandle};
use crate::{
    Committed, EachRow, GuestDecision, JobDetail, JobRow, ListQuery, NewToken, NoticeCount, NoticeFate,
    OwedNotice, PasswordChange, SeenGuest, SharedBatch, Store, StoreError, StoredEvent, StoredGuest,
    StoredToken, TaskQuery, Tasks, Unmeasured, UsageBy, UsageRow, lock::Ownership,
};

/// How a database is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How many reads may be under way at once.
    pub readers: usize,
    /// The largest that the file may become; as large as the disk lets it when left out.
    pub most_bytes: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { readers: 4, most_bytes: None }
    }
}

/// Durable state in one SQLite file, owned by this process as long as this exists.
#[derive(Debug)]
pub struct SqliteStore {
    // Dropped in this order: the writer's connection is the last one and leaves an empty log.
    pool: Pool,
    writer: WriterHandle,
    _ownership: Ownership,
}

impl SqliteStore {
    /// Opens the database at `path`, or makes it, for the cluster of this name. Blocks while it looks at
    /// the file: up to a second where Berth had crashed, else a few milliseconds.
    ///
    /// A file of at most 64 MiB is checked whole. Of a larger one the header, the length and the schema
    /// are checked, and each page when it is read.
    ///
    /// # Errors
    /// When another Berth has it, when it is damaged, newer than this program or another cluster's, and
    /// when the system refuses.
    pub fn open(path: &Path, cluster: &str, options: &SqliteOptions) -> Result<Self, StoreError> {
        let mut ownership = Ownership::take(path)?;
        let connection = open::open_writer(path, cluster, options.most_bytes, &mut ownership)
            .map_err(|fault| fault.about(path, "opened"))?;
        let path: Arc<Path> = path.into();
        let writer = WriterHandle::start(Arc::clone(&path), connection)
            .map_err(|fault| fault.about(&path, "opened"))?;
        Ok(Self { pool: Pool::new(path, options.readers), writer, _ownership: ownership })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn resign(&self) -> Result<(), StoreError> {
        self.writer.empty_log().await
    }

    async fn commit(&self, batch: SharedBatch) -> Result<Committed, StoreError> {
        self.writer.commit(batch).await
    }

    async fn restore(&self) -> Result<Restored, StoreError> {
        self.pool.read(restore::restore).await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobDetail>, StoreError> {
        self.pool.read(move |connection| read::job(connection, id)).await
    }

    async fn live_job(&self, id: JobId) -> Result<Option<LiveJob>, StoreError> {
        self.pool.read(move |connection| read::live_job(connection, id)).await
    }

    async fn resolve(&self, job: JobRef) -> Result<Option<JobId>, StoreError> {
        self.pool.read(move |connection| read::resolve(connection, job)).await
    }

    async fn state_of(&self, ids: &[JobId]) -> Result<Vec<(JobId, StateKind)>, StoreError> {
        let ids = ids.to_vec();
        self.pool.read(move |connection| read::state_of(connection, &ids)).await
    }

    async fn submission(&self, id: JobId) -> Result<Option<Arc<Submission>>, StoreError> {
        let found = self.pool.read(move |connection| read::submission(connection, id)).await?;
        Ok(found.map(Arc::new))
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<JobRow>, StoreError> {
        self.pool.read(move |connection| list::list(connection, &query)).await
    }

    async fn list_each(&self, query: ListQuery, mut each: EachRow) -> Result<(), StoreError> {
        self.pool.read(move |connection| list::list_each(connection, &query, &mut each)).await
    }

    async fn tasks_of(&self, array: JobId, query: TaskQuery) -> Result<Tasks, StoreError> {
        self.pool.read(move |connection| list::tasks_of(connection, array, &query)).await
    }

    async fn history(&self, id: JobId) -> Result<Vec<StoredEvent>, StoreError> {
        self.pool.read(move |connection| read::history(connection, id)).await
    }

    async fn events_after(&self, seq: u64, limit: u64) -> Result<Vec<StoredEvent>, StoreError> {
        self.pool.read(move |connection| read::events_after(connection, seq, limit)).await
    }

    async fn last_event(&self) -> Result<u64, StoreError> {
        self.pool.read(read::last_event).await
    }

    async fn usage(&self, by: UsageBy, since: UtcMs) -> Result<Vec<UsageRow>, StoreError> {
        self.pool.read(move |connection| usage::usage(connection, by, since)).await
    }

    async fn counts(&self, since: UtcMs) -> Result<Vec<(StateKind, u64)>, StoreError> {
        self.pool.read(move |connection| usage::counts(connection, since)).await
    }

    async fn archived(&self, id: JobId) -> Result<Option<UtcMs>, StoreError> {
        self.pool.read(move |connection| archive::archived(connection, id)).await
    }

    async fn to_archive(&self, ended: (UtcMs, UtcMs), limit: u64) -> Result<Vec<(JobId, UtcMs)>, StoreError> {
        self.pool.read(move |connection| archive::to_archive(connection, ended, limit)).await
    }

    async fn notice_cursor(&self) -> Result<Option<u64>, StoreError> {
        self.pool.read(notices::cursor).await
    }

    async fn owe_notices(&self, seen: u64, owed: Vec<OwedNotice>) -> Result<(), StoreError> {
        self.writer.transaction(move |connection| notices::owe(connection, seen, &owed)).await
    }

    async fn first_notice(&self, sink: &str) -> Result<Option<OwedNotice>, StoreError> {
        let sink = sink.to_owned();
        self.pool.read(move |connection| notices::first(connection, &sink)).await
    }

    async fn settle_notice(&self, id: &str, fate: NoticeFate) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.writer.transaction(move |connection| notices::settle(connection, &id, fate)).await
    }

    async fn count_notices(&self) -> Result<Vec<NoticeCount>, StoreError> {
        self.pool.read(notices::counts).await
    }

    async fn notice_choices(&self) -> Result<Vec<(String, NoticeChoice)>, StoreError> {
        self.pool.read(notices::choices).await
    }

    async fn choose_notices(&self, owner: &str, choice: Option<NoticeChoice>) -> Result<(), StoreError> {
        let owner = owner.to_owned();
        let choose = move |connection: &_| notices::choose(connection, &owner, choice.as_ref());
        self.writer.transaction(choose).await
    }

    async fn unmeasured(&self, after: JobId, limit: u64) -> Result<Vec<Unmeasured>, StoreError> {
        self.pool.read(move |connection| directories::unmeasured(connection, after, limit)).await
    }

    async fn add_token(&self, token: NewToken) -> Result<u64, StoreError> {
        self.writer.transaction(move |connection| tokens::add(connection, &token)).await
    }

    async fn token(&self, hash: &str) -> Result<Option<StoredToken>, StoreError> {
        let hash = hash.to_owned();
        self.pool.read(move |connection| tokens::by_hash(connection, &hash)).await
    }

    async fn tokens(&self, user: Option<&str>) -> Result<Vec<StoredToken>, StoreError> {
        let user = user.map(str::to_owned);
        self.pool.read(move |connection| tokens::all(connection, user.as_deref())).await
    }

    async fn revoke_token(&self, id: u64, at: UtcMs) -> Result<bool, StoreError> {
        self.writer.transaction(move |connection| tokens::revoke(connection, id, at)).await
    }

    async fn password(&self, user: &str) -> Result<Option<String>, StoreError> {
        let user = user.to_owned();
        self.pool.read(move |connection| passwords::of(connection, &user)).await
    }

    async fn passwords(&self) -> Result<Vec<(String, UtcMs)>, StoreError> {
        self.pool.read(passwords::all).await
    }

    async fn change_password(&self, change: PasswordChange) -> Result<bool, StoreError> {
        self.writer.transaction(move |connection| passwords::change(connection, &change)).await
    }

    async fn guest(&self, name: &str) -> Result<Option<StoredGuest>, StoreError> {
        let name = name.to_owned();
        self.pool.read(move |connection| guests::one(connection, &name)).await
    }

    async fn guests(&self) -> Result<Vec<StoredGuest>, StoreError> {
        self.pool.read(guests::all).await
    }

    async fn see_guest(&self, guest: SeenGuest, most_waiting: u64) -> Result<bool, StoreError> {
        self.writer.transaction(move |connection| guests::see(connection, &guest, most_waiting)).await
    }

    async fn decide_guest(&self, decision: GuestDecision) -> Result<bool, StoreError> {
        self.writer.transaction(move |connection| guests::decide(connection, &decision)).await
    }

    async fn remove_guest(&self, name: &str, at: UtcMs) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.writer.transaction(move |connection| guests::remove(connection, &name, at)).await
    }

    async fn guest_measured(&self, name: &str, bytes: u64, at: UtcMs) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.writer.transaction(move |connection| guests::measured(connection, &name, bytes, at)).await
    }

    async fn policy_state(&self, policy: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (policy, key) = (policy.to_owned(), key.to_owned());
        self.pool.read(move |connection| kv::get(connection, &policy, &key)).await
    }

    async fn set_policy_state(
        &self,
        policy: &str,
        key: &str,
        value: &[u8],
        most_bytes: u64,
    ) -> Result<(), StoreError> {
        let (policy, key, value) = (policy.to_owned(), key.to_owned(), value.to_vec());
        let set = move |connection: &_| kv::set(connection, &policy, &key, &value, most_bytes);
        self.writer.transaction(set).await
    }

    async fn delete_policy_state(&self, policy: &str, key: &str) -> Result<bool, StoreError> {
        let (policy, key) = (policy.to_owned(), key.to_owned());
        self.writer.transaction(move |connection| kv::delete(connection, &policy, &key)).await
    }

    async fn policy_keys(&self, policy: &str, prefix: &str, limit: u64) -> Result<Vec<String>, StoreError> {
        let (policy, prefix) = (policy.to_owned(), prefix.to_owned());
        self.pool.read(move |connection| kv::keys(connection, &policy, &prefix, limit)).await
    }
}
