//! How the server says no.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What kind of no it is. Clients decide on this, not on the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// What was sent makes no sense; `problems` says where. Status 400; 405 for a method that the address does
    /// not know, 408 for a body that came too slowly, 415 for a type of body that is not known.
    Invalid,
    /// Nobody is known by these credentials. Status 401.
    Unauthenticated,
    /// Known, but not allowed. Status 403.
    Forbidden,
    /// There is no such thing, or not for this person. Status 404.
    NotFound,
    /// It does not fit the present state. Status 409.
    Conflict,
    /// It is larger than the site allows. Status 413.
    TooLarge,
    /// Too many requests; try again later. Status 429.
    TooMany,
    /// It was understood and cannot be done here. Status 422.
    Unable,
    /// Not now, and nothing was done; trying again later may help. Status 503.
    Unavailable,
    /// Another Berth leads, and the message says which; this one shows what is stored, and nothing was done.
    /// Status 503.
    StandsBy,
    /// It was taken in and cannot be stored yet: it may still be done. Look before you ask for it again.
    /// Status 504.
    UnknownOutcome,
    /// A fault of Berth's. Status 500.
    Internal,
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The field, such as `memory` or `dependencies.after_ok`.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub message: String,
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What kind of no it is.
    pub code: ErrorCode,
    /// In one sentence.
    pub message: String,
    /// Each thing that is wrong, where there are several or a place can be named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl ErrorBody {
    /// An error with nothing but a message.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), problems: Vec::new() }
    }
}

impl std::fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {}: {}", problem.field, problem.message))
    }
}

impl std::error::Error for ErrorBody {}
