//! Classes of jobs: who may use them, what their jobs get, and how much of each may run.

use berth_api::{ErrorCode, Submit};
use rustix::process::Signal;

use crate::harness::{Berth, eventually, sh};

/// Two classes; jobs that name none are `short`.
const CLASSES: &str = r#"
[[classes]]
name = "short"
default = true
priority = 7
longest-time = "10m"
default-time = "5m"
job = { cpus = 1 }
user = { running-jobs = 1 }

[[classes]]
name = "chosen"
users = ["nobody-here"]
projects = ["rna"]
"#;

async fn site() -> Berth {
    Berth::with(|setup| {
        setup.open_projects = true;
        setup.more += CLASSES;
    })
    .await
}

fn of(class: &str, job: Submit) -> Submit {
    Submit { class: Some(class.to_owned()), ..job }
}

/// A job that goes on until a file of this name is there.
fn until(berth: &Berth, name: &str) -> Submit {
    sh(&format!("until [ -e {} ]; do sleep 0.05; done", berth.path(name).display()))
}

#[tokio::test]
async fn a_job_gets_what_its_class_gives_and_may_not_go_beyond_it() {
    let berth = site().await;
    let job = berth.submit("true").await;
    let spec = berth.job(job).await.spec;
    let seen = (spec.class.as_deref(), spec.priority, spec.time.as_deref());
    assert_eq!(seen, (Some("short"), Some(7), Some("300000ms")));
    let shown = berth.cli(["job", &job.to_string()]).await.ok();
    assert!(shown.contains(", class short,"), "{shown}");
    let refused =
        berth.refusal(Submit { time: Some("11m".into()), cpus: Some("2".into()), ..sh("true") }).await;
    let words: Vec<_> = refused.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        words,
        ["jobs of class short may have at most 10m", "a job of class short may have at most 1 CPU"]
    );
    let refused = berth.refusal(of("shrot", sh("true"))).await;
    assert_eq!(refused.problems[0].message, "there is no class \"shrot\"; there are short, chosen");
}

#[tokio::test]
async fn only_those_whom_a_class_is_for_have_jobs_of_it() {
    let berth = site().await;
    let refused = berth.refusal(of("chosen", sh("true"))).await;
    assert_eq!(refused.code, ErrorCode::Forbidden);
    assert!(
        refused.message.ends_with("in project default cannot be of class chosen; it may be of short"),
        "{refused}"
    );
    let in_project = Submit { project: Some("rna".into()), ..of("chosen", sh("true")) };
    let job = berth.submit_job(Submit { hold: true, ..in_project }).await;
    let said = berth.cli(["alter", &job.to_string(), "--project", "default"]).await;
    assert!(
        said.err.contains("cannot be of class chosen"),
        "a job does not take its class elsewhere: {said:?}"
    );
}

#[tokio::test]
async fn of_a_class_runs_as_much_as_it_may_also_after_a_crash_and_until_the_site_says_otherwise() {
    let mut berth = site().await;
    let first = berth.submit_job(until(&berth, "go")).await;
    berth.wait_for(first, "running").await;
    let second = berth.submit("true").await;
    let waits = async |berth: &Berth| {
        eventually("the reason", async || {
            berth.why(second).await.reasons.iter().any(|why| why.kind == "quota")
        })
        .await;
    };
    waits(&berth).await;
    let said = berth.cli(["why", &second.to_string()]).await.ok();
    assert!(said.contains("quota of class-user short/"), "{said}");
    berth.kill_dash_9();
    berth.start_again().await;
    berth.wait_for(first, "running").await;
    waits(&berth).await;
    let usage = berth.json(["usage", "--by", "class"]).await;
    assert_eq!((&usage[0]["name"], &usage[0]["running"]["jobs"]), (&"short".into(), &1.into()), "{usage}");
    let text = std::fs::read_to_string(berth.config()).unwrap();
    std::fs::write(berth.config(), text.replace("user = { running-jobs = 1 }", "")).unwrap();
    berth.process().signal(Signal::HUP);
    berth.succeeds(second).await;
    berth.write("go", "");
    berth.succeeds(first).await;
}
