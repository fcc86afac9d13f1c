//! What users and projects may use, and what happens when it is used up.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod site;

use std::{collections::BTreeMap, time::Duration};

use berth_engine::{ClassBounds, Command, CountAt, Input, OnBreach, QuotaSettings, Refusal};
use berth_model::{AccountKind, AccountTerms, JobId, JobSpec, Limits, StateKind, Used};
use site::{Manner, Site, array, cpus, job};

const HOUR_MS: u64 = 3_600_000;

/// A job of one CPU that may run for an hour, its grace included.
fn hour() -> JobSpec {
    JobSpec { time_limit: Some(Duration::from_secs(3590)), ..job() }
}

fn core_hours(hours: u64) -> Limits {
    Limits { cpu_ms: Some(hours * HOUR_MS), ..Limits::default() }
}

fn site(user: Limits) -> Site {
    Site::with_quotas(64, QuotaSettings { user, period_ms: 24 * HOUR_MS, ..QuotaSettings::default() })
}

fn used(site: &Site, kind: AccountKind, name: &str) -> Used {
    site.store.charged.get(&(kind, name.to_owned())).into_iter().flatten().map(|(_, used)| *used).sum()
}

#[test]
fn a_start_keeps_what_the_job_may_use_and_its_end_gives_the_rest_back() {
    let mut site = site(core_hours(2));
    let jobs: Vec<_> = (0..4).map(|_| site.submit(hour())).collect();
    site.settle_all();
    let states: Vec<_> = jobs.iter().map(|&job| site.state(job)).collect();
    assert_eq!(states, [StateKind::Running, StateKind::Running, StateKind::Pending, StateKind::Pending]);
    let words = site.engine.view(jobs[2]).unwrap().reasons[0].to_string();
    assert_eq!(
        words,
        "quota of user ada: it may use 2.00 core-hours in 1d, of which 2.00 core-hours are used or kept for what runs"
    );
    site.advance(Duration::from_secs(360));
    let running = site.back_end.running();
    for name in &running {
        let reports = site.back_end.finish(name, 0, site.now);
        site.inbox.extend(reports);
    }
    site.settle_all();
    assert_eq!(used(&site, AccountKind::User, "ada").cpu_ms, 2 * 360_000, "two jobs ran for six minutes");
    // 1.8 core-hours are left, and each needs a whole one.
    assert_eq!((site.state(jobs[2]), site.state(jobs[3])), (StateKind::Running, StateKind::Pending));
}

#[test]
fn use_counts_for_user_and_project_and_somebody_elses_does_not() {
    let mut site = site(core_hours(1));
    site.submit_as("ada", JobSpec { project: "p".into(), ..hour() });
    let bob = site.submit_as("bob", JobSpec { project: "p".into(), ..hour() });
    site.settle_all();
    assert_eq!(site.state(bob), StateKind::Running, "bob has a quota of his own");
    site.run_dry(0);
    let project = used(&site, AccountKind::Project, "p");
    let users = used(&site, AccountKind::User, "ada").plus(&used(&site, AccountKind::User, "bob"));
    assert_eq!((project, project.jobs), (users, 2));
}

#[test]
fn a_project_has_its_quota_whoever_submits_and_the_default_one_has_none() {
    let project = Limits { jobs: Some(1), ..Limits::default() };
    let mut site = Site::with_quotas(8, QuotaSettings { project, ..QuotaSettings::default() });
    let first = site.submit_as("ada", JobSpec { project: "p".into(), ..job() });
    let second = site.submit_as("bob", JobSpec { project: "p".into(), ..job() });
    let third = site.submit_as("bob", job());
    let fourth = site.submit_as("bob", job());
    site.settle_all();
    let states = [first, second, third, fourth].map(|job| site.state(job));
    assert_eq!(states, [StateKind::Running, StateKind::Pending, StateKind::Running, StateKind::Running]);
}

#[test]
fn what_was_used_falls_out_of_the_period_and_lets_go_whoever_waited_for_it() {
    let mut site = site(Limits { jobs: Some(1), ..Limits::default() });
    let (first, second) = (site.submit(job()), site.submit(job()));
    site.settle_all();
    let name = site.back_end.running()[0].clone();
    let reports = site.back_end.finish(&name, 0, site.now);
    site.inbox.extend(reports);
    site.settle_all();
    assert_eq!((site.state(first), site.state(second)), (StateKind::Succeeded, StateKind::Pending));
    site.advance(Duration::from_secs(23 * 3600));
    assert_eq!(site.state(second), StateKind::Pending);
    site.advance(Duration::from_secs(2 * 3600));
    assert_eq!(site.state(second), StateKind::Running);
}

