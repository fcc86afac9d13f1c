//! Nodes that administrators close and open again, and jobs that choose among nodes.

use berth_api::{ClientError, Controls, ErrorCode, SetClosure, Submit};
use serde_json::json;

use crate::harness::{Berth, argv, eventually, free_port, over_tcp};

/// Simulated nodes that outlive Berth, with one CPU each, on which jobs run until somebody ends them.
async fn nodes(count: u32) -> Berth {
    nodes_with(count, "").await
}

async fn nodes_with(count: u32, jobs: &str) -> Berth {
    Berth::with(|setup| {
        let state = setup.state.parent().unwrap().join("fake");
        setup.fake(&format!("nodes = {count}\ncpus = 1\nrun = \"1h\"\nstate = {state:?}"));
        setup.jobs += jobs;
    })
    .await
}

fn long() -> Submit {
    argv(&["fake"])
}

fn limited(time: &str) -> Submit {
    Submit { time: Some(time.into()), grace: Some("1s".into()), ..long() }
}

async fn waits_because(berth: &Berth, job: u64, words: &str) {
    eventually(words, async || berth.why(job).await.reasons.iter().any(|reason| reason.text.contains(words)))
        .await;
}

async fn node_of(berth: &Berth, job: u64) -> String {
    berth.wait_for(job, "running").await.row.node.unwrap_or_default()
}

#[tokio::test]
async fn nothing_new_starts_on_a_drained_node_and_what_runs_there_goes_on_through_a_crash() {
    let mut berth = nodes(2).await;
    let first = berth.submit_job(long()).await;
    assert_eq!(node_of(&berth, first).await, "fake/fake1");
    let said = berth.cli(["node", "drain", "fake1", "--reason", "new disks"]).await.ok();
    assert!(said.contains("drain of fake/fake1 by ") && said.ends_with(": new disks\n"), "{said}");
    berth.kill_dash_9();
    berth.start_again().await;
    let second = berth.submit_job(long()).await;
    assert_eq!(node_of(&berth, second).await, "fake/fake2");
    let third = berth.submit_job(long()).await;
    waits_because(&berth, third, "fake/fake1: new disks").await;
    assert_eq!(berth.job(first).await.row.state, "running");
    let shown = berth.cli(["nodes"]).await.ok();
    assert!(shown.contains("drained") && shown.contains("new disks"), "{shown}");

    berth.cli(["node", "resume", "fake/fake1"]).await.ok();
    berth.done(Controls::Kill, first).await;
    assert_eq!(node_of(&berth, third).await, "fake/fake1");
    let audit = berth.cli(["audit"]).await.ok();
    let acts = ["drain fake/fake1 made: fake/fake1: new disks", "drain fake/fake1 taken away"];
    assert!(acts.iter().all(|act| audit.contains(act)), "{audit}");
}

#[tokio::test]
async fn a_drain_of_a_whole_executor_with_an_end_goes_by_itself() {
    let berth = nodes(2).await;
    berth
        .cli(["node", "drain", "--executor", "fake", "--reason", "a short look", "--until", "2s"])
        .await
        .ok();
    let job = berth.submit_job(long()).await;
    waits_because(&berth, job, "fake/* until ").await;
    let refused = berth.cli(["node", "resume", "fake/fake1"]).await;
    assert!(refused.err.contains("resume 'fake/*'"), "{refused:?}");
    berth.wait_for(job, "running").await;
    let audit = berth.cli(["audit"]).await.ok();
    assert!(audit.contains("drain fake/* is over, as was set"), "{audit}");
    assert!(berth.client().closures().await.unwrap().is_empty());
}

#[tokio::test]
async fn in_maintenance_jobs_are_taken_and_wait_with_the_reason_until_it_is_off() {
    let mut berth = nodes(1).await;
    let off = berth.cli(["maintenance", "status"]).await.ok();
    assert!(off.contains("maintenance is off"), "{off}");
    berth.cli(["maintenance", "on", "--reason", "the cooling"]).await.ok();
    let job = berth.submit_job(long()).await;
    waits_because(&berth, job, "all nodes: the cooling").await;
    berth.kill_dash_9();
    berth.start_again().await;
    waits_because(&berth, job, "all nodes: the cooling").await;
    let on = berth.cli(["maintenance", "status"]).await.ok();
    assert!(on.contains("maintenance by ") && on.contains("the cooling"), "{on}");
    assert_eq!(berth.client().nodes().await.unwrap()[0].state, "maintenance");
    berth.cli(["maintenance", "off"]).await.ok();
    berth.wait_for(job, "running").await;
}

