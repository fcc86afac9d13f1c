//! Who someone is.

use serde::{Deserialize, Serialize};

/// What somebody may do beyond their own jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees and controls everything.
    Administrator,
    /// Sees everything, controls their own.
    Operator,
}

/// How the names of guests begin, and nobody else's: no system takes an account with a colon in its name.
pub const GUEST_PREFIX: &str = "guest:";

/// Whether this is the name of a guest: of somebody who is known by the word of an outside issuer alone.
#[must_use]
pub fn is_guest(user: &str) -> bool {
    user.starts_with(GUEST_PREFIX)
}

/// A person as the auth policy knows them: what a job runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Login name.
    pub user: String,
    /// Numeric user id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Secondary group ids.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// Home directory.
    #[serde(default)]
    pub home: Option<String>,
    /// Where notices go.
    #[serde(default)]
    pub email: Option<String>,
    /// Roles beyond a plain user's.
    #[serde(default)]
    pub roles: Vec<Role>,
}

impl Identity {
    /// Whether they may see and control everything.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.roles.contains(&Role::Administrator)
    }

    /// Whether they are known by the word of an outside issuer alone. Their number is that of all guests then.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        is_guest(&self.user)
    }

    /// Whether they may see everyone's jobs.
    #[must_use]
    pub fn sees_everything(&self) -> bool {
        !self.roles.is_empty()
    }
}
