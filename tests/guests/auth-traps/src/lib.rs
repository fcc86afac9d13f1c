//! An auth policy that is bad on purpose: it traps whatever it is asked.

use berth_policy_sdk::{
    Auth, Error, Info, InstantMs, Settings,
    auth::{Credentials, Denial, Grant, Identity, JobRequest},
    info,
};

/// Traps whatever it is asked.
#[derive(Debug)]
pub struct AuthTraps;

impl Auth for AuthTraps {
    fn describe() -> Info {
        info!("auth-traps", "traps whatever it is asked")
    }

    fn configure(_: &mut Settings) -> Result<Self, Error> {
        Ok(Self)
    }

    fn identify(&mut self, _: InstantMs, _: Credentials) -> Result<Identity, Denial> {
        std::process::abort()
    }

    fn authorise(&mut self, _: InstantMs, _: Identity, _: JobRequest) -> Result<Grant, Denial> {
        std::process::abort()
    }
}

berth_policy_sdk::export_auth!(AuthTraps);