#[tokio::test]
async fn a_node_is_kept_for_a_project_through_a_crash_and_given_back() {
    let mut berth = nodes(1).await;
    let args =
        ["reservation", "create", "course", "--nodes", "fake", "--projects", "rna", "--reason", "a course"];
    berth.cli(args).await.ok();
    let others = berth.submit_job(long()).await;
    waits_because(&berth, others, "course: fake/fake for project rna: a course").await;
    assert_eq!(berth.client().nodes().await.unwrap()[0].state, "reserved");
    berth.kill_dash_9();
    berth.start_again().await;
    let own = berth.submit_job(Submit { project: Some("rna".into()), ..long() }).await;
    berth.wait_for(own, "running").await;
    berth.done(Controls::Kill, own).await;
    waits_because(&berth, others, "course: ").await;
    let listed = berth.cli(["reservation", "list"]).await.ok();
    assert!(listed.contains("course") && listed.contains("project rna"), "{listed}");
    berth.cli(["reservation", "delete", "course"]).await.ok();
    berth.wait_for(others, "running").await;
    let strikes: u32 = berth.client().plugins().await.unwrap().iter().map(|plugin| plugin.strikes).sum();
    assert_eq!(strikes, 0, "a policy that cannot know of it is not struck");
}

#[tokio::test]
async fn only_what_is_over_before_planned_maintenance_starts() {
    let berth = nodes(3).await;
    let args = ["reservation", "create", "cooling", "--executor", "fake", "--from", "30m", "--until", "2h"];
    berth.cli(args).await.ok();
    let long = berth.submit_job(limited("1h")).await;
    let endless = berth.submit_job(argv(&["fake"])).await;
    let short = berth.submit_job(limited("10m")).await;
    berth.wait_for(short, "running").await;
    for job in [long, endless] {
        waits_because(&berth, job, "its time limit would reach into a reservation").await;
    }
    assert_eq!(berth.client().nodes().await.unwrap()[0].state, "up", "it has not begun");
    berth.cli(["alter", &long.to_string(), "--time", "20m"]).await.ok();
    berth.wait_for(long, "running").await;
}

#[tokio::test]
async fn of_two_administrators_who_change_a_reservation_at_once_the_second_looks_again() {
    let berth = nodes(2).await;
    let row = berth.json(["reservation", "create", "r", "--nodes", "fake/*"]).await;
    let first = row["version"].as_u64().unwrap();
    let set = async |version, reason: &str| {
        let nodes = vec!["fake/*".to_owned()];
        let wanted = SetClosure { version, nodes, reason: reason.into(), ..SetClosure::default() };
        berth.client().set_closure("reservation", "r", &wanted).await
    };
    set(first, "one").await.unwrap();
    let late: ClientError = set(first, "two").await.unwrap_err();
    assert_eq!(late.code(), Some(ErrorCode::Conflict), "{late}");
    let again = berth.cli(["reservation", "create", "r", "--nodes", "fake/*"]).await;
    assert!(again.code != 0 && again.err.contains("there is a reservation r already"), "{again:?}");
    // What a change does not name stays.
    let changed = berth.json(["reservation", "change", "r", "--users", "ann"]).await;
    assert_eq!((&changed["reason"], &changed["users"]), (&json!("one"), &json!(["ann"])));
}

#[tokio::test]
async fn only_administrators_close_nodes_and_everybody_sees_what_is_closed() {
    let port = free_port();
    let berth = Berth::with(|setup| {
        setup.fake("nodes = 2\ncpus = 1");
        setup.server = format!("listen = [\"127.0.0.1:{port}\"]");
    })
    .await;
    let made = berth.json(["token", "create", "--scope", "submit", "sender"]).await;
    let token = made["token"].as_str();
    let drain = "/v1/closures/drain/fake%2Ffake1";
    let body = r#"{"reason": "mine"}"#;
    assert_eq!(over_tcp(port, "PUT", drain, token, body).await.status, 403);
    berth.cli(["node", "drain", "fake1", "--reason", "new disks"]).await.ok();
    assert_eq!(over_tcp(port, "DELETE", &format!("{drain}?version=1"), token, "").await.status, 403);
    let seen = over_tcp(port, "GET", "/v1/closures", token, "").await.json();
    assert_eq!((&seen[0]["name"], &seen[0]["reason"]), (&json!("fake/fake1"), &json!("new disks")));
}