#[test]
fn an_array_starts_as_many_tasks_as_the_quota_has_left() {
    let mut site = site(core_hours(3));
    let array = site.submit(JobSpec { time_limit: hour().time_limit, ..array("1-10") });
    site.settle_all();
    assert_eq!(site.back_end.running().len(), 3);
    site.run_dry(0);
    assert_eq!(site.state(array), StateKind::Succeeded, "tasks that end at once leave enough for the others");
    assert_eq!(used(&site, AccountKind::User, "ada").jobs, 10);
}

#[test]
fn a_large_job_that_waits_does_not_keep_a_small_one_back() {
    let mut site = site(core_hours(3));
    let first = site.submit(JobSpec { time_limit: hour().time_limit, ..cpus(2) });
    let large = site.submit(JobSpec { time_limit: hour().time_limit, ..cpus(3) });
    let small = site.submit(hour());
    site.settle_all();
    let states = [first, large, small].map(|job| site.state(job));
    assert_eq!(states, [StateKind::Running, StateKind::Pending, StateKind::Running]);
}

#[test]
fn what_could_never_start_is_refused_and_so_is_a_job_without_an_end() {
    let mut site = site(core_hours(3));
    let refused = site.try_submit(JobSpec { time_limit: hour().time_limit, ..cpus(4) }).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "it can use more than 3.00 core-hours, which is all that user ada may use"
    );
    let refused = site.try_submit(job()).unwrap_err();
    assert!(matches!(refused, Refusal::NoTimeLimit { .. }), "{refused}");
}

#[test]
fn a_site_may_reject_instead_of_letting_wait() {
    let user = Limits { jobs: Some(1), ..Limits::default() };
    let quotas = QuotaSettings { user, on_breach: OnBreach::Reject, ..QuotaSettings::default() };
    let mut site = Site::with_quotas(8, quotas);
    let (first, second) = (site.submit(job()), site.submit(job()));
    site.settle_all();
    assert_eq!((site.state(first), site.state(second)), (StateKind::Running, StateKind::Rejected));
}

#[test]
fn counted_at_the_end_quotas_can_be_overshot_as_in_go_docker() {
    let user = Limits { cpu_millis: Some(1000), ..Limits::default() };
    let quotas = QuotaSettings { user, count_at: CountAt::End, ..QuotaSettings::default() };
    let mut site = Site::with_nodes(&[8]);
    site.feed(Input::Quotas(Box::new(quotas)));
    let jobs: Vec<_> = (0..3).map(|_| site.submit(job())).collect();
    site.settle_all();
    assert!(jobs.iter().all(|&job| site.state(job) == StateKind::Running), "nothing has ended yet");
    let name = site.back_end.running()[0].clone();
    let reports = site.back_end.finish(&name, 0, site.now);
    site.inbox.extend(reports);
    let late = site.submit(job());
    site.settle_all();
    assert_eq!(site.state(late), StateKind::Pending);
}

#[test]
fn a_quota_that_is_raised_lets_go_whoever_waited() {
    let mut site = site(Limits { jobs: Some(1), ..Limits::default() });
    let jobs: Vec<_> = (0..3).map(|_| site.submit(job())).collect();
    site.settle_all();
    let terms =
        AccountTerms { limits: Limits { jobs: Some(2), ..Limits::default() }, ..AccountTerms::default() };
    site.set_account(AccountKind::User, "ada", Some(terms)).unwrap();
    site.settle_all();
    let states: Vec<_> = jobs.iter().map(|&job| site.state(job)).collect();
    assert_eq!(states, [StateKind::Running, StateKind::Running, StateKind::Pending]);
}

#[test]
fn whoever_waits_behind_one_that_was_let_go_and_never_started_is_let_go_in_its_place() {
    let mut site = site(Limits { jobs: Some(1), ..Limits::default() });
    site.submit(job());
    site.settle_all();
    site.run_dry(0);
    let [second, third] = [site.submit(job()), site.submit(job())];
    site.settle_all();
    assert_eq!((site.state(second), site.state(third)), (StateKind::Pending, StateKind::Pending));
    site.policy.manner = Manner::Rejects;
    site.advance(Duration::from_secs(26 * 3600));
    assert_eq!((site.state(second), site.state(third)), (StateKind::Rejected, StateKind::Running));
}

