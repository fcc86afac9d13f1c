//! Jobs that are changed while they wait, or before they run again.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod site;

use std::time::Duration;

use berth_engine::{Answer, QuotaSettings, Refusal};
use berth_model::{AccountKind, AccountTerms, EventKind, JobId, JobSpec, Limits, StateKind};
use site::{Site, array, cpus, job};

const MINUTE: Duration = Duration::from_secs(60);

fn notes(site: &Site, job: JobId) -> Vec<String> {
    let of = |(about, kind): &(JobId, EventKind)| match kind {
        EventKind::Note { text } if *about == job => Some(text.clone()),
        _ => None,
    };
    site.store.history.iter().filter_map(of).collect()
}

/// A site of one CPU on which something runs, so that all else waits.
fn full() -> Site {
    let mut site = Site::with_nodes(&[1, 4]);
    site.submit(cpus(4));
    site.submit(cpus(1));
    site.settle_all();
    site
}

#[test]
fn a_job_that_asked_for_too_much_starts_when_it_asks_for_less() {
    let mut site = Site::with_nodes(&[4]);
    site.submit(cpus(2));
    let waits = site.submit(cpus(3));
    site.settle_all();
    assert_eq!(site.state(waits), StateKind::Pending);
    site.alter(waits, |spec| spec.resources.cpu_millis = 2000).unwrap();
    site.settle_all();
    assert_eq!(site.state(waits), StateKind::Running);
    assert_eq!(site.store.job(waits).unwrap().needs.cpu_millis, 2000);
    let notes = notes(&site, waits);
    assert!(notes[0].starts_with("changed by ada: resources "), "{notes:?}");
}

#[test]
fn a_change_is_durable_and_what_a_crash_brings_back_has_it() {
    let mut site = full();
    let waits = site.submit(job());
    site.alter(waits, |spec| {
        spec.priority = 7;
        spec.project = "rna".into();
        spec.time_limit = Some(Duration::from_secs(60));
    })
    .unwrap();
    site.crash(None, true, 0);
    let stored = site.store.job(waits).unwrap();
    assert_eq!((stored.project.as_str(), stored.time_limit_ms), ("rna", Some(60_000)));
    site.settle_all();
    let told = site.policy.pending[&waits];
    assert_eq!((told.priority, told.time_limit_ms), (7, Some(60_000)));
    site.run_dry(0);
    assert_eq!(site.engine.standing(AccountKind::Project, "rna").used.jobs, 1);
}

#[test]
fn what_runs_is_changed_in_its_priority_and_its_time_limit_alone_and_a_begun_array_in_its_priority() {
    let mut site = Site::with_nodes(&[1]);
    let runs = site.submit(job());
    site.settle_all();
    let refused = site.alter(runs, |spec| spec.project = "rna".into()).unwrap_err();
    let words = "is running: of what has started, only the priority and the time limit can be changed";
    assert_eq!(refused.to_string(), format!("job {runs} {words}"));
    assert_eq!(site.alter(runs, |spec| spec.priority = 3), Ok(Answer::Done));
    assert_eq!(site.store.job(runs).unwrap().moving.priority, 3);
    site.run_dry(0);
    let tasks = site.submit(array("1-3"));
    site.settle_all();
    assert!(site.alter(tasks, |spec| spec.project = "rna".into()).is_err());
    assert_eq!(site.alter(tasks, |spec| spec.priority = 3), Ok(Answer::Done));
    let task = JobId(tasks.0 + 1);
    assert!(matches!(site.alter(task, |spec| spec.priority = 3), Err(Refusal::State { .. })));
    assert_eq!(site.alter(tasks, |spec| spec.priority = 3), Ok(Answer::NoNews("it is so already")));
}

fn limited(seconds: u64) -> JobSpec {
    JobSpec { time_limit: Some(Duration::from_secs(seconds)), ..job() }
}

fn set_limit(site: &mut Site, job: JobId, seconds: u64) -> Result<Answer, Refusal> {
    site.alter(job, |spec| spec.time_limit = Some(Duration::from_secs(seconds)))
}

/// Lets time pass in which nothing else happens.
fn pass(site: &mut Site, seconds: u64) {
    site.now = site.now.after(Duration::from_secs(seconds));
    site.feed(berth_engine::Input::Tick);
}

#[test]
fn what_runs_takes_up_a_longer_and_a_shorter_time_limit() {
    let mut site = Site::with_nodes(&[4]);
    let (longer, shorter, same) =
        (site.submit(limited(60)), site.submit(limited(60)), site.submit(limited(60)));
    site.settle_all();
    set_limit(&mut site, longer, 100).unwrap();
    set_limit(&mut site, shorter, 30).unwrap();
    let states = |site: &Site| [longer, shorter, same].map(|job| site.state(job) == StateKind::Running);
    pass(&mut site, 29);
    assert_eq!(states(&site), [true, true, true]);
    pass(&mut site, 2);
    assert_eq!(states(&site), [true, false, true]);
    pass(&mut site, 30);
    assert_eq!(states(&site), [true, false, false]);
    pass(&mut site, 40);
    assert_eq!(states(&site), [false, false, false]);
    assert!(
        notes(&site, longer)[0].starts_with("changed by ada: time limit 1m -> 1m40s"),
        "{:?}",
        notes(&site, longer)
    );
}

