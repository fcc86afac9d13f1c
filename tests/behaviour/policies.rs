//! Policies that misbehave: jobs run all the same, and everybody can see what is wrong.

use std::{fs, path::Path};

use berth_api::PluginRow;

use crate::harness::{Berth, bad_policy, eventually, sh};

async fn plugin(berth: &Berth, name: &str) -> PluginRow {
    let plugins = berth.client().plugins().await.unwrap();
    plugins.into_iter().find(|plugin| plugin.name == name).unwrap_or_else(|| panic!("no plugin {name}"))
}

/// A shipped policy, as a file.
fn shipped(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/dist").join(format!("{name}.wasm"))
}

/// Jobs run while this scheduler misbehaves, and it is benched for this reason.
async fn benched(name: &str, words: &str) {
    benched_within("", name, words).await;
}

/// The same, with limits of its own.
async fn benched_within(limits: &str, name: &str, words: &str) {
    let berth = Berth::with(|setup| {
        setup.scheduler(&bad_policy(name));
        setup.more += limits;
    })
    .await;
    let mut jobs = Vec::new();
    for number in 0..5 {
        jobs.push(berth.submit(&format!("exit {number}")).await);
        // Nobody has to wait for the policy who does not want it to plan.
        berth.client().info().await.unwrap();
    }
    for (number, job) in jobs.into_iter().enumerate() {
        assert_eq!(berth.end_of(job).await.exit_code, Some(i32::try_from(number).unwrap()));
    }
    let scheduler = plugin(&berth, "scheduler").await;
    assert_eq!((scheduler.state.as_str(), scheduler.strikes), ("benched", 3), "{scheduler:#?}");
    let notes = scheduler.notes.join("\n");
    assert!(notes.contains(words), "{notes}");
    let list = berth.cli(["plugin", "list"]).await.ok();
    assert!(list.contains("benched"), "{list}");
    let metrics = berth.http("GET", "/metrics", &[], b"").await.body;
    let strikes = metrics.lines().find(|line| line.contains("strike") && line.contains("\"scheduler\""));
    assert!(strikes.is_some_and(|line| line.ends_with(" 3")), "{metrics}");
    assert!(berth.server_log().contains("policy benched"), "{}", berth.server_log());
}

#[tokio::test]
async fn a_scheduler_that_traps_is_benched() {
    benched("traps", "trap").await;
}

#[tokio::test]
async fn a_scheduler_that_loops_for_ever_is_benched() {
    benched("loops", "longer than").await;
}

#[tokio::test]
async fn a_scheduler_that_eats_memory_is_benched() {
    // It takes a while until it has eaten what is usual.
    benched_within("limits = { time = \"1m\", memory = \"16M\" }\n", "grows", "memory").await;
}

#[tokio::test]
async fn a_scheduler_that_answers_nonsense_is_benched() {
    benched("nonsense", "broke its contract").await;
}

#[tokio::test]
async fn a_scheduler_that_starts_jobs_twice_is_benched() {
    benched("twice", "broke its contract").await;
}

#[tokio::test]
async fn a_scheduler_with_a_huge_answer_is_benched() {
    benched("huge-answer", "answer is larger").await;
}

#[tokio::test]
async fn a_scheduler_that_gives_more_than_there_is_is_benched_and_nothing_is_overcommitted() {
    let berth = Berth::with(|setup| {
        setup.cpus = 1;
        setup.scheduler(&bad_policy("overcommits"));
    })
    .await;
    let trace = berth.path("trace");
    let script = format!("echo + >> {0}; sleep 0.05; echo - >> {0}", trace.display());
    let mut jobs = Vec::new();
    for _ in 0..8 {
        jobs.push(berth.submit(&script).await);
    }
    for job in jobs {
        berth.succeeds(job).await;
    }
    assert_eq!(fs::read_to_string(trace).unwrap(), "+\n-\n".repeat(8), "one at a time");
    assert_eq!(plugin(&berth, "scheduler").await.state, "benched");
}

#[tokio::test]
async fn a_policy_that_wants_what_it_is_not_granted_is_not_started() {
    let mut berth = Berth::set_up(|setup| setup.scheduler(&bad_policy("wants-too-much")));
    let words = berth.try_start().await.unwrap_err();
    assert!(words.contains("scheduler wants key-value"), "{words}");
}

