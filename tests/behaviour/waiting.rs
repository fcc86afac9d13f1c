//! `berth why`: each reason, and that it is true.

use berth_api::{Controls, Reason, Submit, Why};

use crate::harness::{Berth, eventually, sh};

fn reason<'a>(why: &'a Why, kind: &str) -> &'a Reason {
    why.reasons.iter().find(|reason| reason.kind == kind).unwrap_or_else(|| panic!("no {kind}: {why:#?}"))
}

/// The answer, once it gives this reason.
async fn why(berth: &Berth, job: impl std::fmt::Display, kind: &str) -> Why {
    let job = job.to_string();
    eventually(&format!("{kind} of {job}"), || async {
        berth.why(&job).await.reasons.iter().any(|reason| reason.kind == kind)
    })
    .await;
    berth.why(&job).await
}

#[tokio::test]
async fn a_held_job_waits_for_its_release() {
    let berth = Berth::start().await;
    let job = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    let why = berth.why(job).await;
    assert_eq!(why.state, "held");
    assert!(reason(&why, "held").text.contains("berth release"), "{why:#?}");
    let words = berth.cli(["why", &job.to_string()]).await.ok();
    assert!(words.contains("held by its owner"), "{words}");
}

#[tokio::test]
async fn a_job_with_a_begin_time_waits_for_it_and_starts_then() {
    let berth = Berth::start().await;
    let late = berth.submit_job(Submit { begin: Some("2100-01-01T00:00:00Z".into()), ..sh("true") }).await;
    let why = berth.why(late).await;
    assert_eq!(why.state, "held");
    assert!(reason(&why, "begin-time").text.contains("2100-01-01T00:00:00"), "{why:#?}");
    let soon = berth.submit_job(Submit { begin: Some("300ms".into()), ..sh("true") }).await;
    assert!(!berth.why(soon).await.reasons.is_empty() || berth.job(soon).await.row.state == "succeeded");
    let row = berth.succeeds(soon).await;
    let (begun, sent): (berth_model::UtcMs, berth_model::UtcMs) =
        (row.started.unwrap().parse().unwrap(), row.submitted.parse().unwrap());
    assert!(begun.since(sent) >= std::time::Duration::from_millis(300), "{begun} {sent}");
    assert_eq!(berth.job(late).await.row.state, "held");
}

#[tokio::test]
async fn what_would_make_it_fit_is_said_and_is_true() {
    let berth = Berth::with(|setup| setup.cpus = 4).await;
    let blocking = Submit { cpus: Some("3".into()), time: Some("1h".into()), ..sh("sleep 1000") };
    let blocking = berth.submit_job(blocking).await;
    berth.wait_for(blocking, "running").await;
    let waiting = berth.submit_job(Submit { cpus: Some("2".into()), ..sh("true") }).await;
    let why = why(&berth, waiting, "no-room").await;
    let suggestion = |kind: &str| why.suggestions.iter().find(|one| one.kind == kind);
    let less = suggestion("less").unwrap_or_else(|| panic!("{why:#?}"));
    assert!(less.text.contains("if it asked for 1 CPU instead of 2, it would fit on local/"), "{less:?}");
    let ends = suggestion("ends").unwrap();
    assert!(ends.jobs == [blocking] && ends.at.is_some(), "{ends:?}");
    let words = berth.cli(["why", &waiting.to_string()]).await.ok();
    let part = format!("when job {blocking} has ended, it fits on local/");
    assert!(words.contains(&part) && words.contains("at the latest"), "{words}");
    let smaller = berth.submit_job(Submit { cpus: Some("1".into()), ..sh("true") }).await;
    let held = berth.submit_job(Submit { hold: true, cpus: Some("1".into()), ..sh("true") }).await;
    let why_held = berth.why(held).await;
    berth.done(Controls::Kill, blocking).await;
    for job in [smaller, waiting] {
        berth.succeeds(job).await;
    }
    let released = why_held.suggestions.iter().find(|one| one.kind == "release");
    assert!(
        released.is_some_and(|one| one.text.contains("if it were released, it would fit")),
        "{why_held:#?}"
    );
    berth.done(Controls::Release, held).await;
    berth.succeeds(held).await;
}

