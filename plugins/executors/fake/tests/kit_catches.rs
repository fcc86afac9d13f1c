//! The conformance kit against executors that break the contract: each fault fails the cases that
//! look at it.

mod fixture;

use std::collections::BTreeSet;

use berth_executor_api::conformance::run;

use crate::fixture::{Fake, Fault};

/// Each fault with a case that must notice.
const FAULTS: [(Fault, &str); 43] = [
    (Fault::RunsTwice, "launched_twice_runs_once"),
    (Fault::RunsTwice, "launched_again_after_a_restart_runs_once"),
    (Fault::RunsTwice, "the_truth_is_known_after_mending"),
    (Fault::ForgetsAfterRestart, "a_running_attempt_is_adopted"),
    (Fault::ForgetsAfterRestart, "an_exit_code_is_known_after_a_restart"),
    (Fault::ForgetsAfterRestart, "what_ended_while_berth_was_away_is_known"),
    (Fault::AbsentWhenCut, "cut_off_says_nothing_false"),
    (Fault::TakenWhenCut, "cut_off_says_nothing_false"),
    (Fault::ExitWhenCut, "cut_off_says_nothing_false"),
    (Fault::ClaimsSuspend, "describe_is_honest"),
    (Fault::ClaimsTimeLimit, "the_time_limit_ends_a_job"),
    (Fault::HidesLogs, "describe_is_honest"),
    (Fault::EveryCodeIsZero, "exit_codes_are_told"),
    (Fault::ForgetsSignals, "a_signal_is_told"),
    (Fault::ForgetsSignals, "no_grace_kills_at_once"),
    (Fault::NeverTellsTheEnd, "exit_codes_are_told"),
    (Fault::TellsRunningLast, "reports_come_in_order"),
    (Fault::AnswersBackwards, "a_batch_is_answered_in_order"),
    (Fault::TruthsBackwards, "what_was_never_launched_is_absent"),
    (Fault::AbsentIsUncertain, "what_was_never_launched_is_absent"),
    (Fault::OutputsAreOne, "outputs_are_whole_and_separate"),
    (Fault::TailIsHead, "a_tail_is_the_end"),
    (Fault::FollowGoesOn, "following_ends_with_the_job"),
    (Fault::CutsLogsShort, "outputs_are_whole_and_separate"),
    (Fault::OnlyAsksKindly, "a_deaf_job_is_killed_after_the_grace"),
    (Fault::OnlyKills, "a_job_ends_when_asked_to"),
    (Fault::KillOfUnknownIsError, "ending_what_is_over_or_unknown_is_no_error"),
    (Fault::StopIsNeverSeen, "a_deaf_job_is_killed_after_the_grace"),
    (Fault::StopIsAlwaysSeen, "an_end_before_the_stop_says_so"),
    (Fault::MissingIsSuccess, "a_command_that_is_not_there_is_told"),
    (Fault::ForgetsTimeLimits, "the_time_limit_ends_a_job"),
    (Fault::StatsOfNothing, "stats_are_told_of_what_runs"),
    (Fault::SuspendDoesNothing, "suspended_stands_still_until_resumed"),
    (Fault::SuspendDoesNothing, "a_suspended_job_can_be_ended"),
    (Fault::SignalsAreLost, "a_signal_arrives"),
    (Fault::HidesAttempts, "what_it_has_is_listed_until_it_is_removed"),
    (Fault::RemoveEndsJobs, "what_runs_is_not_removed"),
    (Fault::RemoveDoesNothing, "what_is_removed_is_absent"),
    (Fault::DryRunCleans, "a_clean_up_leaves_nothing"),
    (Fault::CleanupLeavesAll, "a_clean_up_leaves_nothing"),
    (Fault::LastIsOneTooMany, "array_tasks_know_their_place"),
    (Fault::UsersOverride, "array_tasks_know_their_place"),
    (Fault::NoNodes, "capacity_is_there_and_stays"),
];

#[tokio::test(start_paused = true)]
async fn every_fault_is_caught() {
    for (fault, case) in FAULTS {
        let report = run(&Fake::in_memory(fault)).await;
        assert!(report.failed().contains(&case), "{fault:?} passed {case}:\n{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn panics_and_hangs_fail_their_case_and_not_the_suite() {
    for (fault, words) in [(Fault::Panics, "panicked"), (Fault::Hangs, "took longer")] {
        let report = run(&Fake::in_memory(fault)).await;
        assert_eq!(report.failed(), ["describe_is_honest", "a_signal_arrives"], "{report}");
        assert!(report.to_string().contains(words), "{report}");
    }
}

/// No case is one that cannot fail.
#[tokio::test(start_paused = true)]
async fn every_case_can_fail() {
    let mut failed = BTreeSet::new();
    for (fault, _) in FAULTS {
        failed.extend(run(&Fake::in_memory(fault)).await.failed());
    }
    let all = run(&Fake::in_memory(Fault::None)).await;
    let never: Vec<_> =
        all.cases.iter().map(|case| case.name).filter(|name| !failed.contains(name)).collect();
    assert!(never.is_empty(), "nothing fails {never:?}");
}
