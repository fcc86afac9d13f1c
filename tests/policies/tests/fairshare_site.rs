//! `fairshare` at a site of 50 users in 8 projects: what each has used comes to what they have a share in.

// A test that stops here has failed, and should.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

use std::{collections::BTreeMap, path::Path};

use berth_engine::QuotaSettings;
use berth_model::{AccountKind, AccountTerms, Limits};
use berth_policy_host::PolicyHost;
use berth_policy_tests::{
    planners::{self, Guest},
    site::{BEGIN, Person, Plot, Site, Work},
};
use berth_scheduler_fairshare::formula::{Level, exponent};

const MINUTE: u64 = 60_000;
const USERS: usize = 50;

/// Projects with their shares and groups; the last two have none.
const PROJECTS: [(&str, u32, Option<&str>); 8] = [
    ("genes", 3, Some("bio")),
    ("cells", 1, Some("bio")),
    ("birds", 2, Some("bio")),
    ("rocks", 1, Some("earth")),
    ("seas", 1, Some("earth")),
    ("skies", 2, Some("earth")),
    ("stars", 2, None),
    ("maths", 1, None),
];
const GROUPS: [(&str, u32); 2] = [("bio", 4), ("earth", 3)];

/// All that takes part in the first level.
const AT_TOP: f64 = 4.0 + 3.0 + 2.0 + 1.0;

const JOBS: usize = 100_000;

/// How far what somebody has used may be from what it should be, as a part of that: a few jobs, when the smallest
/// have had some ten times as many.
const OF_USERS: f64 = 0.03;
const OF_PROJECTS: f64 = 0.005;

