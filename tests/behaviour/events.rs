//! What programs hear: events, metrics, the description of the API.

use berth_api::{Controls, Submit};

use crate::harness::{Berth, is_over, sh};

#[tokio::test]
async fn events_arrive_in_order_and_none_is_missing() {
    let berth = Berth::start().await;
    let mut events = berth.client().events(None).await.unwrap();
    let mut jobs = Vec::new();
    for code in 0..10 {
        jobs.push(berth.submit(&format!("exit {code}")).await);
    }
    let mut left = jobs.len();
    let taken = berth
        .events_until(&mut events, |event| {
            left -= usize::from(is_over(&event.state));
            left == 0
        })
        .await;
    for pair in taken.windows(2) {
        assert!(pair[0].seq < pair[1].seq, "{pair:?}");
    }
    for (code, job) in jobs.iter().enumerate() {
        let of_job: Vec<_> = taken.iter().filter(|event| event.id == *job).collect();
        let kinds: Vec<&str> = of_job.iter().map(|event| event.extra["event"].as_str()).collect();
        assert_eq!(kinds, ["submitted", "starting", "running", "ended"], "job {job}");
        assert_eq!(of_job.last().unwrap().exit_code, Some(i32::try_from(code).unwrap()));
    }
}

#[tokio::test]
async fn a_listener_that_comes_back_gets_what_it_has_missed() {
    let mut berth = Berth::start().await;
    let first = berth.submit("true").await;
    berth.succeeds(first).await;
    let mut events = berth.client().events(Some(0)).await.unwrap();
    let before = berth.events_until(&mut events, |event| is_over(&event.state)).await;
    assert_eq!(before[0].extra["event"], "submitted");
    let last = before.last().unwrap().seq;
    drop(events);
    let second = berth.submit("true").await;
    berth.succeeds(second).await;
    berth.kill_dash_9();
    berth.start_again().await;
    let mut events = berth.client().events(Some(last)).await.unwrap();
    let missed = berth.events_until(&mut events, |event| is_over(&event.state)).await;
    assert!(missed.iter().all(|event| event.id == second && event.seq > last), "{missed:#?}");
}

#[tokio::test]
async fn the_description_of_the_api_is_served_and_names_every_route() {
    let berth = Berth::start().await;
    let answer = berth.http("GET", "/v1/openapi.json", &[], b"").await;
    assert_eq!(answer.status, 200);
    let description = answer.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    for path in
        ["/v1/jobs", "/v1/jobs/{job}", "/v1/jobs/{job}/why", "/v1/jobs/{job}/logs", "/v1/events", "/v1/nodes"]
    {
        assert!(description["paths"][path].is_object(), "{path}");
    }
}

#[tokio::test]
async fn metrics_count_jobs_in_prometheus_form() {
    let berth = Berth::start().await;
    let ended = berth.submit("true").await;
    berth.succeeds(ended).await;
    berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    let answer = berth.http("GET", "/metrics", &[], b"").await;
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{}", answer.head);
    let lines: Vec<&str> = answer.body.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(!lines.is_empty());
    for line in &lines {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("berth_") && value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(
        lines.iter().any(|line| line.contains("state=\"held\"") && line.ends_with(" 1")),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn an_idle_berth_uses_no_cpu() {
    let berth = Berth::start().await;
    let job = berth.submit("true").await;
    berth.succeeds(job).await;
    let held = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    let asleep = berth.submit("sleep 1000").await;
    berth.wait_for(asleep, "running").await;
    let _listening = berth.client().events(None).await.unwrap();
    // What follows a job's end (logs written, answers cached) has to settle first.
    let quiet = || async {
        let before = berth.process().ticks();
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        berth.process().ticks() - before
    };
    crate::harness::eventually("two idle seconds", || async { quiet().await <= 1 }).await;
    assert!(quiet().await <= 1, "it stays idle");
    assert_eq!(berth.job(held).await.row.state, "held");
    berth.done(Controls::Kill, asleep).await;
}

#[tokio::test]
async fn every_command_that_shows_something_speaks_json() {
    let berth = Berth::start().await;
    let job = berth.submit("true").await;
    berth.succeeds(job).await;
    for args in [
        vec!["jobs", "--all"],
        vec!["job", "1"],
        vec!["why", "1"],
        vec!["wait", "1"],
        vec!["files", "1"],
        vec!["nodes"],
        vec!["usage"],
        vec!["status"],
        vec!["plugin", "list"],
        vec!["plugin", "inspect", "scheduler"],
        vec!["token", "list"],
        vec!["submit", "--hold", "--", "true"],
        vec!["kill", "2"],
        vec!["config", "schema"],
    ] {
        let value = berth.json(args.iter().copied()).await;
        assert!(value.is_object() || value.is_array(), "{args:?}: {value}");
    }
    let failed = berth.cli(["--json", "job", "4711"]).await;
    let error: serde_json::Value = serde_json::from_str(&failed.err).unwrap();
    assert_eq!((failed.code, &error["code"]), (5, &"not-found".into()));
}

#[tokio::test]
async fn use_is_accounted() {
    let berth = Berth::start().await;
    let job = berth.submit("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").await;
    let row = berth.succeeds(job).await;
    assert!(row.cpu_micros.unwrap() > 10_000, "{row:?}");
    assert!(row.memory_peak_bytes.unwrap() > 100_000, "{row:?}");
    let usage = berth.json(["usage"]).await;
    let mine = usage.as_array().unwrap().iter().find(|own| own["name"] == row.user.as_str()).unwrap();
    assert_eq!((&mine["jobs"], &mine["succeeded"]), (&1.into(), &1.into()));
    assert!(mine["cpu_micros"].as_u64().unwrap() > 10_000, "{mine}");
}
