use berth_policy_sdk::{
    Setting,
    site::Account,
    testing::{Edits, Sample, admitted},
};

use super::*;

/// A site with the group `staff`.
struct Groups;

impl Accounts for Groups {
    fn by_uid(&self, _: u32) -> Result<Option<Account>, String> {
        Ok(None)
    }
    fn by_name(&self, _: &str) -> Result<Option<Account>, String> {
        Ok(None)
    }
    fn groups_of(&self, _: &str) -> Result<Vec<u32>, String> {
        Ok(Vec::new())
    }
    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        Ok((name == "staff").then_some(50))
    }
}

fn rules(pairs: &[(&str, &str)]) -> Result<Rules, Error> {
    let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
    let mut settings = Settings::new(pairs.iter().map(setting).collect());
    let rules = Rules::read(&mut settings, &Groups)?;
    settings.finish().map(|()| rules)
}

fn asked(pairs: &[(&str, &str)], job: &Sample) -> Result<Edits, String> {
    admitted(&mut rules(pairs).unwrap(), job)
}

fn set(pairs: &[(&str, &str)]) -> Result<Edits, String> {
    Ok(pairs.iter().map(|&(name, value)| (name.to_owned(), vec![value.to_owned()])).collect())
}

#[test]
fn what_a_job_does_not_say_is_filled_in_and_what_it_says_is_left_alone() {
    let pairs = [("default.time", "2h"), ("default.labels.team", "none"), ("default.env.TMPDIR", "/scratch")];
    let filled = set(&[("env.TMPDIR", "/scratch"), ("labels.team", "none"), ("time", "2h")]);
    assert_eq!(asked(&pairs, &Sample::new()), filled);
    let says = Sample::new().field("time", "1000ms").field("labels.team", "rna").variable("TMPDIR");
    assert_eq!(asked(&pairs, &says), Ok(Vec::new()));
}

#[test]
fn a_projects_default_comes_before_a_groups_and_that_before_the_one_of_all() {
    let pairs = [
        ("default.executor", "local"),
        ("groups.staff.default.executor", "docker"),
        ("groups.60.default.executor", "swarm"),
        ("projects.r.n.a.default.executor", "sge"),
    ];
    let executor = |sample: Sample| asked(&pairs, &sample).unwrap()[0].1[0].clone();
    assert_eq!(executor(Sample::new()), "local");
    assert_eq!(executor(Sample::new().group(60)), "swarm");
    assert_eq!(executor(Sample::new().group(50).project("dna")), "docker");
    assert_eq!(executor(Sample::new().group(50).project("r.n.a")), "sge");
}

#[test]
fn a_default_project_brings_its_own_rules() {
    let pairs =
        [("default.project", "rna"), ("projects.rna.default.time", "1h"), ("projects.rna.most.time", "2h")];
    assert_eq!(asked(&pairs, &Sample::new()), set(&[("project", "rna"), ("time", "1h")]));
}

#[test]
fn who_asks_for_too_much_is_refused_with_the_most() {
    let pairs = [("most.cpus", "8"), ("most.memory", "16G"), ("projects.rna.most.cpus", "0.5")];
    assert_eq!(asked(&pairs, &Sample::new().field("cpus", "8000m")), Ok(Vec::new()));
    let words = asked(&pairs, &Sample::new().field("cpus", "8001m"));
    assert_eq!(words, Err("cpus: 8001m is too much: jobs may have 8 at most here".into()));
    let words = asked(&pairs, &Sample::new().field("memory", "34359738368"));
    assert_eq!(words, Err("memory: 32G is too much: jobs may have 16G at most here".into()));
    let words = asked(&pairs, &Sample::new().project("rna").field("cpus", "1000m"));
    assert_eq!(words, Err("cpus: 1 is too much: jobs of project rna may have 500m at most here".into()));
}

#[test]
fn of_several_groups_the_largest_bound_holds_and_none_is_larger_than_any() {
    let pairs = [("most.gpus", "1"), ("groups.staff.most.gpus", "2"), ("groups.60.most.gpus", "4")];
    let asks = |sample: Sample| asked(&pairs, &sample.field("gpus", "3")).is_ok();
    assert!(!asks(Sample::new()) && !asks(Sample::new().group(50)));
    assert!(asks(Sample::new().group(60)) && asks(Sample::new().group(50).group(60)));
    let unbounded = [("most.gpus", "1"), ("groups.staff.most.gpus", "none"), ("groups.60.most.gpus", "2")];
    assert!(asked(&unbounded, &Sample::new().group(60).group(50).field("gpus", "9")).is_ok());
}

#[test]
fn a_job_that_could_run_for_ever_gets_the_bound_as_its_limit() {
    let pairs = [("most.time", "7d")];
    assert_eq!(asked(&pairs, &Sample::new()), set(&[("time", "7d")]));
    assert!(asked(&pairs, &Sample::new().field("time", "604800001ms")).is_err());
}

#[test]
fn what_has_to_be_set_is_asked_for_with_the_way_to_set_it() {
    let pairs = [("require", "labels.team"), ("projects.rna.require.0", "time")];
    let words = asked(&pairs, &Sample::new());
    assert_eq!(words, Err("labels.team has to be set; give it with --label team=VALUE".into()));
    let labelled = Sample::new().field("labels.team", "x");
    assert_eq!(asked(&pairs, &labelled), Ok(Vec::new()));
    let words = asked(&pairs, &labelled.project("rna"));
    assert_eq!(words, Err("time has to be set; give it with --time".into()));
}

#[test]
fn a_job_that_was_accepted_before_is_held_to_bounds_and_to_nothing_that_it_cannot_change() {
    let pairs =
        [("require", "labels.team"), ("default.image", "x"), ("default.time", "1h"), ("most.cpus", "8")];
    let old = Sample::new().changed(&["cpus", "time"]);
    assert_eq!(asked(&pairs, &old), set(&[("time", "1h")]));
    assert!(asked(&pairs, &old.field("cpus", "9000m")).is_err());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for pairs in [
        [("default.colour", "red")],
        [("default.labels.", "red")],
        [("most.colour", "3")],
        [("most.cpus", "many")],
        [("projects.rna.least.cpus", "3")],
        [("projects.rna", "3")],
        [("groups.nobody.most.cpus", "3")],
        [("limits", "3")],
    ] {
        assert!(matches!(rules(&pairs), Err(Error::BadSettings(_))), "{pairs:?}");
    }
}
