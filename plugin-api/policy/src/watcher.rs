//! The contract of watcher policies; see `wit/watcher.wit` for what each part means.

#[doc(hidden)]
pub use crate::bindings::watcher::exports::berth::policy::watcher::Guest;
pub use crate::bindings::watcher::exports::berth::policy::watcher::{
    DirectorySize, Judgement, Refusal, StartingJob, Verdict, Warning, WatchedJob, Wishes,
};
use crate::{Error, Info, InstantMs, JobId, Settings};

/// Says whether jobs may start, and whether running ones may go on.
pub trait Watcher: Sized {
    /// Who the policy is, and which settings it reads.
    fn describe() -> Info;

    /// Makes the policy by its settings. One that it does not read is refused for it.
    ///
    /// # Errors
    /// `bad-settings` when they make no sense.
    fn configure(settings: &mut Settings) -> Result<Self, Error>;

    /// What it has to be given; nothing that costs anything unless it says so.
    fn wants(&self) -> Wishes {
        Wishes::empty()
    }

    /// Judges jobs; those without an entry in the answer go on.
    ///
    /// # Errors
    /// When it cannot judge this time.
    fn judge(&mut self, now_ms: InstantMs, jobs: Vec<WatchedJob>) -> Result<Vec<Judgement>, Error>;

    /// Whether a job may start. Asked only of those that want to know of starts, as is what follows.
    ///
    /// # Errors
    /// Why the job does not start now, or never will.
    fn may_start(&mut self, _now_ms: InstantMs, _job: StartingJob) -> Result<(), Refusal> {
        Ok(())
    }

    /// A job is launched; also told to a fresh instance.
    fn started(&mut self, _now_ms: InstantMs, _job: StartingJob) {}

    /// A job is over, or was not launched after all. Unknown jobs are to be ignored.
    fn ended(&mut self, _now_ms: InstantMs, _job: JobId) {}
}
