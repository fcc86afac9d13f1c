//! The machine's own users and groups.

use super::Site;
pub use crate::accounts::Account;
use crate::{accounts as host, auth::Identity};

/// Users and groups. An error says that the name service did not answer.
pub trait Accounts {
    /// The user with a number.
    ///
    /// # Errors
    /// That the name service did not answer; likewise below.
    fn by_uid(&self, uid: u32) -> Result<Option<Account>, String>;

    /// The user with a name.
    ///
    /// # Errors
    /// As above.
    fn by_name(&self, user: &str) -> Result<Option<Account>, String>;

    /// The numbers of all groups that a user is in.
    ///
    /// # Errors
    /// As above.
    fn groups_of(&self, user: &str) -> Result<Vec<u32>, String>;

    /// The number of a group.
    ///
    /// # Errors
    /// As above.
    fn group(&self, name: &str) -> Result<Option<u32>, String>;
}

/// Whether passwords are right. An error says that it cannot be said now.
pub trait Passwords {
    /// Whether what a handle stands for is the password of the user who is named beside it.
    ///
    /// # Errors
    /// That it cannot be said now.
    fn check(&self, password: u64) -> Result<bool, String>;
}

impl Passwords for Host {
    fn check(&self, password: u64) -> Result<bool, String> {
        crate::passwords::check(password)
    }
}

/// The host's own, through the capabilities `accounts` and `passwords`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host;

impl Accounts for Host {
    fn by_uid(&self, uid: u32) -> Result<Option<Account>, String> {
        host::by_uid(uid)
    }

    fn by_name(&self, user: &str) -> Result<Option<Account>, String> {
        host::by_name(user)
    }

    fn groups_of(&self, user: &str) -> Result<Vec<u32>, String> {
        host::groups_of(user)
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        host::group(name)
    }
}

impl Site {
    /// Who an account of the machine is. Its shell does not matter: a job is no login.
    ///
    /// # Errors
    /// That the name service did not answer.
    pub fn identity_of(&self, account: Account, accounts: &impl Accounts) -> Result<Identity, String> {
        let all = accounts.groups_of(&account.user)?;
        // A group that does not exist has no members.
        let is_in = |name: &str| {
            let group = accounts.group(name)?;
            Ok::<_, String>(group.is_some_and(|group| group == account.gid || all.contains(&group)))
        };
        let roles = self.roles(&account.user, account.uid, is_in)?;
        let mut groups: Vec<u32> = all.iter().copied().filter(|&group| group != account.gid).collect();
        groups.sort_unstable();
        groups.dedup();
        let Account { user, uid, gid, home, .. } = account;
        let home = Some(home).filter(|home| home.starts_with('/'));
        Ok(Identity { user, uid, gid, groups, home, email: None, roles })
    }
}
