//! What came out.

use std::fmt;

use crate::ExecutorError;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it held.
    Passed,
    /// Something did not hold; these words say what.
    Failed(String),
    /// The executor or its fixture does not offer this.
    NotSupported(&'static str),
}

/// One case and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// The claim.
    pub name: &'static str,
    /// Whether it held.
    pub outcome: Outcome,
}

/// All cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The executor's kind.
    pub executor: String,
    /// The cases, in the order that they were run in.
    pub cases: Vec<CaseResult>,
}

impl Report {
    /// The names of the cases that failed.
    #[must_use]
    pub fn failed(&self) -> Vec<&'static str> {
        let failed = |case: &&CaseResult| matches!(case.outcome, Outcome::Failed(_));
        self.cases.iter().filter(failed).map(|case| case.name).collect()
    }

    /// Whether nothing failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed().is_empty()
    }

    /// For tests.
    ///
    /// # Panics
    /// When a case failed, or none was run, with the table.
    pub fn assert_passed(&self) {
        assert!(self.passed() && !self.cases.is_empty(), "\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
        for CaseResult { name, outcome } in &self.cases {
            match outcome {
                Outcome::Passed => writeln!(f, "{name:width$}  passed")?,
                Outcome::Failed(words) => writeln!(f, "{name:width$}  FAILED: {words}")?,
                Outcome::NotSupported(what) => writeln!(f, "{name:width$}  not supported: {what}")?,
            }
        }
        let count =
            |wanted: fn(&Outcome) -> bool| self.cases.iter().filter(|case| wanted(&case.outcome)).count();
        let passed = count(|outcome| *outcome == Outcome::Passed);
        let missing = count(|outcome| matches!(outcome, Outcome::NotSupported(_)));
        let failed = self.failed().len();
        write!(f, "{}: {passed} passed, {failed} failed, {missing} not supported", self.executor)
    }
}

/// Why a case did not pass.
#[derive(Debug)]
pub(super) enum Miss {
    Failed(String),
    Lacks(&'static str),
}

impl From<ExecutorError> for Miss {
    fn from(error: ExecutorError) -> Self {
        Self::Failed(format!("the executor said: {error}"))
    }
}

/// Ends the case with words unless something holds.
macro_rules! ensure {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err($crate::conformance::report::Miss::Failed(format!($($words)+)));
        }
    };
}
pub(super) use ensure;
