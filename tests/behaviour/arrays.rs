//! Arrays: one submission, many tasks.

use std::{collections::BTreeMap, fs};

use berth_api::{Controls, Submit};

use crate::harness::{Berth, sh};

fn array(range: &str, script: &str) -> Submit {
    Submit { array: Some(range.into()), ..sh(script) }
}

#[tokio::test]
async fn an_array_of_30_to_36_runs_each_index_once_with_its_variables() {
    let berth = Berth::start().await;
    let job = berth.submit_job(array("30-36", "env | grep -E 'TASK|ARRAY|JID|JOB_ID' | sort")).await;
    berth.succeeds(job).await;
    let tasks = berth.tasks_of(job).await;
    assert_eq!(tasks.len(), 7);
    for index in 30..=36 {
        let task = berth.job(format!("{job}.{index}")).await;
        assert_eq!((task.row.state.as_str(), task.row.exit_code), ("succeeded", Some(0)));
        assert_eq!(task.row.label, format!("{job}.{index}"));
        let log = berth.log(format!("{job}.{index}")).await;
        let variables: BTreeMap<&str, &str> = log.lines().filter_map(|line| line.split_once('=')).collect();
        for prefix in ["BERTH_ARRAY_TASK", "GODOCKER_TASK", "GOGOCKER_TASK"] {
            let value = |part: &str| variables[format!("{prefix}_{part}").as_str()].parse::<u64>().unwrap();
            assert_eq!((value("ID"), value("FIRST"), value("LAST"), value("STEP")), (index, 30, 36, 1));
        }
        assert_eq!(variables["BERTH_ARRAY_ID"], job.to_string());
        assert_eq!(variables["BERTH_JOB_ID"], task.row.id.to_string());
        assert_eq!(variables["GODOCKER_JID"], task.row.id.to_string());
    }
}

#[tokio::test]
async fn a_step_leaves_indices_out() {
    let berth = Berth::start().await;
    let job = berth.submit_job(array("1-10:4", "echo $BERTH_ARRAY_TASK_ID")).await;
    berth.succeeds(job).await;
    let mut labels: Vec<String> = berth.tasks_of(job).await.into_iter().map(|task| task.label).collect();
    labels.sort();
    assert_eq!(labels, [format!("{job}.1"), format!("{job}.5"), format!("{job}.9")]);
    assert_eq!(berth.cli(["job", &format!("{job}.2")]).await.code, 5);
}

#[tokio::test]
async fn no_more_tasks_run_at_once_than_the_bound_says() {
    let berth = Berth::start().await;
    let trace = berth.path("trace");
    let script = format!("echo + >> {0}; sleep 0.1; echo - >> {0}", trace.display());
    let job = berth.submit_job(Submit { cpus: Some("100m".into()), ..array("1-12%3", &script) }).await;
    berth.succeeds(job).await;
    let (mut at_once, mut most) = (0, 0);
    for line in fs::read_to_string(trace).unwrap().lines() {
        at_once += if line == "+" { 1 } else { -1 };
        most = most.max(at_once);
    }
    assert_eq!((at_once, most), (0, 3));
}

#[tokio::test]
async fn an_array_ends_as_its_tasks_did_with_the_highest_code() {
    let berth = Berth::start().await;
    let job = berth.submit_job(array("0-5", "exit $BERTH_ARRAY_TASK_ID")).await;
    let row = berth.end_of(job).await;
    assert_eq!((row.state.as_str(), row.exit_code), ("failed", Some(5)));
    assert_eq!(berth.cli(["wait", &job.to_string()]).await.code, 5);
    assert_eq!(berth.job(format!("{job}.0")).await.row.state, "succeeded");
    assert_eq!(berth.job(format!("{job}.3")).await.row.exit_code, Some(3));
    let counts = berth.job(job).await.row.tasks;
    let of = |state: &str| counts.iter().find(|row| row.state == state).map_or(0, |row| row.count);
    assert_eq!((of("succeeded"), of("failed")), (1, 5));
}

