//! What policies may use of the host: each capability is an interface that is linked when it is granted
//! and missing when it is not.

mod accounts;
mod key_value;
pub mod ldap;
mod log;
mod passwords;
mod usage;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use wasmtime::component::{HasSelf, Linker};

pub use self::{
    accounts::{Account, Accounts, HostAccounts},
    key_value::{KeyValueStore, MemoryKeyValues},
    log::LogLine,
    passwords::Passwords,
};
pub(crate) use self::{log::LogGate, passwords::Presented, usage::Accounts as ToldAccounts};
use crate::{bindings::v0_1_0 as wit, instance::Guest};

/// Something of the host that a policy may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Writing to Berth's log.
    Log,
    /// A small durable table of its own.
    KeyValue,
    /// The host's users and groups.
    Accounts,
    /// What is known of the accounts of users and projects.
    Usage,
    /// The site's directory.
    Ldap,
    /// Passwords that people have set with Berth.
    Passwords,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Log, Self::KeyValue, Self::Accounts, Self::Usage, Self::Ldap, Self::Passwords];

    /// As it is written, in WIT and in berth.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::KeyValue => "key-value",
            Self::Accounts => "accounts",
            Self::Usage => "usage",
            Self::Ldap => "ldap",
            Self::Passwords => "passwords",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.as_str() == name)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a policy was granted, with what stands behind it. Nothing by default.
#[derive(Clone, Default)]
pub struct Grants {
    /// Writing to the log.
    pub log: bool,
    /// Its table.
    pub key_value: Option<Arc<dyn KeyValueStore>>,
    /// Users and groups.
    pub accounts: Option<Arc<dyn Accounts>>,
    /// What accounts have used; schedulers are told of it.
    pub usage: bool,
    /// The directory.
    pub ldap: Option<Arc<dyn ldap::Directory>>,
    /// Passwords.
    pub passwords: Option<Arc<dyn Passwords>>,
    /// Where log lines go instead of Berth's log, for checks.
    pub log_to: Option<Arc<dyn Fn(LogLine) + Send + Sync>>,
}

impl Grants {
    /// Whether the capability is granted.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        match capability {
            Capability::Log => self.log,
            Capability::KeyValue => self.key_value.is_some(),
            Capability::Accounts => self.accounts.is_some(),
            Capability::Usage => self.usage,
            Capability::Ldap => self.ldap.is_some(),
            Capability::Passwords => self.passwords.is_some(),
        }
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Capability::ALL.into_iter().filter(|capability| self.has(*capability))).finish()
    }
}

/// Links what is granted, and nothing else.
pub(crate) fn link(linker: &mut Linker<Guest>, grants: &Grants) -> wasmtime::Result<()> {
    if grants.has(Capability::Log) {
        wit::log::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    }
    if grants.has(Capability::KeyValue) {
        wit::key_value::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    }
    if grants.has(Capability::Accounts) {
        wit::accounts::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    }
    if grants.has(Capability::Usage) {
        wit::usage::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    }
    if grants.has(Capability::Ldap) {
        wit::ldap::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    }
    if grants.has(Capability::Passwords) {
        wit::passwords::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    }
    Ok(())
}
