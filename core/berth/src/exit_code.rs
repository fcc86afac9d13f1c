//! The exit codes of every command, and the one place that derives them.

use std::process::ExitCode;

use berth_api::ErrorCode;
use serde::Serialize;

/// What `berth help exit-codes` says.
pub const HELP: &str = "\
Every command:
    0  done
    1  the thing asked for failed; for some of several jobs, too
    2  the command line, a script's #BERTH line, a job file or the job itself makes no sense
    3  no server, or it cannot answer now
    4  refused: not known, not allowed, or not possible as things stand
    5  there is no such job, file, plugin or token
  124  a --timeout was over before what was waited for
  141  the reader of the output has gone

`berth run` and `berth wait` give the job's own exit code, 128 + N for one ended by signal N, and the
highest one of several. Where a job has none, or Berth is at fault:
  125  how the job ended is not known: it was lost, or the server could not be asked any more
  126  the job never ran: it was refused, rejected, or could not be started
  130  `berth run` was left by a second Ctrl-C while the job goes on
  137  the job was killed before it had an exit code";

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
    /// A time-out of the command's own was over.
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
            ErrorCode::TooMany | ErrorCode::Unavailable => Self::NO_SERVER,
            ErrorCode::Internal => Self::FAILED,
        }
    }

    /// For a job that is over: its own code, or one that says why it has none.
    pub fn of_job(state: &str, exit_code: Option<i32>) -> Self {
        match (state, exit_code) {
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

    #[test]
    fn a_jobs_own_code_is_passed_on_and_never_becomes_a_success_by_accident() {
        assert_eq!(Status::of_job("failed", Some(3)), Status(3));
        assert_eq!(Status::of_job("killed", Some(143)), Status(143));
        assert_eq!(Status::of_job("failed", Some(256)), Status(255));
        assert_eq!(Status::of_job("failed", Some(-1)), Status(255));
    }

    #[test]
    fn a_job_without_a_code_says_why() {
        assert_eq!(Status::of_job("succeeded", None), Status::OK);
        assert_eq!(Status::of_job("killed", None), Status::KILLED);
        assert_eq!(Status::of_job("rejected", None), Status::NEVER_RAN);
        assert_eq!(Status::of_job("failed", None), Status::NEVER_RAN);
        assert_eq!(Status::of_job("lost", None), Status::UNKNOWN_END);
    }

    #[test]
    fn the_text_names_every_code() {
        let said: Vec<&str> = HELP.lines().filter_map(|line| line.split_whitespace().next()).collect();
        for status in [0, 1, 2, 3, 4, 5, 124, 125, 126, 130, 137, 141] {
            assert!(said.contains(&status.to_string().as_str()), "{status}");
        }
    }
}