#[test]
fn a_group_bounds_all_its_projects_together() {
    let mut site = site(Limits::default());
    let limits = Limits { jobs: Some(1), ..Limits::default() };
    let group = AccountTerms { limits, ..AccountTerms::default() };
    site.set_account(AccountKind::Group, "g", Some(group)).unwrap();
    for project in ["p", "q"] {
        let members = ["ada".to_owned()].into();
        let of_group = AccountTerms { group: Some("g".into()), members, ..AccountTerms::default() };
        site.set_account(AccountKind::Project, project, Some(of_group)).unwrap();
    }
    let first = site.submit(JobSpec { project: "p".into(), ..job() });
    let second = site.submit(JobSpec { project: "q".into(), ..job() });
    site.settle_all();
    assert_eq!((site.state(first), site.state(second)), (StateKind::Running, StateKind::Pending));
    let words = site.engine.view(second).unwrap().reasons[0].to_string();
    assert!(words.starts_with("quota of group g"), "{words}");
}

#[test]
fn only_so_many_jobs_wait_and_tasks_of_arrays_count() {
    let pending = Limits { pending: Some(5), ..Limits::default() };
    let quotas = QuotaSettings { user: pending, pending: Some(8), ..QuotaSettings::default() };
    let mut site = Site::with_quotas(1, quotas);
    site.submit(JobSpec { hold: true, ..array("1-4") });
    let refused = site.try_submit(array("1-2")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "4 jobs wait of user ada, and no more than 5 may; submit it when some have started"
    );
    let last = site.submit(JobSpec { hold: true, ..job() });
    assert!(site.try_submit(job()).is_err());
    site.kill(last).unwrap();
    site.submit(JobSpec { hold: true, ..job() });
    site.submit_as("bob", JobSpec { hold: true, ..array("1-3") });
    let refused = site.try_submit_as("bob", job()).unwrap_err();
    assert!(matches!(refused, Refusal::TooManyWait { user: None, waits: 8, .. }), "{refused}");
}

#[test]
fn jobs_that_have_started_do_not_wait_any_more() {
    let pending = Limits { pending: Some(1), ..Limits::default() };
    let mut site = Site::with_quotas(2, QuotaSettings { user: pending, ..QuotaSettings::default() });
    for _ in 0..3 {
        site.submit(job());
        site.settle_all();
    }
    assert!(site.try_submit(job()).is_err(), "two run and one waits");
    site.crash(None, true, 0);
    assert!(site.try_submit(job()).is_err(), "nor after a crash");
    site.run_dry(0);
    site.submit(job());
}

#[test]
fn submissions_come_no_faster_than_the_site_allows() {
    let quotas = QuotaSettings { submissions_per_minute: Some(3), ..QuotaSettings::default() };
    let mut site = Site::with_quotas(8, quotas);
    for _ in 0..3 {
        site.submit(job());
    }
    let refused = site.try_submit(job()).unwrap_err();
    assert_eq!(refused.to_string(), "ada submits faster than this site allows; try again in 20 s");
    site.try_submit_as("bob", job()).unwrap();
    site.advance(Duration::from_secs(20));
    site.submit(job());
    assert!(site.try_submit(job()).is_err());
}

#[test]
fn what_a_job_ran_beyond_its_limit_because_nobody_could_end_it_is_not_charged() {
    let mut site = site(core_hours(2));
    site.submit(hour());
    site.settle_all();
    site.now = site.now.after(Duration::from_secs(9 * 3600));
    let name = site.back_end.running()[0].clone();
    let reports = site.back_end.finish(&name, 0, site.now);
    site.inbox.extend(reports);
    site.settle_all();
    assert_eq!(used(&site, AccountKind::User, "ada").cpu_ms, HOUR_MS);
}

#[test]
fn a_job_without_an_end_that_was_there_before_the_quota_does_not_pass_it() {
    let mut site = Site::with_nodes(&[1]);
    let running = site.submit(job());
    let endless = site.submit(job());
    let ends = site.submit(hour());
    site.settle_all();
    let quotas = QuotaSettings { user: core_hours(9), ..QuotaSettings::default() };
    site.feed(Input::Quotas(Box::new(quotas)));
    let name = site.back_end.running()[0].clone();
    let reports = site.back_end.finish(&name, 0, site.now);
    site.inbox.extend(reports);
    site.settle_all();
    let states = [running, endless, ends].map(|job| site.state(job));
    assert_eq!(states, [StateKind::Succeeded, StateKind::Pending, StateKind::Running]);
    let words = site.engine.view(endless).unwrap().reasons[0].to_string();
    assert!(words.contains("no time limit"), "{words}");
}