#[tokio::test]
async fn what_it_has_waited_for_is_told_with_times_and_holds_are_known_after_a_crash() {
    let mut berth = Berth::with(|setup| setup.cpus = 1).await;
    let blocking = berth.submit("sleep 1000").await;
    berth.wait_for(blocking, "running").await;
    let job = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    berth.done(Controls::Release, job).await;
    let kinds = |why: &Why| -> Vec<(String, bool)> {
        why.waited.iter().map(|one| (one.kind.clone(), one.until.is_some())).collect()
    };
    let both = [("held".to_owned(), true), ("no-room".to_owned(), false)];
    let first = why(&berth, job, "no-room").await;
    assert_eq!(kinds(&first), both, "{first:#?}");
    let instant = |text: &str| text.parse::<berth_model::UtcMs>().unwrap();
    let until = first.waited[0].until.as_deref().map(instant);
    assert!(until <= Some(instant(&first.waited[1].since)), "{first:#?}");
    assert!(reason(&first, "no-room").since.is_some(), "{first:#?}");
    let words = berth.cli(["why", &job.to_string()]).await.ok();
    assert!(words.contains("before that:") && words.contains(": held by its owner"), "{words}");
    berth.kill_dash_9();
    berth.start_again().await;
    let later = why(&berth, job, "no-room").await;
    assert_eq!(kinds(&later), both, "{later:#?}");
    assert_eq!(later.waited[0], first.waited[0], "what the history knows stays");
    berth.done(Controls::Kill, blocking).await;
    berth.succeeds(job).await;
    assert_eq!(berth.why(job).await.waited, []);
}

#[tokio::test]
async fn a_job_with_a_dependency_names_the_other_job_and_its_state() {
    let berth = Berth::start().await;
    let first = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    let second = berth.submit_job(Submit { after_ok: vec![first.to_string()], ..sh("true") }).await;
    let why = berth.why(second).await;
    let text = &reason(&why, "dependency").text;
    assert!(text.contains(&format!("job {first}")) && text.contains("held"), "{text}");
}

#[tokio::test]
async fn a_job_without_room_says_how_much_is_short() {
    let berth = Berth::with(|setup| setup.cpus = 2).await;
    let first = berth.submit("sleep 1000").await;
    berth.wait_for(first, "running").await;
    let second = berth.submit_job(Submit { cpus: Some("2".into()), ..sh("true") }).await;
    let why = why(&berth, second, "no-room").await;
    let text = &reason(&why, "no-room").text;
    assert!(text.contains("CPU") && text.contains('1'), "{text}");
    assert!(why.summary.contains("no room"), "{}", why.summary);
    berth.done(Controls::Kill, first).await;
    berth.succeeds(second).await;
    assert!(berth.why(second).await.summary.contains("succeeded"));
}

#[tokio::test]
async fn a_task_beyond_its_arrays_bound_says_so() {
    let berth = Berth::start().await;
    let job = berth.submit_job(Submit { array: Some("1-5%1".into()), ..sh("sleep 1000") }).await;
    berth.wait_for(format!("{job}.1"), "running").await;
    let why = why(&berth, format!("{job}.2"), "array-bound").await;
    assert!(reason(&why, "array-bound").text.contains("1 task"), "{why:#?}");
}

#[tokio::test]
async fn several_reasons_are_all_told() {
    let berth = Berth::start().await;
    let first = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    let job = Submit {
        hold: true,
        begin: Some("2100-01-01T00:00:00Z".into()),
        after_any: vec![first.to_string()],
        ..sh("true")
    };
    let job = berth.submit_job(job).await;
    let why = berth.why(job).await;
    for kind in ["held", "begin-time", "dependency"] {
        reason(&why, kind);
    }
}

#[tokio::test]
async fn a_job_that_does_not_wait_says_how_it_stands() {
    let berth = Berth::start().await;
    let job = berth.submit("sleep 1000").await;
    berth.wait_for(job, "running").await;
    let why = berth.why(job).await;
    assert_eq!((why.state.as_str(), why.reasons.len()), ("running", 0));
    berth.done(Controls::Kill, job).await;
    berth.end_of(job).await;
    assert!(berth.why(job).await.summary.contains("killed"));
}

#[tokio::test]
async fn a_job_that_the_back_end_gives_back_waits_with_its_words() {
    let berth = Berth::with(|setup| setup.fake("faults = { no_room = 1000 }")).await;
    let job = berth.submit("true").await;
    let why = why(&berth, job, "given-back").await;
    assert!(matches!(why.state.as_str(), "pending" | "starting"), "{why:#?}");
    let row = berth.job(job).await.row;
    assert_eq!((row.started, row.exit_code), (None, None));
    berth.done(Controls::Kill, job).await;
    assert_eq!(berth.end_of(job).await.state, "killed");
}
