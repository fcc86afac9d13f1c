//! Watchers on real jobs: what they warn of, what they end, and what they do not let start.

use std::fs;

use berth_api::{Controls, JobDetail, Submit};
use rustix::process::Signal;

use crate::harness::{Berth, bad_policy, eventually, sh};

const SPIN: &str = "while :; do :; done";
const SLEEP: &str = "exec sleep 1000";

/// A Berth with one watcher that looks every second.
async fn watched(name: &str, policy: &str, settings: &str) -> Berth {
    Berth::with(|setup| setup.more = watcher(name, policy, settings)).await
}

fn watcher(name: &str, policy: &str, settings: &str) -> String {
    format!(
        "[[watchers]]\nname = {name:?}\npolicy = {policy:?}\nevery = \"1s\"\nsettings = {{ {settings} }}\n"
    )
}

fn gate() -> String {
    bad_policy("watcher-gate").display().to_string()
}

/// What stands in a job's history.
fn history(job: &JobDetail) -> String {
    serde_json::to_string(&job.history).unwrap()
}

/// Waits for a killed job, and checks that everybody who asks is told who ended it, and why.
async fn ended_by(berth: &Berth, job: u64, words: &str) -> JobDetail {
    let row = berth.end_of(job).await;
    assert_eq!(row.state, "killed", "{row:?}");
    assert!(row.detail.as_ref().unwrap().contains(words), "{row:?}");
    for command in ["job", "why"] {
        let said = berth.cli([command, &job.to_string()]).await.ok();
        assert!(said.contains(words), "berth {command}: {said}");
    }
    berth.job(job).await
}

#[tokio::test]
async fn a_job_that_sleeps_is_ended_as_idle_and_one_that_computes_is_not() {
    let berth = watched("idle", "idle", "for = \"3s\", below = \"20%\"").await;
    let busy = berth.submit(SPIN).await;
    let idle = berth.submit(SLEEP).await;
    ended_by(&berth, idle, "watcher idle: it has used less than 20% of its CPUs for 3s").await;
    let another = berth.submit(SLEEP).await;
    berth.end_of(another).await;
    assert_eq!(berth.job(busy).await.row.state, "running", "it was watched for as long as both");
}

#[tokio::test]
async fn an_idle_job_hears_of_it_before_it_is_ended() {
    let settings = "for = \"5s\", warn-before = \"2s\", warn-signal = \"USR1\"";
    let berth = watched("idle", "idle", settings).await;
    let job = berth.submit("trap 'echo warned' USR1; while :; do sleep 0.2; done").await;
    let ended = ended_by(&berth, job, "watcher idle").await;
    assert_eq!(berth.log(job).await, "warned\n", "once");
    let told = history(&ended);
    assert!(told.contains("when that has lasted for 5s, it is ended (signal 10 was sent)"), "{told}");
}

#[tokio::test]
async fn a_suspended_job_is_not_idle() {
    let berth = watched("idle", "idle", "for = \"3s\"").await;
    let job = berth.submit(SLEEP).await;
    berth.wait_for(job, "running").await;
    berth.done(Controls::Suspend, job).await;
    berth.wait_for(job, "suspended").await;
    let other = berth.submit(SLEEP).await;
    berth.end_of(other).await;
    assert_eq!(berth.job(job).await.row.state, "suspended");
    berth.done(Controls::Resume, job).await;
    ended_by(&berth, job, "watcher idle").await;
}

#[tokio::test]
async fn a_job_that_fills_its_directory_is_warned_and_then_ended() {
    let settings = "max = \"6m\", warn-at = \"50%\", warn-signal = \"USR2\"";
    let berth = watched("disk", "disk-quota", settings).await;
    let modest = berth.submit("head -c 1M /dev/zero > some; exec sleep 1000").await;
    let script = "trap 'echo warned; head -c 4M /dev/zero > more' USR2
        head -c 4M /dev/zero > some; while :; do sleep 0.2; done";
    let greedy = berth.submit(script).await;
    let ended = ended_by(&berth, greedy, "watcher disk: its directory takes 8").await;
    assert_eq!(berth.log(greedy).await, "warned\n");
    let told = history(&ended);
    assert!(
        told.contains("50% or more of the 6M that it may") && told.contains("signal 12 was sent"),
        "{told}"
    );
    let modest = berth.job(modest).await;
    assert!(modest.row.state == "running" && !history(&modest).contains("watcher"), "{modest:?}");
}

#[tokio::test]
async fn a_directory_is_not_measured_through_links_nor_that_of_another_task() {
    let berth = watched("disk", "disk-quota", "max = \"4m\"").await;
    let elsewhere = berth.open_folder("elsewhere");
    fs::write(elsewhere.join("big"), vec![7; 8 << 20]).unwrap();
    let links = format!("ln -s {0} folder; ln -s {0}/big file; exec sleep 1000", elsewhere.display());
    let links = berth.submit(&links).await;
    let script = "[ $BERTH_ARRAY_TASK_ID = 2 ] && head -c 8M /dev/zero > big; exec sleep 1000";
    let array = berth.submit_job(Submit { array: Some("1-2".into()), ..sh(script) }).await;
    let row = berth.end_of(format!("{array}.2")).await;
    assert!(row.detail.as_ref().unwrap().contains("watcher disk"), "{row:?}");
    for job in [links.to_string(), format!("{array}.1")] {
        assert_eq!(berth.job(&job).await.row.state, "running", "job {job}");
    }
}

