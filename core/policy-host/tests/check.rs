//! What `berth plugin check` says of good and bad policies.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // What goes wrong here is to fail the test.

mod support;

use berth_policy_host::{CheckReport, CheckSettings, PolicyKind, PolicySource, PolicySpec};
use support::{auth, host, network, scheduler, watcher};

fn check(spec: &PolicySpec) -> CheckReport {
    let PolicySource::Bytes(bytes) = &spec.source else { panic!("not in memory") };
    host().check("small", bytes, &CheckSettings { fuel: 50_000_000, ..CheckSettings::default() })
}

fn problems(report: &CheckReport) -> Vec<&str> {
    report.findings.iter().filter(|finding| !finding.ok).map(|finding| finding.words.as_str()).collect()
}

#[test]
fn good_policies_of_all_kinds_pass() {
    for (kind, spec) in [
        (
            PolicyKind::Auth,
            auth(&[
                (
                    "identified",
                    "(if (i32.ne (local.get $first) (i32.const 1000)) (then (i32.store8 (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const 0))))",
                ),
                (
                    "identify",
                    "(if (local.get $which) (then (i32.store8 (i32.const 1024) (i32.const 1)) (return (i32.const 1024))))",
                ),
            ]),
        ),
        (
            PolicyKind::Watcher,
            watcher(&[("judge", "(if (i32.eqz (local.get $len)) (then (return (i32.const 1024))))")]),
        ),
    ] {
        let report = check(&spec);
        // The small ones leave their version out.
        let allowed =
            if kind == PolicyKind::Watcher { vec!["it does not say its name and version"] } else { vec![] };
        assert_eq!(problems(&report), allowed, "{report:#?}");
        assert_eq!(report.kind, Some(kind));
    }
}

/// A policy that starts the first job on the first node alone: the sample has jobs larger than that and
/// the small policy does not look at sizes.
const ONE_BY_ONE: &str = "(local.set $most (i32.const 1))";

#[test]
fn a_scheduler_that_does_not_look_at_sizes_is_found_out() {
    let report = check(&scheduler("1", &[]));
    assert!(problems(&report)[0].contains("there is no room for job"), "{report:#?}");
    assert_eq!(report.info.as_ref().unwrap().name, "small");
}

#[test]
fn a_scheduler_that_is_careful_keeps_its_contract() {
    // Nothing starts while anything runs: the first node has less room than the whole of it then.
    let whole = "(if (i64.lt_u (i64.load (i32.add (local.get $room) (i32.const 8))) (i64.const 8000)) (then (local.set $nodes (i32.const 0))))";
    let report = check(&scheduler("1", &[("plan", &format!("{ONE_BY_ONE}{whole}"))]));
    assert_eq!(problems(&report), [""; 0], "{report:#?}");
    assert!(report.passed());
}

#[test]
fn a_scheduler_that_starts_nothing_is_found_out() {
    let report = check(&scheduler("1", &[("plan", "(local.set $most (i32.const 0))")]));
    assert_eq!(problems(&report), ["300 jobs never started, though the cluster was empty"]);
}

#[test]
fn loops_and_traps_end_the_check_the_same_way_every_time() {
    for (fault, words) in [
        (
            "(loop $for_ever (br $for_ever))",
            "it failed among 300 sample jobs: it took more than 50000000 units of fuel",
        ),
        ("(unreachable)", "it failed among 300 sample jobs: it trapped: "),
    ] {
        let first = check(&scheduler("1", &[("plan", fault)]));
        assert!(problems(&first)[0].starts_with(words), "{first:#?}");
        assert_eq!(check(&scheduler("1", &[("plan", fault)])), first);
    }
}

#[test]
fn a_network_policy_that_changes_its_mind_is_found_out() {
    let report = check(&network(&[]));
    assert!(problems(&report).contains(&"it gave job 1 something else the second time"), "{report:#?}");
}

#[test]
fn what_is_no_policy_is_a_finding_too() {
    let report = host().check("nonsense", b"nonsense", &CheckSettings::default());
    assert_eq!(report.kind, None);
    assert!(problems(&report)[0].starts_with("nonsense is not a WebAssembly component"));
}