#[tokio::test]
async fn killing_an_array_kills_its_tasks_and_starts_no_more() {
    let berth = Berth::start().await;
    let job = berth.submit_job(array("1-1000", "sleep 1000")).await;
    berth.wait_for(format!("{job}.4"), "running").await;
    berth.done(Controls::Kill, job).await;
    let row = berth.end_of(job).await;
    assert_eq!((row.state.as_str(), row.exit_code), ("killed", Some(143)));
    for task in berth.tasks_of(job).await {
        assert_eq!(task.state, "killed", "{task:?}");
    }
    let after = berth.submit("true").await;
    berth.succeeds(after).await;
    assert_eq!(berth.job(format!("{job}.900")).await.row.state, "killed");
}

#[tokio::test]
async fn one_task_is_killed_and_the_others_go_on() {
    let berth = Berth::start().await;
    let job = berth.submit_job(array("1-4", "[ $BERTH_ARRAY_TASK_ID != 2 ] || sleep 1000")).await;
    berth.wait_for(format!("{job}.2"), "running").await;
    berth.done(Controls::Kill, format!("{job}.2")).await;
    assert_eq!(berth.end_of(job).await.state, "failed");
    for (index, state) in [(1, "succeeded"), (2, "killed"), (3, "succeeded"), (4, "succeeded")] {
        assert_eq!(berth.job(format!("{job}.{index}")).await.row.state, state, "task {index}");
    }
}

#[tokio::test]
async fn a_task_whose_turn_has_not_come_can_be_killed() {
    let berth = Berth::with(|setup| setup.cpus = 1).await;
    let go = berth.path("go");
    let script = format!("while [ ! -e {} ]; do sleep 0.02; done", go.display());
    let job = berth.submit_job(array("1-5", &script)).await;
    berth.wait_for(format!("{job}.1"), "running").await;
    berth.done(Controls::Kill, format!("{job}.4")).await;
    assert_eq!(berth.end_of(format!("{job}.4")).await.state, "killed");
    fs::write(go, "").unwrap();
    berth.end_of(job).await;
    for index in [1, 2, 3, 5] {
        assert_eq!(berth.job(format!("{job}.{index}")).await.row.state, "succeeded");
    }
    assert_eq!(berth.job(format!("{job}.4")).await.row.started, None);
}

#[tokio::test]
async fn a_million_tasks_are_accepted_at_once_and_cost_little_until_they_start() {
    let berth = Berth::start().await;
    berth.process().forget_most_memory();
    let before = berth.process().most_memory_kib();
    let job = Submit { hold: true, ..array("1-1000000", "true") };
    let job = berth.submit_job(job).await;
    let after = berth.process().most_memory_kib();
    assert!(
        after - before < 10_000,
        "{before} KiB before, {after} KiB after: 0.01 KiB a task are the target"
    );
    let row = berth.job(job).await.row;
    assert_eq!(row.tasks.iter().map(|row| row.count).sum::<u64>(), 1_000_000);
    let next = berth.submit("true").await;
    assert!(next > job + 1_000_000, "each index has a number of its own reserved");
    assert_eq!(berth.job(format!("{job}.1000000")).await.row.label, format!("{job}.1000000"));
}

#[tokio::test]
async fn a_task_is_run_again_alone() {
    let berth = Berth::start().await;
    let flag = berth.path("flag");
    let script = format!("[ $BERTH_ARRAY_TASK_ID != 2 ] || [ -e {} ]", flag.display());
    let job = berth.submit_job(array("1-3", &script)).await;
    assert_eq!(berth.end_of(job).await.state, "failed");
    fs::write(flag, "").unwrap();
    berth.done(Controls::Rerun, format!("{job}.2")).await;
    let task = berth.succeeds(format!("{job}.2")).await;
    assert_eq!(task.attempt, 2);
    assert_eq!(berth.job(format!("{job}.1")).await.row.attempt, 1);
}
