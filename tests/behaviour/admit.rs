//! Filters of what is submitted: what they change, what they refuse, and what becomes of jobs when they fail.

use std::fs;

use berth_api::{Alteration, ControlRequest, Controls, ErrorCode, JobDetail, Submit};

use rustix::process::Signal;

use crate::harness::{Berth, bad_policy, eventually, sh};

/// A Berth with these filters.
async fn filtered(filters: &str) -> Berth {
    Berth::with(|setup| setup.more = filters.to_owned()).await
}

fn rules(settings: &str) -> String {
    format!("[[filters]]\nname = \"house\"\npolicy = \"rules\"\n[filters.settings]\n{settings}\n")
}

fn odd(name: &str, does: &str, more: &str) -> String {
    let policy = bad_policy("admit-odd").display().to_string();
    format!(
        "[[filters]]\nname = {name:?}\npolicy = {policy:?}\nsettings = {{ does = {does:?} }}\n\
         limits = {{ time = \"50ms\" }}\n{more}\n"
    )
}

/// What stands in a job's history.
fn history(job: &JobDetail) -> String {
    job.history.iter().map(|entry| format!("{}: {}\n", entry.event, entry.text)).collect()
}

#[tokio::test]
async fn what_a_filter_fills_in_counts_and_is_told_to_whoever_submits() {
    let berth = filtered(&rules("default.time = \"2h\"\ndefault.labels.team = \"none\"")).await;
    let said = berth.cli(["submit", "--", "true"]).await;
    let told = "filter house set time to 2h: jobs that do not say get this here";
    assert!(said.code == 0 && said.err.contains(told), "{said:?}");
    assert!(said.err.contains("filter house set labels.team to none"), "{said:?}");
    let job = berth.job(said.out.trim()).await;
    assert_eq!((job.row.time_limit_ms, job.spec.labels["team"].as_str()), (Some(7_200_000), "none"));
    assert!(history(&job).contains(told), "{}", history(&job));

    let ran = berth.cli(["run", "--", "true"]).await;
    assert!(ran.code == 0 && ran.err.contains(told), "{ran:?}");
    let document = berth.cli(["--json", "submit", "--", "true"]).await.json();
    assert_eq!(document["changes"][1]["field"], "time", "{document}");

    let says = Submit { time: Some("1m".into()), ..sh("true") };
    let says = Submit { labels: [("team".to_owned(), "rna".to_owned())].into(), ..says };
    let job = berth.submit_job(says).await;
    assert!(!history(&berth.job(job).await).contains("filter"), "there was nothing to change");
}

#[tokio::test]
async fn a_filter_refuses_with_its_words() {
    let berth = filtered(&rules("require = \"labels.team\"\nmost.cpus = 2")).await;
    let refused = berth.cli(["submit", "--", "true"]).await;
    let words =
        "filter house does not accept the job: labels.team has to be set; give it with --label team=VALUE";
    assert!(refused.code != 0 && refused.err.contains(words), "{refused:?}");
    berth.cli(["submit", "--label", "team=rna", "--cpus", "2", "--", "true"]).await.ok();
    let refused = berth.cli(["submit", "--label", "team=rna", "--cpus", "2.5", "--", "true"]).await;
    assert!(refused.err.contains("cpus: 2500m is too much: jobs may have 2 at most here"), "{refused:?}");
    assert_eq!(berth.all_jobs().await.len(), 1);
}

#[tokio::test]
async fn filters_are_asked_in_their_order_and_each_sees_what_those_before_have_changed() {
    let filters = odd("first", "labels", "") + &odd("second", "labels", "");
    let berth = filtered(&filters).await;
    let said = berth.cli(["submit", "--", "true"]).await;
    let first = said.err.find("filter first set labels.seen to 1").unwrap();
    let second = said.err.find("filter second changed labels.seen from 1 to 2").unwrap();
    assert!(first < second, "{said:?}");
    assert_eq!(berth.job(said.out.trim()).await.spec.labels["seen"], "2");
}

#[tokio::test]
async fn what_a_filter_asks_for_is_granted_and_checked_as_if_it_had_been_typed() {
    let berth = filtered(&odd("greedy", "long", "")).await;
    let job = berth.submit("true").await;
    assert_eq!(berth.job(job).await.row.time_limit_ms, Some(1000 * 86_400_000), "nothing forbids it");
    drop(berth);

    let limited = Berth::with(|setup| {
        setup.jobs = "longest-time = \"1h\"".into();
        setup.more = odd("greedy", "long", "");
    });
    let refused = limited.await.refusal(sh("true")).await;
    assert_eq!(refused.code, ErrorCode::Invalid);
    assert!(refused.message.starts_with("as filter greedy has changed it: "), "{refused:?}");
    assert!(refused.problems[0].message.contains("at most 1h"), "{refused:?}");
}

#[tokio::test]
async fn a_filter_grants_nothing_that_the_auth_policy_does_not() {
    let berth = filtered(&odd("greedy", "option", "")).await;
    let refused = berth.refusal(sh("true")).await;
    assert_eq!(refused.code, ErrorCode::Forbidden);
    let words = "option \"docker.privileged\" is not granted to ";
    let why = "filter greedy set options.docker.privileged to true: it may be of use";
    assert!(refused.message.contains(words) && refused.message.contains(why), "{refused:?}");
    drop(berth);
    let berth = filtered(&odd("greedy", "volume", "")).await;
    let refused = berth.refusal(sh("true")).await;
    assert!(refused.message.contains("cannot mount volumes"), "{refused:?}");
    assert!(refused.message.contains("filter greedy set volumes to secrets"), "{refused:?}");
}