#[test]
fn an_array_that_has_begun_waits_where_others_are_rejected() {
    let user = Limits { jobs: Some(2), ..Limits::default() };
    let quotas = QuotaSettings { user, on_breach: OnBreach::Reject, ..QuotaSettings::default() };
    let mut site = Site::with_quotas(8, quotas);
    let array = site.submit(array("1-5"));
    site.settle_all();
    assert_eq!((site.back_end.running().len(), site.state(array)), (2, StateKind::Running));
    let words = site.engine.view(array).unwrap().reasons[0].to_string();
    assert!(words.starts_with("quota of user ada"), "{words}");
    let alone = site.submit(job());
    site.settle_all();
    assert_eq!(site.state(alone), StateKind::Rejected);
}

#[test]
fn why_a_job_waits_is_said_also_where_only_what_has_ended_counts() {
    let user = Limits { jobs: Some(1), ..Limits::default() };
    let quotas = QuotaSettings { user, count_at: CountAt::End, ..QuotaSettings::default() };
    let mut site = Site::with_nodes(&[8]);
    site.feed(Input::Quotas(Box::new(quotas)));
    site.submit(job());
    site.run_dry(0);
    let second = site.submit(job());
    site.settle_all();
    let words = site.engine.view(second).unwrap().reasons[0].to_string();
    assert!(words.contains("it may use 1 jobs"), "{words}");
}

#[test]
fn only_so_many_jobs_and_cpus_run_at_once_and_who_waits_starts_as_soon_as_one_ends() {
    let user = Limits { running_jobs: Some(3), running_cpu_millis: Some(4000), ..Limits::default() };
    let quotas = QuotaSettings { user, on_breach: OnBreach::Reject, ..QuotaSettings::default() };
    let mut site = Site::with_quotas(64, quotas);
    let jobs = [cpus(3), cpus(2), job(), job()].map(|spec| site.submit(spec));
    let other = site.submit_as("bob", cpus(4));
    site.settle_all();
    let states = |site: &Site| jobs.map(|job| site.state(job));
    let (waits, runs, over) = (StateKind::Pending, StateKind::Running, StateKind::Succeeded);
    assert_eq!(states(&site), [runs, waits, runs, waits], "nobody is rejected for what is given back");
    assert_eq!(site.state(other), runs);
    let words = site.engine.view(jobs[1]).unwrap().reasons[0].to_string();
    assert_eq!(words, "quota of user ada: it may have 4 CPUs at once, and 4 CPUs are in use by what runs");
    let name = site.back_end.running()[0].clone();
    let reports = site.back_end.finish(&name, 0, site.now);
    site.inbox.extend(reports);
    site.settle_all();
    assert_eq!(states(&site), [over, runs, runs, runs], "three of four CPUs, and the third job");
    let refused = site.try_submit(cpus(5)).unwrap_err();
    assert_eq!(refused.to_string(), "it can use more than 4 CPUs, which is all that user ada may use");
}

#[test]
fn an_arrays_tasks_run_as_many_at_once_as_its_user_may_even_where_only_what_has_ended_counts() {
    let user = Limits { running_jobs: Some(2), ..Limits::default() };
    let quotas = QuotaSettings { user, count_at: CountAt::End, ..QuotaSettings::default() };
    let mut site = Site::with_quotas(8, quotas);
    let array = site.submit(array("1-5"));
    site.settle_all();
    for _ in 0..2 {
        assert_eq!(site.back_end.running().len(), 2);
        let name = site.back_end.running()[0].clone();
        let reports = site.back_end.finish(&name, 0, site.now);
        site.inbox.extend(reports);
        site.settle_all();
    }
    site.crash(None, true, 0);
    site.settle_all();
    assert_eq!(site.back_end.running().len(), 2, "nor more after a crash");
    site.run_dry(0);
    assert_eq!(site.state(array), StateKind::Succeeded);
}

