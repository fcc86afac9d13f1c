//! What administrators close: drains, the maintenance switch, reservations and planned maintenance.

mod site;

use std::time::Duration;

use berth_engine::{Answer, Command, Refusal};
use berth_model::{Closure, ClosureKind, EventKind, JobId, JobSpec, StateKind, UtcMs};
use site::{Site, array, closure, cpus, job};

const MINUTE: Duration = Duration::from_secs(60);

fn limited(minutes: u32) -> JobSpec {
    JobSpec { time_limit: Some(MINUTE * minutes), grace: Duration::ZERO, ..job() }
}

fn later(site: &Site, minutes: u32) -> Option<UtcMs> {
    Some(site.now.after(MINUTE * minutes))
}

fn reserve(site: &mut Site, terms: Closure) {
    site.close(ClosureKind::Reservation, "r", Some(terms)).expect("a reservation is taken");
    site.settle_all();
}

fn acts(site: &Site) -> Vec<String> {
    let acts = site.store.history.iter().filter_map(|(job, kind)| match kind {
        EventKind::Act { by, words } if *job == JobId::SITE => Some(format!("{by}: {words}")),
        _ => None,
    });
    acts.collect()
}

#[test]
fn what_runs_is_not_made_to_reach_into_a_window_by_a_longer_time_limit() {
    let mut site = Site::with_nodes(&[1]);
    let runs = site.submit(limited(10));
    site.settle_all();
    let terms = Closure { from: later(&site, 30), ..closure(&["fake/n0"]) };
    reserve(&mut site, terms);
    site.alter(runs, |spec| spec.time_limit = Some(MINUTE * 30)).unwrap();
    let refused = site.alter(runs, |spec| spec.time_limit = Some(MINUTE * 31)).unwrap_err();
    assert!(
        refused.to_string().ends_with("something is planned on its node before it would be over"),
        "{refused}"
    );
    site.close(ClosureKind::Reservation, "r", None).unwrap();
    site.alter(runs, |spec| spec.time_limit = Some(MINUTE * 31)).unwrap();
}

#[test]
fn nothing_new_starts_on_a_drained_node_and_what_runs_there_goes_on() {
    let mut site = Site::with_nodes(&[2, 1]);
    let before = site.submit(job());
    site.settle_all();
    site.drain("fake/n0", None);
    let elsewhere = site.submit(job());
    let waits = site.submit(job());
    site.settle_all();
    assert_eq!((site.state(before), site.node(elsewhere)), (StateKind::Running, Some("fake/n1".into())));
    assert_eq!(site.state(waits), StateKind::Pending);
    assert_eq!(
        site.reasons(waits),
        [
            "drain by root: fake/n0: new disks",
            "no room: it needs 1 CPU; fake/n1 comes nearest and has 0 CPU, 64G memory free of 1 CPU, 64G memory"
        ]
    );
    site.close(ClosureKind::Drain, "fake/n0", None).unwrap();
    site.settle_all();
    assert_eq!(site.node(waits), Some("fake/n0".into()));
    assert!(site.breaches.is_empty(), "{:?}", site.breaches);
    assert_eq!(
        acts(&site),
        ["root: drain fake/n0 made: fake/n0: new disks", "root: drain fake/n0 taken away"]
    );
}

#[test]
fn a_drain_with_an_end_goes_by_itself_and_the_history_says_so() {
    let mut site = Site::with_nodes(&[1]);
    let until = later(&site, 10);
    site.drain("fake/*", until);
    let waits = site.submit(job());
    site.advance(MINUTE * 9);
    assert_eq!(site.state(waits), StateKind::Pending);
    site.advance(MINUTE);
    assert_eq!(site.state(waits), StateKind::Running);
    assert!(site.store.closures.is_empty());
    assert_eq!(acts(&site).last().unwrap(), "root: drain fake/* is over, as was set");
}

#[test]
fn in_maintenance_jobs_are_taken_and_wait_with_the_reason() {
    let mut site = Site::with_nodes(&[2]);
    let runs = site.submit(job());
    site.settle_all();
    site.close(ClosureKind::Maintenance, "site", Some(closure(&["*"]))).unwrap();
    let waits = [site.submit(job()), site.submit(array("1-3"))];
    site.settle_all();
    assert_eq!(site.state(runs), StateKind::Running);
    for job in waits {
        assert_eq!(site.reasons(job), ["maintenance by root: all nodes: new disks"]);
    }
    site.ends(runs, 0);
    assert_eq!(site.state(runs), StateKind::Succeeded, "what runs is still watched");
    site.close(ClosureKind::Maintenance, "site", None).unwrap();
    site.run_dry(0);
    assert!(waits.iter().all(|&job| site.state(job) == StateKind::Succeeded));
}

