//! Who has used less of what they have a share in goes first.

use berth_policy_sdk::{
    Error, JobId, NameId,
    standing::{Member, Standing, Whose},
    testing::{Host, JobBuilder, job, node, set_accounts, usual_standing},
};
use berth_scheduler_fairshare::policy::Fairshare;
use proptest::prelude::*;

const GIB: u64 = 1 << 30;
const HOUR: u64 = 3_600_000;
/// A day in 2026.
const NOW: u64 = 1_790_000_000_000;

/// The numbers of names.
const DEFAULT: NameId = 0;
const GENES: NameId = 1;
const ROCKS: NameId = 2;
const BIO: NameId = 3;
const ANN: NameId = 4;
const BOB: NameId = 5;
const CY: NameId = 6;
const NAMES: [&str; 7] = ["default", "genes", "rocks", "bio", "ann", "bob", "cy"];

/// A host with one node of so many CPUs.
fn host(cpus: u64, settings: &[(&str, &str)]) -> Host<Fairshare> {
    let mut host = Host::new(settings).expect("the settings are good");
    host.names(NAMES);
    host.nodes([node(1, cpus * 1000, 1000 * GIB, 0)]);
    host
}

/// A job of one CPU, submitted at the same time as all others.
fn cpu(id: JobId, owner: NameId, project: NameId) -> JobBuilder {
    job(id).cpu(1000).of(owner, project).submitted(NOW - HOUR)
}

/// What somebody has used: CPU time in core-hours, with an hour of running time for each, in `window` and faded.
fn used(core_hours: f64) -> Standing {
    let mut standing = usual_standing();
    standing.used.jobs = core_hours;
    standing.used.wall_seconds = core_hours * 3600.0;
    standing.used.cpu_seconds = core_hours * 3600.0;
    standing.used.cpus = core_hours;
    standing.faded.wall_seconds = core_hours * 3600.0;
    standing.faded.cpu_seconds = core_hours * 3600.0;
    standing
}

fn with_priority(priority: u32) -> Standing {
    Standing { priority, ..usual_standing() }
}

fn with_shares(shares: u32, core_hours: f64) -> Standing {
    Standing { shares, ..used(core_hours) }
}

fn member(project: NameId, user: NameId) -> Whose {
    Whose::Member(Member { project, user })
}

fn order(host: &mut Host<Fairshare>) -> Vec<JobId> {
    host.check_fresh(NOW).expect("a fresh instance plans the same");
    host.turn(NOW).expect("the plan keeps the contract").jobs()
}

/// GO-Docker's own tests of its fair share.
mod compat {
    use super::*;

    fn go_docker() -> Host<Fairshare> {
        host(100, &[("compat", "true")])
    }

    #[test]
    fn of_equal_users_the_lower_number_starts_first() {
        set_accounts([]);
        let mut host = go_docker();
        host.submit([cpu(3, ANN, DEFAULT), cpu(2, BOB, DEFAULT), cpu(1, CY, DEFAULT)]);
        assert_eq!(order(&mut host), [1, 2, 3]);
    }

    #[test]
    fn a_user_with_priority_60_comes_before_one_with_50() {
        set_accounts([(Whose::User(BOB), with_priority(60))]);
        let mut host = go_docker();
        host.submit([cpu(1, ANN, DEFAULT), cpu(2, BOB, DEFAULT)]);
        assert_eq!(order(&mut host), [2, 1]);
    }

    #[test]
    fn a_project_with_priority_80_comes_before_the_default_one_and_with_20_after_it() {
        for (priority, expected) in [(80, [2, 1]), (20, [1, 2])] {
            set_accounts([(Whose::Project(GENES), with_priority(priority))]);
            let mut host = go_docker();
            host.submit([cpu(1, ANN, DEFAULT), cpu(2, ANN, GENES)]);
            assert_eq!(order(&mut host), expected, "{priority}");
        }
    }

    #[test]
    fn a_user_who_has_used_something_comes_after_one_who_has_not() {
        set_accounts([(Whose::User(ANN), used(10.0))]);
        let mut host = go_docker();
        host.submit([cpu(1, ANN, DEFAULT), cpu(2, BOB, DEFAULT)]);
        assert_eq!(order(&mut host), [2, 1]);
    }

