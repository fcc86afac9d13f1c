//! Jobs that are changed while they wait, or before they run again.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod site;

use std::time::Duration;

use berth_engine::{Answer, QuotaSettings, Refusal};
use berth_model::{AccountKind, AccountTerms, EventKind, JobId, JobSpec, Limits, StateKind};
use site::{Site, array, cpus, job};

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
fn only_what_waits_is_changed_and_a_begun_array_only_in_its_priority() {
    let mut site = Site::with_nodes(&[1]);
    let runs = site.submit(job());
    site.settle_all();
    let refused = site.alter(runs, |spec| spec.priority = 3).unwrap_err();
    assert_eq!(refused.to_string(), format!("job {runs} is running: only what waits can be changed"));
    site.run_dry(0);
    let tasks = site.submit(array("1-3"));
    site.settle_all();
    assert!(site.alter(tasks, |spec| spec.project = "rna".into()).is_err());
    assert_eq!(site.alter(tasks, |spec| spec.priority = 3), Ok(Answer::Done));
    let task = JobId(tasks.0 + 1);
    assert!(matches!(site.alter(task, |spec| spec.priority = 3), Err(Refusal::State { .. })));
    assert_eq!(site.alter(tasks, |spec| spec.priority = 3), Ok(Answer::NoNews("it is so already")));
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
