//! The contract of network policies; see `wit/network.wit` for what each part means.

#[doc(hidden)]
pub use crate::bindings::network::exports::berth::policy::network::Guest;
pub use crate::bindings::network::exports::berth::policy::network::{
    Attachment, NetworkRequest, Port, Refusal,
};
use crate::{Error, Info, InstantMs, JobId, Settings};

/// Says which network a job gets.
pub trait Network: Sized {
    /// Who the policy is, and which settings it reads.
    fn describe() -> Info;

    /// Makes the policy by its settings. One that it does not read is refused for it.
    ///
    /// # Errors
    /// `bad-settings` when they make no sense.
    fn configure(settings: &mut Settings) -> Result<Self, Error>;

    /// Attaches a job. Asked again for the same job it gives the same answer.
    ///
    /// # Errors
    /// Why the job is not attached now, or never will be.
    fn attach(&mut self, now_ms: InstantMs, request: NetworkRequest) -> Result<Attachment, Refusal>;

    /// The job is over. Unknown jobs are to be ignored.
    fn release(&mut self, now_ms: InstantMs, job: JobId);

    /// A job that is attached already; told to a fresh instance before anything is asked.
    fn attached(&mut self, job: JobId, node: String, what: Attachment);
}
