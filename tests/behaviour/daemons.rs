//! Berth's processes tell in etcd that they are there.

use berth_api::DaemonRow;
use berth_testbed::{Database, Etcd, etcd};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Berth, Setup, eventually, sh};

fn tells(setup: &mut Setup, etcd: &Etcd) {
    setup.more += &format!("[status]\nkind = \"etcd\"\nendpoints = [{:?}]\nttl = \"2s\"\n", etcd.endpoint);
}

fn shares(setup: &mut Setup, database: &Database) {
    setup.more += &format!(
        "[store]\nkind = \"postgres\"\nurl = {:?}\npassword-file = {:?}\nlease = \"3s\"\n",
        database.url, database.password_file
    );
}

fn roles(rows: &[DaemonRow]) -> Vec<&str> {
    rows.iter().map(|row| row.role.as_str()).collect()
}

async fn are(berth: &Berth, roles_wanted: &[&str]) {
    eventually("the list", async || {
        berth.client().daemons().await.is_ok_and(|rows| roles(&rows) == roles_wanted)
    })
    .await;
}

#[tokio::test]
#[ignore = "needs root, to start PostgreSQL and etcd"]
async fn a_leader_and_a_stand_by_list_each_other_and_who_takes_over_is_listed_as_leader() {
    let (database, etcd) = (berth_testbed::database(), etcd());
    let setup = |setup: &mut Setup| {
        shares(setup, &database);
        tells(setup, &etcd);
    };
    let mut first = Berth::set_up(setup);
    first.start_again().await;
    let second = Berth::with(setup).await;
    for berth in [&first, &second] {
        are(berth, &["leader", "stand-by"]).await;
    }
    let listed = first.client().daemons().await.unwrap();
    let pids: Vec<i32> = listed.iter().map(|row| i32::try_from(row.pid).unwrap()).collect();
    assert_eq!(pids, [first.process().0, second.process().0]);
    let shown = second.cli(["nodes", "--daemons"]).await.ok();
    assert!(shown.contains("leader") && shown.contains("stand-by"), "{shown}");
    first.kill_dash_9();
    are(&second, &["leader"]).await;
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn jobs_run_while_etcd_is_frozen_and_who_looks_is_told_that_nobody_knows() {
    let etcd = etcd();
    let berth = Berth::with(|setup| tells(setup, &etcd)).await;
    are(&berth, &["leader"]).await;
    etcd.freeze();
    let job = berth.submit_job(sh("true")).await;
    berth.succeeds(job).await;
    let said = berth.cli(["nodes", "--daemons"]).await;
    assert!(said.code != 0 && said.err.contains("who is there cannot be looked up"), "{said:?}");
    etcd.thaw();
    are(&berth, &["leader"]).await;
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn one_that_ends_says_good_bye_and_one_that_is_killed_is_missed() {
    let etcd = etcd();
    let setup = |setup: &mut Setup| tells(setup, &etcd);
    let watcher = Berth::with(setup).await;
    let (ended, killed) = (Berth::with(setup).await, Berth::with(setup).await);
    // All three lead, each a site of its own that has the same name by mistake.
    are(&watcher, &["leader"; 3]).await;
    let ended_pid = ended.process().0;
    kill_process(Pid::from_raw(ended_pid).unwrap(), Signal::TERM).unwrap();
    are(&watcher, &["leader"; 2]).await;
    kill_process(Pid::from_raw(killed.process().0).unwrap(), Signal::KILL).unwrap();
    are(&watcher, &["leader"]).await;
}

#[tokio::test]
async fn where_nobody_is_told_that_is_said() {
    let berth = Berth::start().await;
    let said = berth.cli(["nodes", "--daemons"]).await;
    assert!(said.code != 0 && said.err.contains("[status] in berth.toml says where they tell"), "{said:?}");
}
