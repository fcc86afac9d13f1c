//! What goes wrong between the executor and the API server.

use std::{error::Error, time::Duration};

use berth_executor_api::ExecutorError;
use kube::core::Status;

use crate::BACKEND;

/// Why a question has no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KubeError {
    /// Nobody knows whether it was done.
    #[error("{words}")]
    Unreachable { words: String },
    /// The server does not know who Berth is; nothing was done.
    #[error("the API server does not accept Berth's credentials: {words}")]
    Stranger { words: String },
    /// The server said no, and nothing was done.
    #[error("{}", said(.0))]
    Refused(Box<Status>),
    /// The server failed, perhaps after it was done.
    #[error("the API server failed: {}", said(.0))]
    Failed(Box<Status>),
}

fn said(status: &Status) -> String {
    match (status.message.as_str(), status.reason.as_str()) {
        ("", "") => format!("status {}", status.code),
        ("", reason) => reason.to_owned(),
        (message, _) => message.to_owned(),
    }
}

impl KubeError {
    pub fn of(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status),
            // It has answered, only not in a way that makes sense.
            error @ (kube::Error::SerdeError(_) | kube::Error::FromUtf8(_)) => {
                Self::Failed(Box::new(Status { message: with_causes(&error), ..Status::default() }))
            }
            other => Self::Unreachable { words: with_causes(&other) },
        }
    }

    pub fn of_status(status: Box<Status>) -> Self {
        match status.code {
            401 => Self::Stranger { words: said(&status) },
            // Too busy, after all tries; or a fault of its own.
            429 | 500.. => Self::Failed(status),
            _ => Self::Refused(status),
        }
    }

    pub fn is_missing(&self) -> bool {
        self.code() == Some(404)
    }

    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(status) | Self::Failed(status) => Some(status.code),
            Self::Unreachable { .. } | Self::Stranger { .. } => None,
        }
    }

    /// Whether its message or one of its causes has this text.
    pub fn says(&self, text: &str) -> bool {
        let (Self::Refused(status) | Self::Failed(status)) = self else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        status.message.contains(text)
            || causes.into_iter().any(|cause| cause.reason.contains(text) || cause.message.contains(text))
    }

    pub fn for_executor(self, waited: Duration) -> ExecutorError {
        let backend = BACKEND.into();
        match self {
            Self::Refused(_) => ExecutorError::Refused { backend, reason: self.to_string() },
            Self::Unreachable { .. } | Self::Stranger { .. } | Self::Failed(_) => {
                ExecutorError::Unreachable { backend, waited, source: self.to_string().into() }
            }
        }
    }
}

/// An error with its causes, each once, on one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        next = cause.source();
    }
    words.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_sense_is_an_answer() {
        let nonsense = serde_json::from_str::<u8>("{}").unwrap_err();
        assert!(matches!(KubeError::of(kube::Error::SerdeError(nonsense)), KubeError::Failed(_)));
    }

    fn of(code: u16) -> KubeError {
        KubeError::of_status(Box::new(Status { code, message: "no".into(), ..Status::default() }))
    }

    #[test]
    fn only_a_clear_no_is_a_refusal() {
        for code in [400, 403, 404, 409, 410, 413, 422] {
            assert!(matches!(of(code), KubeError::Refused(_)), "{code}");
        }
        for code in [429, 500, 503, 504] {
            let error = of(code).for_executor(Duration::ZERO);
            assert!(matches!(error, ExecutorError::Unreachable { .. }), "{code}: {error}");
        }
        assert!(matches!(of(401).for_executor(Duration::ZERO), ExecutorError::Unreachable { .. }));
    }
}
