//! What people are told of their jobs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What somebody wants to be told of all their jobs that do not say it themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SetNotices {
    /// When: `start`, `end`, `fail`, `kill`, `suspend`, `resume`, `message`, `all`; empty for never.
    pub on: Vec<String>,
    /// Where mail goes: `usual` for the address that the site knows, `none`, or another address that the site allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<String>,
    /// An address that is called, where the site allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
}

/// The same, and what comes of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticesRow {
    /// When.
    pub on: Vec<String>,
    /// `usual`, `none`, or an address.
    pub mail: String,
    /// Where mail goes by that; absent where there is none, or where no address is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// The key that these calls are signed with: a secret between the receiver and this server. Only for tokens that
    /// may do more than look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Notices that wait to be brought.
    pub waiting: u64,
    /// What is wrong on their way, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
}

impl std::fmt::Debug for NoticesRow {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NoticesRow").field("on", &self.on).field("mail", &self.mail).finish_non_exhaustive()
    }
}

/// What a running job wants its people to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobMessage {
    /// In one line of at most 1,000 characters.
    pub text: String,
}

/// How it goes with one way on which notices are brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SinkRow {
    /// `mail`, `hook:NAME`, or `users` for all that people have chosen themselves.
    pub name: String,
    /// Notices that wait.
    pub waiting: u64,
    /// Since the server's start.
    pub delivered: u64,
    /// Attempts that failed, since the start.
    pub failed: u64,
    /// Notices that were given up, since the start.
    pub dropped: u64,
    /// What is wrong, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}