#[test]
fn a_group_bounds_the_gpus_and_the_memory_of_what_its_projects_run_at_once() {
    let mut site = site(Limits::default());
    let limits = Limits { running_memory_mib: Some(1024), ..Limits::default() };
    site.set_account(AccountKind::Group, "g", Some(AccountTerms { limits, ..AccountTerms::default() }))
        .unwrap();
    let of_group = AccountTerms {
        group: Some("g".into()),
        members: ["ada".to_owned()].into(),
        ..AccountTerms::default()
    };
    for project in ["p", "q"] {
        site.set_account(AccountKind::Project, project, Some(of_group.clone())).unwrap();
    }
    let with_memory = |project: &str, mib: u64| {
        let mut spec = JobSpec { project: project.into(), ..job() };
        spec.resources.memory_bytes = mib << 20;
        spec
    };
    let [first, second] = [with_memory("p", 600), with_memory("q", 600)].map(|spec| site.submit(spec));
    site.settle_all();
    assert_eq!((site.state(first), site.state(second)), (StateKind::Running, StateKind::Pending));
    let words = site.engine.view(second).unwrap().reasons[0].to_string();
    assert!(words.starts_with("quota of group g: it may have 1G of memory at once"), "{words}");
}

/// A site whose users' directories may take so much, and a job of ada's that has left so much behind.
fn site_with_disk(on_breach: OnBreach) -> (Site, JobId) {
    let user = Limits { disk_bytes: Some(100), ..Limits::default() };
    let mut site = Site::with_quotas(8, QuotaSettings { user, on_breach, ..QuotaSettings::default() });
    let first = site.submit(job());
    site.run_dry(0);
    assert_eq!(site.to_measure, [(first, 1)], "its directory is to be measured at its end");
    site.measured(first, 1, 100);
    (site, first)
}

fn disk(site: &Site, kind: AccountKind, name: &str) -> u64 {
    site.engine.standing(kind, name).in_use.disk_bytes
}

#[test]
fn who_has_as_much_on_the_disk_as_they_may_waits_until_a_directory_is_gone() {
    let (mut site, first) = site_with_disk(OnBreach::Wait);
    let second = site.submit(job());
    let other = site.submit_as("bob", job());
    site.settle_all();
    assert_eq!((site.state(second), site.state(other)), (StateKind::Pending, StateKind::Running));
    let words = site.engine.view(second).unwrap().reasons[0].to_string();
    assert!(words.contains("100B of job directories") && words.contains("archive"), "{words}");
    site.crash(None, true, 0);
    site.settle_all();
    assert_eq!(site.state(second), StateKind::Pending, "nor after a crash");
    site.command(Command::DirectoryGone { job: first, tasks: 0 }).unwrap();
    site.settle_all();
    assert_eq!((site.state(second), disk(&site, AccountKind::User, "ada")), (StateKind::Running, 0));
}

#[test]
fn where_the_site_wants_it_who_is_over_the_quota_of_disk_is_rejected() {
    let (mut site, _) = site_with_disk(OnBreach::Reject);
    let second = site.submit(job());
    site.settle_all();
    assert_eq!(site.state(second), StateKind::Rejected);
}

#[test]
fn a_directory_counts_once_however_often_it_is_measured_and_a_late_measurement_not_at_all() {
    let (mut site, first) = site_with_disk(OnBreach::Wait);
    site.measured(first, 1, 40);
    site.measured(first, 1, 40);
    assert_eq!(disk(&site, AccountKind::User, "ada"), 40);
    site.rerun(first).unwrap();
    site.run_dry(0);
    site.measured(first, 2, 60);
    site.measured(first, 1, 50);
    site.crash(None, true, 0);
    assert_eq!(
        (disk(&site, AccountKind::User, "ada"), disk(&site, AccountKind::Project, "default")),
        (60, 60)
    );
}

#[test]
fn directories_of_an_array_go_together_and_those_of_a_project_follow_it_into_its_group() {
    let (mut site, _) = site_with_disk(OnBreach::Wait);
    site.measured(JobId(1), 1, 1);
    let terms = |group: Option<&str>| AccountTerms {
        group: group.map(str::to_owned),
        members: ["ada".to_owned()].into(),
        ..AccountTerms::default()
    };
    site.set_account(AccountKind::Project, "p", Some(terms(Some("g")))).unwrap();
    let array = site.submit(JobSpec { project: "p".into(), ..array("1-3") });
    site.run_dry(0);
    for (task, bytes) in (1..=3).zip([5, 6, 7]) {
        site.measured(JobId(array.0 + task), 1, bytes);
    }
    let seen = |site: &Site| {
        [(AccountKind::Project, "p"), (AccountKind::Group, "g"), (AccountKind::Group, "h")]
            .map(|(kind, name)| disk(site, kind, name))
    };
    assert_eq!(seen(&site), [18, 18, 0]);
    site.set_account(AccountKind::Project, "p", Some(terms(Some("h")))).unwrap();
    assert_eq!(seen(&site), [18, 0, 18]);
    site.crash(None, true, 0);
    assert_eq!((seen(&site), disk(&site, AccountKind::Member, "p/ada")), ([18, 0, 18], 18));
    site.command(Command::DirectoryGone { job: array, tasks: 3 }).unwrap();
    assert_eq!((seen(&site), disk(&site, AccountKind::User, "ada")), ([0, 0, 0], 1));
}