    #[test]
    fn whatever_users_have_used_all_jobs_are_in_the_order() {
        set_accounts([(Whose::User(ANN), used(3.5)), (Whose::User(BOB), used(7.25))]);
        let mut host = go_docker();
        host.submit([cpu(1, ANN, DEFAULT), cpu(2, BOB, DEFAULT), cpu(3, ANN, DEFAULT)]);
        assert_eq!(order(&mut host), [1, 3, 2]);
    }

    #[test]
    fn the_default_project_stands_as_the_one_that_has_used_most() {
        set_accounts([(Whose::Project(GENES), used(5.0)), (Whose::Project(ROCKS), used(9.0))]);
        let mut host = go_docker();
        host.submit([cpu(1, ANN, DEFAULT), cpu(2, ANN, ROCKS), cpu(3, ANN, GENES)]);
        assert_eq!(order(&mut host), [3, 1, 2], "default and rocks are equal, so that numbers decide");
    }

    #[test]
    fn of_one_user_who_has_waited_longer_starts_first_by_whole_seconds() {
        set_accounts([]);
        let mut host = go_docker();
        host.submit([
            cpu(1, ANN, DEFAULT),
            cpu(2, ANN, DEFAULT).submitted(NOW - HOUR + 900),
            cpu(3, ANN, DEFAULT).submitted(NOW - 2 * HOUR),
            cpu(4, ANN, DEFAULT).submitted(NOW - HOUR + 100).priority(9),
        ]);
        assert_eq!(order(&mut host), [3, 1, 2, 4]);
    }

    #[test]
    fn what_runs_counts_nothing_and_one_plan_gives_all_to_the_first() {
        set_accounts([(Whose::User(BOB), used(1.0))]);
        let mut host = host(2, &[("compat", "true")]);
        host.submit([cpu(1, ANN, DEFAULT), cpu(2, ANN, DEFAULT), cpu(3, BOB, DEFAULT), cpu(4, ANN, DEFAULT)]);
        assert_eq!(order(&mut host), [1, 2]);
        host.end([1]);
        assert_eq!(host.turn(NOW + 100 * HOUR).unwrap().jobs(), [4]);
    }
}

#[test]
fn one_plan_with_much_room_gives_to_all_who_stand_alike() {
    for method in ["weights", "shares", "tree"] {
        set_accounts([]);
        let mut host = host(6, &[("method", method)]);
        host.submit((1..=10).map(|id| cpu(id, ANN, GENES)));
        host.submit((11..=20).map(|id| cpu(id, BOB, GENES)));
        host.submit((21..=30).map(|id| cpu(id, CY, GENES)));
        let mut started = order(&mut host);
        started.sort_unstable();
        assert_eq!(started, [1, 2, 11, 12, 21, 22], "{method}");
    }
}

#[test]
fn arrays_share_a_plan_as_single_jobs_do() {
    for method in ["weights", "shares", "tree"] {
        set_accounts([]);
        let mut host = host(6, &[("method", method)]);
        host.submit([cpu(1, ANN, GENES).tasks(100), cpu(2, BOB, GENES).tasks(100)]);
        let plan = host.turn(NOW).unwrap().plan;
        let starts: Vec<_> = plan.starts.iter().map(|start| (start.job, start.count)).collect();
        assert_eq!(starts, [(1, 3), (2, 3)], "{method}");
        assert_eq!(plan.wake_at_ms, Some(NOW), "there may be room that was not seen");
        let in_a_minute = Some(NOW + 60_000);
        assert_eq!(host.turn(NOW).unwrap().plan.wake_at_ms, in_a_minute, "another may come first by then");
    }
}

#[test]
fn without_an_advance_a_plan_gives_all_to_the_first() {
    set_accounts([]);
    let mut host = host(6, &[("method", "tree"), ("advance", "0")]);
    host.submit([cpu(1, ANN, GENES).tasks(100), cpu(2, BOB, GENES).tasks(100)]);
    assert_eq!(order(&mut host), [1]);
}

#[test]
fn what_runs_counts_for_those_whose_it_is() {
    for method in ["weights", "shares", "tree"] {
        set_accounts([]);
        let mut host = host(3, &[("method", method), ("advance", "0")]);
        host.submit([cpu(1, ANN, GENES), cpu(2, ANN, GENES)]);
        assert_eq!(order(&mut host), [1, 2], "{method}");
        host.submit([cpu(3, ANN, GENES), cpu(4, BOB, GENES)]);
        host.most = 1;
        assert_eq!(host.turn(NOW + HOUR).unwrap().jobs(), [4], "{method}");
        host.end([1, 2]);
        host.check_fresh(NOW + HOUR).unwrap();
    }
}

