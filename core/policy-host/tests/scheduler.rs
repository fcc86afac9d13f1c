//! Scheduler policies, good and bad, on their thread.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // What goes wrong here is to fail the test.

mod support;

use std::time::Duration;

use berth_policy_host::{PluginState, Supervised};
use support::{
    daemon::{Answered, Daemon},
    host, scheduler,
};

const LOOP: &str = "(loop $for_ever (br $for_ever))";
const TRAP: &str = "(unreachable)";
const GROW: &str =
    "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) (unreachable)";
/// A start of a job that does not exist.
const NONSENSE: &str = "(i64.store (i32.const 0x10000) (i64.const 999999)) (i32.store (i32.const 0x10008) (i32.const 1)) (i32.store (i32.const 0x1000c) (i32.const 0)) (i32.store (i32.const 1036) (i32.const 1))";
/// Ten tasks of the first job.
const TOO_MUCH: &str = "(i32.store (i32.const 0x10008) (i32.const 10))";
/// A list of 150,000 starts.
const LONG_LIST: &str = "(drop (memory.grow (i32.const 64))) (i32.store (i32.const 1032) (i32.const 0x400000)) (i32.store (i32.const 1036) (i32.const 150000))";
/// A text of 24 MiB.
const LONG_TEXT: &str = "(drop (memory.grow (i32.const 512))) (i32.store (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1032) (i32.const 25165824)) (i32.store (i32.const 1028) (i32.const 0)) (return (i32.const 1024))";
/// A list that reaches beyond the memory.
const OUTSIDE: &str =
    "(i32.store (i32.const 1032) (i32.const 0x7ffffff0)) (i32.store (i32.const 1036) (i32.const 100))";
const LATER: &str = "(if (i32.gt_u (global.get $plans) (i32.const 3)) (then (unreachable)))";
const DECLINE: &str = "(call $over) (i32.store (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1032) (i32.const 1)) (i32.store (i32.const 1036) (i32.const 48)) (i32.store (i32.const 1040) (i32.const 11)) (return (i32.const 1024))";

/// Asks a policy with a fault until it is benched, and gives the words of its strikes.
fn benched_by(changes: &[(&str, &str)]) -> (Daemon, String) {
    let mut spec = scheduler("1", changes);
    spec.limits.call = Duration::from_millis(50);
    spec.limits.memory_bytes = 32 << 20;
    let mut daemon = Daemon::start(&host(), spec);
    daemon.submit([7, 3, 5]);
    assert_eq!(daemon.starts(), [3, 5], "the built-in order is that of arrival");
    assert_eq!(daemon.story(), ["struck", "struck", "struck", "benched"]);
    let words = daemon.last_words().to_owned();
    assert_eq!(daemon.policy.status().state, PluginState::Benched { words: words.clone() });
    (daemon, words)
}

#[test]
fn a_good_policy_is_told_changes_only() {
    let mut daemon = Daemon::start(&host(), scheduler("1", &[]));
    daemon.submit([3, 7, 5]);
    assert_eq!(daemon.starts(), [3, 5], "the full state comes in the order of numbers");
    daemon.withdraw(3);
    daemon.submit([1]);
    assert_eq!(daemon.starts(), [5, 7]);
    daemon.set_cpus(100);
    assert_eq!(daemon.starts(), [5, 7, 1]);
    assert_eq!(daemon.fulls, 1);
    assert_eq!(daemon.explain(5).as_deref(), Some("as it comes"));
    let status = daemon.policy.status();
    assert_eq!((status.calls, status.strikes_total, status.state), (3, 0, PluginState::Active));
    assert!(status.memory_bytes >= 64 << 16 && status.max_call_micros >= status.mean_call_micros);
}

#[test]
fn more_than_one_call_takes_is_told_in_parts() {
    let mut daemon = Daemon::start(&host(), scheduler("1", &[]));
    daemon.submit(1..=25_000);
    assert_eq!(daemon.starts(), [1, 2]);
    for id in 1..=11 {
        daemon.withdraw(id);
    }
    assert_eq!(daemon.starts(), [12, 13]);
    assert_eq!(daemon.story(), [""; 0]);
}

#[test]
fn a_policy_that_loops_is_stopped_and_benched() {
    let (mut daemon, words) = benched_by(&[("plan", LOOP)]);
    assert_eq!(words, "it took longer than 50ms");
    assert_eq!(
        daemon.explain(7).as_deref(),
        Some(
            "jobs start in order of arrival, since the scheduler policy is benched: it took longer than 50ms"
        )
    );
}

#[test]
fn a_policy_that_traps_is_benched() {
    let (_, words) = benched_by(&[("plan", TRAP)]);
    assert!(words.starts_with("it trapped: "), "{words}");
}

#[test]
fn a_policy_that_takes_all_memory_is_told_from_one_that_traps() {
    let (daemon, words) = benched_by(&[("plan", GROW)]);
    assert_eq!(words, "it wanted more than 33554432 bytes of memory");
    assert!(daemon.policy.status().memory_bytes <= 32 << 20);
}