#[tokio::test]
async fn a_user_has_a_life_span_of_their_own_and_is_warned_by_a_signal() {
    let me = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    let settings =
        format!("max = \"1h\", users = {{ {me:?} = \"4s\" }}, warn-before = \"2s\", warn-signal = \"USR1\"");
    let berth = watched("lifespan", "max-lifespan", &settings).await;
    let job = berth.submit("trap 'echo warned' USR1; while :; do sleep 0.2; done").await;
    ended_by(&berth, job, "watcher lifespan: it ran longer than the 4s that a job may").await;
    assert_eq!(berth.log(job).await, "warned\n");
}

#[tokio::test]
async fn a_warning_is_given_once_even_if_berth_is_killed_after_it() {
    let settings = "max = \"1h\", warn-before = \"3599s\", warn-signal = \"USR1\"";
    let mut berth = watched("lifespan", "max-lifespan", settings).await;
    let job = berth.submit("trap 'echo warned' USR1; while :; do sleep 0.2; done").await;
    let noted = async || history(&berth.job(job).await).contains("signal 10 was sent");
    eventually("a warning", noted).await;
    berth.kill_dash_9();
    berth.start_again().await;
    // Whoever starts now is warned at a look at which the first job is seen as well.
    let other = berth.submit("trap 'echo warned' USR1; while :; do sleep 0.2; done").await;
    eventually("another warning", async || berth.log(other).await == "warned\n").await;
    assert_eq!(berth.log(job).await, "warned\n");
}

/// Waits until a job waits because the watcher does not let it start beside the first one.
async fn waiting(berth: &Berth, job: u64) {
    let why = async || berth.cli(["why", &job.to_string()]).await.out;
    eventually("the watcher's words", async || why().await.contains("watcher gate: job 1 runs")).await;
}

#[tokio::test]
async fn a_watcher_decides_which_jobs_start_and_why_tells_its_words() {
    let berth = watched("gate", &gate(), "").await;
    let first = berth.submit(SLEEP).await;
    berth.wait_for(first, "running").await;
    let second = berth.submit("true").await;
    waiting(&berth, second).await;
    let closed = berth.submit_job(Submit { project: Some("closed".into()), ..sh("true") }).await;
    let row = berth.end_of(closed).await;
    assert_eq!(row.state, "rejected");
    assert!(format!("{row:?}").contains("the project is closed"), "{row:?}");
    berth.done(Controls::Kill, first).await;
    berth.succeeds(second).await;
}

#[tokio::test]
async fn the_first_watcher_that_refuses_a_start_is_named_and_all_are_heard() {
    let two = watcher("all", &gate(), "asks = false") + &watcher("gate", &gate(), "");
    let berth = Berth::with(|setup| setup.more = two).await;
    let closed = berth.submit_job(Submit { project: Some("closed".into()), ..sh("true") }).await;
    let row = berth.end_of(closed).await;
    assert!(row.state == "rejected" && format!("{row:?}").contains("watcher gate"), "{row:?}");
    let open = berth.submit("true").await;
    berth.succeeds(open).await;
}

#[tokio::test]
async fn a_watcher_knows_after_a_crash_what_was_started_and_hears_of_its_end() {
    let mut berth = watched("gate", &gate(), "").await;
    let first = berth.submit(SLEEP).await;
    berth.wait_for(first, "running").await;
    berth.kill_dash_9();
    berth.start_again().await;
    let second = berth.submit("true").await;
    waiting(&berth, second).await;
    berth.done(Controls::Kill, first).await;
    berth.succeeds(second).await;
}

#[tokio::test]
async fn a_watcher_that_traps_when_it_is_asked_holds_nobody_up() {
    let berth = watched("gate", &gate(), "").await;
    for _ in 0..4 {
        let job = berth.submit_job(Submit { project: Some("trap".into()), ..sh("true") }).await;
        berth.succeeds(job).await;
    }
    assert!(berth.server_log().contains("watcher skipped; the job may start"), "{}", berth.server_log());
    let plugins = berth.client().plugins().await.unwrap();
    assert!(plugins.iter().any(|plugin| plugin.name == "gate" && plugin.state == "benched"), "{plugins:#?}");
}

#[tokio::test]
async fn settings_of_watchers_that_make_no_sense_are_told_with_what_is_wrong() {
    for (policy, settings, words) in [
        ("idle", "for = \"a while\"", "for = \"a while\" is not a span of time"),
        ("idle", "for = \"5m\", bellow = \"5%\"", "there is no setting \"bellow\""),
        ("disk-quota", "max = \"1G\", users = { ann = \"lots\" }", "users.ann = \"lots\" is not how much"),
        ("max-lifespan", "max = \"1h\", warn-before = \"2h\"", "warn-before has to be less than every limit"),
    ] {
        let mut berth = Berth::set_up(|setup| setup.more = watcher("w", policy, settings));
        let said = berth.try_start().await.unwrap_err();
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_watcher_that_comes_to_want_starts_is_told_of_those_that_run() {
    let mut berth = watched("gate", &gate(), "asks = false").await;
    let first = berth.submit(SLEEP).await;
    berth.wait_for(first, "running").await;
    let config = fs::read_to_string(berth.config()).unwrap();
    fs::write(berth.config(), config.replace("asks = false", "asks = true")).unwrap();
    berth.process().signal(Signal::HUP);
    // Those that come before the watcher has changed its mind run at once.
    let last = loop {
        let job = berth.submit("true").await;
        let over = async || crate::harness::is_over(&berth.job(job).await.row.state);
        let waits = tokio::select! {
            () = eventually("an end", over) => false,
            () = waiting(&berth, job) => true,
        };
        if waits {
            break job;
        }
    };
    berth.done(Controls::Kill, first).await;
    berth.succeeds(last).await;
    berth.stop().await;
}