#[test]
fn groups_come_before_projects_and_projects_before_users() {
    // Bio has used more of its share than rocks, which stands beside it; genes is all that bio has.
    let in_bio = |standing: Standing| Standing { group: Some(BIO), ..standing };
    for method in ["shares", "tree"] {
        set_accounts([
            (Whose::Group(BIO), with_shares(1, 10.0)),
            (Whose::Project(GENES), in_bio(used(0.0))),
            (Whose::Project(ROCKS), with_shares(3, 20.0)),
            (member(ROCKS, BOB), used(20.0)),
            (member(ROCKS, CY), used(0.0)),
        ]);
        let mut host = host(100, &[("method", method), ("advance", "0")]);
        host.submit([cpu(1, ANN, GENES), cpu(2, BOB, ROCKS), cpu(3, CY, ROCKS)]);
        // By Fair Tree, bob's project decides; by the classic factor, his own use weighs more than that.
        let expected = if method == "tree" { [3, 2, 1] } else { [3, 1, 2] };
        assert_eq!(order(&mut host), expected, "{method}");
    }
}

#[test]
fn whose_share_is_nothing_starts_when_all_others_have() {
    for method in ["shares", "tree"] {
        set_accounts([(Whose::User(ANN), with_shares(0, 0.0)), (member(GENES, BOB), used(99.0))]);
        let mut host = host(100, &[("method", method)]);
        host.submit([cpu(1, ANN, GENES), cpu(2, BOB, GENES)]);
        assert_eq!(order(&mut host), [2, 1], "{method}");
    }
}

#[test]
fn a_users_own_jobs_go_by_priority_then_submission_then_number() {
    for method in ["weights", "shares", "tree"] {
        set_accounts([]);
        let mut host = host(100, &[("method", method)]);
        host.submit([
            cpu(1, ANN, GENES),
            cpu(2, ANN, GENES).priority(1),
            cpu(3, ANN, GENES).submitted(NOW - 2 * HOUR),
            cpu(4, ANN, GENES),
        ]);
        assert_eq!(order(&mut host), [2, 3, 1, 4], "{method}");
    }
}

#[test]
fn nobody_passes_the_first_that_waits_for_the_same_nodes() {
    set_accounts([(Whose::User(BOB), used(10.0))]);
    let mut host = host(4, &[]);
    host.placement(1, [1]);
    host.submit([cpu(1, ANN, GENES).cpu(5000), cpu(2, BOB, GENES), cpu(3, BOB, GENES).placement(1)]);
    assert_eq!(order(&mut host), [3]);
    let words = host.explain(NOW, 1).unwrap();
    assert!(
        words.ends_with("it is the next to start on its nodes: no node that it may run on has enough free")
    );
    let words = host.explain(NOW, 2).unwrap();
    assert!(
        words.ends_with(
            "1 other who waits for the same nodes comes before it, and 1, which comes first, waits for room"
        ),
        "{words}"
    );
}

