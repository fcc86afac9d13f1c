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

#[tokio::test]
async fn only_so_many_jobs_of_a_user_run_at_once_and_the_next_starts_when_one_ends() {
    let berth = site("on-breach = \"reject\"\nuser = { running-jobs = 1 }").await;
    let first = berth.submit_job(until(&berth, "go")).await;
    let second = berth.submit_job(until(&berth, "then")).await;
    berth.wait_for(first, "running").await;
    eventually("the reason", async || berth.why(second).await.reasons.iter().any(|why| why.kind == "quota"))
        .await;
    let said = berth.cli(["why", &second.to_string()]).await.ok();
    assert!(said.contains("it may have 1 jobs at once, and 1 jobs are in use by what runs"), "{said}");
    let shown = berth.json(["quota", "show"]).await;
    assert_eq!((&shown["running"]["jobs"], &shown["bounds"]["running-jobs"]), (&1.into(), &"1".into()));
    berth.write("go", "");
    berth.succeeds(first).await;
    berth.wait_for(second, "running").await;
    berth.write("then", "");
    berth.succeeds(second).await;
}

/// What Berth has counted of its own user's directories.
async fn disk_of(berth: &Berth) -> u64 {
    berth.json(["quota", "show"]).await["disk_bytes"].as_u64().unwrap()
}

const HALF_A_MEGABYTE: &str = "head -c 500000 /dev/zero > data";

#[tokio::test]
async fn what_ended_jobs_leave_behind_counts_until_it_is_archived() {
    let berth = site("user = { disk = \"900k\" }").await;
    let jobs = [berth.submit(HALF_A_MEGABYTE).await, berth.submit(HALF_A_MEGABYTE).await];
    for job in jobs {
        berth.succeeds(job).await;
    }
    eventually("both are counted", async || disk_of(&berth).await >= 1_000_000).await;
    let third = berth.submit("true").await;
    eventually("the reason", async || berth.why(third).await.reasons.iter().any(|why| why.kind == "quota"))
        .await;
    let said = berth.cli(["why", &third.to_string()]).await.ok();
    assert!(said.contains("it may have 900KB of job directories when a job starts, and has 1MB"), "{said}");
    let shown = berth.cli(["quota", "show"]).await.ok();
    assert!(shown.contains("disk=900k") && shown.contains("\ndisk        1MB"), "{shown}");
    berth.cli(["archive", &jobs[0].to_string()]).await.ok();
    berth.succeeds(third).await;
    let left = disk_of(&berth).await;
    assert!((500_000..900_000).contains(&left), "one of the two is left, and the third: {left}");
}

#[tokio::test]
async fn the_directory_of_a_running_job_counts_and_an_arrays_goes_with_all_its_tasks() {
    let berth = site("measure-every = \"1s\"\nproject = { disk = \"400k\" }").await;
    let path = berth.path("go");
    let script = format!("{HALF_A_MEGABYTE}; until [ -e {} ]; do sleep 0.05; done", path.display());
    let array = Submit { array: Some("7-8".into()), project: Some("p".into()), ..sh(&script) };
    let array = berth.submit_job(array).await;
    eventually("both tasks are counted", async || disk_of(&berth).await >= 1_000_000).await;
    let later = berth.submit_job(Submit { project: Some("p".into()), ..sh("true") }).await;
    let other = berth.submit("true").await;
    berth.succeeds(other).await;
    assert_eq!(berth.job(later).await.row.state, "pending", "the project has no more room");
    berth.write("go", "");
    berth.end_of(array).await;
    berth.cli(["archive", &array.to_string()]).await.ok();
    berth.succeeds(later).await;
    assert!(disk_of(&berth).await < 400_000);
}

#[tokio::test]
async fn what_ended_while_berth_was_dead_or_before_anybody_was_bounded_is_counted_once() {
    let mut berth = site("user = { jobs = 100 }").await;
    let before = berth.submit(HALF_A_MEGABYTE).await;
    berth.succeeds(before).await;
    let path = berth.path("go");
    let script = format!("until [ -e {} ]; do sleep 0.05; done; {HALF_A_MEGABYTE}", path.display());
    let meanwhile = berth.submit(&script).await;
    berth.wait_for(meanwhile, "running").await;
    let text = std::fs::read_to_string(berth.config()).unwrap();
    berth.kill_dash_9();
    std::fs::write(berth.config(), text.replace("jobs = 100 }", "disk = \"900k\" }")).unwrap();
    berth.write("go", "");
    berth.start_again().await;
    berth.succeeds(meanwhile).await;
    eventually("both are counted", async || disk_of(&berth).await >= 1_000_000).await;
    let counted = disk_of(&berth).await;
    berth.kill_dash_9();
    berth.start_again().await;
    assert_eq!(disk_of(&berth).await, counted, "after another crash, too");
    let third = berth.submit("true").await;
    eventually("the reason", async || berth.why(third).await.reasons.iter().any(|why| why.kind == "quota"))
        .await;
    assert_eq!(disk_of(&berth).await, counted, "nothing counts twice");
}

#[tokio::test]
async fn usage_tells_how_accounts_stand_beside_what_ended_jobs_took() {
    let berth = site("user = { cpu-time = \"10h\" }").await;
    let ended = berth.submit_job(Submit { time: Some("1h".into()), ..sh("sleep 0.1") }).await;
    berth.succeeds(ended).await;
    let in_project = Submit { project: Some("p".into()), ..until(&berth, "go") };
    let runs = berth.submit_job(in_project).await;
    let user = berth.wait_for(runs, "running").await.row.user;
    let of = async |by: &str, name: &str| {
        let rows = berth.json(["usage", "--by", by]).await;
        let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name).cloned();
        row.unwrap_or_else(|| panic!("{name} is not among {rows}"))
    };
    let kept_ms = 50.0 * 60_000.0;
    let mine = of("user", &user).await;
    assert_eq!(
        (&mine["jobs"], &mine["counted"]["jobs"], &mine["running"]["jobs"]),
        (&1.into(), &1.0.into(), &1.into())
    );
    assert!(mine["counted"]["wall_ms"].as_f64().unwrap() >= 100.0, "{mine}");
    assert!(mine["faded"]["wall_ms"].as_f64().unwrap() >= 100.0, "{mine}");
    assert!(mine["kept"]["cpu_ms"].as_f64().unwrap() >= kept_ms, "{mine}");
    for (by, name) in [("project", "p"), ("member", &format!("p/{user}"))] {
        let row = of(by, name).await;
        assert_eq!((&row["counted"]["jobs"], &row["running"]["jobs"]), (&0.0.into(), &1.into()), "{by}");
        assert!(row["kept"]["cpu_ms"].as_f64().unwrap() >= kept_ms, "{row}");
    }
    let said = berth.cli(["usage"]).await.ok();
    assert!(said.lines().next().unwrap().contains("COUNTED"), "{said}");
    let days = berth.client().account_days("user", &user).await.unwrap();
    let summed: u64 = days.iter().map(|day| day.jobs).sum();
    assert!(summed == 1 && days.iter().all(|day| day.cpu_millis == 1000 * day.jobs), "{days:?}");
    berth.write("go", "");
    berth.succeeds(runs).await;
}
