//! Projects, what administrators set, and who sees what of it.

use serde_json::json;

use crate::harness::{ANN, BOB, Berth, People};

async fn closed() -> Berth {
    Berth::with(|setup| setup.open_projects = false).await
}

fn me() -> String {
    let name = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(name.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_project_is_made_given_members_used_and_taken_away() {
    let berth = closed().await;
    let refused = berth.cli(["submit", "--project", "rna", "--", "true"]).await;
    assert!(refused.err.contains("there is no project rna"), "{refused:?}");

    let made =
        berth.cli(["project", "create", "rna", "--about", "sequencing", "--priority", "80"]).await.ok();
    assert!(made.contains("sequencing") && made.contains("80"), "{made}");
    let refused = berth.cli(["submit", "--project", "rna", "--", "true"]).await;
    assert!(refused.err.contains("is no member of project rna"), "{refused:?}");

    berth.cli(["project", "change", "rna", "--add", &me(), "--limit", "jobs=5"]).await.ok();
    berth.cli(["run", "--project", "rna", "--", "true"]).await.ok();
    let shown = berth.cli(["--json", "project", "show", "rna"]).await.json();
    assert_eq!(shown["settings"]["members"], json!([me()]));
    assert_eq!(shown["settings"]["about"], "sequencing", "what a change does not name stays");
    assert_eq!((&shown["bounds"]["jobs"], &shown["used"]["jobs"]), (&json!("5"), &json!(1.0)));
    let listed = berth.cli(["project", "list"]).await.ok();
    assert!(listed.contains("rna") && listed.contains("jobs=5"), "{listed}");

    let again = berth.cli(["project", "create", "rna"]).await;
    assert!(again.code != 0 && again.err.contains("already"), "{again:?}");
    berth.cli(["project", "remove", "rna"]).await.ok();
    let refused = berth.cli(["submit", "--project", "rna", "--", "true"]).await;
    assert!(refused.err.contains("there is no project rna"), "{refused:?}");

    let audit = berth.cli(["audit"]).await.ok();
    let acts = ["project rna made: ", "member +", "jobs none -> 5 jobs", "project rna taken away"];
    assert!(acts.iter().all(|act| audit.contains(act)) && audit.contains(&me()), "{audit}");
}

#[tokio::test]
async fn projects_and_quotas_are_as_before_after_a_crash() {
    let mut berth = closed().await;
    berth.cli(["project", "create", "rna", "--add", &me()]).await.ok();
    berth.cli(["quota", "set", "project:rna", "cpu-time=100h", "jobs=1"]).await.ok();
    berth.cli(["run", "--time", "1m", "--project", "rna", "--", "true"]).await.ok();
    berth.kill_dash_9();
    berth.start_again().await;
    let shown = berth.cli(["--json", "project", "show", "rna"]).await.json();
    assert_eq!((&shown["bounds"]["cpu-time"], &shown["used"]["jobs"]), (&json!("100h"), &json!(1.0)));
    let waits = berth.cli(["submit", "--time", "1m", "--project", "rna", "--", "true"]).await.ok();
    let why = berth.cli(["why", waits.trim()]).await.ok();
    assert!(why.contains("quota of project rna"), "{why}");
}

#[tokio::test]
async fn a_projects_volumes_are_set_told_and_kept_over_a_crash() {
    let mut berth = closed().await;
    berth.cli(["project", "create", "rna", "--add", &me(), "--volume", "reads=/srv/reads:ro"]).await.ok();
    let shown = berth.cli(["project", "change", "rna", "--volume", "out=/srv/out"]).await.ok();
    assert!(shown.contains("reads: /srv/reads (ro)") && shown.contains("out: /srv/out (rw)"), "{shown}");
    berth.kill_dash_9();
    berth.start_again().await;
    let shown = berth.cli(["--json", "project", "show", "rna"]).await.json();
    let volumes = json!({"out": {"path": "/srv/out"}, "reads": {"path": "/srv/reads", "read_only": true}});
    assert_eq!(shown["settings"]["volumes"], volumes);
    berth.cli(["project", "change", "rna", "--volume", "out=none"]).await.ok();
    let shown = berth.cli(["--json", "project", "show", "rna"]).await.json();
    assert_eq!(shown["settings"]["volumes"], json!({"reads": {"path": "/srv/reads", "read_only": true}}));
    let audit = berth.cli(["audit"]).await.ok();
    assert!(audit.contains("volume out none -> /srv/out (rw)"), "{audit}");
    assert!(audit.contains("volume out /srv/out (rw) -> none"), "{audit}");
}

#[tokio::test]
async fn a_project_gets_no_volume_with_tricks_in_its_path_or_a_name_that_everybody_knows() {
    let berth = closed().await;
    for (volume, words) in [
        ("data=/srv/../etc", "is not absolute, or has `..` in it"),
        ("data=/", "is no plain path"),
        ("data=/srv//x", "is no plain path"),
        ("data=/srv/$USER", "which stands for nothing here"),
        ("home=/srv/home", "is the name of a volume that everybody knows"),
        ("a/b=/srv", "is no name"),
        ("data=srv", "is not NAME=PATH"),
    ] {
        let said = berth.cli(["project", "create", "rna", "--volume", volume]).await;
        assert!(said.code != 0 && said.err.contains(words), "{volume}: {said:?}");
    }
    let said = berth.cli(["user", "change", "ann", "--volume", "data=/srv"]).await;
    assert!(said.code != 0, "only projects have volumes: {said:?}");
    assert_eq!(berth.cli(["--json", "project", "list"]).await.json(), json!([]));
}

#[tokio::test]
async fn a_change_that_rests_on_an_old_version_is_refused_and_one_that_does_not_name_a_version_is_not() {
    let berth = closed().await;
    let version = |shown: &serde_json::Value| shown["version"].as_u64().unwrap().to_string();
    let first = version(&berth.cli(["--json", "quota", "set", "ann", "jobs=5"]).await.json());
    berth.cli(["quota", "set", "ann", "cpus=7", "--if-version", &first]).await.ok();
    let late = berth.cli(["quota", "set", "ann", "jobs=9", "--if-version", &first]).await;
    assert!(late.code != 0 && late.err.contains("changed in the meantime"), "{late:?}");
    // Many at once, each of a bound of its own: none overwrites another's.
    let keys = ["jobs=100", "cpus=100", "memory=100G", "pending=100"];
    let all = futures::future::join_all(keys.map(|key| berth.cli(["quota", "set", "bob", key]))).await;
    all.into_iter().for_each(|said| drop(said.ok()));
    let shown = berth.cli(["--json", "quota", "show", "bob"]).await.json();
    assert_eq!(
        shown["settings"]["limits"],
        json!({"jobs": "100", "cpus": "100", "memory": "100G", "pending": "100"})
    );
}

#[tokio::test]
async fn what_cannot_be_set_is_refused_with_the_reason() {
    let berth = closed().await;
    for (args, words) in [
        (vec!["quota", "set", "ann", "disc=1G"], "is no bound; the bounds are wall-time"),
        (vec!["quota", "set", "ann", "jobs=none", "jobs=0"], "a whole number above 0 is needed"),
        (vec!["project", "create", "a/b"], "is no name"),
        (vec!["project", "change", "rna", "--priority", "3"], "there is no project rna; create it"),
        (vec!["project", "create", "default", "--add", "ann"], "belongs to everybody"),
        (vec!["quota", "set", "project:rna", "pending=3"], "only a user has a bound on what waits"),
        (vec!["user", "clear", "ann"], "nothing is set of user ann"),
    ] {
        let said = berth.cli(&args).await;
        assert!(said.code != 0 && said.err.contains(words), "{args:?}: {said:?}");
    }
    assert_eq!(berth.cli(["--json", "audit"]).await.json(), json!([]));
}

#[tokio::test]
#[ignore = "needs root"]
async fn members_of_a_shared_project_see_and_end_each_others_jobs_and_do_not_reach_into_them() {
    let people = People::with(|setup| setup.open_projects = false).await;
    people.berth.cli(["project", "create", "rna", "--add", ANN.0, "--add", BOB.0]).await.ok();
    people.as_user(ANN, &["submit", "--project", "rna", "--", "sleep", "1000"]).await.ok();
    people.as_user(ANN, &["submit", "--", "sleep", "1000"]).await.ok();
    people.berth.wait_for(1, "running").await;
    people.as_user(BOB, &["job", "1"]).await.refused(5);

    people.berth.cli(["project", "change", "rna", "--share"]).await.ok();
    people.as_user(BOB, &["job", "1"]).await.ok();
    people.as_user(BOB, &["job", "2"]).await.refused(5);
    let listed = people.as_user(BOB, &["--json", "jobs", "--project", "rna"]).await.json();
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 1, "{listed}");
    let entered = people.as_user(BOB, &["exec", "1", "--", "true"]).await;
    assert!(entered.err.contains("belongs to"), "{entered:?}");
    people.as_user(BOB, &["kill", "1"]).await.ok();
    let ended = people.berth.end_of(1).await;
    assert!(ended.state == "killed" && format!("{:?}", ended.cause).contains(BOB.0), "{ended:?}");

    people.berth.cli(["project", "change", "rna", "--remove", BOB.0]).await.ok();
    people.as_user(BOB, &["job", "1"]).await.refused(5);
}

#[tokio::test]
#[ignore = "needs root"]
async fn only_administrators_set_accounts_and_nobody_sees_those_of_others() {
    let people = People::with(|setup| setup.open_projects = false).await;
    people.berth.cli(["project", "create", "rna", "--add", ANN.0]).await.ok();
    people.berth.cli(["quota", "set", ANN.0, "jobs=3"]).await.ok();
    for args in [
        vec!["project", "create", "dna"],
        vec!["project", "change", "rna", "--add", BOB.0],
        vec!["quota", "set", BOB.0, "jobs=1000"],
        vec!["project", "remove", "rna"],
        vec!["audit"],
    ] {
        let said = people.as_user(BOB, &args).await;
        assert!(said.code != 0, "{args:?}: {said:?}");
    }
    let hidden = people.as_user(BOB, &["project", "show", "rna"]).await;
    assert!(hidden.code != 0 && hidden.err.contains("there is no project rna"), "{hidden:?}");
    let hidden = people.as_user(BOB, &["quota", "show", ANN.0]).await;
    assert!(hidden.code != 0, "{hidden:?}");
    let own = people.as_user(ANN, &["--json", "quota", "show"]).await.json();
    assert_eq!(own["bounds"]["jobs"], "3");
    let projects = people.as_user(BOB, &["--json", "project", "list"]).await.json();
    assert_eq!(projects, json!([]));
    people.as_user(ANN, &["project", "show", "rna"]).await.ok();
}
