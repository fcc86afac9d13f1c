use berth_policy_sdk::Setting;

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Isolated, Error> {
    let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
    let mut settings = Settings::new(pairs.iter().map(setting).collect());
    let isolated = Isolated::configure(&mut settings)?;
    settings.finish().map(|()| isolated)
}

fn wants(job: JobId, user: &str, project: &str, label: Option<&str>) -> NetworkRequest {
    NetworkRequest {
        job,
        user: user.into(),
        project: project.into(),
        label: label.map(Into::into),
        ports: Vec::new(),
        node: "a".into(),
    }
}

#[test]
fn jobs_share_a_network_with_those_of_their_user_or_their_project_alone() {
    let mut policy = read(&[]).unwrap();
    let mut of =
        |job, user, project, label| policy.attach(0, wants(job, user, project, Some(label))).unwrap();
    let alice = of(1, "alice", "p", "user");
    assert_eq!(alice, of(2, "alice", "q", "user"));
    assert!(alice.on_demand && !alice.internal && alice.ports.is_empty());
    let project = of(3, "alice", "p", "project");
    assert_eq!(project, of(4, "bob", "p", "project"));
    let others = [of(5, "bob", "p", "user"), of(6, "bob", "q", "project"), of(7, "p", "alice", "project")];
    let all: std::collections::BTreeSet<_> =
        [&alice, &project].into_iter().chain(&others).map(|what| what.network.clone()).collect();
    assert_eq!(all.len(), 5, "{all:?}");
}

#[test]
fn nobody_gets_into_anothers_network_by_a_name() {
    let mut policy = read(&[]).unwrap();
    // A user and a project may have the same name, and names may look like those of networks.
    let user = policy.attach(0, wants(1, "x", "p", Some("user"))).unwrap().network;
    let project = policy.attach(0, wants(2, "y", "x", Some("project"))).unwrap().network;
    assert_ne!(user, project);
    for label in ["user-x", "", "host", "User", "user,project"] {
        let refused = policy.attach(0, wants(3, "y", "p", Some(label)));
        assert!(matches!(refused, Err(Refusal::Never(_))), "{label}: {refused:?}");
    }
}

#[test]
fn the_public_network_is_the_executors_or_the_one_that_the_site_names() {
    let public = |pairs: &[(&str, &str)]| {
        let what = read(pairs).unwrap().attach(0, wants(1, "alice", "p", Some("public"))).unwrap();
        assert!(!what.on_demand && !what.internal);
        what.network
    };
    assert_eq!(public(&[]), "");
    assert_eq!(public(&[("public", "weave"), ("internal", "true")]), "weave");
}

#[test]
fn who_names_no_network_gets_the_usual_one() {
    let mut policy = read(&[("usual", "user")]).unwrap();
    assert_eq!(policy.attach(0, wants(1, "alice", "p", None)).unwrap().network, "user-alice");
    let mut policy = read(&[]).unwrap();
    assert!(!policy.attach(0, wants(1, "alice", "p", None)).unwrap().on_demand);
}

#[test]
fn ports_are_published_but_from_where_nothing_leads_out() {
    let wants = |job| NetworkRequest { ports: vec![80], ..wants(job, "alice", "p", Some("user")) };
    let mut open = read(&[("port-range", "7000-7000")]).unwrap();
    assert_eq!(open.attach(0, wants(1)).unwrap().ports[0].host, 7000);
    assert!(matches!(open.attach(0, wants(2)), Err(Refusal::NotNow(_))));
    open.release(0, 1);
    assert_eq!(open.attach(0, wants(2)).unwrap().ports[0].host, 7000);
    let mut closed = read(&[("internal", "true")]).unwrap();
    assert!(matches!(closed.attach(0, wants(1)), Err(Refusal::Never(_))));
}

#[test]
fn a_fresh_instance_that_was_told_gives_the_same_answer() {
    let wants = |job| NetworkRequest { ports: vec![80], ..wants(job, "alice", "p", Some("user")) };
    let mut old = read(&[]).unwrap();
    let given = old.attach(0, wants(1)).unwrap();
    // What it has stays, even if the site has changed its mind meanwhile.
    let mut fresh = read(&[("internal", "true")]).unwrap();
    fresh.attached(1, "a".into(), given.clone());
    assert_eq!(fresh.attach(0, wants(1)), Ok(given.clone()));
    let mut fresh = read(&[]).unwrap();
    fresh.attached(1, "a".into(), given.clone());
    assert_ne!(fresh.attach(0, wants(2)).unwrap().ports[0].host, given.ports[0].host);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for pair in [("usual", "mine"), ("internal", "perhaps"), ("port-range", "5-4"), ("networks", "a")] {
        assert!(matches!(read(&[pair]), Err(Error::BadSettings(_))), "{pair:?}");
    }
}
