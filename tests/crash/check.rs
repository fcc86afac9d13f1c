//! Whether everything ran as often as it should, and ended as it really did.

use std::{collections::BTreeMap, fs, time::Duration};

use berth_api::{Controls, JobQuery, JobRow};

use crate::{
    harness::{Berth, DEADLINE},
    load::{ENDLESS, Promise},
};

/// Executions by job and attempt, as the jobs themselves have written them down.
type Trace = BTreeMap<(u64, u32), usize>;

/// Kills what would never end: jobs that were taken, though nobody heard so and could kill them.
pub async fn kill_endless_jobs(berth: &Berth) {
    let named = JobQuery { name: Some(ENDLESS.into()), ..JobQuery::default() };
    for row in berth.client().jobs(&named).await.unwrap().jobs {
        berth.done(Controls::Kill, row.id).await;
    }
}

/// Waits until no job is live.
///
/// # Panics
/// When some do not end, with what is known of one of them.
pub async fn all_jobs_end(berth: &Berth) {
    let live = || async { berth.client().jobs(&JobQuery::default()).await.unwrap().jobs };
    let wait = async {
        while !live().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(DEADLINE, wait).await.is_err() {
        let left = live().await;
        let labels: Vec<_> = left.iter().map(|row| format!("{} {}", row.label, row.state)).collect();
        let (job, why) = (berth.job(left[0].id).await, berth.why(left[0].id).await);
        panic!("left are {labels:?}\n{job:#?}\n{why:#?}\n{}", berth.server_log());
    }
}

/// Checks all that ever was, and what was promised in particular; how many executions there were.
pub async fn check(berth: &Berth, promises: &[Promise]) -> usize {
    let trace = read(&written(berth));
    for ((job, attempt), times) in &trace {
        assert_eq!(*times, 1, "attempt {attempt} of job {job} ran {times} times");
    }
    let mut jobs: BTreeMap<u64, JobRow> = BTreeMap::new();
    for row in berth.all_jobs().await {
        if row.array.is_some() {
            jobs.extend(berth.tasks_of(row.id).await.into_iter().map(|task| (task.id, task)));
        }
        jobs.insert(row.id, row);
    }
    // Also what was taken without its acknowledgement having arrived.
    for row in jobs.values().filter(|row| row.array.is_none()) {
        ran_once(row, &trace);
    }
    for (job, attempt) in trace.keys() {
        let row = jobs.get(job).unwrap_or_else(|| panic!("job {job} ran, and nobody knows of it"));
        assert!(*attempt <= row.attempt, "attempt {attempt} ran: {row:?}");
    }
    for promise in promises {
        kept(promise, &jobs);
    }
    trace.len()
}

/// All that jobs have written into files named `trace`: one of the site, and those in their directories.
fn written(berth: &Berth) -> String {
    let mut text = String::new();
    let mut folders = vec![berth.path("jobs")];
    let mut files = vec![berth.path("trace")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == "trace" {
                files.push(entry.path());
            }
        }
    }
    for file in files.iter().filter(|file| file.exists()) {
        text += &fs::read_to_string(file).unwrap();
    }
    text
}

fn read(text: &str) -> Trace {
    let mut trace = Trace::new();
    for line in text.lines() {
        let (job, attempt) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        *trace.entry((job.parse().unwrap(), attempt.parse().unwrap())).or_default() += 1;
    }
    trace
}

/// Each execution that Berth speaks of has left its line, but for those that were killed before they could.
fn ran_once(row: &JobRow, trace: &Trace) {
    assert_ne!(row.state, "lost", "{row:?}");
    for attempt in 1..=row.attempt {
        let has_run = trace.contains_key(&(row.id, attempt));
        assert!(has_run || row.state == "killed", "attempt {attempt} never ran: {row:?}");
    }
}

fn kept(promise: &Promise, jobs: &BTreeMap<u64, JobRow>) {
    let Promise { job, codes, killed, reruns } = promise;
    let row = jobs.get(job).unwrap_or_else(|| panic!("job {job} was acknowledged and is gone"));
    let highest = codes.iter().copied().max();
    match (killed, row.exit_code) {
        (true, code) => {
            // Killed before it ran, it has the code of SIGKILL.
            assert!(row.state == "killed" && matches!(code, Some(137 | 143)), "{row:?}");
        }
        (false, code) => {
            let state = if highest == Some(0) { "succeeded" } else { "failed" };
            assert_eq!((row.state.as_str(), code), (state, highest), "{row:?}");
        }
    }
    if row.array.is_none() {
        assert!(row.attempt > *reruns, "a rerun was acknowledged and did not happen: {row:?}");
        return;
    }
    for (place, code) in codes.iter().enumerate() {
        let task = &jobs[&(job + 1 + place as u64)];
        assert_eq!(task.exit_code, Some(*code), "{task:?}");
    }
}
