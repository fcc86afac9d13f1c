//! Passwords and sessions.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Somebody wants a session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// Their name.
    pub user: String,
    /// Their password.
    pub password: String,
    /// What the session is to allow: `read`, `submit` or `admin`; `submit` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What it is called in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").field("user", &self.user).field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// A session that has begun. Its secret is shown this once, and is sent like a token's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionCreated {
    /// Its number, to revoke it by.
    pub id: u64,
    /// Whose it is.
    pub user: String,
    /// The secret.
    pub token: String,
    /// What it allows.
    pub scope: String,
    /// When it ends, used or not.
    pub expires: String,
    /// It ends before that when it is not used for so long.
    pub idle_ms: u64,
}

impl fmt::Debug for SessionCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCreated")
            .field("id", &self.id)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A password is to be set.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPassword {
    /// The new one.
    pub password: String,
    /// The present one, for those who have one and are no administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
}

impl fmt::Debug for SetPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetPassword").finish_non_exhaustive()
    }
}

/// Somebody who has a password with Berth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasswordRow {
    /// Whose it is.
    pub user: String,
    /// Since when it is this one.
    pub changed: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let secret = || "hunter2".to_owned();
        let sign_in = SignIn { user: "ann".into(), password: secret(), scope: None, label: None };
        let created = SessionCreated {
            id: 1,
            user: "ann".into(),
            token: secret(),
            scope: "read".into(),
            expires: String::new(),
            idle_ms: 1,
        };
        let set = SetPassword { password: secret(), current: Some(secret()) };
        assert!(!format!("{sign_in:?} {created:?} {set:?}").contains("hunter2"));
    }
}
