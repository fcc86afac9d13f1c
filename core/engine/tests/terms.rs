//! What administrators set of accounts, and what schedulers are told of them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod site;

use std::time::Duration;

use berth_engine::{AccountTold, Answer, Command, QuotaSettings, Refusal, WhoseTold};
use berth_model::{AccountKind, AccountTerms, EventKind, JobId, JobSpec, Limits, StateKind};
use site::{Site, job};

const HOUR: Duration = Duration::from_secs(3600);

fn closed_site() -> Site {
    Site::with_quotas(4, QuotaSettings { open_projects: false, ..QuotaSettings::default() })
}

fn members<const N: usize>(names: [&str; N]) -> AccountTerms {
    AccountTerms { members: names.map(str::to_owned).into(), ..AccountTerms::default() }
}

fn in_project(project: &str) -> JobSpec {
    JobSpec { project: project.into(), ..job() }
}

fn acts(site: &Site) -> Vec<String> {
    let words = |(job, kind): &(JobId, EventKind)| match kind {
        EventKind::Act { by, words } if *job == JobId::SITE => Some(format!("{by}: {words}")),
        _ => None,
    };
    site.store.history.iter().filter_map(words).collect()
}

/// A user's account, as the policy was told of it by the next plan.
fn told(site: &mut Site, whose: impl Fn(&AccountTold) -> bool) -> Option<AccountTold> {
    let wait = site.submit(job());
    site.settle_all();
    let found = site.policy.accounts.values().find(|account| whose(account)).copied();
    site.run_dry(0);
    assert_eq!(site.state(wait), StateKind::Succeeded);
    found
}

#[test]
fn only_members_submit_to_a_project_and_everybody_to_the_default_one() {
    let mut site = closed_site();
    assert_eq!(site.try_submit(in_project("rna")), Err(Refusal::NoSuchProject("rna".into())));
    site.set_account(AccountKind::Project, "rna", Some(members(["ada"]))).unwrap();
    site.submit(in_project("rna"));
    let refused = site.try_submit_as("bob", in_project("rna")).unwrap_err();
    assert_eq!(refused.to_string(), "bob is no member of project rna");
    site.try_submit_as("bob", job()).unwrap();
}

#[test]
fn projects_that_nobody_made_leave_no_trace_however_many_are_named() {
    let mut site = closed_site();
    site.submit(job());
    site.settle_all();
    let known = site.policy.names;
    for number in 0..50 {
        assert!(site.try_submit(in_project(&format!("p{number}"))).is_err());
    }
    site.submit(job());
    site.settle_all();
    assert_eq!(site.policy.names, known);
}

#[test]
fn whoever_is_barred_submits_nothing_and_what_runs_goes_on() {
    let mut site = Site::with_nodes(&[4]);
    let runs = site.submit(job());
    site.settle_all();
    let barred = AccountTerms { barred: true, ..AccountTerms::default() };
    site.set_account(AccountKind::User, "ada", Some(barred.clone())).unwrap();
    let refused = site.try_submit(job()).unwrap_err();
    assert_eq!(refused.to_string(), "user ada takes no new jobs: an administrator has barred it");
    assert_eq!(site.state(runs), StateKind::Running);
    let project = AccountTerms { group: Some("g".into()), ..members(["bob"]) };
    site.set_account(AccountKind::Project, "rna", Some(project)).unwrap();
    site.set_account(AccountKind::Group, "g", Some(barred)).unwrap();
    let refused = site.try_submit_as("bob", in_project("rna")).unwrap_err();
    assert!(refused.to_string().starts_with("group g takes no new jobs"), "{refused}");
}

#[test]
fn of_two_administrators_who_change_one_account_the_second_has_to_look_again() {
    let mut site = closed_site();
    let set = |site: &mut Site, version, priority| {
        let terms = Some(Box::new(AccountTerms { priority, ..AccountTerms::default() }));
        let (kind, name, by) = (AccountKind::User, "ada".into(), "root".into());
        site.command(Command::SetAccount { kind, name, by, version, terms })
    };
    let Ok(Answer::Version(first)) = set(&mut site, 0, 60) else { panic!("refused") };
    let Ok(Answer::Version(second)) = set(&mut site, first, 70) else { panic!("refused") };
    assert!(second > first);
    let refused = set(&mut site, first, 80).unwrap_err();
    assert_eq!(refused, Refusal::AccountChanged { account: "user ada".into(), version: second });
    assert_eq!(site.engine.standing(AccountKind::User, "ada").terms.priority, 70);
}

#[test]
fn an_account_that_was_taken_away_never_has_an_old_version_again() {
    let mut site = closed_site();
    let mut set = |terms| match site.set_account(AccountKind::Project, "rna", terms) {
        Ok(Answer::Version(version)) => version,
        other => panic!("{other:?}"),
    };
    let first = set(Some(members(["ada"])));
    assert_eq!(set(None), 0);
    site.advance(Duration::from_millis(1));
    let mut set = |terms| site.set_account(AccountKind::Project, "rna", terms);
    assert!(matches!(set(Some(members(["bob"]))), Ok(Answer::Version(again)) if again > first));
}