#[tokio::test]
async fn settings_that_a_policy_refuses_are_told_at_the_start() {
    let mut berth = Berth::set_up(|setup| setup.scheduler(&bad_policy("refuses-settings")));
    let words = berth.try_start().await.unwrap_err();
    assert!(words.contains("these settings are refused"), "{words}");
}

#[tokio::test]
async fn an_auth_policy_that_traps_lets_nobody_in() {
    let policy = bad_policy("auth-traps");
    let berth = Berth::with(|setup| setup.more = format!("[auth]\npolicy = {policy:?}\n")).await;
    for _ in 0..5 {
        let answer = berth.post_job("application/json", r#"{"command": {"argv": ["true"]}}"#).await;
        assert!(matches!(answer.status, 401 | 403 | 503), "{answer:?}");
    }
    assert!(!berth.path("jobs/0").exists(), "nothing ran");
}

#[tokio::test]
async fn a_watcher_ends_what_runs_too_long_in_its_own_name() {
    let berth = Berth::with(|setup| {
        setup.more = "[[watchers]]\nname = \"lifespan\"\npolicy = \"max-lifespan\"\nevery = \"1s\"\n\
                      settings = { max = \"1s\" }\n"
            .into();
    })
    .await;
    let job = berth.submit("sleep 1000").await;
    let row = berth.end_of(job).await;
    assert_eq!(row.state, "killed");
    assert!(row.detail.as_ref().unwrap().contains("watcher lifespan: it ran longer"), "{row:?}");
}

#[tokio::test]
async fn a_watcher_that_loops_is_skipped_with_an_alarm() {
    let policy = bad_policy("watcher-loops");
    let berth = Berth::with(|setup| {
        setup.more = format!("[[watchers]]\nname = \"broken\"\npolicy = {policy:?}\nevery = \"1s\"\n");
    })
    .await;
    let job = berth.submit("sleep 1000").await;
    berth.wait_for(job, "running").await;
    eventually("its bench", || async { plugin(&berth, "broken").await.state == "benched" }).await;
    assert!(berth.server_log().contains("watcher skipped"), "{}", berth.server_log());
    assert_eq!(berth.job(job).await.row.state, "running");
    let other = berth.submit("true").await;
    berth.succeeds(other).await;
}

/// A Berth whose scheduler is a file that can be replaced.
async fn replaceable(more: &str) -> Berth {
    let mut berth = Berth::set_up(|setup| {
        let file = setup.state.parent().unwrap().join("policy.wasm");
        fs::copy(shipped("fifo"), &file).unwrap();
        setup.scheduler(&file);
        setup.more += more;
    });
    berth.start_again().await;
    berth
}

fn replace(berth: &Berth, by: &Path) {
    let beside = berth.path("policy.new");
    fs::copy(by, &beside).unwrap();
    fs::rename(beside, berth.path("policy.wasm")).unwrap();
}

#[tokio::test]
async fn a_policy_is_replaced_while_jobs_run() {
    let berth = replaceable("").await;
    let waiting = berth.submit_job(berth_api::Submit { hold: true, ..sh("true") }).await;
    let running = berth.submit("sleep 1000").await;
    berth.wait_for(running, "running").await;
    assert!(plugin(&berth, "scheduler").await.version.contains("fifo"));
    replace(&berth, &shipped("priority"));
    berth.cli(["plugin", "reload", "scheduler"]).await.ok();
    let after = berth.submit("true").await;
    berth.succeeds(after).await;
    eventually("the new version", || async {
        plugin(&berth, "scheduler").await.version.contains("priority")
    })
    .await;
    assert_eq!(berth.job(running).await.row.state, "running");
    berth.cli(["release", &waiting.to_string()]).await.ok();
    berth.succeeds(waiting).await;
    assert_eq!(plugin(&berth, "scheduler").await.strikes, 0);
}

#[tokio::test]
async fn a_new_version_that_traps_at_once_never_takes_over() {
    let berth = replaceable("").await;
    let first = berth.submit("true").await;
    berth.succeeds(first).await;
    replace(&berth, &bad_policy("traps"));
    berth.cli(["plugin", "reload", "scheduler"]).await;
    let second = berth.submit("true").await;
    berth.succeeds(second).await;
    eventually("word of the failed reload", || async {
        plugin(&berth, "scheduler").await.notes.iter().any(|note| note.contains("last reload failed"))
    })
    .await;
    let scheduler = plugin(&berth, "scheduler").await;
    assert!(scheduler.version.contains("fifo") && scheduler.state == "active", "{scheduler:#?}");
}

#[tokio::test]
async fn a_new_version_that_strikes_on_probation_is_rolled_back() {
    let berth = replaceable("").await;
    replace(&berth, &bad_policy("traps-later"));
    berth.cli(["plugin", "reload", "scheduler"]).await.ok();
    // Each job has a plan made at least.
    for _ in 0..8 {
        let job = berth.submit("true").await;
        berth.succeeds(job).await;
    }
    let scheduler = plugin(&berth, "scheduler").await;
    assert!(scheduler.version.contains("fifo"), "{scheduler:#?}");
    assert!(berth.server_log().contains("policy rolled back"), "{}", berth.server_log());
}

#[tokio::test]
async fn a_file_that_is_no_policy_is_refused_and_the_present_one_goes_on() {
    let berth = replaceable("").await;
    berth.write("policy.wasm", "this is no component");
    let words = berth.cli(["plugin", "reload", "scheduler"]).await;
    assert_ne!(words.code, 0, "{words:?}");
    assert!(words.err.contains("not a WebAssembly component"), "{words:?}");
    let job = berth.submit("true").await;
    berth.succeeds(job).await;
    assert_eq!(berth.cli(["plugin", "reload", "no-such"]).await.code, 5);
}

#[tokio::test]
async fn policies_are_checked_without_being_used() {
    let berth = Berth::start().await;
    let good = berth.cli(["plugin", "check", shipped("fifo").to_str().unwrap()]).await;
    assert_eq!(good.code, 0, "{good:?}");
    let bad = berth.cli(["plugin", "check", bad_policy("overcommits").to_str().unwrap()]).await;
    assert_eq!(bad.code, 1, "{bad:?}");
}

/// In which order jobs run one after the other under a shipped scheduler.
async fn order_under(scheduler: &str) -> String {
    let berth = Berth::with(|setup| {
        setup.cpus = 1;
        setup.more = format!("[scheduler]\npolicy = {scheduler:?}\n");
    })
    .await;
    let (go, trace) = (berth.path("go"), berth.path("trace"));
    let first = berth.submit(&format!("while [ ! -e {} ]; do sleep 0.02; done", go.display())).await;
    berth.wait_for(first, "running").await;
    let mut jobs = Vec::new();
    for priority in [0, -5, 5, 0] {
        let line = format!("echo {priority} >> {}", trace.display());
        jobs.push(berth.submit_job(berth_api::Submit { priority: Some(priority), ..sh(&line) }).await);
    }
    fs::write(go, "").unwrap();
    for job in jobs {
        berth.succeeds(job).await;
    }
    fs::read_to_string(trace).unwrap().replace('\n', " ")
}

#[tokio::test]
async fn fifo_starts_jobs_as_they_came_and_priority_the_more_urgent_first() {
    assert_eq!(order_under("fifo").await, "0 -5 5 0 ");
    assert_eq!(order_under("priority").await, "5 0 0 -5 ");
}

#[tokio::test]
async fn backfill_lets_small_jobs_go_before_their_turn_and_tells_by_when_the_first_one_starts() {
    let berth = Berth::with(|setup| {
        setup.cpus = 2;
        setup.more = "[scheduler]\npolicy = \"backfill\"\n".to_owned();
    })
    .await;
    let go = berth.path("go");
    let shaped = |line: &str, cpus: &str, time: Option<&str>| berth_api::Submit {
        cpus: Some(cpus.to_owned()),
        time: time.map(str::to_owned),
        ..sh(line)
    };
    let wait = format!("while [ ! -e {} ]; do sleep 0.02; done", go.display());
    let running = berth.submit_job(shaped(&wait, "1", Some("1h"))).await;
    berth.wait_for(running, "running").await;
    let first = berth.submit_job(shaped("true", "2", Some("10m"))).await;
    let endless = berth.submit_job(shaped("true", "1", None)).await;
    let small = berth.submit_job(shaped("true", "1", Some("20m"))).await;
    berth.succeeds(small).await;
    let why = berth.why(first).await;
    assert!(why.expected_start.is_some(), "{why:#?}");
    assert!(why.reasons.iter().any(|reason| reason.text.ends_with("at the latest")), "{why:#?}");
    let why = berth.why(endless).await;
    let delays = format!("job {first} comes first and starts by ");
    assert!(why.reasons.iter().any(|reason| reason.text.contains(&delays)), "{why:#?}");
    fs::write(go, "").unwrap();
    berth.succeeds(first).await;
    berth.succeeds(endless).await;
}
