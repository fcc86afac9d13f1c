//! The contract of auth policies; see `wit/auth.wit` for what each part means.

#[doc(hidden)]
pub use crate::bindings::auth::exports::berth::policy::auth::Guest;
pub use crate::bindings::auth::exports::berth::policy::auth::{
    Credentials, Denial, Grant, Identity, JobRequest, Mount, PasswordCredentials, ProjectVolume, Role,
    VolumeRequest,
};
use crate::{Error, Info, InstantMs, Settings};

/// Says who somebody is, and what a job of theirs may do. Its answers may be cached, and several instances
/// may be asked at once.
pub trait Auth: Sized {
    /// Who the policy is, and which settings it reads.
    fn describe() -> Info;

    /// Makes the policy by its settings. One that it does not read is refused for it.
    ///
    /// # Errors
    /// `bad-settings` when they make no sense.
    fn configure(settings: &mut Settings) -> Result<Self, Error>;

    /// Who is this?
    ///
    /// # Errors
    /// Why they are not let in.
    fn identify(&mut self, now_ms: InstantMs, credentials: Credentials) -> Result<Identity, Denial>;

    /// May this job be accepted, and with what? Granting what was not asked for is a breach of contract.
    ///
    /// # Errors
    /// Why it is not accepted.
    fn authorise(&mut self, now_ms: InstantMs, who: Identity, job: JobRequest) -> Result<Grant, Denial>;
}
