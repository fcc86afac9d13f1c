//! Where users and groups are looked up.

use berth_policy_sdk::accounts as host;
pub use berth_policy_sdk::accounts::Account;

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

/// The host's own, through the capability `accounts`.
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
