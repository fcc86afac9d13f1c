//! What people do with jobs that are there.

use std::fs;

use berth_api::{Alteration, ControlRequest, Controls, Submit};

use crate::harness::{ANN, Berth, People, Process, eventually, is_root, sh};

/// A job that writes its process's number, and that of a child, and stays.
async fn with_child(berth: &Berth, name: &str) -> (u64, [Process; 2]) {
    let pids = berth.path(name);
    let job = berth
        .submit(&format!("sleep 1000 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", pids.display()))
        .await;
    eventually("its processes", || async { pids.exists() }).await;
    // The processes are there before Berth has heard of it.
    berth.wait_for(job, "running").await;
    let text = fs::read_to_string(pids).unwrap();
    let numbers: Vec<i32> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    (job, [Process(numbers[0]), Process(numbers[1])])
}

#[tokio::test]
async fn killing_a_job_ends_all_its_processes() {
    let berth = Berth::start().await;
    let (job, processes) = with_child(&berth, "pids").await;
    berth.cli(["kill", &job.to_string()]).await.ok();
    let row = berth.end_of(job).await;
    assert_eq!((row.state.as_str(), row.exit_code), ("killed", Some(143)));
    assert!(row.detail.as_ref().unwrap().contains("killed by"), "{row:?}");
    for process in processes {
        eventually("its end", || async { process.state().is_none() }).await;
    }
}

#[tokio::test]
async fn a_job_that_does_not_listen_is_killed_after_its_grace() {
    let berth = Berth::start().await;
    let ready = berth.path("ready");
    let script = format!("trap '' TERM; touch {}; while :; do sleep 0.05; done", ready.display());
    let job = berth.submit_job(Submit { grace: Some("200ms".into()), ..sh(&script) }).await;
    eventually("its trap", || async { ready.exists() }).await;
    berth.done(Controls::Kill, job).await;
    let row = berth.end_of(job).await;
    assert_eq!((row.state.as_str(), row.exit_code), ("killed", Some(137)));
}

#[tokio::test]
async fn a_job_that_has_not_started_is_killed_at_once() {
    let berth = Berth::start().await;
    let job = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    berth.done(Controls::Kill, job).await;
    let row = berth.end_of(job).await;
    assert_eq!((row.state.as_str(), row.exit_code, row.started), ("killed", Some(137), None));
    let again = berth.control(Controls::Kill, job).await;
    assert!(again.done && again.message.unwrap().contains("ended already"), "killing twice is no error");
}

#[tokio::test]
async fn a_suspended_job_stands_still_with_all_its_processes_and_goes_on() {
    let berth = Berth::start().await;
    let (job, processes) = with_child(&berth, "pids").await;
    berth.cli(["suspend", &job.to_string()]).await.ok();
    berth.wait_for(job, "suspended").await;
    for process in processes {
        eventually("a halt", || async { process.state() == Some('T') }).await;
    }
    berth.cli(["resume", &job.to_string()]).await.ok();
    berth.wait_for(job, "running").await;
    for process in processes {
        eventually("its going on", || async { process.state() != Some('T') }).await;
    }
    berth.done(Controls::Kill, job).await;
    assert_eq!(berth.end_of(job).await.state, "killed");
}

#[tokio::test]
async fn a_suspended_job_can_be_killed() {
    let berth = Berth::start().await;
    let (job, processes) = with_child(&berth, "pids").await;
    berth.done(Controls::Suspend, job).await;
    berth.done(Controls::Kill, job).await;
    assert_eq!(berth.end_of(job).await.state, "killed");
    for process in processes {
        eventually("its end", || async { process.state().is_none() }).await;
    }
}

#[tokio::test]
async fn a_held_job_starts_when_it_is_released() {
    let berth = Berth::start().await;
    let job = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    let other = berth.submit("true").await;
    berth.succeeds(other).await;
    assert_eq!(berth.job(job).await.row.state, "held");
    berth.cli(["release", &job.to_string()]).await.ok();
    berth.succeeds(job).await;
}

