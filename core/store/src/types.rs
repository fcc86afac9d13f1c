//! What goes into the store and comes out of it, beside the engine's own types.

use std::{ops::ControlFlow, sync::Arc};

use berth_engine::{Change, LiveJob};
use berth_model::{
    ArrayRange, Attempt, JobEventRecord, JobId, JobState, Resources, StateKind, Submission, UtcMs,
};
use serde::{Deserialize, Serialize};

/// Everything of one turn of the loop: one durable transaction, or nothing of it.
#[derive(Debug, Default)]
pub struct Batch {
    /// What the engine wants written, in order.
    pub changes: Vec<Change>,
    /// What others want written along with it.
    pub extras: Vec<Extra>,
}

impl From<Vec<Change>> for Batch {
    fn from(changes: Vec<Change>) -> Self {
        Self { changes, extras: Vec::new() }
    }
}

/// Something small that rides on a turn's transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extra {
    /// A token was used. One that does not exist any more is no error.
    TokenUsed {
        /// Which.
        id: u64,
        /// When.
        at: UtcMs,
    },
    /// The directory of a job was removed. One that has not ended, or was archived before, stays as it is.
    Archived {
        /// Which; never a task.
        id: JobId,
        /// When.
        at: UtcMs,
    },
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The number of the batch's first event; its events have consecutive numbers in their order.
    /// Where the batch had none, the number that the next event will get.
    pub first_event: u64,
    /// How many events there were.
    pub events: u64,
}

/// An event with its place in the stream of all events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Rises with every event, without regard to the job.
    pub seq: u64,
    /// What happened.
    pub record: JobEventRecord,
}

/// A job with all that is stored of it, but for its history.
#[derive(Clone, Debug, PartialEq)]
pub struct JobDetail {
    /// Its columns; for a task those of its array that it shares.
    pub job: LiveJob,
    /// What was asked; for a task its array's.
    pub submission: Submission,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRow {
    /// Its number.
    pub id: JobId,
    /// The array and the position in it, for a task.
    pub task_of: Option<(JobId, u64)>,
    /// The indices of the array that it is, or that it is a task of.
    pub array: Option<ArrayRange>,
    /// Its owner's login name.
    pub owner: String,
    /// Its project.
    pub project: String,
    /// The name its user gave it.
    pub name: String,
    /// The executor that runs it.
    pub executor: String,
    /// What each execution gets.
    pub needs: Resources,
    /// The longest an execution may run, in milliseconds.
    pub time_limit_ms: Option<u64>,
    /// When it was submitted.
    pub submitted: UtcMs,
    /// Where it stands.
    pub state: JobState,
    /// The present execution, the next or the last one.
    pub attempt: Attempt,
    /// `EXECUTOR/NODE`, when it has been placed.
    pub node: Option<String>,
    /// When it began to run.
    pub started: Option<UtcMs>,
    /// When it ended.
    pub ended: Option<UtcMs>,
    /// The exit code, where the end has one.
    pub exit_code: Option<i32>,
    /// Its priority.
    pub priority: i32,
    /// For an array: positions below this have become jobs of their own.
    pub array_next: u64,
    /// CPU time of the last execution, in microseconds.
    pub cpu_micros: Option<u64>,
    /// The most memory of the last execution, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// What its user should know about its present state.
    pub note: Option<String>,
}

impl JobRow {
    /// The array index, for a task.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        let (_, position) = self.task_of?;
        self.array?.index_at(position)
    }
}

/// Takes the lines of a listing one by one; breaks to stop it.
pub type EachRow = Box<dyn FnMut(JobRow) -> ControlFlow<()> + Send>;

/// Which jobs to list. Everything that is left out matches every job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// In one of these states; empty for any.
    pub states: Vec<StateKind>,
    /// Of this owner.
    pub owner: Option<String>,
    /// Of this project.
    pub project: Option<String>,
    /// With this name; `*` and `?` stand for any characters and any one character.
    pub name: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Tasks that are jobs of their own too, not just their arrays.
    pub tasks: bool,
    /// Numbers above this one only.
    pub after: Option<JobId>,
    /// Numbers below this one only.
    pub before: Option<JobId>,
    /// At most so many; all when left out.
    pub limit: Option<u64>,
    /// The highest numbers first.
    pub newest_first: bool,
}

