//! What went wrong inside, before it is known whose file it concerns.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::StoreError;

/// A failure inside the database code.
#[derive(Debug)]
pub(super) enum Fault {
    /// The database said so.
    Sql(rusqlite::Error),
    /// A row does not hold what was written.
    Unreadable(String),
    /// Already in its final words.
    Told(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Told(error)
    }
}

impl Fault {
    /// Whether a row of that key was there already.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation))
    }

    /// In words for the caller. `verb` says what was tried: `opened`, `read` or `written`.
    pub(super) fn about(self, path: &Path, verb: &'static str) -> StoreError {
        let path = path.to_owned();
        let error = match self {
            Self::Told(error) => return error,
            Self::Unreadable(what) => return StoreError::Corrupt { path, what },
            Self::Sql(error) => error,
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { path, source: error.into() },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Locked { path, source: error.into() }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Corrupt { path, what: error.to_string() }
            }
            _ => StoreError::Io { path, verb, source: error.into() },
        }
    }
}