#[tokio::test]
async fn a_pending_job_can_be_held() {
    let berth = Berth::with(|setup| setup.cpus = 1).await;
    let first = berth.submit("sleep 1000").await;
    berth.wait_for(first, "running").await;
    let second = berth.submit("true").await;
    berth.cli(["hold", &second.to_string()]).await.ok();
    berth.wait_for(second, "held").await;
    berth.done(Controls::Kill, first).await;
    berth.end_of(first).await;
    let third = berth.submit("true").await;
    berth.succeeds(third).await;
    assert_eq!(berth.job(second).await.row.state, "held");
}

#[tokio::test]
async fn an_ended_job_runs_again_under_its_number() {
    let berth = Berth::start().await;
    let job = berth.submit("echo attempt $BERTH_ATTEMPT; [ $BERTH_ATTEMPT = 2 ]").await;
    assert_eq!(berth.end_of(job).await.state, "failed");
    berth.cli(["rerun", &job.to_string()]).await.ok();
    let row = berth.succeeds(job).await;
    assert_eq!((row.attempt, row.exit_code), (2, Some(0)));
    assert_eq!(berth.log(job).await, "attempt 2\n");
    let directory = berth.job(job).await.directory;
    assert_eq!(fs::read_to_string(format!("{directory}/stdout")).unwrap(), "attempt 1\n");
}

#[tokio::test]
async fn a_running_job_is_ended_before_it_runs_again() {
    let berth = Berth::start().await;
    let trace = berth.path("trace");
    let script = format!("echo start >> {0}; [ $BERTH_ATTEMPT = 2 ] || exec sleep 1000", trace.display());
    let job = berth.submit(&script).await;
    berth.wait_for(job, "running").await;
    eventually("its line", || async { trace.exists() }).await;
    berth.done(Controls::Rerun, job).await;
    let row = berth.succeeds(job).await;
    assert_eq!(row.attempt, 2);
    assert_eq!(fs::read_to_string(trace).unwrap(), "start\nstart\n");
}

#[tokio::test]
async fn a_signal_reaches_the_job() {
    let berth = Berth::start().await;
    let ready = berth.path("ready");
    let script =
        format!("trap 'echo got it; exit 0' USR1; touch {}; while :; do sleep 0.02; done", ready.display());
    let job = berth.submit(&script).await;
    eventually("its trap", || async { ready.exists() }).await;
    berth.cli(["signal", "USR1", &job.to_string()]).await.ok();
    berth.succeeds(job).await;
    assert_eq!(berth.log(job).await, "got it\n");
}

#[tokio::test]
async fn what_does_not_fit_the_state_is_refused_with_the_reason() {
    let berth = Berth::start().await;
    let held = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    for (action, words) in [(Controls::Suspend, "held"), (Controls::Signal, "")] {
        let request =
            ControlRequest { signal: Some(10), ..ControlRequest::of(action, vec![held.to_string()]) };
        let result = berth.client().control(&request).await.unwrap().remove(0);
        assert!(!result.done && result.message.as_ref().unwrap().contains(words), "{result:?}");
    }
    assert_eq!(berth.cli(["kill", "4711"]).await.code, 1);
}

#[tokio::test]
async fn all_of_ones_jobs_with_a_tag_are_killed_in_one_go() {
    let berth = Berth::start().await;
    let tagged = |tag: &str| Submit { hold: true, tags: vec![tag.into()], ..sh("true") };
    let (first, second) = (berth.submit_job(tagged("old")).await, berth.submit_job(tagged("old")).await);
    let kept = berth.submit_job(tagged("new")).await;
    let user = berth.job(kept).await.row.user;
    berth.cli(["kill", "--user", &user, "--tag", "old", "--yes"]).await.ok();
    for job in [first, second] {
        assert_eq!(berth.end_of(job).await.state, "killed");
    }
    assert_eq!(berth.job(kept).await.row.state, "held");
}

#[tokio::test]
async fn a_job_is_ended_at_its_time_limit() {
    let berth = Berth::start().await;
    let job = berth.submit_job(Submit { time: Some("300ms".into()), ..sh("sleep 1000") }).await;
    let row = berth.end_of(job).await;
    assert_eq!(row.state, "killed");
    assert!(row.detail.as_ref().unwrap().contains("time limit"), "{row:?}");
}

