//! Durable state: everything that has to survive a crash goes through here, and only this crate knows
//! SQL.
//!
//! The loop writes with [`Store::commit`]: one call is one durable transaction. Reads never wait for
//! writes and see everything that was committed before they began.

mod columns;
mod error;
mod guests;
mod instance;
mod lock;
mod notices;
mod postgres;
mod sqlite;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use berth_engine::{LiveJob, Restored};
use berth_model::{JobId, JobRef, NoticeChoice, StateKind, Submission, UtcMs};

pub use error::{BoxError, StoreError};
pub use guests::{GuestDecision, GuestStanding, SeenGuest, StoredGuest};
pub use instance::Instance;
pub use notices::{NoticeCount, NoticeFate, OwedNotice};
pub use postgres::{PostgresOptions, PostgresStore};
pub use sqlite::{SqliteOptions, SqliteStore};
pub use types::{
    Batch, Committed, EachRow, Extra, JobDetail, JobRow, ListQuery, NewToken, PasswordChange, SharedBatch,
    StoredEvent, StoredToken, TaskQuery, Tasks, TokenScope, Unmeasured, UsageBy, UsageRow,
};

/// Durable state of one cluster.
///
/// A call that is dropped before it is over may or may not have taken place; it never takes place by
/// half.
#[async_trait]
pub trait Store: Send + Sync {
    /// Whether what was decided may be done now. Asked right before anything is done outside, since a process
    /// may have been stopped for any time since it wrote. Always true where nobody else can lead.
    fn may_act(&self) -> bool {
        true
    }

    /// Who leads, where it is another Berth; this one may read only then.
    fn other_leader(&self) -> Option<String> {
        None
    }

    /// Completes with the new leader when this Berth led and does no longer.
    async fn deposed(&self) -> String {
        std::future::pending().await
    }

    /// For the end, after all that was to be written before: gives the lead up, so that a stand-by need not wait,
    /// or leaves a file in order that nobody else has.
    ///
    /// # Errors
    /// When it cannot be written. The lease runs out by itself then, and the next start puts the file in order.
    async fn resign(&self) -> Result<(), StoreError>;

    /// Writes a batch in one transaction and returns when it is durable. Several changes of one job
    /// within a batch are written as the last of them says; events are kept all.
    ///
    /// # Errors
    /// Nothing of the batch is stored then. When [`StoreError::may_pass`] says so, the same batch may be
    /// given again.
    async fn commit(&self, batch: SharedBatch) -> Result<Committed, StoreError>;

    /// Everything that the engine begins with. For the start; takes about a second for each half million
    /// live jobs.
    ///
    /// An array's `array_next` is at least what was last written: tasks that are stored count, too.
    /// Dependencies are those of the submission, as long as one of them holds the job.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn restore(&self) -> Result<Restored, StoreError>;

    /// One job with its submission; `None` when there is none with this number, or when it is a task
    /// whose turn has not come.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn job(&self, id: JobId) -> Result<Option<JobDetail>, StoreError>;

    /// One job as the engine takes it, whether it has ended or not: for a rerun. The attempt of an array
    /// is the highest of its own and its tasks'.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn live_job(&self, id: JobId) -> Result<Option<LiveJob>, StoreError>;

    /// The number that a person's way of writing a job stands for: `12.7` is the task with index 7 of
    /// array 12, whether its turn has come or not. `None` when there is no such job or index.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn resolve(&self, job: JobRef) -> Result<Option<JobId>, StoreError>;

    /// Where jobs stand; those that never existed are left out. A task whose turn has not come is
    /// pending while its array is live, and killed with it afterwards.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn state_of(&self, ids: &[JobId]) -> Result<Vec<(JobId, StateKind)>, StoreError>;

    /// What was asked; for a task, whether its turn has come or not, what was asked for its array.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn submission(&self, id: JobId) -> Result<Option<Arc<Submission>>, StoreError>;

    /// Jobs by their number.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn list(&self, query: ListQuery) -> Result<Vec<JobRow>, StoreError>;

    /// The same, line by line, for listings too long to be kept in memory. `each` is called on a thread
    /// that may block; all lines are of one instant.
    ///
    /// # Errors
    /// When it cannot be read; some lines may have been given already.
    async fn list_each(&self, query: ListQuery, each: EachRow) -> Result<(), StoreError>;

    /// Tasks of an array that have become jobs. Those of an earlier run of an array that runs again are
    /// left out.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn tasks_of(&self, array: JobId, query: TaskQuery) -> Result<Tasks, StoreError>;

    /// What happened to a job, oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn history(&self, id: JobId) -> Result<Vec<StoredEvent>, StoreError>;

    /// Events of all jobs with numbers above `seq`, oldest first, `limit` at most.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn events_after(&self, seq: u64, limit: u64) -> Result<Vec<StoredEvent>, StoreError>;

    /// The number of the latest event; 0 before the first.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn last_event(&self) -> Result<u64, StoreError>;

