//! Resources that the site has given names to.

use std::collections::BTreeMap;

use berth_api::{ErrorCode, Submit};

use crate::harness::{Berth, eventually, sh};

const TABLES: &str = r#"
[[resources]]
name = "gpu_10.5"
units = "0-1"
nodes = ["local/*"]

[[resources]]
name = "scratch"
total = 10
labels = ["os=linux"]

[[resources]]
name = "licence"
total = 3
"#;

async fn site() -> Berth {
    Berth::with(|setup| setup.more += TABLES).await
}

fn needs(named: &[(&str, u64)], script: &str) -> Submit {
    let resources = named.iter().map(|&(name, amount)| (name.to_owned(), amount)).collect::<BTreeMap<_, _>>();
    Submit { resources, cpus: Some("0.1".into()), ..sh(script) }
}

/// A script that says what it was given and goes on until the file is there.
fn until(berth: &Berth, name: &str) -> String {
    format!(
        "echo unit $BERTH_RESOURCE_GPU_10_5; until [ -e {} ]; do sleep 0.05; done",
        berth.path(name).display()
    )
}

#[tokio::test]
async fn jobs_get_units_of_their_own_are_told_of_them_and_wait_when_there_are_none_left() {
    let berth = site().await;
    let jobs = [
        berth.submit_job(needs(&[("gpu_10.5", 1)], &until(&berth, "go"))).await,
        berth.submit_job(needs(&[("gpu_10.5", 1)], &until(&berth, "go"))).await,
    ];
    for job in jobs {
        berth.wait_for(job, "running").await;
    }
    let third = berth.submit_job(needs(&[("gpu_10.5", 1)], "echo unit $BERTH_RESOURCE_GPU_10_5")).await;
    let short = "has 0 free of 2, the rest is held by 2 jobs of 1 user";
    let says = async || berth.why(third).await.reasons.iter().any(|why| why.text.contains(short));
    eventually("the reason", says).await;
    let nodes = berth.cli(["nodes"]).await.ok();
    assert!(nodes.contains("gpu_10.5 2/2, scratch 0/10"), "{nodes}");
    assert!(nodes.contains("shared by all nodes: licence 0/3"), "{nodes}");
    berth.write("go", "");
    for (job, unit) in [(jobs[0], "unit 0\n"), (jobs[1], "unit 1\n"), (third, "unit 0\n")] {
        berth.succeeds(job).await;
        // The third one takes what is free first, which is either.
        let said = berth.log(job).await;
        assert!(said == unit || (job == third && said == "unit 1\n"), "{job}: {said}");
    }
    let strikes =
        berth.client().plugins().await.unwrap().into_iter().map(|plugin| plugin.strikes).sum::<u32>();
    assert_eq!(strikes, 0, "a policy that cannot know of them is not struck");
}

#[tokio::test]
async fn units_are_held_through_a_crash_and_given_to_nobody_else() {
    let mut berth = site().await;
    let script = until(&berth, "go");
    let first = berth.submit_job(needs(&[("gpu_10.5", 1), ("licence", 2)], &script)).await;
    berth.wait_for(first, "running").await;
    for _ in 0..2 {
        berth.kill_dash_9();
        berth.start_again().await;
    }
    let second = berth.submit_job(needs(&[("gpu_10.5", 1)], &script)).await;
    berth.wait_for(second, "running").await;
    let third = berth.submit_job(needs(&[("licence", 2)], "true")).await;
    let short = "the whole site has 1 free of 3";
    let says = async || berth.why(third).await.reasons.iter().any(|why| why.text.contains(short));
    eventually("the reason", says).await;
    let history = berth.job(first).await.history;
    let held = history.iter().find(|event| event.text.starts_with("holds "));
    let held = held.unwrap_or_else(|| panic!("{history:?}")).text.as_str();
    assert!(held.contains("gpu_10.5:[0]") && held.contains("2 of licence"), "{held}");
    berth.write("go", "");
    for job in [first, second, third] {
        berth.succeeds(job).await;
    }
    assert_eq!((berth.log(first).await, berth.log(second).await), ("unit 0\n".into(), "unit 1\n".into()));
}

#[tokio::test]
async fn what_there_never_is_is_refused_when_it_is_asked_for() {
    let berth = site().await;
    let refused = berth.refusal(needs(&[("gpu_10.5", 3)], "true")).await;
    assert_eq!(refused.code, ErrorCode::Unable);
    assert!(refused.message.contains("never more than 2 in one place"), "{refused}");
    let refused = berth.refusal(needs(&[("toaster", 1)], "true")).await;
    assert!(refused.message.contains("it asks for 1 of resource toaster, and there is none"), "{refused}");
    let refused = berth.refusal(needs(&[("a b", 1)], "true")).await;
    assert!(refused.code == ErrorCode::Invalid && refused.problems[0].field == "resources", "{refused:?}");
}
