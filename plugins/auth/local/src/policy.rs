//! Who somebody is, and what their jobs may do.

use berth_policy_sdk::{
    Auth, Error, Info, InstantMs, Settings, Site,
    auth::{Credentials, Denial, Grant, Identity, JobRequest},
    info,
    site::{self, Accounts, Host, Passwords},
};

/// Knows whom the machine's name service knows.
#[derive(Clone, Debug, Default)]
pub struct Local<A = Host> {
    site: Site,
    accounts: A,
}

impl<A: Accounts + Passwords + Default> Auth for Local<A> {
    fn describe() -> Info {
        let mut info = info!("local", "the users and groups of this machine");
        info.settings = site::settings();
        info
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        Ok(Self::new(Site::read(settings)?, A::default()))
    }

    fn identify(&mut self, _now_ms: InstantMs, credentials: Credentials) -> Result<Identity, Denial> {
        let account = match credentials {
            Credentials::UnixUser(uid) => self.accounts.by_uid(uid),
            Credentials::KnownUser(user) => self.accounts.by_name(&user),
            // Whether there is such a user is not even looked at before.
            Credentials::Password(shown) => match self.accounts.check(shown.password) {
                Ok(true) => self.accounts.by_name(&shown.user),
                Ok(false) => return Err(Denial::Unknown),
                Err(words) => Err(words),
            },
        };
        let account = account.map_err(Denial::Unavailable)?.ok_or(Denial::Unknown)?;
        self.site.identity_of(account, &self.accounts).map_err(Denial::Unavailable)
    }

    fn authorise(&mut self, _now_ms: InstantMs, who: Identity, job: JobRequest) -> Result<Grant, Denial> {
        self.site.authorise(&who, job)
    }
}

impl<A: Accounts + Passwords> Local<A> {
    /// For a site, with its accounts.
    pub fn new(site: Site, accounts: A) -> Self {
        Self { site, accounts }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