fn host() -> PolicyHost {
    planners::host(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-policies"))
}

fn user(number: usize) -> String {
    format!("user{number:02}")
}

/// Everybody is in one project, and the first ten are in two.
fn people() -> Vec<Person> {
    let person = |number: usize, shift: usize| Person {
        user: user(number),
        project: PROJECTS[(number + shift) % PROJECTS.len()].0.to_owned(),
    };
    (0..USERS).map(|number| person(number, 0)).chain((0..10).map(|number| person(number, 3))).collect()
}

fn number(person: &Person) -> usize {
    person.user[4..].parse().unwrap()
}

fn user_shares(number: usize) -> u32 {
    1 + u32::try_from(number % 3).unwrap()
}

fn accounts() -> Vec<(AccountKind, String, AccountTerms)> {
    let usual = AccountTerms::default;
    let users = (0..USERS).map(|number| {
        (AccountKind::User, user(number), AccountTerms { shares: user_shares(number), ..usual() })
    });
    let projects = PROJECTS.into_iter().map(|(name, shares, group)| {
        let members = people().into_iter().filter(|person| person.project == name).map(|person| person.user);
        let terms =
            AccountTerms { shares, group: group.map(str::to_owned), members: members.collect(), ..usual() };
        (AccountKind::Project, name.to_owned(), terms)
    });
    let groups = GROUPS
        .into_iter()
        .map(|(name, shares)| (AccountKind::Group, name.to_owned(), AccountTerms { shares, ..usual() }));
    users.chain(projects).chain(groups).collect()
}

/// Jobs of one to four CPUs and up to 20 minutes; those of every fifth are four times as long.
fn work(person: usize, job: usize) -> Work {
    let mixed = (person as u64 * 1_000_003 + job as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let long = if person.is_multiple_of(5) { 4 } else { 1 };
    Work { cpus: 1 + mixed % 4, memory_gib: 1, runs: (1 + mixed / 4 % 20) * long * MINUTE }
}

fn plot() -> Plot {
    Plot {
        nodes: vec![40; 10],
        accounts: accounts(),
        quotas: QuotaSettings::default(),
        people: people(),
        waiting: 12,
        jobs: JOBS,
        work,
    }
}

/// The part of the site that each person has a share in.
fn shares() -> Vec<f64> {
    let people = people();
    let of_person = |person: &Person| {
        let &(name, shares, group) = PROJECTS.iter().find(|(name, _, _)| *name == person.project).unwrap();
        let siblings = people.iter().filter(|other| other.project == name);
        let all: u32 = siblings.map(|other| user_shares(number(other))).sum();
        let of_project = f64::from(user_shares(number(person))) / f64::from(all);
        let of_all = match group {
            None => f64::from(shares) / AT_TOP,
            Some(group) => {
                let beside = PROJECTS.iter().filter(|(_, _, other)| *other == Some(group));
                let of_group =
                    f64::from(shares) / f64::from(beside.map(|(_, shares, _)| shares).sum::<u32>());
                let (_, shares) = GROUPS.into_iter().find(|(name, _)| *name == group).unwrap();
                of_group * f64::from(shares) / AT_TOP
            }
        };
        of_project * of_all
    };
    people.iter().map(of_person).collect()
}

/// What each person has used of all that was used.
fn used(site: &Site<'_>) -> Vec<f64> {
    let sums: Vec<f64> =
        site.used.iter().map(|jobs| jobs.iter().map(|&(_, core_ms)| core_ms as f64).sum()).collect();
    let all: f64 = sums.iter().sum();
    sums.iter().map(|sum| sum / all).collect()
}

/// The worst of how far figures are from what they should be, as a part of that.
fn worst(are: impl IntoIterator<Item = f64>, should: impl IntoIterator<Item = f64>) -> f64 {
    are.into_iter().zip(should).map(|(is, should)| (is / should - 1.0).abs()).fold(0.0, f64::max)
}

/// The levels above each person.
fn paths(used: &[f64]) -> Vec<[Level; 3]> {
    let people = people();
    let of = |is: &dyn Fn(&Person) -> bool| -> f64 {
        people.iter().zip(used).filter(|(person, _)| is(person)).map(|(_, used)| used).sum()
    };
    let project = |name: &str| *PROJECTS.iter().find(|(project, _, _)| *project == name).unwrap();
    let level = |used, used_by_all, shares: u32, shares_of_all: f64| Level {
        used,
        used_by_all,
        shares: shares.into(),
        shares_of_all,
    };
    let path = |(person, used): (&Person, &f64)| {
        let (name, shares, group) = project(&person.project);
        let of_project = of(&|other| other.project == name);
        let siblings = people.iter().filter(|other| other.project == name);
        let all: u32 = siblings.map(|other| user_shares(number(other))).sum();
        let own = level(*used, of_project, user_shares(number(person)), all.into());
        let Some(group) = group else {
            return [level(of_project, 1.0, shares, AT_TOP), level(of_project, of_project, 1, 1.0), own];
        };
        let of_group = of(&|other| project(&other.project).2 == Some(group));
        let beside = PROJECTS.iter().filter(|(_, _, other)| *other == Some(group));
        let all: u32 = beside.map(|(_, shares, _)| shares).sum();
        let (_, of_all) = GROUPS.into_iter().find(|(name, _)| *name == group).unwrap();
        [level(of_group, 1.0, of_all, AT_TOP), level(of_project, of_group, shares, all.into()), own]
    };
    people.iter().zip(used).map(path).collect()
}

fn by_project(parts: &[f64]) -> Vec<f64> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for (person, part) in people().into_iter().zip(parts) {
        *sums.entry(person.project).or_default() += part;
    }
    sums.into_values().collect()
}

fn played<'a>(host: &PolicyHost, plot: &'a Plot, settings: &[(&str, &str)]) -> Site<'a> {
    let mut site = Site::new(plot, Box::new(Guest::new(host, "fairshare", settings)));
    site.run_while_all_wait();
    site
}

#[test]
fn by_fair_tree_users_and_projects_come_to_their_shares() {
    let (host, plot) = (host(), plot());
    let site = played(&host, &plot, &[("method", "tree")]);
    let (used, shares) = (used(&site), shares());
    let of_users = worst(used.iter().copied(), shares.iter().copied());
    let of_projects = worst(by_project(&used), by_project(&shares));
    println!("{} starts, users within {of_users:.4}, projects within {of_projects:.4}", site.begun.len());
    assert!(of_users < OF_USERS, "a user is {of_users} from their share");
    assert!(of_projects < OF_PROJECTS, "a project is {of_projects} from its share");
}

