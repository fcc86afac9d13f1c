//! What can become of a call to an executor.

use std::{sync::Arc, time::Duration};

use berth_executor_api::{ExecutorError, UtcMs};

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The back end is away; it was not even asked.
    #[error("{executor} is unreachable: {words}")]
    Away {
        /// Which executor.
        executor: Arc<str>,
        /// The back end's words.
        words: String,
        /// When it is looked for again.
        next_try: UtcMs,
    },
    /// No answer came in time. What was asked may or may not have been done.
    #[error("{executor} did not answer {call} within {waited:?}")]
    TimedOut {
        /// Which executor.
        executor: Arc<str>,
        /// What was asked.
        call: &'static str,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The plugin failed: it panicked, or its library did. What was asked may or may not have been done.
    #[error("the plugin of {executor} broke down in {call}: {words}")]
    BrokeDown {
        /// Which executor.
        executor: Arc<str>,
        /// What was asked.
        call: &'static str,
        /// What it said.
        words: String,
    },
    /// The answer has not one part for each attempt, so none of it can be believed.
    #[error("{executor} answered {call} about {asked} attempts with {got} parts")]
    WrongAnswer {
        /// Which executor.
        executor: Arc<str>,
        /// What was asked.
        call: &'static str,
        /// About how many attempts.
        asked: usize,
        /// Parts of the answer.
        got: usize,
    },
    /// The executor said why.
    #[error("{executor}")]
    Executor {
        /// Which executor.
        executor: Arc<str>,
        /// What it said.
        #[source]
        source: ExecutorError,
    },
}

impl CallError {
    /// Whether the back end may nevertheless have done what was asked. If so, reconcile before the
    /// next try.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::Away { .. } => false,
            Self::TimedOut { .. } | Self::BrokeDown { .. } | Self::WrongAnswer { .. } => true,
            Self::Executor { source, .. } => matches!(source, ExecutorError::Unreachable { .. }),
        }
    }

    /// Whether it was the way to the back end that failed, so that a later try may go better.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Away { .. } | Self::TimedOut { .. } => true,
            Self::BrokeDown { .. } | Self::WrongAnswer { .. } => false,
            Self::Executor { source, .. } => matches!(source, ExecutorError::Unreachable { .. }),
        }
    }

    /// All of it in one line, causes included, for people.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = match self {
            Self::Executor { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        if let Self::Executor { source: ExecutorError::Unreachable { source, .. }, .. } = self {
            words.push_str(": ");
            words.push_str(&source.to_string());
        }
        words
    }
}

/// Why an executor cannot be registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The name is taken.
    #[error("there are two executors called {name:?}; give one of them another name")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The plugin panicked before it was of any use.
    #[error("the plugin of executor {name:?} broke down at its start: {words}")]
    BrokeDown {
        /// The executor's name.
        name: String,
        /// What it said.
        words: String,
    },
}
