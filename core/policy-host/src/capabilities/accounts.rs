//! The host's users and groups.
//!
//! A name service may hang for as long as it likes. So it is asked on a thread of its own for each
//! look-up, the policy's thread waits for that with a time-out, and the number of those that hang is
//! bounded.

use std::{
    ffi::CString,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::{bindings::v0_1_0::accounts, instance::Guest};

/// A user of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub user: String,
    /// Numeric user id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// Where users and groups are looked up. May wait; the caller sees to the time-out.
pub trait Accounts: Send + Sync + 'static {
    /// The user with this number; `None` when there is none.
    ///
    /// # Errors
    /// When the name service does not answer.
    fn by_uid(&self, uid: u32) -> Result<Option<Account>, String>;

    /// The user with this name; `None` when there is none.
    ///
    /// # Errors
    /// When the name service does not answer.
    fn by_name(&self, user: &str) -> Result<Option<Account>, String>;

    /// The numbers of all groups that the user is in; none for one that does not exist.
    ///
    /// # Errors
    /// When the name service does not answer.
    fn groups_of(&self, user: &str) -> Result<Vec<u32>, String>;

    /// The number of a group; `None` when there is none.
    ///
    /// # Errors
    /// When the name service does not answer.
    fn group(&self, name: &str) -> Result<Option<u32>, String>;
}

/// This host's own, through its name service (files, LDAP, whatever is configured there).
#[derive(Clone, Copy, Debug, Default)]
pub struct HostAccounts;

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self {
            user: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            home: user.dir.to_string_lossy().into_owned(),
            shell: user.shell.to_string_lossy().into_owned(),
        }
    }
}

fn no_answer(error: nix::Error) -> String {
    format!("the name service did not answer: {}", error.desc())
}

impl Accounts for HostAccounts {
    fn by_uid(&self, uid: u32) -> Result<Option<Account>, String> {
        User::from_uid(Uid::from_raw(uid)).map(|user| user.map(Account::from)).map_err(no_answer)
    }

    fn by_name(&self, user: &str) -> Result<Option<Account>, String> {
        User::from_name(user).map(|user| user.map(Account::from)).map_err(no_answer)
    }

    fn groups_of(&self, user: &str) -> Result<Vec<u32>, String> {
        let Some(account) = self.by_name(user)? else { return Ok(Vec::new()) };
        let Ok(name) = CString::new(account.user) else { return Ok(Vec::new()) };
        let groups = getgrouplist(&name, Gid::from_raw(account.gid)).map_err(no_answer)?;
        Ok(groups.into_iter().map(Gid::as_raw).collect())
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        Group::from_name(name).map(|group| group.map(|group| group.gid.as_raw())).map_err(no_answer)
    }
}

/// Look-ups under way, those that hang included.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
const MOST_UNDER_WAY: usize = 32;

struct UnderWay;

impl UnderWay {
    fn enter() -> Option<Self> {
        let entered = UNDER_WAY.fetch_add(1, Ordering::Relaxed) < MOST_UNDER_WAY;
        // The count goes down again when this is dropped, also where it was one too many.
        let this = Self;
        entered.then_some(this)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    }
}

fn within<T: Send + 'static>(
    patience: Duration,
    ask: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let under_way = UnderWay::enter().ok_or("too many look-ups wait for the name service")?;
    let (answer, answered) = mpsc::sync_channel(1);
    let asking = thread::Builder::new().name("account-lookup".to_owned()).spawn(move || {
        let _under_way = under_way;
        // Nobody waits any more when the time is up.
        let _ = answer.send(ask());
    });
    asking.map_err(|error| format!("no thread for a look-up: {error}"))?;
    let late = |_| format!("the name service did not answer within {patience:?}");
    answered.recv_timeout(patience).map_err(late)?
}

impl Guest {
    fn look_up<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&dyn Accounts) -> Result<T, String> + Send + 'static,
    ) -> wasmtime::Result<Result<T, String>> {
        Ok(self.waiting(|guest, patience| {
            let accounts = guest.grants.accounts.clone().ok_or("accounts is not granted")?;
            within(patience, move || ask(Arc::as_ref(&accounts)))
        })?)
    }
}

impl From<Account> for accounts::Account {
    fn from(account: Account) -> Self {
        let Account { user, uid, gid, home, shell } = account;
        Self { user, uid, gid, home, shell }
    }
}

impl accounts::Host for Guest {
    fn by_uid(&mut self, uid: u32) -> wasmtime::Result<Result<Option<accounts::Account>, String>> {
        self.look_up(move |accounts| Ok(accounts.by_uid(uid)?.map(Into::into)))
    }

    fn by_name(&mut self, user: String) -> wasmtime::Result<Result<Option<accounts::Account>, String>> {
        self.look_up(move |accounts| Ok(accounts.by_name(&user)?.map(Into::into)))
    }

    fn groups_of(&mut self, user: String) -> wasmtime::Result<Result<Vec<u32>, String>> {
        self.look_up(move |accounts| accounts.groups_of(&user))
    }

    fn group(&mut self, name: String) -> wasmtime::Result<Result<Option<u32>, String>> {
        self.look_up(move |accounts| accounts.group(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_number() {
        let root = HostAccounts.by_uid(0).unwrap().unwrap();
        assert_eq!(HostAccounts.by_name(&root.user), Ok(Some(root.clone())));
        assert!(HostAccounts.groups_of(&root.user).unwrap().contains(&root.gid));
    }

    #[test]
    fn who_does_not_exist_is_no_error() {
        assert_eq!(HostAccounts.by_name("no-such-user-here"), Ok(None));
        assert_eq!(HostAccounts.by_name("a\0b"), Ok(None));
        assert_eq!(HostAccounts.groups_of("no-such-user-here"), Ok(vec![]));
        assert_eq!(HostAccounts.group("no-such-group-here"), Ok(None));
    }

    #[test]
    fn a_name_service_that_hangs_is_given_up() {
        let (release, hang) = mpsc::channel::<()>();
        let answer = within(Duration::from_millis(20), move || {
            let _ = hang.recv();
            Ok(())
        });
        assert_eq!(answer, Err("the name service did not answer within 20ms".to_owned()));
        drop(release);
    }
}
