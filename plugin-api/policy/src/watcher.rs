//! The contract of watcher policies; see `wit/watcher.wit` for what each part means.

#[doc(hidden)]
pub use crate::bindings::watcher::exports::berth::policy::watcher::Guest;
pub use crate::bindings::watcher::exports::berth::policy::watcher::{Judgement, Verdict, WatchedJob};
use crate::{Error, Info, InstantMs, Settings};

/// Says whether running jobs may go on.
pub trait Watcher: Sized {
    /// Who the policy is, and which settings it reads.
    fn describe() -> Info;

    /// Makes the policy by its settings. One that it does not read is refused for it.
    ///
    /// # Errors
    /// `bad-settings` when they make no sense.
    fn configure(settings: &mut Settings) -> Result<Self, Error>;

    /// Judges jobs; those without an entry in the answer go on.
    ///
    /// # Errors
    /// When it cannot judge this time.
    fn judge(&mut self, now_ms: InstantMs, jobs: Vec<WatchedJob>) -> Result<Vec<Judgement>, Error>;
}
