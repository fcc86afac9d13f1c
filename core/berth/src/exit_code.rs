//! The exit codes of every command, and the one place that derives them.

use std::process::ExitCode;

use berth_api::{Cause, ErrorCode};
use serde::Serialize;

/// An exit code with its meaning.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Meaning {
    /// The code.
    pub code: u8,
    /// Whether only commands that follow jobs to their ends give it: `berth run` and `berth wait`.
    pub of_job: bool,
    /// In words.
    pub meaning: &'static str,
}

const fn every(code: u8, meaning: &'static str) -> Meaning {
    Meaning { code, of_job: false, meaning }
}

const fn of_job(code: u8, meaning: &'static str) -> Meaning {
    Meaning { code, of_job: true, meaning }
}

/// All exit codes of Berth's own.
pub const ALL: &[Meaning] = &[
    every(0, "done"),
    every(1, "the thing asked for failed; for some of several jobs, too"),
    every(2, "the command line, a script's #BERTH line, a job file or the job itself makes no sense"),
    every(3, "no server, or it cannot answer now"),
    every(4, "refused: not known, not allowed, or not possible as things stand"),
    every(5, "there is no such job, file, plugin or token"),
    every(6, "it is not known whether it was done; look, such as with `berth jobs`, before doing it again"),
    every(124, "a --timeout was over before what was waited for"),
    every(141, "the reader of the output has gone"),
    of_job(124, "the job was killed at its time limit"),
    of_job(125, "how the job ended is not known: it was lost, or the server could not be asked any more"),
    of_job(126, "the job never ran: it was refused, rejected, or could not be started"),
    of_job(130, "`berth run` was left by a second Ctrl-C while the job goes on"),
    of_job(137, "the job was killed before it had an exit code"),
];

/// What `berth help exit-codes` says.
pub fn help() -> String {
    let list = |of_job: bool| {
        let some = ALL.iter().filter(move |one| one.of_job == of_job);
        some.map(|one| format!("{:>5}  {}", one.code, one.meaning)).collect::<Vec<_>>().join("\n")
    };
    format!(
        "Every command:\n{}\n\n`berth run` and `berth wait` give the job's own exit code, 128 + N for one ended by \
         signal N, and the\nhighest one of several. Where a job has none, was stopped by its limit, or Berth is at \
         fault:\n{}",
        list(false),
        list(true)
    )
}

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Status(u8);

impl Status {
    /// Done.
    pub const OK: Self = Self(0);
    /// The thing asked for failed.
    pub const FAILED: Self = Self(1);
    /// What was typed makes no sense.
    pub const USAGE: Self = Self(2);
    /// No server answers.
    pub const NO_SERVER: Self = Self(3);
    /// Refused.
    pub const REFUSED: Self = Self(4);
    /// There is no such thing.
    pub const NOT_FOUND: Self = Self(5);
    /// It may or may not have been done.
    pub const UNKNOWN_OUTCOME: Self = Self(6);
    /// A time-out of the command's own was over, or the job's time limit.
    pub const TIMED_OUT: Self = Self(124);
    /// How the job ended is not known.
    pub const UNKNOWN_END: Self = Self(125);
    /// The job never ran.
    pub const NEVER_RAN: Self = Self(126);
    /// Left by a second Ctrl-C.
    pub const INTERRUPTED: Self = Self(130);
    /// Killed before it had an exit code.
    pub const KILLED: Self = Self(137);
    /// Nobody reads the output any more.
    pub const BROKEN_PIPE: Self = Self(141);

    /// For a "no" of the server.
    pub fn of_refusal(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Invalid | ErrorCode::TooLarge => Self::USAGE,
            ErrorCode::Unauthenticated | ErrorCode::Forbidden | ErrorCode::Conflict | ErrorCode::Unable => {
                Self::REFUSED
            }
            ErrorCode::NotFound => Self::NOT_FOUND,
            ErrorCode::TooMany | ErrorCode::Unavailable | ErrorCode::StandsBy => Self::NO_SERVER,
            ErrorCode::UnknownOutcome => Self::UNKNOWN_OUTCOME,
            ErrorCode::Internal => Self::FAILED,
        }
    }

    /// For a job that is over: its own code, or one that says why it has none. One that was killed at its time
    /// limit has the code that `timeout` gives, whatever its signal was.
    pub fn of_job(state: &str, exit_code: Option<i32>, cause: Option<&Cause>) -> Self {
        match (state, exit_code) {
            ("killed", _) if cause.is_some_and(|cause| cause.kind == "time-limit") => Self::TIMED_OUT,
            // Only the low byte reaches a parent process; a code beyond it must not turn into a success.
            (_, Some(code)) => Self(u8::try_from(code).unwrap_or(255)),
            ("succeeded", None) => Self::OK,
            ("killed", None) => Self::KILLED,
            ("rejected" | "failed", None) => Self::NEVER_RAN,
            _ => Self::UNKNOWN_END,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        status.0.into()
    }
}

/// Whether a job in this state is over.
pub fn is_over(state: &str) -> bool {
    matches!(state, "succeeded" | "failed" | "killed" | "rejected" | "lost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(state: &str, exit_code: Option<i32>) -> Status {
        Status::of_job(state, exit_code, None)
    }

    #[test]
    fn a_jobs_own_code_is_passed_on_and_never_becomes_a_success_by_accident() {
        assert_eq!(of("failed", Some(3)), Status(3));
        assert_eq!(of("killed", Some(143)), Status(143));
        assert_eq!(of("failed", Some(256)), Status(255));
        assert_eq!(of("failed", Some(-1)), Status(255));
    }

    #[test]
    fn a_job_without_a_code_says_why() {
        assert_eq!(of("succeeded", None), Status::OK);
        assert_eq!(of("killed", None), Status::KILLED);
        assert_eq!(of("rejected", None), Status::NEVER_RAN);
        assert_eq!(of("failed", None), Status::NEVER_RAN);
        assert_eq!(of("lost", None), Status::UNKNOWN_END);
    }

    #[test]
    fn a_time_limit_has_a_code_of_its_own() {
        let cause = |kind: &str| Cause { kind: kind.into(), by: None, words: String::new() };
        let status = |kind| Status::of_job("killed", Some(143), Some(&cause(kind)));
        assert_eq!(status("time-limit"), Status::TIMED_OUT);
        assert_eq!(status("user"), Status(143));
    }

    #[test]
    fn every_code_is_told_once_for_each_kind_of_command() {
        let codes = |of_job| -> Vec<u8> {
            ALL.iter().filter(|one| one.of_job == of_job).map(|one| one.code).collect()
        };
        assert_eq!(codes(false), [0, 1, 2, 3, 4, 5, 6, 124, 141]);
        assert_eq!(codes(true), [124, 125, 126, 130, 137]);
        assert!(help().contains("    5  there is no such job"), "{}", help());
    }
}