#[test]
fn a_policy_that_fails_while_it_is_told_is_benched() {
    let (_, words) = benched_by(&[("pending", LOOP)]);
    assert_eq!(words, "it took longer than 50ms");
}

#[test]
fn a_policy_that_loses_count_is_benched() {
    let (_, words) = benched_by(&[("len", "(return (i64.const 17))")]);
    assert_eq!(words, "it broke its contract: it knows 17 pending jobs where it was told 3");
}

#[test]
fn an_answer_with_too_many_entries_is_dropped() {
    let (_, words) = benched_by(&[("planned", LONG_LIST)]);
    assert_eq!(words, "its answer is larger than 100000 entries in a list");
}

#[test]
fn an_answer_that_reaches_outside_the_memory_is_dropped() {
    let (_, words) = benched_by(&[("planned", OUTSIDE)]);
    assert!(words.starts_with("it trapped: "), "{words}");
}

#[test]
fn a_text_that_is_too_large_is_dropped_before_it_is_copied() {
    let mut daemon = Daemon::start(&host(), scheduler("1", &[("explain", LONG_TEXT)]));
    daemon.submit([1]);
    assert_eq!(daemon.starts(), [1]);
    assert_eq!(daemon.explain(1), None);
    assert_eq!(daemon.last_words(), "its answer is larger than 16777216 bytes");
    assert_eq!(daemon.starts(), [1], "it goes on with a fresh instance");
}

#[test]
fn a_policy_that_never_has_a_plan_is_struck_in_the_end() {
    let mut daemon = Daemon::start(&host(), scheduler("1", &[("plan", DECLINE)]));
    daemon.submit([1]);
    for _ in 0..9 {
        assert_eq!(daemon.ask(), Answered::Declined("as it comes".to_owned()));
    }
    assert_eq!(daemon.ask(), Answered::NeedsFullState);
    assert_eq!(daemon.last_words(), "it broke its contract: it had no plan 10 times in a row: as it comes");
}

#[test]
fn a_breach_found_by_the_books_counts_as_a_strike() {
    let mut daemon = Daemon::start(&host(), scheduler("1", &[("planned", NONSENSE)]));
    daemon.submit([1]);
    for strike in 1..=3 {
        assert_eq!(daemon.starts(), [999_999]);
        let snapshot = daemon.snapshot();
        daemon.breach(snapshot, "job 999999 is not pending");
        assert_eq!(daemon.policy.status().strikes_total, strike);
    }
    assert_eq!(daemon.story(), ["struck", "struck", "struck", "benched"]);
    assert_eq!(daemon.starts(), [1]);
    let snapshot = daemon.snapshot();
    daemon.breach(snapshot, "not by the policy");
    daemon.breach(999, "of a plan that nobody made");
    assert_eq!(daemon.policy.status().strikes_total, 3);
}

#[test]
fn after_a_strike_a_fresh_instance_is_told_everything() {
    let mut daemon = Daemon::start(&host(), scheduler("1", &[("plan", LATER)]));
    daemon.submit([1, 2, 3]);
    for _ in 0..3 {
        assert_eq!(daemon.starts(), [1, 2]);
    }
    daemon.withdraw(1);
    assert_eq!(daemon.ask(), Answered::NeedsFullState);
    assert_eq!(daemon.fulls, 1);
    assert_eq!(daemon.starts(), [2, 3]);
    assert_eq!((daemon.fulls, daemon.story()), (2, vec!["struck"]));
}

#[test]
fn a_new_version_takes_over_after_its_first_plan() {
    let mut daemon = Daemon::start(&host(), scheduler("1", &[]));
    daemon.submit([1, 2]);
    assert_eq!(daemon.starts(), [1, 2]);
    daemon.reload(scheduler("2", &[]));
    assert_eq!(daemon.policy.status().version, "small 1", "nothing changes before its first plan");
    assert_eq!(daemon.starts(), [1, 2]);
    assert_eq!(daemon.story(), ["reloaded"]);
    let status = daemon.policy.status();
    assert_eq!(
        (status.version.as_str(), &status.state),
        ("small 2", &PluginState::Probation { calls_left: 99 })
    );
    assert!(status.previous.unwrap().starts_with("small 1 ("));
}

#[test]
fn a_request_that_was_under_way_when_a_new_version_came_is_answered_by_the_old_one() {
    let mut daemon = Daemon::start(&host(), scheduler("1", &[]));
    daemon.submit([1, 2]);
    assert_eq!(daemon.starts(), [1, 2]);
    let request = daemon.request();
    daemon.policy.reload(&daemon.host, scheduler("2", &[])).unwrap();
    daemon.policy.plan(request);
    assert!(matches!(daemon.answer(), Answered::Plan(_)));
    assert_eq!(daemon.policy.status().version, "small 1");
    assert_eq!(daemon.starts(), [1, 2]);
    assert_eq!(daemon.policy.status().version, "small 2");
}

