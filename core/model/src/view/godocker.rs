//! GO-Docker's primary and secondary status, as a view of Berth's states.

use crate::{End, JobState, StopCause};

/// GO-Docker's pair of status words. An empty secondary means that all is as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// `pending`, `running`, `over`.
    pub primary: &'static str,
    /// The finer word.
    pub secondary: &'static str,
}

/// What happened on the way to the present state, as far as GO-Docker tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// It is pending again after a rerun or a node failure.
    pub rescheduled: bool,
    /// The back end gave it back, or no node had room.
    pub no_room: bool,
    /// It was suspended and runs again.
    pub resumed: bool,
    /// A suspend was asked for and not yet confirmed.
    pub suspend_asked: bool,
    /// A resume was asked for and not yet confirmed.
    pub resume_asked: bool,
    /// The last suspend could not be done.
    pub suspend_refused: bool,
    /// The last resume could not be done.
    pub resume_refused: bool,
}

/// GO-Docker's words for where a job stands.
#[must_use]
pub fn status(state: &JobState, past: Past) -> Status {
    let of = |primary, secondary| Status { primary, secondary };
    match state {
        JobState::Held { .. } | JobState::Pending if past.rescheduled => of("pending", "rescheduled"),
        JobState::Held { .. } | JobState::Pending if past.suspend_refused => {
            of("pending", "suspend rejected")
        }
        JobState::Pending if past.no_room => of("pending", "rejected by scheduler"),
        JobState::Held { .. } | JobState::Pending => of("pending", ""),
        JobState::Starting { .. } | JobState::Running { .. } => of("running", running(past)),
        JobState::Suspended { .. } if past.resume_asked => of("running", "resume requested"),
        JobState::Suspended { .. } => of("running", "suspended"),
        JobState::Stopping { cause, .. } => match **cause {
            StopCause::Rerun { .. } => of("running", "reschedule requested"),
            _ => of("running", "kill requested"),
        },
        JobState::Ended { end } => of("over", over(end)),
    }
}

fn running(past: Past) -> &'static str {
    match past {
        Past { suspend_asked: true, .. } => "suspend requested",
        Past { suspend_refused: true, .. } => "suspend rejected",
        Past { resume_refused: true, .. } => "resume rejected",
        Past { resumed: true, .. } => "resumed",
        _ => "",
    }
}

fn over(end: &End) -> &'static str {
    match end {
        End::Succeeded | End::Failed { .. } => "",
        End::Killed { .. } => "killed",
        End::Rejected { by, .. } if by == "quota" => "quota reached",
        End::Rejected { .. } => "rejected by scheduler",
        End::Lost { .. } => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attempt, Hold, Holds};

    const A: Attempt = Attempt { number: 1, returned: 0 };

    fn words(state: &JobState, past: Past) -> (&'static str, &'static str) {
        let Status { primary, secondary } = status(state, past);
        (primary, secondary)
    }

    #[test]
    fn every_row_of_the_status_table_has_its_words() {
        let usual = Past::default();
        let running = JobState::Running { attempt: A };
        let suspended = JobState::Suspended { attempt: A };
        let held = JobState::Held { holds: Holds::NONE.with(Hold::User) };
        let stopping = |cause| JobState::Stopping { attempt: A, cause: Box::new(cause), taken: true };
        let ended = |end| JobState::Ended { end: Box::new(end) };
        let user = || StopCause::User { name: "ada".into() };
        let rejected = |by: &str| End::Rejected { by: by.into(), reason: "no".into() };
        let table = [
            (held, usual, ("pending", "")),
            (JobState::Pending, usual, ("pending", "")),
            (JobState::Pending, Past { no_room: true, ..usual }, ("pending", "rejected by scheduler")),
            (JobState::Pending, Past { rescheduled: true, ..usual }, ("pending", "rescheduled")),
            (JobState::Pending, Past { suspend_refused: true, ..usual }, ("pending", "suspend rejected")),
            (JobState::Starting { attempt: A, taken: false }, usual, ("running", "")),
            (running.clone(), usual, ("running", "")),
            (running.clone(), Past { suspend_asked: true, ..usual }, ("running", "suspend requested")),
            (running.clone(), Past { suspend_refused: true, ..usual }, ("running", "suspend rejected")),
            (running.clone(), Past { resume_refused: true, ..usual }, ("running", "resume rejected")),
            (running, Past { resumed: true, ..usual }, ("running", "resumed")),
            (suspended.clone(), usual, ("running", "suspended")),
            (suspended, Past { resume_asked: true, ..usual }, ("running", "resume requested")),
            (stopping(user()), usual, ("running", "kill requested")),
            (stopping(StopCause::Rerun { name: "ada".into() }), usual, ("running", "reschedule requested")),
            (ended(End::Succeeded), usual, ("over", "")),
            (ended(End::Killed { cause: user(), exit_code: None }), usual, ("over", "killed")),
            (ended(rejected("quota")), usual, ("over", "quota reached")),
            (ended(rejected("fifo")), usual, ("over", "rejected by scheduler")),
            (ended(End::Lost { reason: "gone".into() }), usual, ("over", "unknown")),
        ];
        for (state, past, expected) in table {
            assert_eq!(words(&state, past), expected, "{state:?} {past:?}");
        }
    }
}
