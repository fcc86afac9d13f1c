//! What the site lets its users and projects use.

use berth_api::{ErrorCode, Submit};
use rustix::process::Signal;

use crate::harness::{Berth, eventually, sh};

/// A Berth whose users have this much.
async fn site(quotas: &str) -> Berth {
    Berth::with(|setup| setup.quotas = quotas.to_owned()).await
}

/// A job that goes on until a file of this name is there.
fn until(berth: &Berth, name: &str) -> Submit {
    let path = berth.path(name);
    Submit {
        time: Some("50m".into()),
        ..sh(&format!("until [ -e {} ]; do sleep 0.05; done", path.display()))
    }
}

#[tokio::test]
async fn a_job_waits_for_its_users_quota_says_so_and_starts_when_something_is_given_back() {
    let berth = site("user = { cpu-time = \"1h\" }").await;
    let first = berth.submit_job(until(&berth, "go")).await;
    let second = berth.submit_job(until(&berth, "go")).await;
    berth.wait_for(first, "running").await;
    eventually("the reason", async || berth.why(second).await.reasons.iter().any(|why| why.kind == "quota"))
        .await;
    let why = berth.why(second).await;
    let said = berth.cli(["why", &second.to_string()]).await.ok();
    assert!(said.contains("it may use 1.00 core-hours in 30d"), "{said}");
    assert!(why.reasons.iter().all(|why| why.kind != "no-room"), "{why:?}");
    berth.write("go", "");
    berth.succeeds(first).await;
    berth.succeeds(second).await;
}

#[tokio::test]
async fn what_was_used_still_counts_after_a_crash() {
    let mut berth = site("user = { jobs = 2 }").await;
    let first = berth.submit("true").await;
    berth.succeeds(first).await;
    let running = berth.submit_job(until(&berth, "go")).await;
    berth.wait_for(running, "running").await;
    berth.kill_dash_9();
    berth.start_again().await;
    let third = berth.submit("true").await;
    eventually("the reason", async || berth.why(third).await.reasons.iter().any(|why| why.kind == "quota"))
        .await;
    berth.write("go", "");
    berth.succeeds(running).await;
    assert_eq!(berth.job(third).await.row.state, "pending", "two have run");
}

#[tokio::test]
async fn a_quota_that_is_raised_while_berth_runs_lets_go_whoever_waited() {
    let berth = site("user = { jobs = 1 }").await;
    let first = berth.submit("true").await;
    berth.succeeds(first).await;
    let second = berth.submit("true").await;
    eventually("the reason", async || berth.why(second).await.reasons.iter().any(|why| why.kind == "quota"))
        .await;
    let text = std::fs::read_to_string(berth.config()).unwrap();
    std::fs::write(berth.config(), text.replace("jobs = 1 }", "jobs = 9 }")).unwrap();
    berth.process().signal(Signal::HUP);
    berth.succeeds(second).await;
}

#[tokio::test]
async fn where_the_site_wants_that_jobs_over_quota_are_rejected() {
    let berth = site("on-breach = \"reject\"\nproject = { jobs = 1 }").await;
    let in_project = |name: &str| Submit { project: Some(name.into()), ..sh("true") };
    let first = berth.submit_job(in_project("p")).await;
    berth.succeeds(first).await;
    let second = berth.submit_job(in_project("p")).await;
    let row = berth.end_of(second).await;
    let words = format!("{:?}", row.cause);
    assert!(row.state == "rejected" && words.contains("project p may use 1 jobs"), "{row:?}");
    for _ in 0..2 {
        let other = berth.submit("true").await;
        berth.succeeds(other).await;
    }
}

#[tokio::test]
async fn too_many_waiting_jobs_too_fast_ones_and_endless_ones_are_refused_with_the_reason() {
    let berth = site("submissions-per-minute = 4\nuser = { pending = 3, wall-time = \"2h\" }").await;
    let held = |array: &str| Submit {
        array: Some(array.into()),
        hold: true,
        time: Some("10m".into()),
        ..sh("true")
    };
    berth.submit_job(held("1-2")).await;
    let refused = berth.refusal(held("1-2")).await;
    assert!(
        refused.code == ErrorCode::TooMany && refused.message.contains("no more than 3 may"),
        "{refused}"
    );
    let refused = berth.refusal(sh("true")).await;
    assert!(refused.code == ErrorCode::Unable && refused.message.contains("--time"), "{refused}");
    let refused = berth.refusal(Submit { time: Some("3h".into()), ..sh("true") }).await;
    assert!(refused.message.contains("all that user"), "{refused}");
    for _ in 0..3 {
        let job = berth.submit_job(Submit { time: Some("1m".into()), ..sh("true") }).await;
        berth.succeeds(job).await;
    }
    let refused = berth.refusal(Submit { time: Some("1m".into()), ..sh("true") }).await;
    assert!(refused.code == ErrorCode::TooMany && refused.message.contains("try again in"), "{refused}");
}