#[tokio::test]
async fn what_cannot_be_closed_is_refused_with_the_reason() {
    let berth = nodes(1).await;
    for (args, words) in [
        (vec!["node", "drain", "fake9", "--reason", "x"], "there is no node fake9"),
        (vec!["node", "drain", "fake/fake9", "--reason", "x"], "there is no node fake/fake9"),
        (vec!["node", "drain", "fake/fake", "--reason", " "], "a drain needs a reason"),
        (vec!["node", "drain", "fake/fake", "--reason", "x", "--until", "soon"], "is not an instant"),
        (vec!["node", "resume", "fake/fake"], "is not drained"),
        (vec!["reservation", "create", "a/b", "--nodes", "fake/*"], "is no name"),
        (
            vec!["reservation", "create", "r", "--nodes", "fake/*", "--from", "2h", "--until", "1h"],
            "which is not after",
        ),
        (vec!["reservation", "create", "r"], "a reservation needs nodes"),
        (vec!["reservation", "delete", "r"], "there is no reservation r"),
    ] {
        let said = berth.cli(&args).await;
        assert!(said.code != 0 && said.err.contains(words), "{args:?}: {said:?}");
    }
    assert_eq!(berth.cli(["--json", "audit"]).await.json(), json!([]));
}

#[tokio::test]
async fn a_job_that_avoids_where_it_failed_goes_elsewhere_and_waits_when_no_node_is_left_through_crashes() {
    let mut berth = nodes(2).await;
    let script = berth.write("job.sh", "#!/bin/sh\n#BERTH --avoid-failed-nodes\nexit 3\n");
    // The simulated back end takes the words of what it runs and not the script itself.
    let told = berth.cli(["submit", "--hold", script.to_str().unwrap()]).await.ok();
    let shown = berth.cli(["--json", "job", told.trim()]).await.json();
    assert_eq!(shown["spec"]["avoid_failed_nodes"], json!(true), "a script can ask for it");

    let fails = Submit { avoid_failed_nodes: true, ..argv(&["fake", "run-ms=1", "exit=3"]) };
    let job = berth.submit_job(fails).await;
    assert_eq!(berth.end_of(job).await.node.as_deref(), Some("fake/fake1"));
    berth.kill_dash_9();
    berth.start_again().await;
    berth.done(Controls::Rerun, job).await;
    eventually("the second end", async || {
        let row = berth.job(job).await.row;
        row.attempt == 2 && row.state == "failed"
    })
    .await;
    assert_eq!(berth.job(job).await.row.node.as_deref(), Some("fake/fake2"));
    berth.done(Controls::Rerun, job).await;
    waits_because(&berth, job, "avoids nodes where it failed before: fake/fake1, fake/fake2").await;
    berth.kill_dash_9();
    berth.start_again().await;
    waits_because(&berth, job, "avoids nodes where it failed before: fake/fake1, fake/fake2").await;
    assert_eq!(berth.job(job).await.row.state, "pending");
}

#[tokio::test]
async fn a_task_that_runs_again_avoids_where_it_failed() {
    let berth = nodes(2).await;
    let fails = argv(&["fake", "run-ms=1", "exit=3"]);
    let array = berth.submit_job(Submit { avoid_failed_nodes: true, array: Some("1".into()), ..fails }).await;
    berth.end_of(array).await;
    let task = format!("{array}.1");
    assert_eq!(berth.job(&task).await.row.node.as_deref(), Some("fake/fake1"));
    berth.done(Controls::Rerun, &task).await;
    eventually("the second end", async || {
        let row = berth.job(&task).await.row;
        row.attempt == 2 && row.state == "failed"
    })
    .await;
    assert_eq!(berth.job(&task).await.row.node.as_deref(), Some("fake/fake2"));
}

#[tokio::test]
async fn jobs_are_spread_over_nodes_where_the_site_wants_it_so() {
    let berth = Berth::with(|setup| {
        setup.fake("nodes = 3\ncpus = 4\nrun = \"1h\"");
        setup.jobs += "placement = \"spread\"\n";
    })
    .await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let job = berth.submit_job(long()).await;
        nodes.push(node_of(&berth, job).await);
    }
    assert_eq!(nodes, ["fake/fake1", "fake/fake2", "fake/fake3"]);
}
