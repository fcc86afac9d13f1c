//! What an engine's answers mean for those who asked.

use std::time::Duration;

use berth_executor_api::{BoxError, ExecutorError};
use bollard::errors::Error;

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody knows whether it was done: no connection, no answer in time, or none that makes sense.
    #[error("the engine does not answer: {words}")]
    Unreachable {
        /// What happened, for people.
        words: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The engine said no.
    #[error("{message}")]
    Refused {
        /// As in HTTP.
        status: u16,
        /// In the engine's words.
        message: String,
    },
    /// What was asked cannot be sent at all.
    #[error("the question cannot be put to the engine: {0}")]
    Unsendable(String),
}

impl EngineError {
    /// Whether the engine answered that there is no such thing.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether what was asked contradicts what is: the name is taken, it does not run, it runs already.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    /// Whether it is not known if it was done.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether the engine's words contain this, in whatever case.
    #[must_use]
    pub fn says(&self, part: &str) -> bool {
        match self {
            Self::Refused { message, .. } => message.to_lowercase().contains(&part.to_lowercase()),
            Self::Unreachable { .. } | Self::Unsendable(_) => false,
        }
    }

    /// The error for whoever asked the executor; a no of the engine's is one for good.
    #[must_use]
    pub fn for_executor(self, backend: &str) -> ExecutorError {
        let backend = backend.to_owned();
        match self {
            Self::Unreachable { words, waited } => {
                ExecutorError::Unreachable { backend, waited, source: BoxError::from(words) }
            }
            refused => ExecutorError::Refused { backend, reason: refused.to_string() },
        }
    }
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self::Refused { status: status_code, message: message.trim().to_owned() }
            }
            // Told in the middle of an answer that had begun well.
            Error::DockerStreamError { error } => {
                Self::Refused { status: 500, message: error.trim().to_owned() }
            }
            Error::DockerContainerWaitError { error, code } => {
                Self::Refused { status: 500, message: format!("{error} (exit code {code})") }
            }
            Error::RequestTimeoutError => unreachable("no answer in time".into()),
            Error::JsonDataError { message, .. } => unreachable(nonsense(&message)),
            Error::JsonSerdeError { err } => unreachable(nonsense(&err)),
            Error::APIVersionParseError {} => unreachable(nonsense(&"it names no version of the API")),
            Error::StrParseError { err } => unreachable(nonsense(&err)),
            Error::URLEncodedError { err } => Self::Unsendable(err.to_string()),
            Error::URLParseError { err } => Self::Unsendable(err.to_string()),
            Error::InvalidURIError { err } => Self::Unsendable(err.to_string()),
            Error::InvalidURIPartsError { err } => Self::Unsendable(err.to_string()),
            Error::HttpClientError { err } => Self::Unsendable(err.to_string()),
            other => unreachable(with_causes(&other)),
        }
    }
}

fn unreachable(words: String) -> EngineError {
    EngineError::Unreachable { words, waited: Duration::ZERO }
}

fn nonsense(what: &dyn std::fmt::Display) -> String {
    format!("what answers there does not speak as a Docker Engine does: {what}")
}

/// An error with what caused it. Causes that the text repeats already are left out.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_silence() {
        let said = |status_code| {
            EngineError::from(Error::DockerResponseServerError {
                status_code,
                message: "No such thing\n".into(),
            })
        };
        assert!(said(404).is_missing() && !said(404).is_conflict() && !said(404).is_unreachable());
        assert!(said(409).is_conflict());
        assert!(said(500).says("no SUCH"));
        assert_eq!(said(500).to_string(), "No such thing");
        let silent = EngineError::from(Error::RequestTimeoutError);
        assert!(silent.is_unreachable());
        assert!(matches!(silent.for_executor("docker"), ExecutorError::Unreachable { .. }));
        assert!(matches!(said(400).for_executor("docker"), ExecutorError::Refused { .. }));
    }

    #[test]
    fn garbage_counts_as_no_answer() {
        let garbage = serde_json::from_str::<u32>("<html>").unwrap_err();
        let error = EngineError::from(Error::JsonSerdeError { err: garbage });
        assert!(error.is_unreachable());
        assert!(error.to_string().contains("does not speak"), "{error}");
    }
}
