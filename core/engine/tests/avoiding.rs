//! Jobs that do not run again where they failed, and which node a job goes to otherwise.

mod site;

use berth_engine::Choice;
use berth_model::{ClosureKind, JobId, JobSpec, StateKind};
use site::{Site, array, closure, cpus, job};

fn careful(spec: JobSpec) -> JobSpec {
    JobSpec { avoid_failed_nodes: true, ..spec }
}

fn task(array: JobId, position: u64) -> JobId {
    JobId(array.0 + 1 + position)
}

#[test]
fn a_job_that_failed_runs_again_elsewhere_and_waits_when_no_node_is_left() {
    let mut site = Site::with_nodes(&[2, 2]);
    let job = site.submit(careful(job()));
    site.settle_all();
    assert_eq!(site.node(job), Some("fake/n0".into()));
    site.ends(job, 3);
    site.rerun(job).unwrap();
    site.settle_all();
    assert_eq!(site.node(job), Some("fake/n1".into()));
    site.ends(job, 3);
    site.rerun(job).unwrap();
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Pending);
    assert_eq!(site.reasons(job), ["avoids nodes where it failed before: fake/n0, fake/n1"]);
    assert!(site.breaches.is_empty(), "{:?}", site.breaches);
}

#[test]
fn a_success_or_a_kill_says_nothing_about_a_node() {
    let mut site = Site::with_nodes(&[2, 2]);
    let job = site.submit(careful(job()));
    site.settle_all();
    site.ends(job, 0);
    site.rerun(job).unwrap();
    site.settle_all();
    site.kill(job).unwrap();
    site.settle_all();
    site.rerun(job).unwrap();
    site.settle_all();
    assert_eq!(site.node(job), Some("fake/n0".into()));
}

#[test]
fn a_node_that_failed_under_a_job_is_avoided_by_the_retry_through_a_crash() {
    let mut site = Site::with_nodes(&[2, 2]);
    let job = site.submit(careful(JobSpec { retry_on_node_failure: 5, ..job() }));
    site.settle_all();
    site.drain("fake/n1", None);
    site.loses_its_node(job);
    assert_eq!(site.state(job), StateKind::Pending);
    site.crash(None, true, usize::MAX);
    site.settle_all();
    let reasons = site.reasons(job);
    assert!(reasons.contains(&"avoids nodes where it failed before: fake/n0".into()), "{reasons:?}");
    site.close(ClosureKind::Drain, "fake/n1", None).unwrap();
    site.settle_all();
    assert_eq!((site.state(job), site.node(job)), (StateKind::Running, Some("fake/n1".into())));
}

#[test]
fn a_task_that_failed_avoids_its_node_while_its_sisters_go_there() {
    let mut site = Site::with_nodes(&[1, 1]);
    let all = site.submit(careful(JobSpec { retry_on_node_failure: 5, ..array("1-3") }));
    site.settle_all();
    let (first, second, third) = (task(all, 0), task(all, 1), task(all, 2));
    assert_eq!((site.node(first), site.node(second)), (Some("fake/n0".into()), Some("fake/n1".into())));
    site.loses_its_node(first);
    // The node is there again, and the task does not want it.
    assert_eq!((site.state(first), site.node(third)), (StateKind::Pending, Some("fake/n0".into())));
    site.ends(third, 0);
    assert_eq!(site.state(first), StateKind::Pending);
    site.crash(None, true, usize::MAX);
    site.settle_all();
    assert_eq!(site.state(first), StateKind::Pending);
    site.ends(second, 0);
    assert_eq!((site.state(first), site.node(first)), (StateKind::Running, Some("fake/n1".into())));
    site.ends(first, 0);
    assert_eq!(site.state(all), StateKind::Succeeded);
    assert!(site.breaches.is_empty(), "{:?}", site.breaches);
}

#[test]
fn a_task_that_waits_for_itself_keeps_to_the_bound_of_its_array() {
    let mut site = Site::with_nodes(&[2, 2]);
    let all = site.submit(careful(JobSpec { retry_on_node_failure: 5, ..array("1-3%1") }));
    site.settle_all();
    site.loses_its_node(task(all, 0));
    for _ in 0..3 {
        let active = (0..3)
            .filter(|&at| site.store.state(task(all, at)).is_some_and(|state| state.kind().is_active()));
        let active: Vec<u64> = active.collect();
        assert_eq!(active.len(), 1, "{active:?}");
        site.ends(task(all, active[0]), 0);
    }
    assert_eq!(site.state(all), StateKind::Succeeded);
}

#[test]
fn a_task_of_an_array_that_is_over_runs_again_elsewhere() {
    let mut site = Site::with_nodes(&[4, 4]);
    let all = site.submit(careful(array("1-2")));
    site.settle_all();
    site.ends(task(all, 0), 9);
    site.ends(task(all, 1), 0);
    assert_eq!(site.state(all), StateKind::Failed);
    site.rerun(task(all, 0)).unwrap();
    site.settle_all();
    assert_eq!(site.node(task(all, 0)), Some("fake/n1".into()));
}

#[test]
fn an_array_that_runs_again_avoids_where_any_of_its_tasks_failed_before() {
    let mut site = Site::with_nodes(&[1, 4]);
    let all = site.submit(careful(array("1-2")));
    site.settle_all();
    assert_eq!(site.node(task(all, 0)), Some("fake/n0".into()));
    site.ends(task(all, 0), 9);
    site.ends(task(all, 1), 0);
    site.rerun(all).unwrap();
    site.crash(None, true, usize::MAX);
    site.settle_all();
    let nodes: Vec<_> = (0..2).map(|at| site.node(task(all, at))).collect();
    assert_eq!(nodes, [Some("fake/n1".into()), Some("fake/n1".into())]);
}

#[test]
fn the_fullest_node_with_room_or_the_emptiest_is_taken_where_the_site_wants_it_so() {
    let nodes = |choice| {
        let mut site = Site::that_chooses(choice, &[8, 4, 6]);
        let jobs: Vec<JobId> = (0..3).map(|_| site.submit(cpus(2))).collect();
        site.settle_all();
        jobs.into_iter().map(|job| site.node(job).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(nodes(Choice::FirstFit), ["fake/n0", "fake/n0", "fake/n0"]);
    assert_eq!(nodes(Choice::BestFit), ["fake/n1", "fake/n1", "fake/n2"]);
    assert_eq!(nodes(Choice::Spread), ["fake/n0", "fake/n1", "fake/n2"]);
}

#[test]
fn a_plan_that_counts_on_the_first_node_with_room_is_carried_out_all_the_same() {
    let mut site = Site::that_chooses(Choice::Spread, &[5, 5]);
    // The others are planned at once, while the plan for this one is under way.
    let first = site.submit(job());
    let jobs = [1, 1, 5].map(|count| site.submit(cpus(count)));
    site.settle_all();
    assert_eq!(site.node(first), Some("fake/n0".into()));
    assert!(site.breaches.is_empty(), "{:?}", site.breaches);
    assert_eq!(jobs.map(|job| site.state(job)), [StateKind::Running; 3]);
}

#[test]
fn the_choice_keeps_to_what_is_open() {
    let mut site = Site::that_chooses(Choice::BestFit, &[8, 4]);
    site.close(ClosureKind::Drain, "fake/n1", Some(closure(&["fake/n1"]))).unwrap();
    let job = site.submit(cpus(2));
    site.settle_all();
    assert_eq!(site.node(job), Some("fake/n0".into()));
}
