//! `berth run`, with no server and no configuration.

use rustix::process::Signal;
use tokio::{io::AsyncReadExt, process::Command};

use crate::harness::{Berth, Process, Setup, eventually, said};

/// Runs this without a server around.
async fn run(site: &Berth, args: &[&str]) -> crate::harness::Said {
    said(site.lone_command(std::iter::once(&"run").chain(args))).await
}

fn servers(site: &Berth) -> Vec<Process> {
    let is_server = |process: &Process| {
        let words = std::fs::read(format!("/proc/{}/cmdline", process.0)).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == b"--embedded")
    };
    site.processes().into_iter().filter(is_server).collect()
}

#[tokio::test]
async fn the_output_comes_here_and_the_exit_code_is_the_jobs() {
    let site = Berth::without_server();
    let said = run(&site, &["--", "sh", "-c", "echo hello; echo oh >&2; exit 3"]).await;
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (3, "hello\n", "oh\n"));
}

#[tokio::test]
async fn a_job_that_is_ended_by_a_signal_has_the_code_that_a_shell_gives() {
    let site = Berth::without_server();
    assert_eq!(run(&site, &["--", "sh", "-c", "kill -9 $$"]).await.code, 137);
    assert_eq!(run(&site, &["--", "true"]).await.code, 0);
}

#[tokio::test]
async fn a_job_that_cannot_be_taken_ends_with_126_and_the_reason() {
    let site = Berth::without_server();
    let words = run(&site, &["--cpus", "100000", "--", "true"]).await.refused(126);
    assert!(words.contains("no node of executor local can ever hold 100000 CPU"), "{words}");
}

#[tokio::test]
async fn a_second_run_joins_the_first_ones_server() {
    let site = Berth::without_server();
    let go = site.path("go");
    let script = format!("echo $BERTH_JOB_ID; while [ ! -e {} ]; do sleep 0.02; done", go.display());
    let first = tokio::spawn(said(site.lone_command(["run", "--", "sh", "-c", &script])));
    eventually("a server", || async { servers(&site).len() == 1 }).await;
    let second = run(&site, &["--", "sh", "-c", "echo $BERTH_JOB_ID"]).await;
    assert_eq!(servers(&site).len(), 1);
    std::fs::write(go, "").unwrap();
    let mut numbers = [first.await.unwrap().ok(), second.ok()];
    numbers.sort();
    assert_eq!(numbers, ["1\n", "2\n"]);
}

#[tokio::test]
async fn many_runs_at_the_same_moment_share_one_server() {
    let site = Berth::without_server();
    let runs = (0..6)
        .map(|_| tokio::spawn(said(site.lone_command(["run", "--", "sh", "-c", "echo $BERTH_JOB_ID"]))));
    let mut numbers = Vec::new();
    for run in runs.collect::<Vec<_>>() {
        numbers.push(run.await.unwrap().ok().trim().parse::<u64>().unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn the_server_ends_when_no_job_is_left_and_its_state_stays() {
    let site = Berth::without_server();
    run(&site, &["--", "true"]).await.ok();
    eventually("the end of everything", || async { site.processes().is_empty() }).await;
    assert_eq!(run(&site, &["--", "sh", "-c", "echo $BERTH_JOB_ID"]).await.ok(), "2\n");
}

#[tokio::test]
async fn the_server_sleeps_while_its_last_job_runs_and_ends_after_it() {
    let site = Berth::without_server();
    let go = site.path("go");
    let script = format!("echo begun; read line < {}", go.display());
    assert!(std::process::Command::new("mkfifo").arg(&go).status().unwrap().success());
    let mut client = spawned(site.lone_command(["run", "--", "sh", "-c", &script]));
    let mut begun = [0; 6];
    client.stdout.as_mut().unwrap().read_exact(&mut begun).await.unwrap();
    // Whoever followed it has gone, and the job goes on.
    client.kill().await.unwrap();
    let server = servers(&site)[0];
    // Longer than it waits before it ends, and than anything that settles by itself.
    let sleeps = || async {
        let before = server.wakes();
        tokio::time::sleep(std::time::Duration::from_secs(7)).await;
        before.is_some() && server.wakes() == before
    };
    eventually("seven seconds without waking", sleeps).await;
    std::fs::write(go, "go\n").unwrap();
    eventually("the end of everything", || async { site.processes().is_empty() }).await;
}

#[tokio::test]
async fn the_state_is_where_xdg_state_home_says() {
    let site = Berth::without_server();
    let mut command = site.lone_command(["run", "--", "sh", "-c", "pwd"]);
    command.env("XDG_STATE_HOME", site.path("elsewhere"));
    let folder = said(command).await.ok();
    assert_eq!(folder.trim(), site.path("elsewhere/berth/jobs/0/1").to_str().unwrap());
    assert!(!site.path("home/.local").exists());
}

#[tokio::test]
async fn ctrl_c_ends_the_job_and_gives_its_code() {
    let berth = Berth::start().await;
    let child = spawned(berth.command(["run", "--", "sh", "-c", "echo here; sleep 1000"]));
    eventually("a job", || async { !berth.all_jobs().await.is_empty() }).await;
    berth.wait_for(1, "running").await;
    eventually("its output", || async { berth.log(1).await == "here\n" }).await;
    Process(i32::try_from(child.id().unwrap()).unwrap()).signal(Signal::INT);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "here\n");
    assert_eq!(berth.end_of(1).await.state, "killed");
}

#[tokio::test]
async fn a_run_goes_on_while_the_server_is_started_anew() {
    let mut berth = Berth::start().await;
    let go = berth.path("go");
    let script = format!("echo one; while [ ! -e {} ]; do sleep 0.02; done; echo two; exit 5", go.display());
    let run = tokio::spawn(said(berth.command(["run", "--", "sh", "-c", &script])));
    eventually("a job", || async { !berth.all_jobs().await.is_empty() }).await;
    berth.wait_for(1, "running").await;
    berth.kill_dash_9();
    berth.start_again().await;
    std::fs::write(go, "").unwrap();
    let said = run.await.unwrap();
    assert_eq!((said.code, said.out.as_str()), (5, "one\ntwo\n"), "{}", said.err);
}

#[tokio::test]
async fn the_output_of_each_task_of_an_array_has_its_number() {
    let berth = Berth::with(|setup: &mut Setup| setup.cpus = 1).await;
    let said = berth.cli(["run", "--array", "1-3", "--", "sh", "-c", "echo task $BERTH_ARRAY_TASK_ID"]).await;
    let mut lines: Vec<&str> = said.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["[1] task 1", "[2] task 2", "[3] task 3"], "{said:?}");
    assert_eq!(said.code, 0);
}

fn spawned(mut command: Command) -> tokio::process::Child {
    use std::process::Stdio;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

#[tokio::test]
async fn a_job_that_was_too_slow_ends_with_124_and_the_reason() {
    let berth = Berth::start().await;
    let said = berth.cli(["run", "--time", "200ms", "--", "sleep", "1000"]).await;
    assert_eq!(said.code, 124, "{said:?}");
    assert!(said.err.contains("job 1 killed at its time limit"), "{said:?}");
    let waited = berth.cli(["wait", "1"]).await;
    assert_eq!(waited.code, 124, "{waited:?}");
    assert!(waited.err.contains("job 1 killed at its time limit"), "{waited:?}");
}
