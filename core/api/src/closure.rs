//! What administrators close: drains, the maintenance switch, reservations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Nodes on which only some jobs may start, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ClosureRow {
    /// `drain`, `maintenance` or `reservation`.
    pub kind: String,
    /// Its name: of a drain the nodes that it means, of the maintenance switch `site`.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Which nodes, `EXECUTOR/NODE` with `*` for any letters.
    pub nodes: Vec<String>,
    /// From when on; always, where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until when; for ever, where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Users whose jobs it lets in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Projects whose jobs it lets in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Which administrator has set it.
    pub by: String,
    /// Whether it has begun.
    pub on: bool,
}

/// A closure as it is to be, as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SetClosure {
    /// The version that it was read at; 0 where there is none. Another one is refused, so that nobody overwrites what
    /// they have not seen.
    pub version: u64,
    /// Which nodes, `EXECUTOR/NODE` with `*` for any letters. A drain means those of its name, and the maintenance
    /// switch all, where none are given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// From when on: `2030-01-31T18:00:00Z`, or a time from now such as `2h`. Of reservations only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until when, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Users whose jobs it lets in. Of reservations only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Projects whose jobs it lets in. Of reservations only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    /// Why; for reservations it may be left out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}
