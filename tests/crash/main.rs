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
use berth_testbed::IMAGE_PLAIN;
use tokio::{sync::Semaphore, time::sleep};

use crate::{
    chance::Chance,
    harness::{Berth, Containers, DEADLINE, eventually, in_container, sh},
    load::{Load, Site},
};

fn rounds() -> usize {
    std::env::var("BERTH_CRASH_ROUNDS")
        .map_or(25, |rounds| rounds.parse().expect("BERTH_CRASH_ROUNDS is no number"))
}

#[tokio::test]
async fn killed_at_random_moments_berth_runs_every_job_exactly_once() {
    let mut berth = Berth::with(|setup| setup.jobs = GRACE.into()).await;
    let site = Site {
        target: berth.target(),
        trace: berth.path("trace").display().to_string(),
        base: Submit::default(),
        permits: Arc::new(Semaphore::new(0)),
        promised: Arc::default(),
    };
    let storm = Storm { rounds: rounds(), sent_per_life: 16, longest_life: Duration::from_millis(600) };
    storm.breaks_over(&mut berth, &site).await;
}

#[tokio::test]
#[ignore = "needs a Docker Engine"]
async fn killed_at_random_moments_berth_runs_every_container_exactly_once() {
    let mut containers = Containers::with(|setup| setup.jobs = GRACE.into()).await;
    let site = Site {
        target: containers.berth.target(),
        trace: "\"$BERTH_JOB_DIR/trace\"".into(),
        base: in_container(IMAGE_PLAIN, Submit::default()),
        permits: Arc::new(Semaphore::new(0)),
        promised: Arc::default(),
    };
    // An engine takes a second or so for a container, so that lives are longer and fewer.
    let rounds = rounds().div_ceil(10);
    let storm = Storm { rounds, sent_per_life: 8, longest_life: Duration::from_millis(4000) };
    storm.breaks_over(&mut containers.berth, &site).await;
    eventually("no container of a job that is over stays behind", async || {
        containers.containers().is_empty()
    })
    .await;
}

/// How long jobs have to end when they are killed.
const GRACE: &str = "grace = \"500ms\"";

/// How a server dies again and again.
struct Storm {
    rounds: usize,
    /// What is sent for each life, so that there is load at every moment and the queue stays short.
    sent_per_life: usize,
    /// From its start on: often it is killed before it is ready.
    longest_life: Duration,
}

impl Storm {
    /// Kills the server so often under load, and then checks all that ran.
    async fn breaks_over(&self, berth: &mut Berth, site: &Site) {
        let mut chance = Chance::from_environment();
        println!("{} rounds; BERTH_CRASH_SEED={} repeats them", self.rounds, chance.seed());
        let loads: Vec<Load> = (0..4).map(|_| Load::start(site, chance.split())).collect();
        let longest = u64::try_from(self.longest_life.as_millis()).unwrap();
        let wanted = self.rounds * self.sent_per_life / 4;
        let mut lives = 0;
        // A busy machine keeps fewer promises in a life, and gets more lives.
        while lives < self.rounds || (site.promised() <= wanted && lives < 5 * self.rounds) {
            lives += 1;
            site.permits.add_permits(self.sent_per_life);
            sleep(Duration::from_millis(chance.below(longest))).await;
            berth.kill_dash_9();
            berth.spawn_server();
        }
        berth.ready().await.unwrap();
        let mut promises = Vec::new();
        for load in loads {
            promises.extend(load.stop().await);
        }
        check::kill_endless_jobs(berth).await;
        check::all_jobs_end(berth).await;
        let counted = check::check(berth, &promises).await;
        println!("{} promises kept, {counted} executions counted", promises.len());
        assert!(promises.len() > wanted, "there was load: {}", promises.len());
    }
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
