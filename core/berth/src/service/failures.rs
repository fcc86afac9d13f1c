//! Errors of other rooms, as clients are told them.

use berth_api::{ErrorBody, ErrorCode};
use berth_engine::Refusal;
use berth_policy_host::Denial;
use berth_store::StoreError;

use crate::daemon::CommandError;

/// The store could not be read or written.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn store(error: StoreError) -> ErrorBody {
    if !matches!(error, StoreError::StandsBy { .. }) {
        tracing::error!(error = %error, "store");
    }
    let code = match &error {
        StoreError::StandsBy { .. } => ErrorCode::StandsBy,
        StoreError::Uncertain { .. } => ErrorCode::UnknownOutcome,
        error if error.may_pass() => ErrorCode::Unavailable,
        _ => ErrorCode::Internal,
    };
    ErrorBody::new(code, error.to_string())
}

/// A command had no success.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn command(error: CommandError) -> ErrorBody {
    let code = match &error {
        CommandError::Stalled(_) => ErrorCode::Unavailable,
        CommandError::StandsBy(_) => ErrorCode::StandsBy,
        CommandError::Unknown(_) => ErrorCode::UnknownOutcome,
        CommandError::Executor(_) => ErrorCode::Unable,
        CommandError::Refused(refusal) => match refusal {
            Refusal::NotLive(_) => ErrorCode::Conflict,
            Refusal::State { .. } | Refusal::Outdated(_) => ErrorCode::Conflict,
            Refusal::UnknownDependency(_) | Refusal::ImpossibleDependency { .. } => ErrorCode::Invalid,
            Refusal::TooLarge { .. }
            | Refusal::NoSuchNode { .. }
            | Refusal::NoSuchResource { .. }
            | Refusal::Unable { .. } => ErrorCode::Unable,
            Refusal::UnknownExecutor(_) => ErrorCode::Invalid,
            Refusal::TooManyWait { .. } | Refusal::TooFast { .. } => ErrorCode::TooMany,
            Refusal::NoTimeLimit { .. } | Refusal::OverQuota { .. } | Refusal::NotLeft { .. } => {
                ErrorCode::Unable
            }
            Refusal::NoSuchProject(_) | Refusal::Terms { .. } => ErrorCode::Invalid,
            Refusal::NotAMember { .. } | Refusal::Barred { .. } | Refusal::DefaultProject => {
                ErrorCode::Forbidden
            }
            Refusal::AccountChanged { .. } | Refusal::ClosureChanged { .. } => ErrorCode::Conflict,
            Refusal::Closure { .. } => ErrorCode::Invalid,
            Refusal::NotClosed { .. } | Refusal::NoNodeSo { .. } => ErrorCode::NotFound,
        },
    };
    ErrorBody::new(code, error.to_string())
}

/// The auth policy said no.
pub fn denied(denial: &Denial) -> ErrorBody {
    let code = match denial {
        Denial::Unknown => ErrorCode::Unauthenticated,
        Denial::Forbidden(_) => ErrorCode::Forbidden,
        Denial::Unavailable(_) => ErrorCode::Unavailable,
    };
    ErrorBody::new(code, denial.to_string())
}

/// Berth is on its way out.
pub fn stopping() -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, "Berth is shutting down")
}