#[test]
fn the_scheduler_hears_when_what_runs_ends_now() {
    let mut site = Site::with_nodes(&[4]);
    let runs = site.submit(limited(60));
    site.settle_all();
    // It hears of starts with its next plan.
    site.submit(job());
    site.settle_all();
    let ends = |site: &Site| site.policy.ends[&runs];
    let before = ends(&site);
    set_limit(&mut site, runs, 90).unwrap();
    site.settle_all();
    assert_eq!(ends(&site), before.after(Duration::from_secs(30)));
}

#[test]
fn a_new_time_limit_outlives_a_crash() {
    let mut site = Site::with_nodes(&[4]);
    let runs = site.submit(limited(60));
    site.settle_all();
    set_limit(&mut site, runs, 200).unwrap();
    site.crash(None, true, 0);
    site.settle_all();
    pass(&mut site, 150);
    assert_eq!(site.state(runs), StateKind::Running);
    pass(&mut site, 51);
    assert_ne!(site.state(runs), StateKind::Running);
}

#[test]
fn a_time_limit_that_has_passed_is_no_new_one_and_what_is_only_starting_waits_for_it() {
    let mut site = Site::with_nodes(&[4]);
    let runs = site.submit(limited(60));
    site.settle_all();
    pass(&mut site, 20);
    let refused = set_limit(&mut site, runs, 20).unwrap_err();
    assert!(
        refused.to_string().ends_with("it has run longer than that already; kill it instead"),
        "{refused}"
    );
    assert_eq!(site.state(runs), StateKind::Running);
    let refused = site.alter(runs, |spec| spec.time_limit = None).unwrap_err();
    assert!(refused.to_string().ends_with("cannot be taken away from what runs"), "{refused}");
}

#[test]
fn what_runs_may_run_longer_only_as_far_as_its_quota_goes_and_gives_back_what_it_does_not_need() {
    let user = Limits { cpu_ms: Some(100_000), ..Limits::default() };
    let mut site = Site::with_quotas(4, QuotaSettings { user, ..QuotaSettings::default() });
    let no_grace = |seconds| JobSpec { grace: Duration::ZERO, ..limited(seconds) };
    let runs = site.submit(no_grace(60));
    let waits = site.submit(no_grace(60));
    site.settle_all();
    assert_eq!(site.state(waits), StateKind::Pending, "120 of 100 seconds");
    let kept = |site: &Site| site.engine.standing(AccountKind::User, "ada").reserved.cpu_ms;
    let refused = set_limit(&mut site, runs, 101).unwrap_err();
    assert!(refused.to_string().starts_with("user ada has not enough left of "), "{refused}");
    assert_eq!((kept(&site), site.store.job(runs).unwrap().time_limit_ms), (60_000, Some(60_000)));
    set_limit(&mut site, runs, 100).unwrap();
    assert_eq!(kept(&site), 100_000);
    set_limit(&mut site, runs, 40).unwrap();
    site.settle_all();
    assert_eq!(site.state(waits), StateKind::Running, "what was given back is another's");
    assert_eq!(kept(&site), 100_000);
}

#[test]
fn a_back_end_that_holds_attempts_to_their_limit_is_told_the_new_one_and_again_when_it_was_away() {
    let mut site = Site::that_limits(4, true);
    let runs = site.submit(limited(60));
    site.settle_all();
    assert!(site.back_end.limits.is_empty());
    set_limit(&mut site, runs, 90).unwrap();
    let told = |site: &mut Site| std::mem::take(&mut site.back_end.limits).into_values().collect::<Vec<_>>();
    assert_eq!(told(&mut site), [Duration::from_secs(90)]);
    site.feed(berth_engine::Input::Back { executor: site::EXECUTOR.into() });
    site.settle_all();
    assert_eq!(told(&mut site), [Duration::from_secs(90)]);
    site.crash(None, true, 0);
    site.settle_all();
    assert_eq!(told(&mut site), [Duration::from_secs(90)], "it may have been changed just before");
}

#[test]
fn a_back_end_that_takes_up_no_other_limit_keeps_the_one_there_is() {
    let mut site = Site::that_limits(4, false);
    let runs = site.submit(limited(60));
    site.settle_all();
    let refused = set_limit(&mut site, runs, 90).unwrap_err();
    assert!(refused.to_string().ends_with("cannot change the time limit of what runs"), "{refused}");
    assert_eq!(site.store.job(runs).unwrap().time_limit_ms, Some(60_000));
}