#[test]
fn every_act_is_in_the_history_with_who_did_it() {
    let mut site = closed_site();
    let terms = AccountTerms { about: "sequencing".into(), ..members(["ada"]) };
    site.set_account(AccountKind::Project, "rna", Some(terms.clone())).unwrap();
    site.set_account(AccountKind::Project, "rna", Some(terms.clone())).unwrap();
    let limits = Limits { jobs: Some(9), ..Limits::default() };
    site.set_account(AccountKind::Project, "rna", Some(AccountTerms { limits, ..terms })).unwrap();
    site.set_account(AccountKind::Project, "rna", None).unwrap();
    site.command(Command::Act { by: "eve".into(), words: "plugin scheduler reloaded".into() }).unwrap();
    assert_eq!(
        acts(&site),
        [
            "root: project rna made: about \"\" -> \"sequencing\", member +ada",
            "root: project rna changed: jobs none -> 9 jobs",
            "root: project rna taken away",
            "eve: plugin scheduler reloaded",
        ]
    );
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut site = closed_site();
    let refused = site.set_account(AccountKind::User, "ada", Some(members(["bob"]))).unwrap_err();
    assert_eq!(refused.to_string(), "user ada: only a project has members, and this is a user");
    let refused = site.set_account(AccountKind::Project, "default", Some(members(["bob"]))).unwrap_err();
    assert_eq!(refused, Refusal::DefaultProject);
    assert!(site.store.terms.is_empty() && acts(&site).is_empty());
}

#[test]
fn terms_and_use_are_as_before_after_a_crash() {
    let mut site = closed_site();
    let group = AccountTerms { priority: 80, shares: 3, group: Some("g".into()), ..members(["ada"]) };
    site.set_account(AccountKind::Project, "rna", Some(group)).unwrap();
    for hours in [1, 30, 100] {
        site.submit(in_project("rna"));
        site.settle_all();
        site.advance(HOUR);
        site.run_dry(0);
        site.advance(HOUR * hours);
    }
    let accounts = |site: &Site| {
        AccountKind::ALL.map(|kind| site.engine.standings(kind)).into_iter().flatten().collect::<Vec<_>>()
    };
    let before = accounts(&site);
    assert_eq!(before.len(), 4, "user, project, group, member: {before:?}");
    site.crash(None, true, 0);
    for (before, after) in before.iter().zip(accounts(&site)) {
        assert!((before.faded.cpu_s - after.faded.cpu_s).abs() < 1e-6 && before.faded.cpu_s > 0.0);
        assert_eq!(*before, berth_engine::Standing { faded: before.faded, ..after });
    }
    assert!(site.try_submit_as("bob", in_project("rna")).is_err());
}

#[test]
fn a_job_counts_for_the_group_that_its_project_had_when_it_started() {
    let mut site = closed_site();
    let of_group = |group: &str| AccountTerms { group: Some(group.into()), ..members(["ada"]) };
    site.set_account(AccountKind::Project, "rna", Some(of_group("g"))).unwrap();
    let job = JobSpec { time_limit: Some(HOUR), ..in_project("rna") };
    site.submit(job);
    site.settle_all();
    site.set_account(AccountKind::Project, "rna", Some(of_group("h"))).unwrap();
    assert!(site.engine.standing(AccountKind::Group, "g").reserved.cpu_ms > 0);
    site.run_dry(0);
    let group = |name| site.engine.standing(AccountKind::Group, name);
    assert_eq!((group("g").reserved.cpu_ms, group("g").used.jobs), (0, 1));
    assert_eq!((group("h").reserved.cpu_ms, group("h").used.jobs), (0, 0));
}

#[test]
fn schedulers_are_told_of_use_as_soon_as_it_is_charged_and_of_its_fading_by_the_hour() {
    let mut site = closed_site();
    let user = |account: &AccountTold| matches!(account.whose, WhoseTold::User(_));
    site.submit(job());
    site.settle_all();
    site.advance(HOUR);
    site.run_dry(0);
    let first = told(&mut site, user).unwrap();
    assert_eq!((first.used.cpu_ms, first.priority, first.shares), (3_600_000, 50, 1));
    assert!((first.faded.cpu_s - 3600.0).abs() < 1e-6, "{}", first.faded.cpu_s);
    site.advance(HOUR * 24 * 7);
    let later = told(&mut site, user).unwrap();
    assert_eq!(later.used.cpu_ms, 3_600_000);
    assert!((later.faded.cpu_s - 1800.0).abs() < 1e-6, "{}", later.faded.cpu_s);
    site.advance(HOUR * 24 * 30);
    assert_eq!(told(&mut site, user).unwrap().used.cpu_ms, 0);
}

#[test]
fn schedulers_are_told_what_was_set_of_an_account() {
    let mut site = closed_site();
    let terms = AccountTerms { priority: 80, shares: 3, group: Some("g".into()), ..members(["ada"]) };
    site.set_account(AccountKind::Project, "rna", Some(terms)).unwrap();
    let project =
        |account: &AccountTold| matches!(account.whose, WhoseTold::Project(_)) && account.shares == 3;
    let told = told(&mut site, project).unwrap();
    assert_eq!(told.priority, 80);
    assert!(told.group.is_some());
}