    /// What jobs used that ended at `since` or later, by falling wall time.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn usage(&self, by: UsageBy, since: UtcMs) -> Result<Vec<UsageRow>, StoreError>;

    /// How many jobs, arrays and tasks are in each state: live ones, and those that ended at `since` or
    /// later. Reads each of them.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn counts(&self, since: UtcMs) -> Result<Vec<(StateKind, u64)>, StoreError>;

    /// When a job was archived; `None` for one that was not, or does not exist.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn archived(&self, id: JobId) -> Result<Option<UtcMs>, StoreError>;

    /// Jobs and arrays that ended at the first instant or later, and before the second, and are not archived, with
    /// the instants of their ends: the earliest first, `limit` at most.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn to_archive(&self, ended: (UtcMs, UtcMs), limit: u64) -> Result<Vec<(JobId, UtcMs)>, StoreError>;

    /// The last event that was looked at for what is owed because of it; `None` before the first time.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn notice_cursor(&self) -> Result<Option<u64>, StoreError>;

    /// Notes at once what is owed and up to which event it was looked at. A notice that is stored already stays as
    /// it is.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn owe_notices(&self, seen: u64, notices: Vec<OwedNotice>) -> Result<(), StoreError>;

    /// The notice of this sink that is due first, whether it is due yet or not.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn first_notice(&self, sink: &str) -> Result<Option<OwedNotice>, StoreError>;

    /// Notes what became of a notice. One that is not stored is no error.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn settle_notice(&self, id: &str, fate: NoticeFate) -> Result<(), StoreError>;

    /// How many notices wait, by sink and person.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn count_notices(&self) -> Result<Vec<NoticeCount>, StoreError>;

    /// What people have chosen to be told of all their jobs.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn notice_choices(&self) -> Result<Vec<(String, NoticeChoice)>, StoreError>;

    /// Keeps what somebody has chosen; nothing takes it away.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn choose_notices(&self, owner: &str, choice: Option<NoticeChoice>) -> Result<(), StoreError>;

    /// Jobs and tasks with numbers above this one that have ended and whose directory was not measured since, by
    /// their numbers, `limit` at most. Those that were archived have none.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn unmeasured(&self, after: JobId, limit: u64) -> Result<Vec<Unmeasured>, StoreError>;

    /// Stores a token and gives its number.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn add_token(&self, token: NewToken) -> Result<u64, StoreError>;

    /// The token whose secret has this hash, whether it still works or not.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn token(&self, hash: &str) -> Result<Option<StoredToken>, StoreError>;

    /// All tokens, or those of one user.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn tokens(&self, user: Option<&str>) -> Result<Vec<StoredToken>, StoreError>;

    /// Makes a token stop working; false when there is none with this number, or none that still counts.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn revoke_token(&self, id: u64, at: UtcMs) -> Result<bool, StoreError>;

    /// The argon2 hash of a user's password, if they have one.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn password(&self, user: &str) -> Result<Option<String>, StoreError>;

    /// Who has a password, and since when it is that one; by name.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn passwords(&self) -> Result<Vec<(String, UtcMs)>, StoreError>;

    /// Sets or takes away a password and ends the sessions of its user, in one transaction; false when there was
    /// none to be taken away.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn change_password(&self, change: PasswordChange) -> Result<bool, StoreError>;

    /// A guest by their name.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn guest(&self, name: &str) -> Result<Option<StoredGuest>, StoreError>;

    /// All guests, those who came first before others.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn guests(&self) -> Result<Vec<StoredGuest>, StoreError>;

    /// Notes that somebody has come. Whoever is not known waits to be let in from then on, unless as many wait already
    /// as may: false then, and nothing is noted.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn see_guest(&self, guest: SeenGuest, most_waiting: u64) -> Result<bool, StoreError>;

    /// Lets a guest in, or no longer, and ends their tokens and sessions with it then, in one transaction; false when
    /// there is no such guest.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn decide_guest(&self, decision: GuestDecision) -> Result<bool, StoreError>;

    /// Forgets a guest and ends their tokens and sessions, in one transaction; false when there is no such guest.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn remove_guest(&self, name: &str, at: UtcMs) -> Result<bool, StoreError>;

    /// Notes what a guest's directory takes. A guest who is not there any more is no error.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn guest_measured(&self, name: &str, bytes: u64, at: UtcMs) -> Result<(), StoreError>;

    /// A value that a policy keeps.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn policy_state(&self, policy: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps a value for a policy, unless all its keys and values would be more than `most_bytes`.
    ///
    /// # Errors
    /// `TooMuchState` when they would; else when it cannot be written.
    async fn set_policy_state(
        &self,
        policy: &str,
        key: &str,
        value: &[u8],
        most_bytes: u64,
    ) -> Result<(), StoreError>;

    /// Drops a value of a policy; false when there was none.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn delete_policy_state(&self, policy: &str, key: &str) -> Result<bool, StoreError>;

    /// The keys that a policy keeps and that begin so, in order, `limit` at most.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn policy_keys(&self, policy: &str, prefix: &str, limit: u64) -> Result<Vec<String>, StoreError>;
}
