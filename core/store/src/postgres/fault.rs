//! What went wrong inside, before it is known what was tried.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::StoreError;

/// A failure inside the database code.
#[derive(Debug)]
pub(super) enum Fault {
    /// The database, or the way to it.
    Sql(tokio_postgres::Error),
    /// No connection could be had.
    NoConnection(String),
    /// Nothing was said for so long.
    Silence(Duration),
    /// A row does not hold what was written.
    Unreadable(String),
    /// Already in its final words.
    Told(StoreError),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
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

impl From<deadpool_postgres::PoolError> for Fault {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => Self::Sql(error),
            other => Self::NoConnection(other.to_string()),
        }
    }
}

impl Fault {
    /// Whether a row of that key was there already.
    pub(super) fn is_conflict(&self) -> bool {
        self.code() == Some(&SqlState::UNIQUE_VIOLATION)
    }

    /// Whether the database itself said no, so that it is known what became of the transaction: nothing.
    pub(super) fn is_answer(&self) -> bool {
        match self {
            Self::Sql(error) => error.as_db_error().is_some() && !self.ends_the_session(),
            Self::NoConnection(_) | Self::Silence(_) => false,
            Self::Unreadable(_) | Self::Told(_) => true,
        }
    }

    /// Whether the session is over, or on its way out.
    fn ends_the_session(&self) -> bool {
        self.code().is_some_and(|code| {
            let code = code.code();
            code.starts_with("08") || code.starts_with("57P") || code == "25P03" || code == "25P04"
        })
    }

    fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Sql(error) => error.code(),
            _ => None,
        }
    }

    /// In words for the caller. `verb` says what was tried: `opened`, `read` or `written`.
    pub(super) fn about(self, database: &str, verb: &'static str) -> StoreError {
        let database = database.to_owned();
        let error = match self {
            Self::Told(error) => return error,
            Self::Unreadable(what) => return StoreError::Unsound { database, what },
            Self::NoConnection(reason) => return StoreError::Away { database, verb, reason },
            Self::Silence(span) => {
                let reason = format!("it has said nothing for {} ms", span.as_millis());
                return StoreError::Away { database, verb, reason };
            }
            Self::Sql(error) => error,
        };
        let reason = reason(&error);
        let code = error.code().map_or("", SqlState::code);
        match code {
            "53100" => StoreError::Full { path: database.into(), source: error.into() },
            // Wrong password, no such database, no right to something, a table or type that is not there.
            code if code.starts_with("28") || code.starts_with("3D") || code.starts_with("42") => {
                StoreError::DatabaseRefused { database, reason }
            }
            "0A000" => StoreError::DatabaseRefused { database, reason },
            _ => StoreError::Away { database, verb, reason },
        }
    }
}

/// What the database said, or what came between.
fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let mut words = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        words = format!("{words}: {cause}");
        below = cause.source();
    }
    words
}
