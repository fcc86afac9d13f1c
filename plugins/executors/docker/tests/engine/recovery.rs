//! After kill -9 of Berth, after an end of the engine, and after both.

use std::time::Duration;

use berth_executor_api::{AttemptState, Executor, Report, Truth};
use berth_testbed::{Wish, own_engine};

use crate::support::{Berth, LONG, sh};

const TRACE: &str = "echo run >> \"$BERTH_JOB_DIR/trace\"; exit 3";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn what_was_taken_when_berth_was_killed_runs_exactly_once() {
    let mut berth = Berth::with(|config| config.starts_at_once = 2).await;
    let jobs: Vec<_> = (0..12).map(|_| berth.job(sh(TRACE))).collect();
    berth.executor().launch(&jobs).await.unwrap();
    // Some are noted only, some are being made, some are started, some are over.
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        berth.crash().await;
        berth.start().await;
        let all: Vec<_> = jobs.iter().map(|job| job.attempt.clone()).collect();
        let truths = berth.executor().reconcile(&all).await.unwrap();
        assert!(truths.iter().all(|truth| matches!(truth, Truth::Known(_))), "{truths:?}");
        // As a restarted Berth does that got no answer.
        berth.executor().launch(&jobs).await.unwrap();
    }
    for job in &jobs {
        let exit = berth.exit_by_truth(job).await;
        assert_eq!(exit.code, Some(3), "{exit:?}");
        assert_eq!(berth.read(job, "trace"), "run\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_container_that_was_made_and_never_started_is_started_once() {
    let mut berth = Berth::new().await;
    let model = berth.sh("true").await;
    berth.ended(&model).await;
    berth.crash().await;
    // The same by hand, as far as a Berth had come that died between the two.
    let job = berth.job(sh("echo once"));
    std::fs::create_dir_all(&job.directory).unwrap();
    std::os::unix::fs::chown(&job.directory, Some(1234), Some(1234)).unwrap();
    let facts = berth.inspect(&model, "{{index .Config.Labels \"berth.docker\"}}").await;
    let facts = facts.replace(model.attempt.as_str(), job.attempt.as_str());
    let cluster = format!("berth.cluster={}", berth.config.cluster);
    let attempt = format!("berth.attempt={}", job.attempt);
    let facts = format!("berth.docker={facts}");
    let name = job.attempt.as_str();
    let create = ["create", "--name", name, "--label", &cluster, "--label", &attempt, "--label", &facts];
    let rest = ["--network", "none", berth_testbed::IMAGE_PLAIN, "sh", "-c", "echo once"];
    berth.docker(&[&create[..], &rest[..]].concat()).await;
    berth.start().await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    assert_eq!(berth.read(&job, "stdout"), "once\n");
    assert_eq!(berth.inspect(&job, "{{.RestartCount}}").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn an_engine_that_was_restarted_with_its_jobs_loses_none() {
    let engine = tokio::task::spawn_blocking(|| own_engine(&[])).await.unwrap();
    let berth = Berth::on((*engine).clone(), |_| ()).await;
    let mut jobs = Vec::new();
    for _ in 0..8 {
        jobs.push(berth.sh(&format!("echo begun; {LONG}")).await);
    }
    let over = berth.sh("echo done; exit 4").await;
    assert_eq!(berth.exit(&over).await.code, Some(4));
    for job in &jobs {
        berth.wrote(job, "stdout", "begun").await;
    }
    let engine = tokio::task::spawn_blocking(move || {
        engine.kill();
        engine.start_again();
        engine
    })
    .await
    .unwrap();
    berth.heard("the engine being back", |report| matches!(report, Report::Back).then_some(())).await;
    assert_eq!(berth.exit_by_truth(&over).await.code, Some(4));
    for job in &jobs {
        let report = berth.ended(job).await;
        let exit = crate::support::exit_of(&report);
        assert!(exit.code.is_some_and(|code| code != 0) || exit.signal.is_some(), "{report:?}");
        assert!(exit.before_stop, "Berth has stopped none: {report:?}");
        assert_eq!(berth.read(job, "stdout"), "begun\n");
    }
    let again = berth.sh("true").await;
    assert_eq!(berth.exit(&again).await.code, Some(0));
    drop(berth);
    drop(engine);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn jobs_outlive_an_engine_that_lets_them_and_a_berth_that_was_killed_as_well() {
    let engine = tokio::task::spawn_blocking(|| own_engine(&[Wish::LiveRestore])).await.unwrap();
    let mut berth = Berth::on((*engine).clone(), |_| ()).await;
    let text = "i=0; while [ $i -lt 100 ]; do echo \"line $i\"; sleep 0.1; i=$((i+1)); done; exit 6";
    let job = berth.sh(text).await;
    berth.wrote(&job, "stdout", "line 5\n").await;
    let engine = tokio::task::spawn_blocking(move || {
        engine.kill();
        engine
    })
    .await
    .unwrap();
    berth.heard("the engine being away", |report| matches!(report, Report::Away(_)).then_some(())).await;
    berth.crash().await;
    berth.start().await;
    let engine = tokio::task::spawn_blocking(move || {
        engine.start_again();
        engine
    })
    .await
    .unwrap();
    let exit = berth.exit(&job).await;
    assert_eq!((exit.code, exit.before_stop), (Some(6), true));
    let lines: String = (0..100).map(|i| format!("line {i}\n")).collect();
    assert_eq!(berth.read(&job, "stdout"), lines);
    let starts = berth.told(&job).iter().filter(|report| report.state == AttemptState::Running).count();
    assert!(starts >= 1);
    drop(berth);
    drop(engine);
}
