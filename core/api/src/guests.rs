//! Guests: people who are known by the word of an outside issuer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GuestRow {
    /// What they are called here: `guest:` and letters that are theirs alone.
    pub name: String,
    /// `waiting` for an administrator, `active`, or `inactive`.
    pub standing: String,
    /// Who vouches for them.
    pub issuer: String,
    /// What that one calls them.
    pub subject: String,
    /// Their address, where the issuer has made sure of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// When they came first.
    pub since: String,
    /// When they came last with a token of their issuer, roughly.
    pub seen: String,
    /// When it was decided whether they may work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<String>,
    /// Who decided it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// Their home.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// What it takes, as it was measured last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home_bytes: Option<u64>,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home_measured: Option<String>,
}

/// A guest is to be let in, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetGuest {
    /// Whether they may work.
    pub active: bool,
}

/// Somebody who is known by a token of an issuer wants a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GuestSignIn {
    /// What the session is to allow: `read` or `submit`; `submit` where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What it is called in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}