#[tokio::test]
async fn a_waiting_job_is_changed_and_starts_with_what_it_asks_for_then() {
    let berth = Berth::start().await;
    let blocking = berth.submit_job(Submit { cpus: Some("3".into()), ..sh("sleep 1000") }).await;
    berth.wait_for(blocking, "running").await;
    let script = Submit { cpus: Some("2".into()), ..sh("echo $BERTH_CPUS") };
    let waits = berth.submit_job(script).await.to_string();
    let refused = berth.cli(["alter", "--cpus", "99", &waits]).await;
    assert!(refused.code == 1 && refused.err.contains("no node"), "{refused:?}");
    let refused = berth.cli(["alter", "--memory", "much", &waits]).await;
    assert!(refused.code == 1 && refused.err.contains("memory"), "{refused:?}");
    let nothing = berth.cli(["alter", &waits]).await;
    assert!(nothing.code == 1 && nothing.err.contains("nothing to change"), "{nothing:?}");
    berth
        .cli(["alter", "--cpus", "1", "--priority", "-3", "--project", "rna", "--time", "5m", &waits])
        .await
        .ok();
    berth.succeeds(&waits).await;
    let job = berth.job(&waits).await;
    assert_eq!((job.row.project.as_str(), job.row.priority, job.row.cpu_millis), ("rna", -3, 1000));
    assert_eq!((job.spec.cpus.as_deref(), job.row.time_limit_ms), (Some("1"), Some(300_000)));
    let words: Vec<_> = job.history.iter().map(|entry| entry.text.clone()).collect();
    assert!(words.iter().any(|text| text.contains("priority 0 -> -3, project default -> rna")), "{words:?}");
    let late = berth.cli(["alter", "--priority", "1", &waits]).await.ok();
    assert!(late.contains("it has ended already"), "{late}");
}

#[tokio::test]
async fn a_running_job_takes_up_a_longer_time_limit() {
    let berth = Berth::start().await;
    let go = berth.path("go");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; echo done", go.display());
    let job = berth.submit_job(Submit { time: Some("10s".into()), ..sh(&script) }).await;
    let other = berth.submit_job(Submit { time: Some("10s".into()), ..sh("sleep 1000") }).await;
    berth.wait_for(job, "running").await;
    berth.cli(["alter", "--time", "1h", "--priority", "4", &job.to_string()]).await.ok();
    assert_eq!(berth.end_of(other).await.state, "killed", "ten seconds have passed");
    let running = berth.wait_for(job, "running").await;
    assert_eq!((running.row.time_limit_ms, running.row.priority), (Some(3_600_000), 4));
    let history: Vec<_> = running.history.iter().map(|entry| entry.text.clone()).collect();
    assert!(history.iter().any(|text| text.contains("time limit 10s -> 1h")), "{history:?}");
    fs::write(go, "").unwrap();
    berth.succeeds(job).await;
}

#[tokio::test]
async fn a_running_job_takes_up_a_shorter_time_limit() {
    let mut berth = Berth::start().await;
    let job = berth.submit_job(Submit { time: Some("1h".into()), ..sh("sleep 1000") }).await;
    berth.wait_for(job, "running").await;
    let refused = berth.cli(["alter", "--time", "1ms", &job.to_string()]).await;
    assert!(refused.code == 1 && refused.err.contains("has run longer than that already"), "{refused:?}");
    let refused = berth.cli(["alter", "--cpus", "2", &job.to_string()]).await;
    assert!(refused.err.contains("only the priority and the time limit can be changed"), "{refused:?}");
    berth.cli(["alter", "--time", "10s", &job.to_string()]).await.ok();
    // The supervisor holds it to that, also while Berth is away.
    berth.kill_dash_9();
    berth.start_again().await;
    let row = berth.end_of(job).await;
    assert!(row.state == "killed" && format!("{:?}", row.cause).contains("time-limit"), "{row:?}");
}

