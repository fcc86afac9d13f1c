//! Much at once, and large things.

use std::collections::BTreeSet;

use berth_api::{Client, LogPart, Submit};
use futures::TryStreamExt;

use crate::harness::{Berth, argv, eventually, sh};

/// Eight people send so many jobs all in all, as fast as they can; each runs once.
async fn burst(jobs: usize) {
    let berth = Berth::with(|setup| setup.fake("nodes = 4\ncpus = 64")).await;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let target = berth.target();
            tokio::spawn(async move {
                let client = Client::connect(target).await.unwrap();
                let mut ids = Vec::new();
                for _ in 0..jobs / 8 {
                    ids.push(client.submit(&argv(&["true"])).await.unwrap().id);
                }
                ids
            })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for client in clients {
        for id in client.await.unwrap() {
            assert!(ids.insert(id), "{id} was given twice");
        }
    }
    assert_eq!(ids.len(), jobs);
    eventually("the end of all", || async {
        berth.client().jobs(&berth_api::JobQuery::default()).await.unwrap().jobs.is_empty()
    })
    .await;
    let rows = berth.all_jobs().await;
    assert_eq!(rows.iter().map(|row| row.id).collect::<BTreeSet<_>>(), ids);
    let odd: Vec<_> = rows.iter().filter(|row| row.state != "succeeded" || row.attempt != 1).collect();
    assert!(odd.is_empty(), "{odd:#?}");
}

#[tokio::test]
async fn a_burst_of_submissions_by_8_clients_is_taken_whole() {
    burst(2_000).await;
}

#[tokio::test]
#[ignore = "takes a minute in a debug build"]
async fn a_burst_of_10000_submissions_by_8_clients_is_taken_whole() {
    burst(10_000).await;
}

#[tokio::test]
async fn an_array_of_1000_processes_runs_each_index_once() {
    let berth = Berth::start().await;
    let trace = berth.path("trace");
    let script = format!("echo $BERTH_ARRAY_TASK_ID >> {}", trace.display());
    let job = Submit { array: Some("1-1000".into()), cpus: Some("100m".into()), ..sh(&script) };
    let job = berth.submit_job(job).await;
    berth.succeeds(job).await;
    let text = std::fs::read_to_string(trace).unwrap();
    let mut ran: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    ran.sort_unstable();
    assert_eq!(ran, (1..=1000).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "takes a minute in a debug build"]
async fn a_thousand_jobs_and_an_array_of_10000_tasks_run_beside_each_other() {
    let berth = Berth::with(|setup| setup.fake("nodes = 2\ncpus = 64")).await;
    let array = berth.submit_job(Submit { array: Some("1-10000%500".into()), ..argv(&["true"]) }).await;
    let mut jobs = Vec::new();
    for _ in 0..1_000 {
        jobs.push(berth.submit_job(argv(&["true"])).await);
    }
    berth.succeeds(array).await;
    for job in jobs {
        berth.succeeds(job).await;
    }
    assert_eq!(berth.tasks_of(array).await.iter().filter(|task| task.state == "succeeded").count(), 10_000);
}

/// A job writes so many MiB; Berth passes them on without keeping them, and the end is found at once.
async fn much_output(mib: u64) {
    let berth = Berth::start().await;
    let line = "x".repeat(127);
    let script = format!("yes {line} | head -c {}; echo the very end", mib << 20);
    let job = berth.submit(&script).await;
    berth.process().forget_most_memory();
    let before = berth.process().most_memory_kib();
    let follow = LogPart { follow: true, ..LogPart::default() };
    let mut pieces = berth.client().logs(&job.to_string(), &follow).await.unwrap();
    let mut bytes = 0;
    while let Some(piece) = pieces.try_next().await.unwrap() {
        bytes += piece.len() as u64;
    }
    assert_eq!(bytes, (mib << 20) + "the very end\n".len() as u64);
    berth.succeeds(job).await;
    assert_eq!(berth.cli(["logs", "-n", "1", &job.to_string()]).await.ok(), "the very end\n");
    let tail = LogPart { tail_bytes: Some(4), ..LogPart::default() };
    assert_eq!(berth.part_of_log(job, tail).await, "end\n");
    let after = berth.process().most_memory_kib();
    assert!(after < before + 32 * 1024, "{before} KiB before, {after} KiB after");
}

#[tokio::test]
async fn output_of_200_mib_needs_bounded_memory_and_its_end_is_read_by_tail() {
    much_output(200).await;
}

#[tokio::test]
#[ignore = "takes a while"]
async fn output_of_1_gib_needs_bounded_memory_and_its_end_is_read_by_tail() {
    much_output(1024).await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_nobody_up() {
    let berth = Berth::start().await;
    let job = berth.submit("head -c 50000000 /dev/zero | tr '\\0' x").await;
    let follow = LogPart { follow: true, ..LogPart::default() };
    let _unread = berth.client().logs(&job.to_string(), &follow).await.unwrap();
    let _unheard = berth.client().events(Some(0)).await.unwrap();
    berth.succeeds(job).await;
    let other = berth.submit("true").await;
    berth.succeeds(other).await;
}