#[test]
fn what_no_node_holds_no_project_takes_or_no_quota_allows_is_refused_and_changes_nothing() {
    let quotas = QuotaSettings {
        open_projects: false,
        user: Limits { cpu_millis: Some(3000), ..Limits::default() },
        ..QuotaSettings::default()
    };
    let mut site = Site::with_quotas(8, quotas);
    let other = AccountTerms { members: ["bob".into()].into(), ..AccountTerms::default() };
    site.set_account(AccountKind::Project, "rna", Some(other)).unwrap();
    let held = site.submit(JobSpec { hold: true, ..job() });
    let before = site.store.job(held).unwrap();
    assert!(matches!(
        site.alter(held, |spec| spec.resources.cpu_millis = 9000),
        Err(Refusal::TooLarge { .. })
    ));
    assert!(matches!(site.alter(held, |spec| spec.project = "rna".into()), Err(Refusal::NotAMember { .. })));
    assert!(matches!(
        site.alter(held, |spec| spec.resources.cpu_millis = 4000),
        Err(Refusal::OverQuota { .. })
    ));
    assert_eq!(site.store.job(held).unwrap(), before);
    assert!(notes(&site, held).is_empty());
}

#[test]
fn whoever_a_quota_keeps_waiting_is_looked_at_anew_in_another_project() {
    let mut site = Site::with_nodes(&[4]);
    let limits = Limits { jobs: Some(1), ..Limits::default() };
    let terms = AccountTerms { limits, members: ["ada".into()].into(), ..AccountTerms::default() };
    site.set_account(AccountKind::Project, "rna", Some(terms)).unwrap();
    let in_project = || JobSpec { project: "rna".into(), ..job() };
    site.submit(in_project());
    let waits = site.submit(in_project());
    site.settle_all();
    assert_eq!(site.state(waits), StateKind::Pending);
    site.alter(waits, |spec| spec.project = "default".into()).unwrap();
    site.settle_all();
    assert_eq!(site.state(waits), StateKind::Running);
    site.run_dry(0);
    assert_eq!(site.engine.standing(AccountKind::Project, "rna").used.jobs, 1);
    assert_eq!(site.engine.standing(AccountKind::Project, "default").used.jobs, 1);
}

#[test]
fn an_ended_job_runs_again_with_more_than_it_had() {
    let mut site = Site::with_nodes(&[4]);
    let failed = site.submit(job());
    site.run_dry(1);
    assert_eq!(site.state(failed), StateKind::Failed);
    site.rerun_with(failed, |spec| spec.resources.cpu_millis = 3000).unwrap();
    site.settle_all();
    assert_eq!(site.state(failed), StateKind::Running);
    assert_eq!(site.store.job(failed).unwrap().needs.cpu_millis, 3000);
    assert_eq!(site.engine.standing(AccountKind::User, "ada").reserved.cpu_millis, 3000);
    site.run_dry(0);
    assert_eq!(site.state(failed), StateKind::Succeeded);
}

#[test]
fn an_array_of_which_a_task_runs_again_is_not_changed_beneath_it() {
    let mut site = Site::with_nodes(&[1]);
    let ended = site.submit(array("5-6"));
    site.run_dry(1);
    site.rerun(JobId(ended.0 + 2)).unwrap();
    assert!(site.rerun_with(ended, |spec| spec.project = "rna".into()).is_err());
    site.run_dry(0);
    assert_eq!(site.engine.standing(AccountKind::Project, "rna").used.jobs, 0);
    site.rerun_with(ended, |spec| spec.project = "rna".into()).unwrap();
    site.run_dry(0);
    assert_eq!(site.engine.standing(AccountKind::Project, "rna").used.jobs, 2);
}

#[test]
fn a_job_that_has_not_ended_is_not_changed_by_asking_for_another_run() {
    let mut site = Site::with_nodes(&[4]);
    let runs = site.submit(job());
    site.settle_all();
    assert!(site.rerun_with(runs, |spec| spec.priority = 5).is_err());
    assert_eq!(site.state(runs), StateKind::Running);
}

#[test]
fn of_two_changes_that_were_made_of_the_same_job_the_second_undoes_nothing() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(JobSpec { hold: true, ..job() });
    let read = site.altered(job, |_| ());
    site.alter_what_was(job, read.clone(), |spec| spec.priority = 7).unwrap();
    let refused = site.alter_what_was(job, read, |spec| spec.time_limit = Some(MINUTE)).unwrap_err();
    assert!(matches!(refused, Refusal::Outdated(of) if of == job), "{refused}");
    site.alter(job, |spec| spec.time_limit = Some(MINUTE)).unwrap();
    let stored = site.store.job(job).unwrap();
    assert_eq!((stored.moving.priority, stored.time_limit_ms), (7, Some(60_000)));
}
