//! Who somebody is, and what their jobs may do.

use berth_policy_sdk::{
    Auth, Error, Info, InstantMs, Settings, Site,
    auth::{Credentials, Denial, Grant, Identity, JobRequest, PasswordCredentials},
    site::{self, Account, Accounts, Passwords},
};

use crate::{
    directory::{self, Directory},
    groups::groups,
    people::{By, Person, person},
    settings::{Layout, describe},
};

/// Knows whom the directory knows, and a few accounts of the machine itself.
#[derive(Clone, Debug)]
pub struct Ldap<D = directory::Host, A = site::Host> {
    site: Site,
    layout: Layout,
    directory: D,
    accounts: A,
}

impl<D: Directory + Default, A: Accounts + Passwords + Default> Auth for Ldap<D, A> {
    fn describe() -> Info {
        describe()
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let (site, layout) = (Site::read(settings)?, Layout::read(settings)?);
        Ok(Self { site, layout, directory: D::default(), accounts: A::default() })
    }

    fn identify(&mut self, _now_ms: InstantMs, credentials: Credentials) -> Result<Identity, Denial> {
        let by = match &credentials {
            Credentials::UnixUser(uid) => By::Number(*uid),
            Credentials::KnownUser(user) => By::Name(user),
            Credentials::Password(shown) => return self.by_password(shown),
        };
        // Those whom the site counts on when the directory is away do not depend on it.
        match self.local(by).map_err(Denial::Unavailable)? {
            Local::Account(account) => {
                self.site.identity_of(account, &self.accounts).map_err(Denial::Unavailable)
            }
            Local::Nobody => Err(Denial::Unknown),
            Local::Elsewhere => {
                let person = person(&self.layout, &self.directory, by)?;
                self.identity(person)
            }
        }
    }

    fn authorise(&mut self, _now_ms: InstantMs, who: Identity, job: JobRequest) -> Result<Grant, Denial> {
        self.site.authorise(&who, job)
    }
}

/// Whether the machine itself has to know somebody.
enum Local {
    Account(Account),
    /// It has to, and does not.
    Nobody,
    Elsewhere,
}

impl<D: Directory, A: Accounts + Passwords> Ldap<D, A> {
    fn local(&self, by: By<'_>) -> Result<Local, String> {
        match by {
            By::Name(user) if self.layout.local_users.iter().any(|name| name == user) => {
                Ok(self.accounts.by_name(user)?.map_or(Local::Nobody, Local::Account))
            }
            By::Name(_) => Ok(Local::Elsewhere),
            // By name, since a name service that knows the directory, too, need not be asked for a number.
            By::Number(uid) => {
                for name in &self.layout.local_users {
                    if let Some(account) = self.accounts.by_name(name)?.filter(|account| account.uid == uid) {
                        return Ok(Local::Account(account));
                    }
                }
                Ok(Local::Elsewhere)
            }
        }
    }

    /// The directory decides about its own people, Berth about accounts of the machine.
    fn by_password(&self, shown: &PasswordCredentials) -> Result<Identity, Denial> {
        let by = By::Name(&shown.user);
        let local = self.local(by).map_err(Denial::Unavailable)?;
        if !matches!(local, Local::Elsewhere)
            && !self.accounts.check(shown.password).map_err(Denial::Unavailable)?
        {
            return Err(Denial::Unknown);
        }
        match local {
            Local::Account(account) => {
                self.site.identity_of(account, &self.accounts).map_err(Denial::Unavailable)
            }
            Local::Nobody => Err(Denial::Unknown),
            Local::Elsewhere => {
                let person = person(&self.layout, &self.directory, by);
                // Somebody who is not there is tried all the same: the time must not tell who is.
                let nobody = format!("cn=nobody,{}", self.layout.users);
                let dn = match &person {
                    Ok(person) => &person.dn,
                    Err(Denial::Unavailable(words)) => return Err(Denial::Unavailable(words.clone())),
                    Err(Denial::Unknown | Denial::Forbidden(_)) => &nobody,
                };
                match (self.directory.bind(dn, shown.password).map_err(directory::denied)?, person) {
                    (true, Ok(person)) => self.identity(person),
                    _ => Err(Denial::Unknown),
                }
            }
        }
    }

    fn identity(&self, person: Person) -> Result<Identity, Denial> {
        let all = groups(&self.layout, &self.directory, &person)?;
        let is_in = |name: &str| Ok::<_, Denial>(all.iter().any(|group| group.is_called(name)));
        let roles = self.site.roles(&person.user, person.uid, is_in)?;
        // No entry makes anybody a member of root's group.
        let others = |gid: &u32| *gid != person.gid && *gid != 0;
        let mut groups: Vec<u32> = all.iter().filter_map(|group| group.gid).filter(others).collect();
        groups.sort_unstable();
        groups.dedup();
        let Person { user, uid, gid, home, email, .. } = person;
        Ok(Identity { user, uid, gid, groups, home, email, roles })
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
