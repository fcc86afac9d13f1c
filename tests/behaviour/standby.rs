//! Two Berths on one database: one leads, the other stands by and takes its place.

use std::{fs, path::Path};

use berth_api::{ClientError, Controls, ErrorCode, Submit};
use berth_testbed::Database;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Berth, Setup, eventually, sh};

/// Two Berths of one machine, with the same database, job directories and supervisor of processes.
struct Pair {
    first: Berth,
    second: Berth,
    _database: Database,
}

fn shares(setup: &mut Setup, database: &Database, place: &Path) {
    setup.directory = place.join("jobs");
    setup.executors =
        format!("[executors.local]\ncpus = 4\nmemory = \"4G\"\nspool = {:?}\n", place.join("state/spool"));
    setup.more = format!(
        "[store]\nkind = \"postgres\"\nurl = {:?}\npassword-file = {:?}\nlease = \"3s\"\n",
        database.url, database.password_file
    );
}

impl Pair {
    /// The first one leads.
    async fn start() -> Self {
        let database = berth_testbed::database();
        let mut place = None;
        let mut first = Berth::set_up(|setup| {
            let folder = setup.state.parent().unwrap().to_owned();
            shares(setup, &database, &folder);
            place = Some(folder);
        });
        first.start_again().await;
        let second = Berth::with(|setup| shares(setup, &database, &place.unwrap())).await;
        Self { first, second, _database: database }
    }
}

/// Who leads, as this one says; `None` when it leads itself, or does not answer.
async fn leader_of(berth: &Berth) -> Option<String> {
    berth.client().info().await.ok()?.leader
}

async fn leads(berth: &Berth) -> bool {
    berth.client().info().await.is_ok_and(|info| info.leader.is_none())
}

async fn takes_over(berth: &Berth) {
    eventually("it leads", || leads(berth)).await;
}

fn signal(berth: &Berth, signal: Signal) {
    kill_process(Pid::from_raw(berth.process().0).unwrap(), signal).unwrap();
}

/// A job that notes each of its runs, and ends when it may.
fn noted(place: &Path) -> String {
    format!(
        "echo $BERTH_JOB_ID >> {0}/runs; while [ ! -e {0}/go ]; do sleep 0.05; done; exit 7",
        place.display()
    )
}

fn runs(place: &Path) -> usize {
    fs::read_to_string(place.join("runs")).unwrap_or_default().lines().count()
}

#[tokio::test]
#[ignore = "needs root, to start PostgreSQL"]
async fn a_stand_by_shows_what_is_stored_and_names_the_leader_to_who_wants_more() {
    let pair = Pair::start().await;
    let job = pair.first.submit("true").await;
    pair.first.succeeds(job).await;
    assert_eq!(pair.second.job(job).await.row.state, "succeeded");
    assert_eq!(pair.second.all_jobs().await.len(), 1);
    let leader = leader_of(&pair.second).await.unwrap();
    let door = pair.first.path("s").display().to_string();
    assert!(leader.contains(&door), "{leader} does not name {door}");
    let Err(ClientError::Refused(refused)) = pair.second.client().submit(&sh("true")).await else {
        panic!("it took a job");
    };
    assert_eq!(refused.code, ErrorCode::StandsBy);
    assert!(refused.message.contains(&door), "{refused:?}");
    assert_eq!(leader_of(&pair.first).await, None);
}

#[tokio::test]
#[ignore = "needs root, to start PostgreSQL"]
async fn a_stand_by_takes_over_from_a_leader_that_was_killed_and_nothing_is_lost_or_doubled() {
    let mut pair = Pair::start().await;
    let place = pair.first.open_folder("shared");
    let running = pair.first.submit(&noted(&place)).await;
    pair.first.wait_for(running, "running").await;
    let held = pair.first.submit_job(Submit { hold: true, ..sh(&noted(&place)) }).await;
    pair.first.kill_dash_9();
    takes_over(&pair.second).await;
    pair.second.wait_for(running, "running").await;
    pair.second.done(Controls::Release, held).await;
    fs::write(place.join("go"), "").unwrap();
    for job in [running, held] {
        let row = pair.second.end_of(job).await;
        assert_eq!((row.state.as_str(), row.exit_code, row.attempt), ("failed", Some(7), 1));
    }
    assert_eq!(runs(&place), 2);
}

#[tokio::test]
#[ignore = "needs root, to start PostgreSQL"]
async fn a_leader_that_was_stopped_past_its_lease_neither_writes_nor_launches_when_it_goes_on() {
    let pair = Pair::start().await;
    let place = pair.first.open_folder("shared");
    let running = pair.first.submit(&noted(&place)).await;
    pair.first.wait_for(running, "running").await;
    signal(&pair.first, Signal::STOP);
    takes_over(&pair.second).await;
    let mut jobs = vec![running];
    for _ in 0..10 {
        jobs.push(pair.second.submit(&noted(&place)).await);
    }
    signal(&pair.first, Signal::CONT);
    let second_door = pair.second.path("s").display().to_string();
    eventually("the first stands by", || async {
        leader_of(&pair.first).await.is_some_and(|leader| leader.contains(&second_door))
    })
    .await;
    fs::write(place.join("go"), "").unwrap();
    for &job in &jobs {
        let row = pair.second.end_of(job).await;
        assert_eq!((row.state.as_str(), row.exit_code, row.attempt), ("failed", Some(7), 1), "job {job}");
        assert_eq!(pair.first.job(job).await.row.state, "failed");
    }
    assert_eq!(runs(&place), jobs.len());
}

#[tokio::test]
#[ignore = "needs root, to start PostgreSQL"]
async fn a_leader_that_is_told_to_end_hands_over() {
    let mut pair = Pair::start().await;
    let job = pair.first.submit("true").await;
    pair.first.succeeds(job).await;
    pair.first.stop().await;
    takes_over(&pair.second).await;
    let next = pair.second.submit("true").await;
    pair.second.succeeds(next).await;
    pair.first.start_again().await;
    assert!(leader_of(&pair.first).await.is_some(), "it stands by now");
}

#[tokio::test]
#[ignore = "needs root, to start PostgreSQL"]
async fn a_database_that_is_away_is_waited_for_and_jobs_go_on() {
    let mut server = berth_testbed::own_postgres();
    let database = server.database();
    let mut berth = Berth::set_up(|setup| {
        let folder = setup.state.parent().unwrap().to_owned();
        shares(setup, &database, &folder);
    });
    berth.start_again().await;
    let place = berth.open_folder("shared");
    let job = berth.submit(&noted(&place)).await;
    berth.wait_for(job, "running").await;
    server.stop();
    fs::write(place.join("go"), "").unwrap();
    eventually("somebody is told that nothing can be stored", || async {
        matches!(berth.client().submit(&sh("true")).await, Err(ClientError::Refused(refused))
            if matches!(refused.code, ErrorCode::Unavailable | ErrorCode::UnknownOutcome))
    })
    .await;
    server.start_again();
    eventually("it answers", || async { berth.client().job(&job.to_string()).await.is_ok() }).await;
    let row = berth.end_of(job).await;
    assert_eq!((row.state.as_str(), row.exit_code, row.attempt), ("failed", Some(7), 1));
    assert_eq!(runs(&place), 1);
}
