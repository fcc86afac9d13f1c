//! Kills Berth at random moments under load, and counts from the jobs' own traces what has run.
//!
//! `BERTH_CRASH_ROUNDS` says how often (25 times unless given), `BERTH_CRASH_SEED` repeats the moments and
//! jobs of an earlier run.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../harness/mod.rs"]
mod harness;

mod chance;
mod check;
mod load;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use berth_api::{Client, Submit};
use tokio::{sync::Semaphore, time::sleep};

use crate::{
    chance::Chance,
    harness::{Berth, DEADLINE, sh},
    load::{Load, Site},
};

/// The longest that a server lives, from its start on: often it is killed before it is ready.
const LONGEST_LIFE_MS: u64 = 600;

/// What is sent for each life of a server, so that there is load at every moment and the queue stays short.
const SENT_PER_LIFE: usize = 16;

fn rounds() -> usize {
    std::env::var("BERTH_CRASH_ROUNDS")
        .map_or(25, |rounds| rounds.parse().expect("BERTH_CRASH_ROUNDS is no number"))
}

#[tokio::test]
async fn killed_at_random_moments_berth_runs_every_job_exactly_once() {
    let (rounds, mut chance) = (rounds(), Chance::from_environment());
    println!("{rounds} rounds; BERTH_CRASH_SEED={} repeats them", chance.seed());
    let mut berth = Berth::with(|setup| setup.jobs = "grace = \"500ms\"".into()).await;
    let site =
        Site { target: berth.target(), trace: berth.path("trace"), permits: Arc::new(Semaphore::new(0)) };
    let loads: Vec<Load> = (0..4).map(|_| Load::start(&site, chance.split())).collect();
    for _ in 0..rounds {
        site.permits.add_permits(SENT_PER_LIFE);
        sleep(Duration::from_millis(chance.below(LONGEST_LIFE_MS))).await;
        berth.kill_dash_9();
        berth.spawn_server();
    }
    berth.ready().await.unwrap();
    let mut promises = Vec::new();
    for load in loads {
        promises.extend(load.stop().await);
    }
    check::kill_endless_jobs(&berth).await;
    check::all_jobs_end(&berth).await;
    let counted = check::check(&berth, &promises).await;
    println!("{} promises kept, {} executions counted", promises.len(), counted);
    assert!(promises.len() > rounds * 4, "there was load: {}", promises.len());
}

#[tokio::test]
async fn every_acknowledged_submission_is_there_after_a_crash_in_their_midst() {
    let mut chance = Chance::from_environment();
    println!("BERTH_CRASH_SEED={} repeats it", chance.seed());
    let mut berth = Berth::start().await;
    let mut acknowledged = BTreeSet::new();
    for _ in 0..rounds().div_ceil(5) {
        let submitters: Vec<_> =
            (0..8).map(|_| tokio::spawn(submit_until_it_breaks(berth.target()))).collect();
        sleep(Duration::from_millis(20 + chance.below(200))).await;
        berth.kill_dash_9();
        for submitter in submitters {
            for job in submitter.await.unwrap() {
                assert!(acknowledged.insert(job), "{job} was given twice");
            }
        }
        berth.start_again().await;
        let stored: BTreeSet<u64> = berth.all_jobs().await.iter().map(|row| row.id).collect();
        let forgotten: Vec<_> = acknowledged.difference(&stored).collect();
        assert!(forgotten.is_empty(), "{forgotten:?} were acknowledged and are gone");
    }
    assert!(acknowledged.len() > 50, "there was load: {}", acknowledged.len());
}

/// Sends held jobs one after the other, until the server is gone; the numbers that were given.
async fn submit_until_it_breaks(target: berth_api::Target) -> Vec<u64> {
    let client = Client::connect(target).await.unwrap();
    let mut acknowledged = Vec::new();
    let wait = async {
        while let Ok(submitted) = client.submit(&Submit { hold: true, ..sh("true") }).await {
            acknowledged.push(submitted.id);
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("the server was never killed");
    acknowledged
}
