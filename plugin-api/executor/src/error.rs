//! What can go wrong between Berth and a back end.

use std::time::Duration;

/// The cause of an error, where there is one.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an executor could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorError {
    /// Retryable. No answer: what was asked may or may not have been done.
    #[error("{backend} did not answer within {waited:?}")]
    Unreachable {
        /// Which back end.
        backend: String,
        /// How long it was waited for.
        waited: Duration,
        /// What the connection said.
        #[source]
        source: BoxError,
    },
    /// Permanent for this job: it will never be taken as written.
    #[error("{backend} refused the job: {reason}")]
    Refused {
        /// Which back end.
        backend: String,
        /// In its words.
        reason: String,
    },
    /// Permanent for this executor: nothing works until someone changes its settings.
    #[error("{backend} cannot be used: {reason}")]
    Unusable {
        /// Which back end.
        backend: String,
        /// Why, and what to do about it.
        reason: String,
    },
    /// The executor does not offer this, as `describe` says.
    #[error("{backend} cannot {what}")]
    Unsupported {
        /// Which back end.
        backend: String,
        /// What was asked.
        what: &'static str,
    },
    /// The back end knows no such attempt.
    #[error("{backend} knows no attempt {attempt}")]
    UnknownAttempt {
        /// Which back end.
        backend: String,
        /// The name that was asked for.
        attempt: String,
    },
    /// The executor itself failed, as one from a library that panicked or whose answer makes no sense. What was
    /// asked may or may not have been done.
    #[error("the executor {backend} failed: {words}")]
    Broken {
        /// Which.
        backend: String,
        /// What it said.
        words: String,
    },
}
