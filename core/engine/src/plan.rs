//! What passes between the engine and the scheduler policy.
//!
//! The engine tells what changed, once, and asks for a plan; it never tells the whole queue again
//! unless asked to by the scheduler policy being rebuilt. These are the types of `wit/scheduler.wit`, natively.

use berth_model::{JobId, Resources, Used, UtcMs};

use crate::Faded;

/// Stands for a name in the table that [`Told::names`] extends.
pub type NameId = u32;
/// Stands for a node, for as long as the engine lives.
pub type NodeId = u32;
/// Stands for a set of nodes that jobs with the same wishes may run on.
pub type PlacementId = u32;

/// A node, as policies see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTold {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: NameId,
    /// The executor it belongs to.
    pub executor: NameId,
    /// What may be allocated on it in total.
    pub total: Resources,
    /// Whether it takes new jobs.
    pub usable: bool,
}

/// The nodes that jobs with a placement may run on, in rising order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementTold {
    /// Its number.
    pub id: PlacementId,
    /// The nodes.
    pub nodes: Vec<NodeId>,
}

/// A job that may start, or an array with tasks that may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingTold {
    /// Its number.
    pub id: JobId,
    /// Its owner.
    pub owner: NameId,
    /// Its project.
    pub project: NameId,
    /// Where it may run.
    pub placement: PlacementId,
    /// Tasks that may start now; 1 for a plain job.
    pub count: u32,
    /// What each needs.
    pub needs: Resources,
    /// When it was submitted.
    pub submitted: UtcMs,
    /// Since when it has been eligible.
    pub eligible: UtcMs,
    /// The longest each may run, in milliseconds.
    pub time_limit_ms: Option<u64>,
    /// Higher is sooner among equals.
    pub priority: i32,
}

/// A job, or a task of an array, that has an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningTold {
    /// Its number; a task's own.
    pub id: JobId,
    /// The array that a task belongs to.
    pub array: Option<JobId>,
    /// Its owner.
    pub owner: NameId,
    /// Its project.
    pub project: NameId,
    /// Where it is.
    pub node: NodeId,
    /// What it has.
    pub needs: Resources,
    /// When it started.
    pub started: UtcMs,
    /// When its time limit ends it at the latest.
    pub ends: Option<UtcMs>,
}

/// What is free on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The node.
    pub node: NodeId,
    /// What is free.
    pub free: Resources,
}

/// Whose account it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WhoseTold {
    /// A user's.
    User(NameId),
    /// A project's.
    Project(NameId),
    /// A group's.
    Group(NameId),
    /// That of a user's part in a project.
    Member {
        /// The project.
        project: NameId,
        /// The user.
        user: NameId,
    },
}

/// What an account has used, and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccountTold {
    /// Whose.
    pub whose: WhoseTold,
    /// From 0 to 100; 50 is usual.
    pub priority: u8,
    /// Its part beside its siblings; 1 is usual.
    pub shares: u32,
    /// Of a project, its group.
    pub group: Option<NameId>,
    /// What it used within the period.
    pub used: Used,
    /// What it used, fading.
    pub faded: Faded,
}

/// What changed since the last time. The parts are to be passed on in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// This is everything there is, for an instance that knows nothing yet.
    pub full: bool,
    /// The number of the first of `names`.
    pub first_name: NameId,
    /// New names.
    pub names: Vec<String>,
    /// New or changed accounts.
    pub accounts: Vec<AccountTold>,
    /// New or changed nodes.
    pub nodes: Vec<NodeTold>,
    /// New or changed placements.
    pub placements: Vec<PlacementTold>,
    /// Jobs that are no longer eligible.
    pub withdrawn: Vec<JobId>,
    /// Jobs that became eligible or changed.
    pub pending: Vec<PendingTold>,
    /// Jobs whose allocation is free again.
    pub ended: Vec<JobId>,
    /// Jobs that got an allocation.
    pub started: Vec<RunningTold>,
}

/// A request for a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanRequest {
    /// Counts the requests; the plan carries it back.
    pub snapshot: u64,
    /// The instant that it is asked for.
    pub now: UtcMs,
    /// What changed since the request before it.
    pub told: Told,
    /// What is free on every usable node, in rising order of nodes.
    pub room: Vec<Room>,
    /// How many tasks may start at most.
    pub most: u32,
    /// How many pending jobs the policy knows when it has taken in `told`.
    pub pending_known: u64,
}

/// Starts `count` tasks of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The job or array.
    pub job: JobId,
    /// How many of its tasks.
    pub count: u32,
    /// Where; `None` leaves it to the engine.
    pub node: Option<NodeId>,
}

/// An answer to a [`PlanRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The request that it answers.
    pub snapshot: u64,
    /// Most urgent first.
    pub starts: Vec<Start>,
    /// When jobs are expected to start: `(job, node, at)`.
    pub reservations: Vec<(JobId, Option<NodeId>, UtcMs)>,
    /// Jobs refused for good, with words.
    pub rejections: Vec<(JobId, String)>,
    /// Why jobs were passed over, with their number.
    pub passed_over: Vec<(String, u64)>,
    /// Ask again then.
    pub wake_at: Option<UtcMs>,
}