/// The classic factor does not lead to the shares themselves: who has a larger part among siblings is favoured, which is
/// what Fair Tree was made for. It leads to where all factors are equal.
#[test]
fn by_the_classic_factor_all_users_come_to_the_same_factor() {
    let (host, plot) = (host(), plot());
    let site = played(&host, &plot, &[("method", "shares")]);
    let exponents: Vec<f64> = paths(&used(&site)).iter().map(|path| exponent(path, 1.0)).collect();
    let mean = exponents.iter().sum::<f64>() / exponents.len() as f64;
    let worst = worst(exponents, std::iter::repeat(mean));
    println!("{} starts, exponents within {worst:.4} of {mean:.4}", site.begun.len());
    assert!(worst < OF_USERS, "an exponent is {worst} from the mean");
}

#[test]
fn by_weights_users_of_the_same_priority_come_to_the_same_use() {
    // Everybody in one project each, and jobs of the same kind.
    let people: Vec<Person> = people().into_iter().take(USERS).collect();
    let quotas = QuotaSettings::default();
    let work = |person, job| work(5 * person + 1, job);
    let plot = Plot { nodes: vec![40; 10], accounts: vec![], quotas, people, waiting: 12, jobs: JOBS, work };
    let host = host();
    let site = played(&host, &plot, &[]);
    let worst = worst(used(&site), std::iter::repeat(1.0 / USERS as f64));
    println!("{} starts, users within {worst:.4}", site.begun.len());
    assert!(worst < OF_USERS, "a user is {worst} from the mean");
}

#[test]
fn a_crash_in_the_middle_changes_nothing() {
    // A restored engine numbers its nodes anew and asks for plans at other times: with one node and jobs of one
    // CPU, what starts depends on neither.
    let work = |person, job| Work { cpus: 1, ..work(person, job) };
    let (host, plot) = (host(), Plot { nodes: vec![150], jobs: 6000, work, ..plot() });
    for settings in [("method", "tree"), ("method", "shares"), ("method", "weights"), ("compat", "true")] {
        let guest = || Box::new(Guest::new(&host, "fairshare", &[settings]));
        let mut whole = Site::new(&plot, guest());
        whole.run_while_all_wait();
        let mut broken = Site::new(&plot, guest());
        let last = whole.begun.last().unwrap().at_ms;
        for part in 1..4 {
            broken.run_until(BEGIN + (last - BEGIN) * part / 4);
            broken.crash(guest());
        }
        broken.run_while_all_wait();
        assert_eq!(broken.begun, whole.begun, "{settings:?}");
    }
}

#[test]
fn no_quota_is_exceeded_and_what_one_may_not_use_goes_to_the_others() {
    const HOUR: u64 = 3_600_000;
    let limit = 150 * HOUR;
    let mut plot = Plot { jobs: 6000, ..plot() };
    for (kind, name, terms) in &mut plot.accounts {
        if (*kind, name.as_str()) == (AccountKind::Project, "stars") {
            terms.limits = Limits { cpu_ms: Some(limit), ..Limits::default() };
        }
    }
    let host = host();
    // The site holds every step against the quotas.
    let site = played(&host, &plot, &[("method", "tree")]);
    let used: u64 = plot
        .people
        .iter()
        .zip(&site.used)
        .filter(|(person, _)| person.project == "stars")
        .flat_map(|(_, jobs)| jobs.iter().map(|&(_, core_ms)| core_ms))
        .sum();
    assert!(used <= limit && used > limit * 9 / 10, "{used} of {limit}");
    let all: u64 = site.used.iter().flatten().map(|&(_, core_ms)| core_ms).sum();
    let busy = all as f64 / (400.0 * (site.begun.last().unwrap().at_ms - BEGIN) as f64);
    assert!(busy > 0.9, "the nodes are busy for {busy} of the time");
}