#[test]
fn a_reservation_lets_in_its_users_and_projects_and_nobody_else() {
    let mut site = Site::with_nodes(&[4]);
    reserve(
        &mut site,
        Closure {
            users: ["bob".to_owned()].into(),
            projects: ["rna".to_owned()].into(),
            ..closure(&["fake/n0"])
        },
    );
    let adas = site.submit(job());
    let bobs = site.submit_as("bob", job());
    let projects = site.submit(JobSpec { project: "rna".into(), ..job() });
    site.settle_all();
    assert_eq!(
        [adas, bobs, projects].map(|job| site.state(job)),
        [StateKind::Pending, StateKind::Running, StateKind::Running]
    );
    assert_eq!(site.reasons(adas), ["reservation by root: r: fake/n0 for user bob, project rna: new disks"]);
    assert!(site.breaches.is_empty(), "{:?}", site.breaches);
}

#[test]
fn jobs_that_waited_before_a_reservation_came_are_let_in_by_it() {
    let mut site = Site::with_nodes(&[1]);
    let holder = site.submit(job());
    let adas = site.submit(job());
    let bobs = site.submit_as("bob", job());
    site.settle_all();
    reserve(&mut site, Closure { users: ["bob".to_owned()].into(), ..closure(&["fake/n0"]) });
    site.ends(holder, 0);
    assert_eq!((site.state(adas), site.state(bobs)), (StateKind::Pending, StateKind::Running));
    site.ends(bobs, 0);
    site.close(ClosureKind::Reservation, "r", None).unwrap();
    site.settle_all();
    assert_eq!(site.state(adas), StateKind::Running);
}

#[test]
fn what_would_reach_into_planned_maintenance_waits_and_what_is_over_before_starts() {
    let mut site = Site::with_nodes(&[8]);
    let (from, until) = (later(&site, 30), later(&site, 60));
    reserve(&mut site, Closure { from, until, ..closure(&["fake/*"]) });
    let (short, exact, long, endless) =
        (site.submit(limited(5)), site.submit(limited(30)), site.submit(limited(31)), site.submit(job()));
    site.settle_all();
    assert_eq!([short, exact].map(|job| site.state(job)), [StateKind::Running; 2]);
    assert_eq!([long, endless].map(|job| site.state(job)), [StateKind::Pending; 2]);
    let words = site.reasons(long).remove(0);
    assert!(
        words.starts_with("its time limit would reach into a reservation by root: r: fake/* from "),
        "{words}"
    );
    site.advance(MINUTE * 26);
    let late = site.submit(limited(5));
    let in_time = site.submit(limited(4));
    site.settle_all();
    assert_eq!([late, in_time].map(|job| site.state(job)), [StateKind::Pending, StateKind::Running]);
    site.advance(MINUTE * 33);
    assert_eq!(site.state(late), StateKind::Pending, "it is under way");
    site.advance(MINUTE);
    assert_eq!([late, long, endless].map(|job| site.state(job)), [StateKind::Running; 3]);
    assert!(site.breaches.is_empty(), "{:?}", site.breaches);
}

#[test]
fn what_runs_when_planned_maintenance_begins_goes_on() {
    let mut site = Site::with_nodes(&[1]);
    let runs = site.submit(job());
    site.settle_all();
    let (from, until) = (later(&site, 1), later(&site, 9));
    reserve(&mut site, Closure { from, until, ..closure(&["fake/*"]) });
    site.advance(MINUTE * 2);
    assert_eq!(site.state(runs), StateKind::Running);
}

#[test]
fn a_job_that_is_given_a_shorter_limit_fits_before_the_window() {
    let mut site = Site::with_nodes(&[1]);
    let (from, until) = (later(&site, 30), later(&site, 60));
    reserve(&mut site, Closure { from, until, ..closure(&["fake/*"]) });
    let job = site.submit(limited(40));
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Pending);
    site.alter(job, |spec| spec.time_limit = Some(MINUTE * 20)).unwrap();
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Running);
}