#[test]
fn a_user_is_told_where_they_stand() {
    let in_bio = |standing: Standing| Standing { group: Some(BIO), ..standing };
    set_accounts([
        (Whose::Group(BIO), with_shares(1, 61.0)),
        (Whose::Project(GENES), in_bio(used(61.0))),
        (Whose::Project(ROCKS), used(39.0)),
        (member(GENES, ANN), used(61.0)),
        (member(ROCKS, CY), used(39.0)),
    ]);
    let told = |method| {
        let mut host = host(0, &[("method", method)]);
        host.submit([cpu(1, ANN, GENES), cpu(2, ANN, GENES), cpu(3, BOB, GENES), cpu(4, CY, ROCKS)]);
        host.turn(NOW).unwrap();
        host.explain(NOW, 2).unwrap()
    };
    let expected = "your group bio has used 61% where its share is 50%, and you 100% of that where your share is \
        50%; 1 job of your own and 2 others who wait for the same nodes come before it, and 4, which comes first, \
        waits for room";
    assert_eq!(told("tree"), expected);
    assert!(told("shares").contains("; your fair-share factor is 0.184; "), "{}", told("shares"));
    set_accounts([
        (Whose::User(ANN), Standing { priority: 60, ..used(10.0) }),
        (Whose::User(BOB), used(2.5)),
        (Whose::Project(GENES), used(12.5)),
    ]);
    let expected = "you have used 10.00 core-hours, where those who wait have used from 0.00 to 10.00; your project \
        12.50, where the most is 12.50; your priority is 60 of 100; ";
    assert!(told("weights").starts_with(expected), "{}", told("weights"));
    assert_eq!(host(0, &[]).explain(NOW, 77), None);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |settings: &[(&str, &str)]| {
        let refused = Host::<Fairshare>::new(settings).err();
        assert!(matches!(refused, Some(Error::BadSettings(_))), "{settings:?}");
    };
    for pair in [
        ("method", "fair"),
        ("use", "all"),
        ("compat", "yes"),
        ("wait-weight", "-1"),
        ("wait-weight", "nan"),
        ("wait-weight", "inf"),
        ("advance", "soon"),
        ("advance", "400d"),
        ("cpu-cost", "1"),
        ("dampening", "1"),
    ] {
        refused(&[pair]);
    }
    refused(&[("method", "tree"), ("wait-weight", "1")]);
    refused(&[("method", "tree"), ("dampening", "2")]);
    refused(&[("method", "shares"), ("dampening", "0")]);
    refused(&[("method", "shares"), ("cpu-cost", "0")]);
    refused(&[("compat", "true"), ("method", "shares")]);
    refused(&[("compat", "true"), ("use", "faded")]);
    refused(&[("compat", "true"), ("advance", "1m")]);
}

/// What happens at a site.
#[derive(Clone, Debug)]
enum Happens {
    Submitted { owner: u32, project: u32, cpus: u64, tasks: u32, priority: i32, placement: u32 },
    Ended(usize),
    Withdrawn(usize),
    Planned,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (ANN..=CY, DEFAULT..=ROCKS, 1_u64..4, prop_oneof![3 => Just(1_u32), 1 => 2..9_u32], -1..2_i32, 0..2_u32)
            .prop_map(|(owner, project, cpus, tasks, priority, placement)| Happens::Submitted {
                owner, project, cpus, tasks, priority, placement
            }),
        2 => any::<usize>().prop_map(Happens::Ended),
        1 => any::<usize>().prop_map(Happens::Withdrawn),
        3 => Just(Happens::Planned),
    ]
}

proptest! {
    #[test]
    fn every_plan_keeps_the_contract_and_is_that_of_a_fresh_instance(
        method in prop_oneof![Just("weights"), Just("shares"), Just("tree"), Just("compat")],
        story in prop::collection::vec(happens(), 1..60),
    ) {
        set_accounts([
            (Whose::User(ANN), used(1.5)),
            (Whose::User(CY), with_shares(3, 0.0)),
            (Whose::Group(BIO), with_shares(2, 3.0)),
            (Whose::Project(GENES), Standing { group: Some(BIO), ..used(2.0) }),
            (Whose::Project(ROCKS), used(0.5)),
            (member(GENES, ANN), used(1.0)),
        ]);
        let settings = if method == "compat" { ("compat", "true") } else { ("method", method) };
        let mut host = Host::<Fairshare>::new(&[settings]).unwrap();
        host.names(NAMES);
        host.nodes([node(1, 5000, GIB, 0), node(2, 3000, GIB, 0)]);
        host.placement(1, [2]);
        for (at, happens) in story.into_iter().enumerate() {
            let now = NOW + at as u64 * 1700;
            match happens {
                Happens::Submitted { owner, project, cpus, tasks, priority, placement } => {
                    let new = cpu(at as JobId + 1, owner, project).cpu(cpus * 1000).tasks(tasks);
                    host.submit([new.priority(priority).placement(placement).submitted(now)]);
                }
                Happens::Ended(which) => {
                    let running = host.running();
                    host.end(running.get(which % running.len().max(1)).copied());
                }
                Happens::Withdrawn(which) => {
                    let waiting: Vec<_> = host.waiting().map(|job| job.id).collect();
                    host.withdraw(waiting.get(which % waiting.len().max(1)).copied());
                }
                Happens::Planned => {
                    host.check_fresh(now).unwrap();
                    host.turn(now).unwrap();
                }
            }
            for job in host.waiting().map(|job| job.id).take(3) {
                prop_assert!(host.explain(now, job).is_some());
            }
        }
    }
}
