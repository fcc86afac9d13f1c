//! One job: sent, run, looked at.

use std::collections::BTreeMap;

use berth_api::{LogPart, Submit};

use crate::harness::{Berth, argv, eventually, is_root, sh};

#[tokio::test]
async fn a_job_is_submitted_waited_for_and_shown() {
    let berth = Berth::start().await;
    let number =
        berth.cli(["submit", "--name", "greeting", "--", "sh", "-c", "echo hello; exit 3"]).await.ok();
    assert_eq!(number, "1\n");
    let waited = berth.cli(["wait", "1"]).await;
    assert_eq!(waited.code, 3, "{waited:?}");
    assert_eq!(berth.cli(["logs", "1"]).await.ok(), "hello\n");
    let job = berth.json(["job", "1"]).await;
    let job = job.get(0).unwrap_or(&job);
    assert_eq!(
        (&job["state"], &job["exit_code"], &job["name"]),
        (&"failed".into(), &3.into(), &"greeting".into())
    );
    let events: Vec<_> =
        job["history"].as_array().unwrap().iter().map(|row| row["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["submitted", "starting", "running", "ended"]);
}

#[tokio::test]
async fn waiting_for_several_gives_the_highest_exit_code() {
    let berth = Berth::start().await;
    for code in [0, 7, 2] {
        berth.submit(&format!("exit {code}")).await;
    }
    assert_eq!(berth.cli(["wait", "1", "2", "3"]).await.code, 7);
    let never = berth.submit("sleep 1000").await;
    assert_eq!(berth.cli(["wait", "--timeout", "50ms", &never.to_string()]).await.code, 124);
    assert_eq!(berth.cli(["wait", "77"]).await.code, 5);
}

#[tokio::test]
async fn why_a_job_ended_is_told_as_data() {
    let berth = Berth::start().await;
    let failed = berth.submit("exit 3").await;
    let limited = berth.submit_job(Submit { time: Some("200ms".into()), ..sh("sleep 1000") }).await;
    let killed = berth.submit("sleep 1000").await;
    let after = berth.submit_job(Submit { after_ok: vec![killed.to_string()], ..sh("true") }).await;
    let good = berth.submit("true").await;
    berth.cli(["kill", &killed.to_string()]).await.ok();
    for job in [failed, limited, killed, after, good] {
        berth.end_of(job).await;
    }
    let list = berth.json(["jobs", "--all"]).await;
    let cause = |job: u64| {
        let jobs = list["jobs"].as_array().unwrap();
        jobs.iter().find(|row| row["id"] == job).map(|row| row["cause"].clone()).unwrap()
    };
    let me = berth.client().info().await.unwrap().user;
    assert_eq!(cause(failed), serde_json::json!({ "kind": "exit-code", "words": "exit code 3" }));
    assert_eq!(cause(limited), serde_json::json!({ "kind": "time-limit", "words": "at its time limit" }));
    let by_me = serde_json::json!({ "kind": "user", "by": me, "words": format!("by {me}") });
    assert_eq!(cause(killed), by_me);
    assert_eq!(cause(after)["by"], "dependency");
    assert_eq!(cause(good), serde_json::Value::Null);
    let page = berth.cli(["job", &limited.to_string()]).await.ok();
    assert!(page.contains("cause       time-limit"), "{page}");
}

#[tokio::test]
async fn a_list_for_programs_has_a_job_a_line_and_as_many_as_were_asked_for() {
    let berth = Berth::start().await;
    for _ in 0..5 {
        berth.submit_job(Submit { hold: true, name: Some("x]}".into()), ..sh("true") }).await;
    }
    let ids = |text: &str| -> Vec<u64> {
        let list: serde_json::Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        list["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect()
    };
    let all = berth.cli(["--json", "jobs"]).await.ok();
    assert_eq!(ids(&all), [5, 4, 3, 2, 1]);
    assert_eq!(all.lines().filter(|line| line.starts_with("{\"id\":")).count(), 5, "{all}");
    let some = berth.cli(["--json", "jobs", "--limit", "2"]).await.ok();
    assert_eq!(ids(&some), [5, 4]);
    assert!(some.contains("\"next_before\":4"), "{some}");
    let none = berth.cli(["--json", "jobs", "--state", "failed"]).await.ok();
    assert!(ids(&none).is_empty(), "{none}");
}

#[tokio::test]
async fn the_exit_codes_are_told_to_programs_too() {
    let berth = Berth::without_server();
    let told = crate::harness::said(berth.lone_command(["--json", "exit-codes"])).await.json();
    let codes: Vec<u64> = told.as_array().unwrap().iter().map(|row| row["code"].as_u64().unwrap()).collect();
    assert!([0, 3, 124, 126].iter().all(|code| codes.contains(code)), "{told}");
    assert!(told[0]["meaning"] == "done" && told[0]["of_job"] == false, "{told}");
}

#[tokio::test]
async fn live_jobs_are_listed_and_ended_ones_on_demand() {
    let berth = Berth::start().await;
    let ended = berth.submit("true").await;
    berth.succeeds(ended).await;
    let held = berth.submit_job(Submit { hold: true, name: Some("later".into()), ..sh("true") }).await;
    let ids = |list: &serde_json::Value| -> Vec<u64> {
        list["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids(&berth.json(["jobs"]).await), [held]);
    assert_eq!(ids(&berth.json(["jobs", "--all"]).await), [held, ended]);
    assert_eq!(ids(&berth.json(["jobs", "--state", "succeeded"]).await), [ended]);
    assert_eq!(ids(&berth.json(["jobs", "--name", "late"]).await), [held]);
    let table = berth.cli(["jobs"]).await.ok();
    assert!(table.contains("later") && table.contains("held"), "{table}");
}

#[tokio::test]
async fn every_exit_code_and_signal_is_told_as_it_was() {
    let berth = Berth::start().await;
    for code in [0, 1, 2, 127, 255] {
        let job = berth.submit(&format!("exit {code}")).await;
        let row = berth.end_of(job).await;
        let state = if code == 0 { "succeeded" } else { "failed" };
        assert_eq!((row.state.as_str(), row.exit_code), (state, Some(code)));
    }
    for signal in [9, 11, 15] {
        let job = berth.submit(&format!("kill -{signal} $$")).await;
        let row = berth.end_of(job).await;
        assert_eq!((row.state.as_str(), row.exit_code), ("failed", Some(128 + signal)));
        assert!(row.detail.as_ref().unwrap().contains(&format!("signal {signal}")), "{row:?}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_fails_the_job_with_its_name() {
    let berth = Berth::start().await;
    let job = berth.submit_job(argv(&["no-such-program-at-all"])).await;
    let row = berth.end_of(job).await;
    assert_eq!(row.state, "failed");
    assert!(row.detail.as_ref().unwrap().contains("no-such-program-at-all"), "{row:?}");
}

#[tokio::test]
async fn the_two_outputs_have_files_of_their_own_in_the_jobs_directory() {
    let berth = Berth::start().await;
    let job = berth.submit("pwd; echo wrong >&2").await;
    berth.succeeds(job).await;
    let detail = berth.job(job).await;
    assert_eq!(berth.log(job).await, format!("{}\n", detail.directory));
    let stderr = LogPart { stream: Some("stderr".into()), ..LogPart::default() };
    assert_eq!(berth.part_of_log(job, stderr).await, "wrong\n");
    assert_eq!(std::fs::read_to_string(detail.stdout).unwrap(), format!("{}\n", detail.directory));
    assert_eq!(std::fs::read_to_string(detail.stderr).unwrap(), "wrong\n");
}

#[tokio::test]
async fn outputs_go_where_the_job_says() {
    let berth = Berth::start().await;
    let folder = berth.open_folder("out");
    let job = Submit {
        output: Some(format!("{}/%j-%n.out", folder.display())),
        error: Some("%j.err".into()),
        ..sh("echo a; echo b >&2")
    };
    let job = berth.submit_job(job).await;
    berth.succeeds(job).await;
    assert_eq!(std::fs::read_to_string(folder.join(format!("{job}-1.out"))).unwrap(), "a\n");
    let directory = berth.job(job).await.directory;
    assert_eq!(std::fs::read_to_string(format!("{directory}/{job}.err")).unwrap(), "b\n");
    assert_eq!(berth.log(job).await, "a\n");
}

#[tokio::test]
async fn output_is_followed_while_the_job_writes() {
    let berth = Berth::start().await;
    let go = berth.path("go");
    let job = berth
        .submit(&format!("echo one; while [ ! -e {} ]; do sleep 0.02; done; echo two", go.display()))
        .await;
    let name = job.to_string();
    let follow = tokio::spawn(crate::harness::said(berth.command(["logs", "-f", &name])));
    eventually("the first line", || async { berth.log(job).await == "one\n" }).await;
    assert!(!follow.is_finished());
    std::fs::write(go, "").unwrap();
    assert_eq!(follow.await.unwrap().ok(), "one\ntwo\n");
}

#[tokio::test]
async fn the_end_of_an_output_is_counted_in_lines_or_bytes() {
    let berth = Berth::start().await;
    let job = berth.submit("seq 1 1000").await;
    berth.succeeds(job).await;
    assert_eq!(berth.cli(["logs", "-n", "2", "1"]).await.ok(), "999\n1000\n");
    assert_eq!(berth.cli(["logs", "-c", "5", "1"]).await.ok(), "1000\n");
}

#[tokio::test]
async fn a_job_finds_its_numbers_and_places_in_its_environment() {
    let berth = Berth::with(|setup| {
        setup.executors = "[executors.local]\ncpus = 2\ndata = \"/srv/data\"\n".into();
    })
    .await;
    let env = BTreeMap::from([
        ("MINE".to_owned(), "x y".to_owned()),
        ("BERTH_JOB_ID".to_owned(), "999".to_owned()),
    ]);
    let job = berth.submit_job(Submit { env, ..argv(&["env"]) }).await;
    berth.succeeds(job).await;
    let log = berth.log(job).await;
    let variables: BTreeMap<&str, &str> = log.lines().filter_map(|line| line.split_once('=')).collect();
    let directory = berth.job(job).await.directory;
    for (name, value) in [
        ("BERTH_JOB_ID", job.to_string().as_str()),
        ("BERTH_JOB_DIR", &directory),
        ("GODOCKER_JID", &job.to_string()),
        ("GODOCKER_PWD", &directory),
        ("GODOCKER_DATA", "/srv/data"),
        ("MINE", "x y"),
    ] {
        assert_eq!(variables.get(name), Some(&value), "{name}: {log}");
    }
    assert_eq!(variables["BERTH_HOME"], variables["HOME"]);
    assert_eq!(variables["GODOCKER_HOME"], variables["HOME"]);
    assert!(!log.contains("TASK"), "it is no task: {log}");
}

#[tokio::test]
async fn files_are_listed_and_fetched() {
    let berth = Berth::start().await;
    let job = berth.submit("mkdir sub; printf data > sub/result; printf top > here").await;
    berth.succeeds(job).await;
    let listed = berth.json(["files", "1"]).await;
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    for name in ["here", "sub", "stdout", "stderr"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let target = berth.path("fetched");
    berth.cli(["download", "1", "sub/result", "-o", target.to_str().unwrap()]).await.ok();
    assert_eq!(std::fs::read_to_string(target).unwrap(), "data");
    assert_eq!(berth.cli(["download", "1", "absent"]).await.code, 5);
}

#[tokio::test]
async fn nothing_outside_the_jobs_directory_is_handed_out() {
    let berth = Berth::start().await;
    let secret = berth.write("secret", "do not show");
    let job = berth.submit(&format!("ln -s {} way-out", secret.display())).await;
    berth.succeeds(job).await;
    for path in ["../../../berth.toml", "sub/../../../../secret", "%2e%2e/%2e%2e/%2e%2e/secret", "way-out"] {
        let answer = berth.http("GET", &format!("/v1/jobs/{job}/files/{path}"), &[], b"").await;
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {answer:?}");
        assert!(!answer.body.contains("do not show"), "{path}");
    }
}

#[tokio::test]
async fn uris_and_scripts_are_in_the_jobs_directory() {
    let berth = Berth::start().await;
    let uris = vec!["http://a/1".to_owned(), "http://b/2".to_owned()];
    let job = berth.submit_job(Submit { uris, ..sh("cat uris.txt") }).await;
    berth.succeeds(job).await;
    assert_eq!(berth.log(job).await, "http://a/1\nhttp://b/2\n");
}

#[tokio::test]
async fn a_job_is_held_to_its_memory() {
    let berth = Berth::start().await;
    let grow = "a=x; while :; do a=$a$a$a$a; done";
    let job = Submit { memory: Some("64M".into()), time: Some("60s".into()), ..sh(grow) };
    let job = berth.submit_job(job).await;
    let row = berth.end_of(job).await;
    assert_eq!(row.state, "failed", "{row:?}");
}

#[tokio::test]
async fn a_job_runs_as_who_sent_it() {
    let berth = Berth::start().await;
    let job = berth.submit("id -u").await;
    berth.succeeds(job).await;
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(berth.log(job).await, format!("{own}\n"));
    assert_eq!(is_root(), own == 0);
}
