use super::*;

fn set(limits: &[(&str, &str)]) -> AccountSettings {
    let limits = limits.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    AccountSettings { limits, ..AccountSettings::default() }
}

fn wanted(document: Value) -> Project {
    serde_json::from_value(document).unwrap()
}

#[test]
fn quotas_come_in_seconds_cores_and_gigabytes() {
    let row = AccountRow {
        name: "p".into(),
        settings: set(&[("wall-time", "1h"), ("cpus", "1500m"), ("memory", "3G"), ("jobs", "5")]),
        ..AccountRow::default()
    };
    let told = project(&row);
    assert_eq!(
        (&told["quota_time"], &told["quota_cpu"], &told["quota_ram"], &told["prio"]),
        (&json!(3600.0), &json!(2), &json!(3), &json!(50))
    );
}

#[test]
fn of_a_guest_it_is_told_what_their_home_takes() {
    let guest = berth_api::GuestRow { home_bytes: Some(4096), ..Default::default() };
    let who = Identity {
        user: "ann".into(),
        uid: 1,
        gid: 1,
        groups: Vec::new(),
        home: None,
        email: None,
        roles: Vec::new(),
    };
    let row = AccountRow { name: "guest:a".into(), guest: Some(Box::new(guest)), ..AccountRow::default() };
    let told = user(&row, &who);
    assert_eq!((&told["guest"], &told["usage"]["guest_home"]), (&json!(true), &json!(4096)));
    let told = user(&AccountRow { name: "bob".into(), ..AccountRow::default() }, &who);
    assert_eq!((&told["guest"], &told["usage"]["guest_home"]), (&json!(false), &Value::Null));
}

#[test]
fn a_document_that_comes_back_as_it_was_changes_nothing() {
    let settings = AccountSettings {
        about: "words".into(),
        members: vec!["ada".into()],
        shares: 9,
        shared: true,
        volumes: [
            ("a".to_owned(), VolumeRow { path: "/a".into(), target: None, read_only: true }),
            ("b".to_owned(), VolumeRow { path: "/b".into(), target: Some("/x".into()), read_only: false }),
        ]
        .into(),
        ..set(&[("wall-time", "90m"), ("cpus", "1500m"), ("memory", "1500M"), ("jobs", "5")])
    };
    let row = AccountRow { name: "p".into(), settings: settings.clone(), ..AccountRow::default() };
    let back = wanted(project(&row));
    assert_eq!(with_project(settings.clone(), back).unwrap(), settings);
}

#[test]
fn a_quota_of_0_takes_the_bound_away_and_nothing_else() {
    let settings = set(&[("wall-time", "90m"), ("cpus", "4"), ("memory", "8G"), ("pending", "5")]);
    let none = wanted(json!({"quota_time": 0, "quota_cpu": 0, "quota_ram": 0, "prio": 80}));
    let settings = with_project(settings, none).unwrap();
    assert_eq!((settings.limits, settings.priority), (set(&[("pending", "5")]).limits, 80));
    let some = wanted(json!({"quota_time": 10.5, "quota_cpu": 3, "quota_ram": 2}));
    let limits = with_project(AccountSettings::default(), some).unwrap().limits;
    assert_eq!(limits, set(&[("wall-time", "11s"), ("cpus", "3"), ("memory", "2G")]).limits);
}

#[test]
fn documents_that_make_no_sense_are_refused() {
    for bad in [
        json!({"quota_cpu": -1}),
        json!({"prio": 256}),
        json!({"prio": -1}),
        json!({"members": "ada"}),
        json!({"volumes": [{"name": "x"}]}),
    ] {
        assert!(serde_json::from_value::<Project>(bad.clone()).is_err(), "{bad}");
    }
    for bad in [
        json!({"quota_time": -1}),
        json!({"quota_time": 0.5}),
        json!({"volumes": [{"name": "x", "path": "/x", "acl": "rwx"}]}),
    ] {
        assert!(with_project(AccountSettings::default(), wanted(bad.clone())).is_err(), "{bad}");
    }
}

#[test]
fn everybody_has_the_default_project() {
    let row = |name: &str, member: &str| AccountRow {
        name: name.into(),
        settings: AccountSettings { members: vec![member.into()], ..AccountSettings::default() },
        ..AccountRow::default()
    };
    let ids = |rows| -> Vec<String> {
        projects_of("ada", rows).iter().map(|project| project["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(vec![row("mine", "ada"), row("theirs", "eve")]), ["default", "mine"]);
    assert_eq!(ids(vec![]), ["default"]);
}

#[test]
fn volumes_of_a_project_are_told_and_set_as_a_whole() {
    let wants = json!({"volumes": [{"name": "data", "path": "/d", "mount": "", "acl": "rw"}, {"name": "b", "path": "/b"}]});
    let settings = with_project(AccountSettings::default(), wanted(wants)).unwrap();
    let row = AccountRow { name: "p".into(), settings: settings.clone(), ..AccountRow::default() };
    let told = json!([
        {"name": "b", "path": "/b", "mount": "/mnt/b", "acl": "ro"},
        {"name": "data", "path": "/d", "mount": "/mnt/data", "acl": "rw"},
    ]);
    assert_eq!(project(&row)["volumes"], told);
    let same = with_project(settings.clone(), wanted(json!({"prio": 50}))).unwrap();
    assert_eq!(same, settings, "what a document leaves out stays");
    let none = with_project(settings, wanted(json!({"volumes": []}))).unwrap();
    assert!(none.volumes.is_empty());
}
