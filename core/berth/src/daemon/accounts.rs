//! Users and groups, with one more: whoever Berth itself runs as, known to the name service or not. In
//! containers people are often a number without a name.

use berth_policy_host::{Account, Accounts, HostAccounts};

/// The host's users and groups, and Berth's own.
pub struct OwnAccounts {
    host: HostAccounts,
    own: Account,
    groups: Vec<u32>,
}

impl OwnAccounts {
    pub fn new() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let groups = rustix::process::getgroups().unwrap_or_default();
        let own = Account {
            user: format!("uid{uid}"),
            uid,
            gid,
            home: std::env::var("HOME").unwrap_or_else(|_| "/".to_owned()),
            shell: "/bin/sh".to_owned(),
        };
        let groups = groups.into_iter().map(|group| group.as_raw()).chain([gid]).collect();
        Self { host: HostAccounts, own, groups }
    }

    fn own(&self, found: Option<Account>, is_own: bool) -> Option<Account> {
        found.or_else(|| is_own.then(|| self.own.clone()))
    }
}

impl Accounts for OwnAccounts {
    fn by_uid(&self, uid: u32) -> Result<Option<Account>, String> {
        Ok(self.own(self.host.by_uid(uid)?, uid == self.own.uid))
    }

    fn by_name(&self, user: &str) -> Result<Option<Account>, String> {
        Ok(self.own(self.host.by_name(user)?, user == self.own.user))
    }

    fn groups_of(&self, user: &str) -> Result<Vec<u32>, String> {
        if user == self.own.user && self.host.by_name(user)?.is_none() {
            return Ok(self.groups.clone());
        }
        self.host.groups_of(user)
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        self.host.group(name)
    }
}
