//! What has to be durable, and what the engine needs to begin from it again.

use std::{collections::BTreeMap, sync::Arc};

use berth_model::{
    AccountKind, AccountTerms, ArrayRange, Attempt, Closure, ClosureKind, Dependency, FailedNode,
    JobEventRecord, JobId, JobState, NamedAmounts, NamedGrant, Resources, Submission, Used, UtcMs,
};

use crate::{StoredAccount, StoredClosure};

/// One thing to be written. All changes of a step belong into one transaction, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A job or an array was accepted. Comes once for each; for tasks there is [`Change::TaskAdded`].
    Added {
        /// What it needs to be restored.
        job: Box<LiveJob>,
        /// What was asked; stored once and never changed.
        submission: Arc<Submission>,
    },
    /// A task of an array became a job of its own.
    TaskAdded {
        /// What it needs to be restored; everything else is its array's.
        task: Box<LiveJob>,
    },
    /// What was submitted was changed: its project, resources and time limit may differ from then on.
    Altered {
        /// The job.
        job: JobId,
        /// In place of what was asked before.
        submission: Arc<Submission>,
    },
    /// Something about a job that is stored already.
    Updated {
        /// The job.
        job: JobId,
        /// The columns that may have changed.
        now: Box<Moving>,
    },
    /// An entry of the history.
    Event(JobEventRecord),
    /// What an account has used in an hour: the whole sum, in place of that before.
    Charged {
        /// Whose.
        kind: AccountKind,
        /// Its name.
        name: String,
        /// The hour, counted from 1970.
        hour: u64,
        /// All that was used in it.
        used: Used,
    },
    /// What a job's directory takes, in place of what was known before.
    Directory {
        /// The job; a task has one of its own.
        job: JobId,
        /// The number of the execution that was over by then; 0 while the first goes on.
        after: u32,
        /// On the disk.
        bytes: u64,
    },
    /// The directories of these jobs are gone.
    DirectoriesGone {
        /// The first.
        first: JobId,
        /// The last.
        last: JobId,
    },
    /// What was set of an account; nothing takes it away.
    Account {
        /// Whose.
        kind: AccountKind,
        /// Its name.
        name: String,
        /// Its version.
        version: u64,
        /// What was set.
        terms: Option<Box<AccountTerms>>,
    },
    /// What was set of a closure; nothing takes it away.
    Closure {
        /// What it is.
        kind: ClosureKind,
        /// Its name.
        name: String,
        /// Its version.
        version: u64,
        /// What was set.
        terms: Option<Box<Closure>>,
    },
    /// The next number that may be given to a job.
    NextId(JobId),
}

/// The part of a job that moves.
#[derive(Clone, Debug, PartialEq)]
pub struct Moving {
    /// Where it stands, with all its data.
    pub state: JobState,
    /// The present execution; for a job that waits the one that its next start will be, for one that
    /// has ended the last.
    pub attempt: Attempt,
    /// The executor and node of that execution, when it has been placed: `EXECUTOR/NODE`.
    pub node: Option<String>,
    /// Since when it has been eligible.
    pub eligible: UtcMs,
    /// When the present or last execution began to run.
    pub started: Option<UtcMs>,
    /// When it ended.
    pub ended: Option<UtcMs>,
    /// The exit code, where the end has one.
    pub exit_code: Option<i32>,
    /// Its priority.
    pub priority: i32,
    /// How often its node has failed under it.
    pub node_failures: u32,
    /// For an array: positions below this have become jobs of their own.
    pub array_next: u64,
    /// CPU time of the last execution, in microseconds.
    pub cpu_micros: Option<u64>,
    /// The most memory of the last execution, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// What its user should know about its present state, such as the executor's last words.
    pub note: Option<String>,
    /// The named resources that the present or last execution was given, without their devices.
    pub granted: Vec<NamedGrant>,
    /// The nodes on which executions have failed, oldest first, where it is to avoid them; of an array those of its
    /// tasks.
    pub failed_on: Vec<FailedNode>,
}

/// A job as the engine is given it back at the start, without scripts, environments and histories.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveJob {
    /// Its number.
    pub id: JobId,
    /// The array and the position in it, for a task.
    pub task_of: Option<(JobId, u64)>,
    /// Its indices, for an array; for a task that is brought back, those of its array.
    pub array: Option<ArrayRange>,
    /// Its owner's login name.
    pub owner: String,
    /// Its project.
    pub project: String,
    /// Its class.
    pub class: Option<String>,
    /// The name its user gave it.
    pub name: String,
    /// The executor that runs it.
    pub executor: String,
    /// Labels that its node has to have.
    pub constraints: BTreeMap<String, String>,
    /// What each execution gets.
    pub needs: Resources,
    /// The named resources that each execution gets.
    pub named: NamedAmounts,
    /// The longest an execution may run, in milliseconds.
    pub time_limit_ms: Option<u64>,
    /// The time between asking and killing, in milliseconds.
    pub grace_ms: u64,
    /// When it was submitted.
    pub submitted: UtcMs,
    /// Not before.
    pub begin: Option<UtcMs>,
    /// What it waits for; empty once it no longer does.
    pub dependencies: Vec<Dependency>,
    /// How often it may be started anew after its node failed.
    pub retry_on_node_failure: u32,
    /// Whether the network policy is to be asked before it is launched.
    pub wants_network: bool,
    /// Whether it is to avoid nodes where it failed.
    pub avoid_failed_nodes: bool,
    /// The part that moves.
    pub moving: Moving,
}

/// What has ended of an array that is still live: tasks whose attempt has the array's number or a later
/// one. Ends of an earlier run of the array do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArrayEnds {
    /// Tasks that have ended.
    pub ended: u64,
    /// Of these, those that did not succeed.
    pub not_ok: u64,
    /// The highest exit code among them.
    pub highest_exit: i32,
}

/// What was stored of a job's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDirectory {
    /// The job.
    pub job: JobId,
    /// Its owner's login name.
    pub owner: String,
    /// Its project.
    pub project: String,
    /// The number of the execution after which it was measured.
    pub after: u32,
    /// What it takes on the disk.
    pub bytes: u64,
}

/// Everything that the engine begins with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// The next number that may be given to a job.
    pub next_id: JobId,
    /// Plain jobs, arrays and tasks that have not ended, in rising order.
    pub live: Vec<LiveJob>,
    /// For each live array, what has ended of it.
    pub arrays: Vec<(JobId, ArrayEnds)>,
    /// Positions of such tasks that are not below their live array's `array_next`: `(array, position)`.
    pub ended_ahead: Vec<(JobId, u64)>,
    /// What was set and used of users, projects and groups.
    pub accounts: Vec<StoredAccount>,
    /// What administrators have closed.
    pub closures: Vec<StoredClosure>,
    /// What job directories take that are still there.
    pub directories: Vec<StoredDirectory>,
    /// Jobs that ended as lost, with the execution concerned: their truth may yet arrive.
    pub lost: Vec<(JobId, Attempt)>,
}