#[tokio::test]
async fn a_site_says_what_may_be_changed_of_a_job_that_was_submitted() {
    let berth = Berth::with(|setup| setup.jobs = "changeable = [\"time\", \"priority:admin\"]".into()).await;
    let job = berth.submit_job(Submit { hold: true, ..sh("true") }).await.to_string();
    let refused = berth.cli(["alter", "--cpus", "2", &job]).await;
    let words = "nobody changes cpus here once a job is submitted; \
                 what can be changed is time, priority (by administrators)";
    assert!(refused.code == 1 && refused.err.contains(words), "{refused:?}");
    berth.cli(["alter", "--time", "1h", &job]).await.ok();
    let priority = berth.cli(["alter", "--priority", "1", &job]).await;
    match is_root() {
        true => drop(priority.ok()),
        false => assert!(priority.err.contains("only administrators change priority"), "{priority:?}"),
    }
}

#[tokio::test]
#[ignore = "needs root"]
async fn what_only_administrators_change_others_do_not() {
    let people =
        People::with(|setup| setup.jobs = "changeable = [\"time\", \"priority:admin\"]".into()).await;
    people.as_user(ANN, &["submit", "--hold", "--", "true"]).await.ok();
    let refused = people.as_user(ANN, &["alter", "--priority", "1", "1"]).await;
    assert!(refused.err.contains("only administrators change priority here"), "{refused:?}");
    people.as_user(ANN, &["alter", "--time", "1h", "1"]).await.ok();
    people.berth.cli(["alter", "--priority", "1", "1"]).await.ok();
    assert_eq!(people.berth.job(1).await.row.priority, 1);
}

#[tokio::test]
async fn an_ended_job_runs_again_with_a_longer_time_limit() {
    let berth = Berth::start().await;
    let script = "[ -e again ] && exit 0; touch again; sleep 1000";
    let job = berth.submit_job(Submit { time: Some("1s".into()), ..sh(script) }).await.to_string();
    assert_eq!(berth.end_of(&job).await.state, "killed");
    berth.cli(["rerun", "--time", "1h", "--memory", "64M", &job]).await.ok();
    berth.succeeds(&job).await;
    let detail = berth.job(&job).await;
    assert_eq!((detail.row.time_limit_ms, detail.row.memory_bytes), (Some(3_600_000), 64 << 20));
}

#[tokio::test]
async fn many_jobs_are_meant_by_what_they_are_and_touched_only_when_their_number_is_confirmed() {
    let berth = Berth::start().await;
    let in_project = |name: &str| Submit {
        hold: true,
        project: Some(name.into()),
        tags: vec!["old".into()],
        ..sh("true")
    };
    for _ in 0..12 {
        berth.submit_job(in_project("rna")).await;
    }
    let other = berth.submit_job(in_project("dna")).await;
    let shown = berth.cli(["kill", "--of-project", "rna", "--state", "held"]).await;
    assert!(shown.code == 1 && shown.out.contains("and 2 more"), "{shown:?}");
    assert!(shown.err.contains("add --confirm 12"), "{shown:?}");
    assert!(berth.all_jobs().await.iter().all(|job| job.state == "held"));
    berth.submit_job(in_project("rna")).await;
    let late = berth.cli(["kill", "--of-project", "rna", "--confirm", "12"]).await;
    assert!(late.code != 0 && late.err.contains("13 jobs are meant by now"), "{late:?}");
    berth.cli(["alter", "--priority", "5", "--tag", "old", "--yes"]).await.ok();
    assert!(berth.all_jobs().await.iter().all(|job| job.priority == 5));
    berth.cli(["kill", "--of-project", "rna", "--confirm", "13"]).await.ok();
    assert_eq!(berth.job(other).await.row.state, "held");
    assert!(berth.cli(["kill", "--of-project", "rna"]).await.err.contains("no job is meant"));
}

