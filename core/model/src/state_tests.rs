use proptest::prelude::*;

use super::*;
use crate::UtcMs;

const A: Attempt = Attempt { number: 1, returned: 0 };
const OTHER: Attempt = Attempt { number: 2, returned: 0 };

fn killer() -> StopCause {
    StopCause::User { name: "ada".into() }
}

fn again() -> StopCause {
    StopCause::Rerun { name: "ada".into() }
}

fn exit(code: i32) -> Exit {
    Exit { code: Some(code), at: UtcMs(1), ..Exit::default() }
}

fn stopping(cause: StopCause) -> JobState {
    JobState::Stopping { attempt: A, cause: Box::new(cause), taken: true }
}

fn ended(end: End) -> JobState {
    JobState::Ended { end: Box::new(end) }
}

fn moved(step: Step) -> JobState {
    match step {
        Step::Moved(state) => state,
        other => panic!("expected a move, got {other:?}"),
    }
}

#[test]
fn a_job_goes_from_pending_to_its_own_end() {
    let starting = moved(JobState::Pending.on(&JobEvent::Allocated(A)));
    let taken = moved(starting.on(&JobEvent::Taken(A)));
    let running = moved(taken.on(&JobEvent::Started(A)));
    assert_eq!(running, JobState::Running { attempt: A });
    assert_eq!(running.on(&JobEvent::Exited(A, exit(0))), Step::Moved(ended(End::Succeeded)));
}

#[test]
fn a_job_that_exits_before_it_was_seen_running_ends_all_the_same() {
    let starting = JobState::Starting { attempt: A, taken: false };
    let end = moved(starting.on(&JobEvent::Exited(A, exit(3))));
    assert_eq!(end.kind(), StateKind::Failed);
}

#[test]
fn every_hold_has_to_go_before_a_job_is_pending() {
    let held = moved(JobState::Pending.on(&JobEvent::Hold(Hold::User)));
    let held = moved(held.on(&JobEvent::Hold(Hold::Administrator)));
    let held = moved(held.on(&JobEvent::Release(Hold::User)));
    assert_eq!(held, JobState::Held { holds: Holds::NONE.with(Hold::Administrator) });
    assert_eq!(moved(held.on(&JobEvent::Release(Hold::Administrator))), JobState::Pending);
}

#[test]
fn an_end_before_the_stop_was_sent_stands() {
    let late = Exit { before_stop: true, ..exit(0) };
    assert_eq!(stopping(killer()).on(&JobEvent::Exited(A, late)), Step::Moved(ended(End::Succeeded)));
}

#[test]
fn a_stop_that_was_sent_makes_the_end_killed_with_the_code_kept() {
    let end = End::Killed { cause: killer(), exit_code: Some(143) };
    assert_eq!(stopping(killer()).on(&JobEvent::Exited(A, exit(143))), Step::Moved(ended(end)));
}

#[test]
fn what_is_stopped_to_run_again_goes_back_to_pending() {
    assert_eq!(moved(stopping(again()).on(&JobEvent::Exited(A, exit(143)))), JobState::Pending);
}

#[test]
fn a_kill_outranks_the_wish_to_run_again() {
    assert_eq!(moved(stopping(again()).on(&JobEvent::StopAsked(killer()))), stopping(killer()));
    assert!(matches!(stopping(killer()).on(&JobEvent::StopAsked(again())), Step::NoNews(_)));
}

#[test]
fn an_unknown_fate_is_lost_even_while_stopping() {
    let lost = moved(stopping(killer()).on(&JobEvent::Lost(A, "gone".into())));
    assert_eq!(lost.kind(), StateKind::Lost);
}

#[test]
fn a_killed_job_that_never_ran_counts_as_137() {
    let killed = moved(JobState::Pending.on(&JobEvent::StopAsked(killer())));
    let JobState::Ended { end } = killed else { panic!("not ended") };
    assert_eq!(end.exit_code(), Some(137));
}

fn any_state() -> impl Strategy<Value = JobState> {
    prop_oneof![
        (1u8..32).prop_map(|bits| JobState::Held {
            holds: Hold::ALL.into_iter().filter(|&hold| bits & hold as u8 != 0).collect()
        }),
        Just(JobState::Pending),
        any::<bool>().prop_map(|taken| JobState::Starting { attempt: A, taken }),
        Just(JobState::Running { attempt: A }),
        Just(JobState::Suspended { attempt: A }),
        Just(stopping(killer())),
        Just(stopping(again())),
        Just(ended(End::Succeeded)),
        Just(ended(End::Lost { reason: "gone".into() })),
    ]
}

fn any_event() -> impl Strategy<Value = JobEvent> {
    let attempt = prop_oneof![Just(A), Just(OTHER)];
    let hold = prop::sample::select(Hold::ALL.to_vec());
    (0..15u8, attempt, hold, any::<bool>()).prop_map(|(which, attempt, hold, flag)| match which {
        0 => JobEvent::Hold(hold),
        1 => JobEvent::Release(hold),
        2 => JobEvent::Allocated(attempt),
        3 => JobEvent::Taken(attempt),
        4 => JobEvent::Started(attempt),
        5 => JobEvent::Suspended(attempt),
        6 => JobEvent::Resumed(attempt),
        7 => JobEvent::NoRoom(attempt),
        8 => JobEvent::Exited(attempt, Exit { before_stop: flag, ..exit(i32::from(flag)) }),
        9 => JobEvent::Lost(attempt, "gone".into()),
        10 => JobEvent::NodeGoneRetry(attempt),
        11 => JobEvent::NodeGone(attempt, "gone".into()),
        12 => JobEvent::StopAsked(if flag { killer() } else { again() }),
        13 => JobEvent::Rejected { by: "fifo".into(), reason: "no".into() },
        _ => JobEvent::RerunAsked,
    })
}

proptest! {
    // Most states are no end, and most events name an attempt.
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn an_end_is_final_but_for_a_rerun(state in any_state(), event in any_event()) {
        prop_assume!(state.kind().is_end());
        match state.on(&event) {
            Step::Moved(next) => {
                prop_assert_eq!(event, JobEvent::RerunAsked);
                prop_assert_eq!(next, JobState::Pending);
            }
            Step::NoNews(_) | Step::Refused(_) => {}
        }
    }

    #[test]
    fn a_report_about_another_attempt_changes_nothing(state in any_state(), event in any_event()) {
        prop_assume!(event.attempt().is_some() && event.attempt() != state.attempt());
        prop_assert!(matches!(state.on(&event), Step::NoNews(_)));
    }

    #[test]
    fn the_same_event_twice_moves_once(state in any_state(), event in any_event()) {
        // Allocating and rerunning are commands, guarded by the engine; all else may be an echo.
        prop_assume!(!matches!(event, JobEvent::Allocated(_) | JobEvent::RerunAsked));
        if let Step::Moved(next) = state.on(&event) {
            prop_assert!(!matches!(next.on(&event), Step::Moved(_)), "{:?} moved by an echo", next);
        }
    }

    #[test]
    fn only_an_allocation_makes_a_job_start(state in any_state(), event in any_event()) {
        if let Step::Moved(JobState::Starting { .. }) = state.on(&event) {
            let confirmed = matches!((&state, &event), (JobState::Starting { .. }, JobEvent::Taken(_)));
            prop_assert!(confirmed || (state == JobState::Pending && matches!(event, JobEvent::Allocated(_))));
        }
    }
}