/// Which tasks of an array to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskQuery {
    /// In one of these states; empty for any.
    pub states: Vec<StateKind>,
    /// Positions above this one only.
    pub after_position: Option<u64>,
    /// At most so many; 0 for the counts alone, all when left out.
    pub limit: Option<u64>,
}

/// Tasks of an array that have become jobs in its present or last run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tasks {
    /// How many there are in each state, whatever was asked for; states without any are left out.
    pub counts: Vec<(StateKind, u64)>,
    /// Those asked for, by rising position.
    pub rows: Vec<JobRow>,
}

/// A job or task whose directory is to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmeasured {
    /// Its number.
    pub job: JobId,
    /// The array and the index in it, for a task.
    pub task: Option<(JobId, u64)>,
    /// Its owner's login name.
    pub owner: String,
    /// Its project.
    pub project: String,
    /// The number of its last execution.
    pub after: u32,
}

/// Whose usage to add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageBy {
    /// One line per owner.
    User,
    /// One line per project.
    Project,
}

/// What jobs that have ended used. Tasks count one by one, arrays themselves not; of a job that ran
/// several times the last execution counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageRow {
    /// The user or project.
    pub name: String,
    /// How many jobs ended in each state; states without any are left out.
    pub jobs: Vec<(StateKind, u64)>,
    /// CPU time used, in microseconds, where executors reported it.
    pub cpu_micros: u64,
    /// Wall time from start to end, in milliseconds.
    pub wall_ms: u64,
    /// Wall time times cores allocated, in milliseconds.
    pub allocated_cpu_ms: u64,
}

/// What a token lets its bearer do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum TokenScope {
    /// Look.
    Read = 0,
    /// Look, submit and control.
    Submit = 1,
    /// All that its user may.
    Admin = 2,
}

impl TokenScope {
    /// As people write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Admin => "admin",
        }
    }

    /// The scope with this number in the store.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Read, Self::Submit, Self::Admin].get(usize::from(number)).copied()
    }
}

/// A token to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// SHA-256 of the secret, in hex. The secret itself never comes here.
    pub hash: String,
    /// Whose it is.
    pub user: String,
    /// What it lets them do.
    pub scope: TokenScope,
    /// What they call it.
    pub label: String,
    /// When it was made.
    pub created: UtcMs,
    /// When it stops working, if ever.
    pub expires: Option<UtcMs>,
    /// For a session: it stops working when it is not used for so long, in milliseconds.
    pub idle_ms: Option<u64>,
}

/// A token as it is stored, without its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// Its number.
    pub id: u64,
    /// Whose it is.
    pub user: String,
    /// What it lets them do.
    pub scope: TokenScope,
    /// What they call it.
    pub label: String,
    /// When it was made.
    pub created: UtcMs,
    /// When it stops working, if ever.
    pub expires: Option<UtcMs>,
    /// When it was used last.
    pub last_used: Option<UtcMs>,
    /// When it was revoked.
    pub revoked: Option<UtcMs>,
    /// For a session: it stops working when it is not used for so long, in milliseconds.
    pub idle_ms: Option<u64>,
}

impl StoredToken {
    /// Whether it works at this instant.
    #[must_use]
    pub fn works_at(&self, now: UtcMs) -> bool {
        self.revoked.is_none() && self.ends().is_none_or(|ends| now < ends)
    }

    /// When it stops working by itself, as far as is known now: a session that is used goes on.
    #[must_use]
    pub fn ends(&self) -> Option<UtcMs> {
        let idle = self.idle_ms.map(|idle| {
            UtcMs(self.last_used.map_or(self.created, |used| used.max(self.created)).0.saturating_add(idle))
        });
        [idle, self.expires].into_iter().flatten().min()
    }

    /// Whether somebody got it by logging in.
    #[must_use]
    pub fn is_session(&self) -> bool {
        self.idle_ms.is_some()
    }
}

/// A password is set or taken away. All sessions of its user end with it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordChange {
    /// Whose it is.
    pub user: String,
    /// The argon2 hash in PHC form; `None` takes the password away. The password itself never comes here.
    pub hash: Option<String>,
    /// When.
    pub at: UtcMs,
    /// The session that goes on: the one that asked for this.
    pub spare: Option<u64>,
}

impl std::fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordChange")
            .field("user", &self.user)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// A batch as a commit takes it: the caller keeps a hold of it, to try again.
pub type SharedBatch = Arc<Batch>;
