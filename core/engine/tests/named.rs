//! Resources that the site has given names to: given by the unit, never twice, and not known to policies.

mod site;

use berth_engine::Refusal;
use berth_model::{JobId, JobSpec, StateKind};
use site::{GPU, LICENCE, SCRATCH, Site, array, with_named};

fn units(site: &Site, job: JobId) -> Vec<u32> {
    let stored = site.store.job(job).expect("a job that is stored");
    stored.moving.granted.iter().flat_map(|grant| grant.units.clone()).collect()
}

fn reason(site: &Site, job: JobId) -> String {
    let view = site.engine.view(job).expect("a live job");
    view.reasons.first().expect("a job that waits has a reason").to_string()
}

#[test]
fn each_job_gets_units_of_its_own_with_their_devices() {
    let mut site = Site::with_nodes(&[8]);
    let jobs: Vec<JobId> = (0..2).map(|_| site.submit(with_named(&[(GPU, 1)]))).collect();
    site.settle_all();
    assert_eq!(jobs.iter().map(|&job| units(&site, job)).collect::<Vec<_>>(), [[0], [1]]);
    let devices: Vec<String> =
        site.granted[&(jobs[1], 1)].iter().flat_map(|grant| grant.devices.clone()).collect();
    assert_eq!(devices, ["/dev/gpu1"]);
}

#[test]
fn what_finds_no_unit_waits_without_a_strike_and_says_who_has_them() {
    let mut site = Site::with_nodes(&[8]);
    let first = site.submit_as("bob", with_named(&[(GPU, 2)]));
    let second = site.submit(with_named(&[(GPU, 1)]));
    site.settle_all();
    assert_eq!((site.state(first), site.state(second)), (StateKind::Running, StateKind::Pending));
    assert!(site.breaches.is_empty(), "{:?}", site.breaches);
    assert_eq!(
        reason(&site, second),
        "no room: it needs 1 of gpu_10.5; fake/n0 has 0 free of 2, the rest is held by 1 job of 1 user"
    );
    site.run_dry(0);
    assert_eq!((site.state(second), units(&site, second)), (StateKind::Succeeded, vec![0]));
}

#[test]
fn two_starts_of_one_plan_for_one_unit_are_one_start_and_no_strike() {
    let mut site = Site::with_nodes(&[8]);
    let holder = site.submit(with_named(&[(LICENCE, 1)]));
    // Both are told of at once, and there is a licence for one of them.
    let hold = |spec: JobSpec| JobSpec { hold: true, ..spec };
    let both: Vec<JobId> = (0..2).map(|_| site.submit(hold(with_named(&[(LICENCE, 1)])))).collect();
    site.settle_all();
    for &job in &both {
        let by = berth_engine::Actor { name: "ada".into(), administrator: false };
        site.command(berth_engine::Command::Release { job, by }).unwrap();
    }
    site.settle_all();
    assert_eq!(site.state(holder), StateKind::Running);
    assert_eq!(both.map_states(&site), [StateKind::Running, StateKind::Pending]);
    assert!(site.breaches.is_empty(), "{:?}", site.breaches);
    assert_eq!(
        reason(&site, both[1]),
        "no room: it needs 1 of licence; the whole site has 0 free of 2, the rest is held by 2 jobs of 1 user"
    );
}

trait States {
    fn map_states(&self, site: &Site) -> Vec<StateKind>;
}

impl States for Vec<JobId> {
    fn map_states(&self, site: &Site) -> Vec<StateKind> {
        self.iter().map(|&job| site.state(job)).collect()
    }
}

#[test]
fn a_job_goes_to_the_node_that_has_a_unit_left() {
    let mut site = Site::with_nodes(&[8, 8]);
    let both = site.submit(with_named(&[(GPU, 2)]));
    let other = site.submit(with_named(&[(GPU, 1), (SCRATCH, 3)]));
    site.settle_all();
    let node = |job| site.store.job(job).unwrap().moving.node.unwrap();
    assert_eq!((node(both), node(other)), ("fake/n0".to_owned(), "fake/n1".to_owned()));
}

#[test]
fn who_needs_nothing_with_a_name_passes_those_who_wait_for_it() {
    let mut site = Site::with_nodes(&[8]);
    site.submit(with_named(&[(SCRATCH, 3)]));
    let waits = site.submit(with_named(&[(SCRATCH, 1)]));
    let plain = site.submit(site::job());
    site.settle_all();
    assert_eq!((site.state(waits), site.state(plain)), (StateKind::Pending, StateKind::Running));
}

#[test]
fn tasks_of_an_array_hold_units_one_after_the_other() {
    let mut site = Site::with_nodes(&[8]);
    let array = site.submit(JobSpec { named: with_named(&[(GPU, 1)]).named, ..array("1-5") });
    site.settle_all();
    assert_eq!(site.back_end.running().len(), 2, "there are two units");
    site.run_dry(0);
    assert_eq!(site.state(array), StateKind::Succeeded);
    assert_eq!(site.store.tasks(array).count(), 5);
}

#[test]
fn short_tasks_with_named_resources_are_not_sent_ahead() {
    let mut site = Site::that_queues(8);
    let array = site.submit(JobSpec { named: with_named(&[(LICENCE, 1)]).named, ..array("1-40") });
    for _ in 0..10 {
        site.settle_all();
        assert!(site.back_end.running().len() <= 2, "there are two licences");
        let ended = site.back_end.finish_all(0, site.now);
        site.inbox.extend(ended);
    }
    site.run_dry(0);
    assert_eq!(site.state(array), StateKind::Succeeded);
}

#[test]
fn units_survive_a_crash_and_are_not_given_again() {
    let mut site = Site::with_nodes(&[8]);
    let first = site.submit(with_named(&[(GPU, 1)]));
    site.settle_all();
    site.crash(None, true, 0);
    site.settle_all();
    let second = site.submit(with_named(&[(GPU, 1)]));
    site.settle_all();
    assert_eq!((units(&site, first), units(&site, second)), (vec![0], vec![1]));
}

#[test]
fn what_there_never_is_is_refused_with_the_most_that_there_is() {
    let mut site = Site::with_nodes(&[8, 8]);
    let refused = |site: &mut Site, named: &[(&str, u64)]| site.try_submit(with_named(named)).unwrap_err();
    let much = refused(&mut site, &[(GPU, 3)]);
    assert!(matches!(&much, Refusal::NoSuchResource { most: 2, asked: 3, .. }), "{much}");
    assert_eq!(
        much.to_string(),
        "it asks for 3 of resource gpu_10.5, and there are never more than 2 in one place for jobs of executor fake"
    );
    let none = refused(&mut site, &[("toaster", 1)]);
    assert_eq!(
        none.to_string(),
        "it asks for 1 of resource toaster, and there is none for jobs of executor fake"
    );
}

#[test]
fn the_end_of_a_holder_is_suggested_and_less_cpu_is_not() {
    let mut site = Site::with_nodes(&[8]);
    let holder = site.submit(with_named(&[(GPU, 2)]));
    let waits = site.submit(with_named(&[(GPU, 1)]));
    site.settle_all();
    let suggestions = site.engine.suggestions(waits, &[holder]);
    assert!(
        matches!(&suggestions[..], [berth_engine::Suggestion::Ends { jobs, .. }] if *jobs == [holder]),
        "{suggestions:?}"
    );
}
