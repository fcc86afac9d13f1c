//! The contract of scheduler policies; see `wit/scheduler.wit` for what each part means.

#[doc(hidden)]
pub use crate::bindings::scheduler::exports::berth::policy::scheduler::Guest;
pub use crate::bindings::scheduler::exports::berth::policy::scheduler::{
    Answer as Plan, JobAttribute, Node, NodeRoom, PassedOver, PendingJob, Placement, Rejection, Reservation,
    RunningJob, Start,
};
use crate::{Error, Info, InstantMs, JobId, NameId, Settings};

/// Decides which pending jobs start next. A policy that only orders them implements
/// [`Order`](crate::Order) instead.
///
/// What it keeps between calls is a cache: the host may drop it at any time and tell a fresh one the full
/// state again. What it does not care for it need not listen to.
pub trait Scheduler: Sized {
    /// Who the policy is, and which settings it reads.
    fn describe() -> Info;

    /// Makes the policy by its settings. One that it does not read is refused for it.
    ///
    /// # Errors
    /// `bad-settings` when they make no sense.
    fn configure(settings: &mut Settings) -> Result<Self, Error>;

    /// Extends the table of names: `names` get the numbers from `first` on.
    fn names(&mut self, first: NameId, names: Vec<String>) {
        let _ = (first, names);
    }

    /// Nodes that are new or have changed.
    fn nodes(&mut self, nodes: Vec<Node>) {
        let _ = nodes;
    }

    /// Placements that are new or have changed.
    fn placements(&mut self, placements: Vec<Placement>);

    /// What belongs to the jobs that are told next.
    fn attributes(&mut self, attributes: Vec<JobAttribute>) {
        let _ = attributes;
    }

    /// Jobs that became eligible or changed; one with a known number replaces what was told before.
    fn pending(&mut self, jobs: Vec<PendingJob>);

    /// Jobs that are no longer eligible; unknown ones are to be ignored.
    fn withdrawn(&mut self, jobs: Vec<JobId>);

    /// Jobs that got an allocation.
    fn started(&mut self, jobs: Vec<RunningJob>) {
        let _ = jobs;
    }

    /// Jobs whose allocation is free again.
    fn ended(&mut self, jobs: Vec<JobId>) {
        let _ = jobs;
    }

    /// Chooses what starts now. A job stays pending to the policy until it is withdrawn: what is planned
    /// need not come true.
    ///
    /// # Errors
    /// When there is no plan this time.
    fn plan(&mut self, now_ms: InstantMs, room: Vec<NodeRoom>, most: u32) -> Result<Plan, Error>;

    /// Why a job has not started, for its user.
    fn explain(&mut self, now_ms: InstantMs, job: JobId) -> Option<String> {
        let _ = (now_ms, job);
        None
    }

    /// How many pending jobs it knows: `len` of the contract.
    fn known(&mut self) -> u64;
}