#[tokio::test]
async fn a_filter_that_breaks_its_contract_or_fails_is_struck_and_no_job_gets_by_it() {
    for (does, words) in [
        ("root", "it made a job of root's that was none"),
        ("unknown", "jobs have no such field"),
        ("traps", "it trapped"),
        ("loops", "took longer than"),
    ] {
        let berth = filtered(&odd("broken", does, "")).await;
        let refused = berth.refusal(sh("true")).await;
        assert_eq!(refused.code, ErrorCode::Unavailable, "{does}: {refused:?}");
        assert!(refused.message.contains("filter broken failed"), "{does}: {refused:?}");
        let plugins = berth.cli(["--json", "plugin", "inspect", "broken"]).await.json();
        assert_eq!((&plugins[0]["kind"], &plugins[0]["strikes"]), (&"admit".into(), &1.into()), "{does}");
        for _ in 0..2 {
            berth.refusal(sh("true")).await;
        }
        let benched = berth.refusal(sh("true")).await;
        assert!(benched.message.contains("policy broken is benched"), "{does}: {benched:?}");
        assert!(benched.message.contains(words), "{does}: {benched:?}");
        assert_eq!(berth.all_jobs().await.len(), 0, "{does}");
    }
}

#[tokio::test]
async fn a_filter_that_may_fail_lets_jobs_in_when_it_does() {
    let berth = filtered(&odd("broken", "traps", "on-failure = \"admit\"")).await;
    for _ in 0..5 {
        let job = berth.submit("true").await;
        berth.succeeds(job).await;
    }
    let log = berth.server_log();
    assert!(log.contains("job accepted without its filter"), "{log}");
}

#[tokio::test]
async fn a_filter_that_is_not_ready_says_so_and_is_not_struck() {
    let berth = filtered(&odd("slow", "not-now", "")).await;
    let refused = berth.refusal(sh("true")).await;
    assert_eq!(refused.code, ErrorCode::Unavailable);
    assert!(refused.message.contains("accepts no such job now: the site is being rearranged"), "{refused:?}");
    let plugins = berth.cli(["--json", "plugin", "inspect", "slow"]).await.json();
    assert_eq!(plugins[0]["strikes"], 0);
}

#[tokio::test]
async fn what_is_changed_later_passes_the_filters_too() {
    let settings = "default.labels.team = \"none\"\nmost.cpus = 2\nmost.time = \"1h\"";
    let berth = filtered(&rules(settings)).await;
    let job = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    let change = |cpus: &str| ControlRequest {
        alter: Some(Alteration { cpus: Some(cpus.into()), ..Alteration::default() }),
        ..ControlRequest::of(Controls::Alter, vec![job.to_string()])
    };
    let results = berth.client().control(&change("3")).await.unwrap();
    let message = results[0].message.clone().unwrap();
    assert!(
        !results[0].done && message.contains("filter house does not accept the job: cpus: 3"),
        "{message}"
    );
    let results = berth.client().control(&change("2")).await.unwrap();
    assert!(results[0].done, "{results:?}");
    assert_eq!(berth.job(job).await.row.cpu_millis, 2000);
}

#[tokio::test]
async fn a_change_that_a_filter_adds_to_is_told_and_stands_in_the_history() {
    let mut berth = Berth::start().await;
    let job = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    let text = fs::read_to_string(berth.config()).unwrap() + &rules("most.time = \"1h\"");
    fs::write(berth.config(), text).unwrap();
    berth.stop().await;
    berth.start_again().await;
    let said = berth.cli(["alter", "--cpus", "2", &job.to_string()]).await;
    let told = "filter house set time to 1h: jobs may run no longer here";
    assert!(said.code == 0 && (said.out.contains(told) || said.err.contains(told)), "{said:?}");
    let job = berth.job(job).await;
    assert_eq!((job.row.cpu_millis, job.row.time_limit_ms), (2000, Some(3_600_000)));
    assert!(history(&job).contains(told), "{}", history(&job));
}

#[tokio::test]
async fn a_filter_is_reloaded_with_other_settings_while_berth_runs() {
    let berth = filtered(&rules("default.time = \"1h\"")).await;
    let text = fs::read_to_string(berth.config()).unwrap();
    fs::write(berth.config(), text.replace("default.time = \"1h\"", "default.time = \"3h\"")).unwrap();
    berth.process().signal(Signal::HUP);
    eventually("the new rules", || async {
        let job = berth.submit("true").await;
        berth.job(job).await.row.time_limit_ms == Some(10_800_000)
    })
    .await;
}

#[tokio::test]
async fn plugin_check_knows_filters() {
    let berth = Berth::start().await;
    let said = berth.cli(["plugin", "check", &bad_policy("admit-odd").display().to_string()]).await.ok();
    assert!(said.contains("a job that asks for nothing is let in with changes: labels.seen"), "{said}");
    assert!(said.contains("a change is let in as it is"), "{said}");
    assert!(said.contains("this admit can be used"), "{said}");
}
