//! Jobs that wait for others.

use berth_api::Submit;

use crate::harness::{Berth, sh};

fn after(kind: &str, on: impl ToString, script: &str) -> Submit {
    let on = vec![on.to_string()];
    match kind {
        "ok" => Submit { after_ok: on, ..sh(script) },
        "any" => Submit { after_any: on, ..sh(script) },
        _ => Submit { after_not_ok: on, ..sh(script) },
    }
}

#[tokio::test]
async fn a_chain_runs_in_order() {
    let berth = Berth::start().await;
    let trace = berth.path("trace");
    let line = |name: &str| format!("echo {name} >> {}", trace.display());
    let first = berth.submit_job(Submit { hold: true, ..sh(&line("first")) }).await;
    let second = berth.submit_job(after("ok", first, &line("second"))).await;
    let third = berth.submit_job(after("ok", second, &line("third"))).await;
    assert_eq!(berth.job(third).await.row.state, "held");
    berth.cli(["release", &first.to_string()]).await.ok();
    berth.succeeds(third).await;
    assert_eq!(std::fs::read_to_string(trace).unwrap(), "first\nsecond\nthird\n");
}

#[tokio::test]
async fn each_kind_of_dependency_looks_at_how_the_other_job_ended() {
    let berth = Berth::start().await;
    for (script, kind, runs) in [
        ("exit 0", "ok", true),
        ("exit 1", "ok", false),
        ("exit 0", "any", true),
        ("exit 1", "any", true),
        ("exit 0", "not-ok", false),
        ("exit 1", "not-ok", true),
    ] {
        let first = berth.submit_job(Submit { hold: true, ..sh(script) }).await;
        let second = berth.submit_job(after(kind, first, "true")).await;
        berth.cli(["release", &first.to_string()]).await.ok();
        let row = berth.end_of(second).await;
        let expected = if runs { "succeeded" } else { "rejected" };
        assert_eq!(row.state, expected, "after-{kind} of {script}: {row:?}");
        if !runs {
            let detail = row.detail.unwrap();
            assert!(detail.contains(&format!("job {first}")), "{detail}");
        }
    }
}

#[tokio::test]
async fn what_can_no_longer_be_met_bars_the_whole_chain() {
    let berth = Berth::start().await;
    let first = berth.submit_job(Submit { hold: true, ..sh("exit 1") }).await;
    let second = berth.submit_job(after("ok", first, "true")).await;
    let third = berth.submit_job(after("ok", second, "true")).await;
    let consolation = berth.submit_job(after("not-ok", second, "true")).await;
    berth.cli(["release", &first.to_string()]).await.ok();
    assert_eq!(berth.end_of(third).await.state, "rejected");
    assert_eq!(berth.end_of(second).await.state, "rejected");
    berth.succeeds(consolation).await;
}

#[tokio::test]
async fn a_job_waits_for_a_whole_array_or_for_one_task() {
    let berth = Berth::start().await;
    let array = Submit { array: Some("1-3".into()), hold: true, ..sh("[ $BERTH_ARRAY_TASK_ID != 3 ]") };
    let array = berth.submit_job(array).await;
    let on_task = berth.submit_job(after("ok", format!("{array}.2"), "true")).await;
    let on_all = berth.submit_job(after("ok", array, "true")).await;
    let on_failed = berth.submit_job(after("not-ok", format!("{array}.3"), "true")).await;
    berth.cli(["release", &array.to_string()]).await.ok();
    berth.succeeds(on_task).await;
    berth.succeeds(on_failed).await;
    assert_eq!(berth.end_of(on_all).await.state, "rejected");
}

#[tokio::test]
async fn a_dependency_on_a_job_that_has_ended_is_judged_at_once() {
    let berth = Berth::start().await;
    let good = berth.submit("true").await;
    let bad = berth.submit("exit 9").await;
    berth.succeeds(good).await;
    berth.end_of(bad).await;
    let after_good = berth.submit_job(after("ok", good, "true")).await;
    berth.succeeds(after_good).await;
    let words = berth.refusal(after("ok", bad, "true")).await.to_string();
    assert!(words.contains(&format!("job {bad} can no longer be met")), "{words}");
    assert_eq!(berth.all_jobs().await.len(), 3, "nothing of the refused one is stored");
}

#[tokio::test]
async fn a_dependency_on_what_is_not_there_is_refused_and_so_no_cycle_can_be_made() {
    let berth = Berth::start().await;
    let first = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    // The next job's own number: whoever wants a cycle has to name a job before it is there.
    for on in [(first + 1).to_string(), "4711".into(), format!("{first}.1")] {
        let words = berth.refusal(after("ok", &on, "true")).await.to_string();
        assert!(words.contains("after_ok") && words.contains(&format!("there is no job {on}")), "{words}");
    }
    let words = berth.refusal(after("ok", "seven", "true")).await.to_string();
    assert!(words.contains("\"seven\" is not a job"), "{words}");
    assert_eq!(berth.all_jobs().await.len(), 1);
}
