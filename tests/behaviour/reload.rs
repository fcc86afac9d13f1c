//! A changed configuration, taken over while Berth runs.

use std::fs;

use berth_api::Submit;
use rustix::process::Signal;

use crate::harness::{Berth, bad_policy, eventually, sh};

/// Changes the configuration and has the server read it again.
fn change(berth: &Berth, from: &str, to: &str) {
    let text = fs::read_to_string(berth.config()).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    fs::write(berth.config(), text.replacen(from, to, 1)).unwrap();
    berth.process().signal(Signal::HUP);
}

async fn logged(berth: &Berth, words: &str) {
    eventually(words, || async { berth.server_log().contains(words) }).await;
}

async fn scheduler(berth: &Berth) -> String {
    let plugins = berth.client().plugins().await.unwrap();
    plugins.into_iter().find(|plugin| plugin.kind == "scheduler").unwrap().version
}

#[tokio::test]
async fn limits_hold_at_once_and_what_needs_a_restart_is_named() {
    let berth = Berth::with(|setup| setup.jobs = "longest-time = \"1h\"".into()).await;
    let job = || Submit { time: Some("90m".into()), ..sh("true") };
    let refused = berth.refusal(job()).await;
    assert!(refused.to_string().contains("at most 1h"), "{refused}");
    let both = "longest-time = \"2h\"\nstarts-per-plan = 7";
    change(&berth, "longest-time = \"1h\"", both);
    logged(&berth, "these keys hold after a restart, not before").await;
    let log = berth.server_log();
    assert!(log.contains("jobs.longest-time") && log.contains("jobs.starts-per-plan"), "{log}");
    let job = berth.submit_job(job()).await;
    berth.succeeds(job).await;
    change(&berth, "cpus = 4", "cpus = 2");
    logged(&berth, "executors.local.cpus").await;
    assert_eq!(berth.client().nodes().await.unwrap()[0].cpu_millis_total, 4000, "not before a restart");
}

#[tokio::test]
async fn a_configuration_with_a_mistake_changes_nothing() {
    let berth = Berth::with(|setup| setup.jobs = "longest-time = \"1h\"".into()).await;
    change(&berth, "longest-time = \"1h\"", "longest-time = \"2h\"\nlongest-tmie = 3");
    logged(&berth, "the one before goes on").await;
    logged(&berth, "longest-tmie").await;
    let refused = berth.refusal(Submit { time: Some("90m".into()), ..sh("true") }).await;
    assert!(refused.to_string().contains("at most 1h"), "{refused}");
    let job = berth.submit("true").await;
    berth.succeeds(job).await;
}

#[tokio::test]
async fn the_log_becomes_as_wordy_as_it_is_told_to_be() {
    let berth = Berth::with(|setup| setup.more = "[log]\nlevel = \"warn\"\n".into()).await;
    berth.client().info().await.unwrap();
    assert!(!berth.server_log().contains("DEBUG"), "{}", berth.server_log());
    change(&berth, "level = \"warn\"", "level = \"debug\"");
    let asked = || async {
        berth.client().info().await.unwrap();
        berth.server_log().contains("DEBUG")
    };
    eventually("more words", asked).await;
}

#[tokio::test]
async fn another_policy_takes_over_and_one_that_cannot_leaves_the_one_before() {
    let berth = Berth::with(|setup| setup.more = "[scheduler]\npolicy = \"fifo\"\n".into()).await;
    assert!(scheduler(&berth).await.contains("fifo"));
    change(&berth, "policy = \"fifo\"", "policy = \"priority\"");
    eventually("the other policy", || async { scheduler(&berth).await.contains("priority") }).await;
    let bad = format!("policy = {:?}", bad_policy("refuses-settings"));
    change(&berth, "policy = \"priority\"", &bad);
    logged(&berth, "not taken over").await;
    assert!(scheduler(&berth).await.contains("priority"));
    let job = berth.submit("true").await;
    berth.succeeds(job).await;
}

#[tokio::test]
async fn whether_a_server_runs_is_told_by_the_exit_code_of_status() {
    let mut berth = Berth::start().await;
    let shown = berth.cli(["status"]).await.ok();
    assert!(shown.contains("cluster    berth-t"), "{shown}");
    berth.stop().await;
    let words = berth.cli(["status"]).await.refused(3);
    assert!(words.contains("no Berth server answers"), "{words}");
    let told = berth.cli(["--json", "status"]).await;
    let told: (i32, serde_json::Value) = (told.code, serde_json::from_str(&told.out).unwrap());
    assert!(told.0 == 3 && told.1["server"].is_null(), "{told:?}");
}