#[tokio::test]
async fn an_archived_job_keeps_its_record_and_loses_its_files_and_does_not_run_again() {
    let berth = Berth::start().await;
    let ended = berth.submit_job(Submit { name: Some("done".into()), ..sh("echo kept; touch file") }).await;
    berth.succeeds(ended).await;
    let runs = berth.submit("sleep 1000").await;
    berth.wait_for(runs, "running").await;
    let refused = berth.cli(["archive", &runs.to_string()]).await;
    assert!(refused.code == 1 && refused.err.contains("only what has ended is archived"), "{refused:?}");
    let directory = std::path::PathBuf::from(berth.job(ended).await.directory);
    std::os::unix::fs::symlink(berth.write("outside", "stays"), directory.join("link")).unwrap();
    let number = ended.to_string();
    berth.cli(["archive", &number]).await.ok();
    assert!(!directory.exists() && berth.path("outside").exists());
    let job = berth.job(ended).await;
    assert_eq!((job.row.state.as_str(), job.row.name.as_str()), ("succeeded", "done"));
    assert!(job.history.iter().any(|entry| entry.text.starts_with("archived by ")), "{:?}", job.history);
    for args in [vec!["logs", &number], vec!["files", &number], vec!["rerun", &number]] {
        let said = berth.cli(&args).await;
        assert!(said.code != 0 && said.err.contains("was archived on"), "{args:?}: {said:?}");
    }
    let found = berth.cli(["--json", "jobs", "--state", "all", "--name", "done"]).await.json();
    assert_eq!(found["jobs"][0]["id"], ended, "it is still searched for");
    assert!(berth.cli(["archive", &number]).await.ok().contains("archived already"));
    let old = berth.cli(["archive", "--older-than", "1d", "--yes"]).await.ok();
    assert_eq!(old, "", "nothing is that old");
}

#[tokio::test]
async fn an_array_is_archived_as_a_whole() {
    let berth = Berth::start().await;
    let array = berth.submit_job(Submit { array: Some("1-3".into()), ..sh("echo task") }).await;
    berth.succeeds(array).await;
    let refused = berth.cli(["archive", &format!("{array}.2")]).await;
    assert!(refused.err.contains("archived with its array"), "{refused:?}");
    let go = berth.path("go");
    let script = format!(
        "[ -e {0}.once ] || {{ touch {0}.once; exit 0; }}; until [ -e {0} ]; do sleep 0.05; done",
        go.display()
    );
    let again = berth.submit_job(Submit { array: Some("1".into()), ..sh(&script) }).await;
    berth.succeeds(again).await;
    berth.cli(["rerun", &format!("{again}.1")]).await.ok();
    let refused = berth.cli(["archive", &again.to_string()]).await;
    assert!(refused.code == 1 && refused.err.contains("only what has ended is archived"), "{refused:?}");
    berth.write("go", "");
    berth.succeeds(format!("{again}.1")).await;
    berth.cli(["archive", &again.to_string()]).await.ok();
    berth.cli(["archive", &array.to_string()]).await.ok();
    let gone = berth.cli(["logs", &format!("{array}.2")]).await;
    assert!(gone.err.contains("was archived on"), "{gone:?}");
    let again = berth.cli(["rerun", &format!("{array}.2")]).await;
    assert!(again.err.contains("was archived on"), "{again:?}");
}

#[tokio::test]
async fn those_who_change_a_job_at_once_undo_nothing_of_each_other() {
    let berth = Berth::start().await;
    let job = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    let change = async |alter: Alteration| {
        let request = ControlRequest {
            alter: Some(alter),
            ..ControlRequest::of(Controls::Alter, vec![job.to_string()])
        };
        berth.client().control(&request).await.unwrap()
    };
    for round in 1..20 {
        let (minutes, cpus) = (format!("{round}m"), format!("{round}00m"));
        let done = futures::join!(
            change(Alteration { priority: Some(round), ..Alteration::default() }),
            change(Alteration { time: Some(minutes), ..Alteration::default() }),
            change(Alteration { cpus: Some(cpus), ..Alteration::default() }),
        );
        for results in [&done.0, &done.1, &done.2] {
            assert!(results.iter().all(|result| result.done), "{results:?}");
        }
        let row = berth.job(job).await.row;
        let is = (row.priority, row.time_limit_ms, row.cpu_millis);
        let round = u64::try_from(round).unwrap();
        assert_eq!(is, (i32::try_from(round).unwrap(), Some(round * 60_000), round * 100));
    }
}
