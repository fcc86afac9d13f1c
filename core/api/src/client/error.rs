//! What can go wrong between a client and its server.

use crate::{ErrorBody, ErrorCode};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no answer, or none that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there: nothing was sent.
    #[error("no Berth server answers at {target}; start one with `berth serve`, or name another")]
    NoServer {
        /// Where it was looked for.
        target: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The server said no.
    #[error("{0}")]
    Refused(ErrorBody),
    /// The exchange ended early or made no sense.
    #[error("{0}")]
    Broken(#[source] Broken),
    /// The address can't be used as it is written: nothing was sent.
    #[error("{target} cannot be used: {reason}")]
    Unusable {
        /// The address, without secrets.
        target: String,
        /// Why, and what would do.
        reason: String,
    },
}

/// How an exchange broke.
#[derive(Debug, thiserror::Error)]
#[error("{target}: {what}")]
pub struct Broken {
    /// The server.
    pub target: String,
    /// What happened, and what is known about the request.
    pub what: String,
    /// What lay beneath it.
    #[source]
    pub source: Option<BoxError>,
}

impl ClientError {
    /// Whether the request certainly did nothing, so that sending it once more is safe.
    #[must_use]
    pub fn nothing_was_done(&self) -> bool {
        match self {
            Self::NoServer { .. } | Self::Unusable { .. } => true,
            Self::Refused(body) => body.code != ErrorCode::UnknownOutcome,
            Self::Broken(_) => false,
        }
    }

    /// The server's code, where it answered with one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(body) => Some(body.code),
            _ => None,
        }
    }

    pub(super) fn broken(target: &str, what: impl Into<String>, source: Option<BoxError>) -> Self {
        Self::Broken(Broken { target: target.to_owned(), what: what.into(), source })
    }
}