#[test]
fn of_two_administrators_the_second_is_told_that_the_first_was_faster() {
    let mut site = Site::with_nodes(&[1]);
    let set = |version, reason: &str| Command::SetClosure {
        kind: ClosureKind::Reservation,
        name: "r".into(),
        by: "root".into(),
        version,
        terms: Some(Box::new(Closure { reason: reason.into(), ..closure(&["fake/n0"]) })),
    };
    let Ok(Answer::Version(first)) = site.command(set(0, "one")) else { panic!("it is made") };
    assert!(
        matches!(site.command(set(0, "two")), Err(Refusal::ClosureChanged { version, .. }) if version == first)
    );
    let Ok(Answer::Version(second)) = site.command(set(first, "two")) else { panic!("it is changed") };
    assert!(second > first);
    assert!(matches!(site.command(set(first, "three")), Err(Refusal::ClosureChanged { .. })));
    site.close(ClosureKind::Reservation, "r", None).unwrap();
    assert!(matches!(site.close(ClosureKind::Reservation, "r", None), Err(Refusal::NotClosed { .. })));
}

#[test]
fn what_is_wrong_with_a_closure_is_said_and_changes_nothing() {
    let mut site = Site::with_nodes(&[1]);
    let refused = |site: &mut Site, kind, name: &str, terms| {
        site.close(kind, name, Some(terms)).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&mut site, ClosureKind::Drain, "fake/n7", closure(&["fake/n7"])),
        "there is no node fake/n7; `berth nodes` lists them"
    );
    let silent = Closure { reason: String::new(), ..closure(&["fake/n0"]) };
    let words = refused(&mut site, ClosureKind::Drain, "fake/n0", silent);
    assert_eq!(words, "drain fake/n0: a drain needs a reason, for those whose jobs wait because of it");
    let over = Closure { until: Some(site.now), ..closure(&["fake/n0"]) };
    assert!(refused(&mut site, ClosureKind::Drain, "fake/n0", over).contains("which is not after"));
    assert!(site.store.closures.is_empty() && acts(&site).is_empty());
}

#[test]
fn closures_and_who_they_let_in_are_as_before_after_a_crash() {
    let mut site = Site::with_nodes(&[2, 2]);
    site.drain("fake/n1", None);
    let until = later(&site, 30);
    reserve(&mut site, Closure { until, users: ["bob".to_owned()].into(), ..closure(&["fake/n0"]) });
    let adas = site.submit(job());
    let held = site.submit_as("bob", JobSpec { hold: true, ..job() });
    site.crash(None, true, usize::MAX);
    site.settle_all();
    assert_eq!(site.state(adas), StateKind::Pending);
    let by = berth_engine::Actor { name: "bob".into(), administrator: false };
    site.command(Command::Release { job: held, by }).unwrap();
    site.settle_all();
    assert_eq!(site.node(held), Some("fake/n0".into()));
    site.advance(MINUTE * 30);
    assert_eq!(site.node(adas), Some("fake/n0".into()), "the end of the reservation is kept, too");
}

#[test]
fn a_drain_tells_the_policy_of_placements_and_not_of_each_job_again() {
    let mut site = Site::with_nodes(&[1]);
    let holder = site.submit(job());
    let many: Vec<JobId> = (0..50).map(|_| site.submit(job())).collect();
    site.settle_all();
    let (known, heard) = (site.policy.pending.len(), site.policy.heard_pending);
    site.drain("fake/n0", None);
    site.settle_all();
    assert_eq!((site.policy.pending.len(), site.policy.heard_pending), (known, heard));
    site.close(ClosureKind::Drain, "fake/n0", None).unwrap();
    site.settle_all();
    assert_eq!(site.policy.heard_pending, heard, "no job was told again");
    site.ends(holder, 0);
    assert_eq!(site.state(many[0]), StateKind::Running);
}

#[test]
fn a_wide_job_waits_for_the_node_that_it_needs_with_the_closure_as_its_reason() {
    let mut site = Site::with_nodes(&[4, 1]);
    site.drain("fake/n0", None);
    let wide = site.submit(cpus(3));
    site.settle_all();
    assert!(site.reasons(wide)[0].starts_with("drain by root: fake/n0"), "{:?}", site.reasons(wide));
}
