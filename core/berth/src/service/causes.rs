//! Why jobs ended, as data for programs.

use berth_api::Cause;
use berth_model::{End, FailCause, JobState, StopCause};

/// Why a job ended so or is being ended; `None` for one that goes on or has succeeded.
pub fn of_state(state: &JobState) -> Option<Cause> {
    match state {
        JobState::Ended { end } => of_end(end),
        JobState::Stopping { cause, .. } => Some(of_stop(cause)),
        _ => None,
    }
}

/// Why a job ended so; `None` for one that has succeeded.
pub fn of_end(end: &End) -> Option<Cause> {
    Some(match end {
        End::Succeeded => return None,
        End::Failed { cause, .. } => {
            let kind = match cause {
                FailCause::ExitCode { .. } => "exit-code",
                FailCause::Signal { .. } => "signal",
                FailCause::OutOfMemory => "out-of-memory",
                FailCause::CouldNotLaunch { .. } => "could-not-launch",
                FailCause::NodeFailure { .. } => "node-failure",
                FailCause::Tasks => "tasks",
            };
            cause_of(kind, None, cause.to_string())
        }
        End::Killed { cause, .. } => of_stop(cause),
        End::Rejected { by, reason } => cause_of("rejected", Some(by), reason.clone()),
        End::Lost { reason } => cause_of("lost", None, reason.clone()),
    })
}

fn of_stop(cause: &StopCause) -> Cause {
    let (kind, by) = match cause {
        StopCause::User { name } => ("user", Some(name)),
        StopCause::Administrator { name } => ("administrator", Some(name)),
        StopCause::Array => ("array", None),
        StopCause::TimeLimit => ("time-limit", None),
        StopCause::Watcher { name, .. } => ("watcher", Some(name)),
        StopCause::Scheduler { .. } => ("scheduler", None),
        StopCause::Rerun { name } => ("rerun", Some(name)),
    };
    cause_of(kind, by, cause.to_string())
}

fn cause_of(kind: &str, by: Option<&String>, words: String) -> Cause {
    Cause { kind: kind.to_owned(), by: by.cloned(), words }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(end: &End) -> String {
        let cause = of_end(end).unwrap();
        format!("{} {} {}", cause.kind, cause.by.as_deref().unwrap_or("-"), cause.words)
    }

    #[test]
    fn each_end_that_is_no_success_has_a_cause() {
        let killed = |cause| told(&End::Killed { cause, exit_code: None });
        let ann = || "ann".to_owned();
        assert_eq!(killed(StopCause::User { name: ann() }), "user ann by ann");
        assert_eq!(
            killed(StopCause::Administrator { name: ann() }),
            "administrator ann by administrator ann"
        );
        assert_eq!(killed(StopCause::TimeLimit), "time-limit - at its time limit");
        assert_eq!(killed(StopCause::Array), "array - with its array");
        let watcher = StopCause::Watcher { name: "max-lifespan".into(), reason: "too old".into() };
        assert_eq!(killed(watcher), "watcher max-lifespan by watcher max-lifespan: too old");
        let failed = |cause| told(&End::Failed { cause, exit_code: None });
        assert_eq!(failed(FailCause::ExitCode { code: 3 }), "exit-code - exit code 3");
        assert_eq!(failed(FailCause::OutOfMemory), "out-of-memory - out of memory");
        let rejected = End::Rejected { by: "dependency".into(), reason: "after-ok job 3".into() };
        assert_eq!(told(&rejected), "rejected dependency after-ok job 3");
        assert_eq!(told(&End::Lost { reason: "gone".into() }), "lost - gone");
        assert_eq!(of_end(&End::Succeeded), None);
    }

    #[test]
    fn a_job_that_is_being_ended_says_why_and_one_that_goes_on_has_nothing_to_say() {
        let (attempt, cause) =
            (berth_model::Attempt { number: 1, returned: 0 }, Box::new(StopCause::TimeLimit));
        let stopping = JobState::Stopping { attempt, cause, taken: true };
        assert_eq!(of_state(&stopping).unwrap().kind, "time-limit");
        assert_eq!(of_state(&JobState::Running { attempt }), None);
    }
}
