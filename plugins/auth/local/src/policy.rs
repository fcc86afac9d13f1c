//! Who somebody is, and what their jobs may do.

use berth_policy_sdk::{
    Auth, Error, Info, InstantMs, Settings,
    auth::{Credentials, Denial, Grant, Identity, JobRequest, Role},
};

use crate::{
    accounts::{Account, Accounts, Host},
    settings::{Site, describe},
    volumes::mounts,
};

/// Knows whom the machine's name service knows.
#[derive(Clone, Debug, Default)]
pub struct Local<A = Host> {
    site: Site,
    accounts: A,
}

impl<A: Accounts + Default> Auth for Local<A> {
    fn describe() -> Info {
        describe()
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        Ok(Self::new(Site::read(settings)?, A::default()))
    }

    fn identify(&mut self, _now_ms: InstantMs, credentials: Credentials) -> Result<Identity, Denial> {
        let account = match credentials {
            Credentials::UnixUser(uid) => self.accounts.by_uid(uid),
            Credentials::KnownUser(user) => self.accounts.by_name(&user),
            Credentials::Password(_) => {
                let words = "passwords are not taken here; use a token, or the socket on the machine itself";
                return Err(Denial::Forbidden(words.to_owned()));
            }
        };
        let account = account.map_err(Denial::Unavailable)?.ok_or(Denial::Unknown)?;
        self.identity(account).map_err(Denial::Unavailable)
    }

    fn authorise(&mut self, _now_ms: InstantMs, who: Identity, job: JobRequest) -> Result<Grant, Denial> {
        if job.as_root {
            self.may_be_root(&who, &job)?;
        }
        Ok(Grant {
            mounts: mounts(&self.site, &who, &job.volumes, job.as_root)?,
            as_root: job.as_root,
            extensions: job.extensions.into_iter().filter(|key| self.site.allows(key)).collect(),
        })
    }
}

impl<A: Accounts> Local<A> {
    /// For a site, with its accounts.
    pub fn new(site: Site, accounts: A) -> Self {
        Self { site, accounts }
    }

    /// The shell of an account does not matter: a job is no login.
    fn identity(&self, account: Account) -> Result<Identity, String> {
        let all = self.accounts.groups_of(&account.user)?;
        let roles = self.roles(&account, &all)?;
        let mut groups: Vec<u32> = all.into_iter().filter(|&group| group != account.gid).collect();
        groups.sort_unstable();
        groups.dedup();
        let Account { user, uid, gid, home, .. } = account;
        let home = Some(home).filter(|home| home.starts_with('/'));
        Ok(Identity { user, uid, gid, groups, home, email: None, roles })
    }

    fn roles(&self, account: &Account, groups: &[u32]) -> Result<Vec<Role>, String> {
        let mut roles = Vec::new();
        let named = account.uid == 0 || self.site.administrators.contains(&account.user);
        if named || self.in_administrator_group(account, groups)? {
            roles.push(Role::Administrator);
        }
        if self.site.operators.contains(&account.user) {
            roles.push(Role::Operator);
        }
        Ok(roles)
    }

    fn in_administrator_group(&self, account: &Account, groups: &[u32]) -> Result<bool, String> {
        for name in &self.site.administrator_groups {
            // A group that does not exist has no members.
            let Some(group) = self.accounts.group(name)? else { continue };
            if group == account.gid || groups.contains(&group) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Root in a container is one thing, root on the machine another.
    fn may_be_root(&self, who: &Identity, job: &JobRequest) -> Result<(), Denial> {
        if !self.site.allow_root_jobs {
            return Err(Denial::Forbidden("jobs may not run as root here".to_owned()));
        }
        if job.image.is_none() && !who.roles.contains(&Role::Administrator) {
            let words = "only an administrator's job may run as root outside a container";
            return Err(Denial::Forbidden(words.to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
