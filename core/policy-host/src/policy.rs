//! What a policy is, before it is loaded.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Capability, Grants, Limits, Supervision};

/// What a policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Which pending jobs start.
    Scheduler,
    /// Who somebody is and what their jobs may.
    Auth,
    /// Whether running jobs may go on.
    Watcher,
    /// Which network a job gets.
    Network,
    /// What is accepted, and what of it is changed before.
    Admit,
}

impl PolicyKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Scheduler, Self::Auth, Self::Watcher, Self::Network, Self::Admit];

    /// As it is written, in WIT and for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Auth => "auth",
            Self::Watcher => "watcher",
            Self::Network => "network",
            Self::Admit => "admit",
        }
    }

    /// Whether policies of this kind can be granted the capability. A scheduler gets none that waits.
    #[must_use]
    pub fn may_have(self, capability: Capability) -> bool {
        match capability {
            Capability::Log => true,
            Capability::KeyValue => self != Self::Scheduler,
            Capability::Accounts => matches!(self, Self::Auth | Self::Admit),
            Capability::Ldap | Capability::Passwords => self == Self::Auth,
            Capability::Usage => self == Self::Scheduler,
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for PolicyKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            format!("{text:?} is not a kind of policy; there are scheduler, auth, watcher, network and admit")
        })
    }
}

/// Where a policy's bytes are.
#[derive(Clone)]
pub enum PolicySource {
    /// Within Berth's own program.
    Shipped {
        /// Its name there.
        name: &'static str,
        /// The component.
        bytes: &'static [u8],
    },
    /// In a file, read each time the policy is loaded.
    File(PathBuf),
    /// In memory.
    Bytes(Arc<[u8]>),
}

impl fmt::Display for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shipped { name, .. } => write!(f, "{name}, shipped with Berth"),
            Self::File(path) => path.display().fmt(f),
            Self::Bytes(bytes) => write!(f, "{} bytes in memory", bytes.len()),
        }
    }
}

impl fmt::Debug for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicySource({self})")
    }
}

/// A policy as it stands in berth.toml.
#[derive(Clone, Debug)]
pub struct PolicySpec {
    /// The name it has in logs and listings.
    pub name: String,
    /// The kind that it has to be.
    pub kind: PolicyKind,
    /// Where it is.
    pub source: PolicySource,
    /// Its own settings.
    pub settings: Vec<(String, String)>,
    /// What it may use.
    pub grants: Grants,
    /// The key of berth.toml that lists the grants, for messages.
    pub grant_key: String,
    /// What it may use up.
    pub limits: Limits,
    /// How its faults are dealt with.
    pub supervision: Supervision,
}

impl PolicySpec {
    /// A policy without settings and grants, with the usual limits for its kind.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: PolicyKind, source: PolicySource) -> Self {
        Self {
            name: name.into(),
            kind,
            source,
            settings: Vec::new(),
            grants: Grants::default(),
            grant_key: format!("{kind}.grants"),
            limits: Limits::for_kind(kind),
            supervision: Supervision::default(),
        }
    }
}

/// What a policy says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyInfo {
    /// Its name, which need not be the one in berth.toml.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line for people.
    pub about: String,
    /// The settings that it reads, each with a line of explanation.
    pub settings: Vec<(String, String)>,
}