#[test]
fn nothing_is_measured_where_nobody_is_bounded_in_what_lies_on_the_disk() {
    let mut site = site(core_hours(3));
    site.submit(hour());
    site.run_dry(0);
    assert!(site.to_measure.is_empty() && !site.engine.measures_directories());
}

/// A site whose class `short` has these bounds.
fn site_with_class(bounds: ClassBounds) -> Site {
    let classes = BTreeMap::from([("short".to_owned(), bounds)]);
    Site::with_quotas(64, QuotaSettings { classes, ..QuotaSettings::default() })
}

fn short(spec: JobSpec) -> JobSpec {
    JobSpec { class: Some("short".into()), ..spec }
}

#[test]
fn a_class_bounds_what_of_it_runs_at_once_whoever_sends_it_and_nothing_else() {
    let all = Limits { running_jobs: Some(2), ..Limits::default() };
    let mut site = site_with_class(ClassBounds { all, ..ClassBounds::default() });
    let jobs = [
        site.submit_as("ada", short(job())),
        site.submit_as("bob", short(job())),
        site.submit_as("bob", short(job())),
        site.submit_as("bob", job()),
    ];
    site.settle_all();
    let (waits, runs) = (StateKind::Pending, StateKind::Running);
    assert_eq!(jobs.map(|job| site.state(job)), [runs, runs, waits, runs]);
    let words = site.engine.view(jobs[2]).unwrap().reasons[0].to_string();
    assert_eq!(words, "quota of class short: it may have 2 jobs at once, and 2 jobs are in use by what runs");
    site.crash(None, true, 0);
    site.settle_all();
    assert_eq!(site.state(jobs[2]), waits, "and so it is after a crash");
    let name = site.back_end.running()[0].clone();
    let reports = site.back_end.finish(&name, 0, site.now);
    site.inbox.extend(reports);
    site.settle_all();
    assert_eq!(site.state(jobs[2]), runs);
}

#[test]
fn each_user_has_a_bound_of_their_own_in_a_class_and_an_arrays_tasks_count() {
    let user = Limits { running_jobs: Some(2), cpu_millis: Some(6000), ..Limits::default() };
    let mut site = site_with_class(ClassBounds { user, ..ClassBounds::default() });
    site.submit_as("ada", short(array("1-5")));
    let bob = site.submit_as("bob", short(job()));
    site.settle_all();
    assert_eq!(site.back_end.running().len(), 3, "two of ada's, and bob's");
    assert_eq!(site.state(bob), StateKind::Running);
    site.run_dry(0);
    assert_eq!(used(&site, AccountKind::ClassUser, "short/ada").jobs, 5);
    assert_eq!(used(&site, AccountKind::Class, "short").jobs, 6);
    let refused = site.try_submit_as("eve", short(cpus(7))).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "it can use more than 6 CPUs, which is all that class-user short/eve may use"
    );
}

#[test]
fn what_a_class_may_use_is_changed_while_the_engine_runs_and_is_nobodys_to_set_by_a_command() {
    let all = Limits { running_jobs: Some(1), ..Limits::default() };
    let mut site = site_with_class(ClassBounds { all, ..ClassBounds::default() });
    let [_, second] = [short(job()), short(job())].map(|spec| site.submit(spec));
    site.settle_all();
    assert_eq!(site.state(second), StateKind::Pending);
    site.set_quotas(QuotaSettings::default());
    site.settle_all();
    assert_eq!(site.state(second), StateKind::Running, "the class bounds nothing any more");
    let refused = site.set_account(AccountKind::Class, "short", Some(AccountTerms::default())).unwrap_err();
    assert!(refused.to_string().contains("berth.toml"), "{refused}");
}