#[test]
fn a_new_version_whose_first_plan_is_wrong_never_decides() {
    for (fault, words) in [
        (("planned", NONSENSE), "it broke its contract: job 999999 is not pending"),
        (("planned", TOO_MUCH), "it broke its contract: job 1 starts 10 tasks of 1"),
        (("plan", DECLINE), "it broke its contract: it has no plan: as it comes"),
        (
            ("len", "(return (i64.const 0))"),
            "it broke its contract: it knows 0 pending jobs where it was told 2",
        ),
    ] {
        let mut daemon = Daemon::start(&host(), scheduler("1", &[]));
        daemon.submit([1, 2]);
        assert_eq!(daemon.starts(), [1, 2]);
        daemon.reload(scheduler("2", &[fault]));
        assert_eq!(daemon.starts(), [1, 2], "the old version answers");
        assert_eq!((daemon.story(), daemon.last_words()), (vec!["reload failed"], words));
        let status = daemon.policy.status();
        assert_eq!((status.version.as_str(), status.strikes_total), ("small 1", 0));
        assert_eq!(status.last_reload_error.as_deref(), Some(words));
        daemon.submit([3]);
        assert_eq!(daemon.starts(), [1, 2], "and is told changes again");
        assert_eq!(daemon.fulls, 2);
    }
}

#[test]
fn a_version_that_strikes_on_probation_goes_back() {
    let mut daemon = Daemon::start(&host(), scheduler("1", &[]));
    daemon.submit([1, 2, 3]);
    assert_eq!(daemon.starts(), [1, 2]);
    daemon.reload(scheduler("2", &[("plan", LATER)]));
    for _ in 0..3 {
        assert_eq!(daemon.starts(), [1, 2]);
    }
    assert_eq!(daemon.ask(), Answered::NeedsFullState);
    assert_eq!(daemon.story(), ["reloaded", "struck", "rolled back"]);
    assert_eq!(daemon.starts(), [1, 2]);
    let status = daemon.policy.status();
    assert_eq!((status.version.as_str(), status.state, status.strikes), ("small 1", PluginState::Active, 0));
}

#[test]
fn a_version_that_has_stood_its_probation_stays() {
    let mut daemon = Daemon::start(&host(), scheduler("1", &[]));
    daemon.submit([1, 2, 3]);
    let mut second = scheduler("2", &[("plan", LATER)]);
    second.supervision.probation_calls = 3;
    daemon.reload(second);
    for _ in 0..3 {
        assert_eq!(daemon.starts(), [1, 2]);
    }
    assert_eq!(daemon.policy.status().previous, None);
    assert_eq!(daemon.ask(), Answered::NeedsFullState);
    assert_eq!(daemon.story(), ["reloaded", "struck"]);
    assert_eq!(daemon.policy.status().version, "small 2");
}

#[test]
fn a_reload_brings_a_benched_policy_back() {
    let (mut daemon, _) = benched_by(&[("plan", TRAP)]);
    daemon.reload(scheduler("2", &[]));
    assert_eq!(daemon.starts(), [3, 5]);
    let status = daemon.policy.status();
    assert_eq!(
        (status.version.as_str(), status.state),
        ("small 2", PluginState::Probation { calls_left: 99 })
    );
    daemon.withdraw(3);
    assert_eq!(daemon.starts(), [5, 7]);
}

#[test]
fn a_version_that_follows_a_benched_one_and_strikes_leaves_the_built_in_order() {
    let (mut daemon, _) = benched_by(&[("plan", TRAP)]);
    daemon.reload(scheduler("2", &[("plan", LATER)]));
    for _ in 0..4 {
        assert_eq!(daemon.starts(), [3, 5]);
    }
    assert!(matches!(daemon.became.last(), Some(Supervised::RolledBack { .. })), "{:?}", daemon.became);
    assert!(matches!(daemon.policy.status().state, PluginState::Benched { .. }));
}

#[test]
fn the_built_in_order_goes_on_with_changes() {
    let (mut daemon, _) = benched_by(&[("plan", TRAP)]);
    let fulls = daemon.fulls;
    daemon.withdraw(3);
    daemon.submit([4]);
    assert_eq!(daemon.starts(), [4, 5]);
    daemon.withdraw(4);
    daemon.withdraw(5);
    assert_eq!(daemon.starts(), [7]);
    assert_eq!(daemon.fulls, fulls);
}

#[test]
fn a_policy_that_loops_holds_nobody_else_up() {
    let host = host();
    let mut looping = scheduler("1", &[("plan", LOOP)]);
    looping.limits.call = Duration::from_secs(3600);
    let mut stuck = Daemon::start(&host, looping);
    stuck.submit([1]);
    let request = stuck.request();
    stuck.policy.plan(request);
    let mut other = Daemon::start(&host, scheduler("2", &[]));
    other.submit([1, 2]);
    for _ in 0..100 {
        assert_eq!(other.starts(), [1, 2]);
    }
    assert_eq!(stuck.policy.status().calls, 0, "the first is still looping");
}
