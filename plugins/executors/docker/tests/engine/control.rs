//! What attempts are asked to do, beyond the conformance kit.

use std::time::Duration;

use berth_executor_api::{Action, AttemptState, Executor, ExecutorError};

use crate::support::{Berth, LONG, terminate};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn where_asked_a_suspend_is_a_signal() {
    let mut berth = Berth::new().await;
    let text = format!("echo begun; {LONG}");
    let job = berth
        .sh_with(&text, |spec| {
            spec.extensions.insert("docker.suspend".into(), "signal".into());
        })
        .await;
    berth.wrote(&job, "stdout", "begun").await;
    berth.control(&job, Action::Suspend).await;
    berth.report(&job, "suspended", |state| *state == AttemptState::Suspended).await;
    assert_eq!(berth.inspect(&job, "{{.State.Status}}").await, "running");
    let pid = berth.inspect(&job, "{{.State.Pid}}").await;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("State:\tT"), "{status}");
    berth.crash().await;
    berth.start().await;
    let known = berth.truth(&job).await;
    assert!(
        matches!(&known, berth_executor_api::Truth::Known(report) if report.state == AttemptState::Suspended)
    );
    berth.control(&job, Action::Resume).await;
    berth.control(&job, terminate(Duration::ZERO)).await;
    assert_eq!(berth.exit(&job).await.signal, Some(9));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_grace_ends_also_for_a_berth_that_was_killed_meanwhile() {
    let mut berth = Berth::new().await;
    let job = berth.sh(&format!("trap '' TERM; echo deaf; {LONG}")).await;
    berth.wrote(&job, "stdout", "deaf").await;
    berth.control(&job, terminate(Duration::from_secs(2))).await;
    berth.crash().await;
    berth.start().await;
    let exit = berth.exit(&job).await;
    assert_eq!((exit.signal, exit.before_stop), (Some(9), false));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn that_it_was_stopped_is_known_after_a_restart() {
    let mut berth = Berth::new().await;
    let job = berth.sh(&format!("trap 'exit 42' TERM; echo up; {LONG}")).await;
    berth.wrote(&job, "stdout", "up").await;
    berth.control(&job, terminate(Duration::from_secs(60))).await;
    berth.crash().await;
    berth.start().await;
    let exit = berth.exit_by_truth(&job).await;
    assert_eq!((exit.code, exit.before_stop), (Some(42), false));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_stop_right_after_the_launch_is_never_lost() {
    let mut berth = Berth::with(|config| config.starts_at_once = 1).await;
    let mut jobs = Vec::new();
    for _ in 0..6 {
        jobs.push(berth.job(crate::support::sh(LONG)));
    }
    berth.executor().launch(&jobs).await.unwrap();
    for job in &jobs {
        // Some have a container by now, and some have not.
        berth.control(job, terminate(Duration::ZERO)).await;
    }
    for job in &jobs {
        let exit = berth.exit(job).await;
        assert!(!exit.before_stop, "{exit:?}");
        assert!(exit.could_not_launch.is_some() || exit.signal == Some(9), "{exit:?}");
    }
    berth.crash().await;
    berth.start().await;
    for job in &jobs {
        assert!(!berth.exit_by_truth(job).await.before_stop);
    }
    let all: Vec<_> = jobs.iter().map(|job| job.attempt.clone()).collect();
    berth.executor().remove(&all).await.unwrap();
    assert_eq!(berth.executor().attempts().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn what_an_engine_cannot_do_is_told_by_kind() {
    let berth = Berth::new().await;
    let job = berth.sh("true").await;
    berth.ended(&job).await;
    let error = berth.executor().control(&job.attempt, Action::Suspend).await.unwrap_err();
    assert!(matches!(error, ExecutorError::UnknownAttempt { .. }), "{error}");
    let running = berth.sh(LONG).await;
    berth.running(&running).await;
    let error = berth.executor().control(&running.attempt, Action::Signal(99)).await.unwrap_err();
    assert!(
        matches!(&error, ExecutorError::Refused { reason, .. } if reason.contains("signal 99")),
        "{error}"
    );
}
