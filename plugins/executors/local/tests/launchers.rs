//! The processes that make the jobs' processes: standing still, or ended by somebody.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::fs;

use berth_executor_api::{AttemptState, Executor, Launched, Truth};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Site, eventually};

/// The launchers of this site's supervisor: its children that run the same program.
fn launchers(site: &Site) -> Vec<Pid> {
    let supervisor = site.supervisor_pid();
    let program = |pid: i32| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
    let children = children.split_whitespace().map(|pid| pid.parse::<i32>().unwrap());
    children.filter(|pid| program(*pid) == program(supervisor)).filter_map(Pid::from_raw).collect()
}

async fn started(site: &mut Site) -> Pid {
    let first = site.shell(1, "true");
    assert_eq!(site.run(&first).await.code, Some(0));
    let all = launchers(site);
    assert_eq!(all.len(), 1);
    all[0]
}

#[tokio::test]
async fn when_one_stands_still_others_go_on() {
    let mut site = Site::new().await;
    let launcher = started(&mut site).await;
    kill_process(launcher, Signal::STOP).unwrap();
    let batch: Vec<_> = (2..=21).map(|job| site.shell(job, "exit 4")).collect();
    assert_eq!(site.executor.launch(&batch).await.unwrap(), vec![Launched::Taken; 20]);
    let names: Vec<_> = batch.iter().map(|launch| launch.attempt.clone()).collect();
    let count = |wanted: fn(&AttemptState) -> bool| {
        let (executor, names) = (&site.executor, &names);
        async move {
            let truths = executor.reconcile(names).await.unwrap();
            let fits = |truth: &&Truth| matches!(truth, Truth::Known(report) if wanted(&report.state));
            truths.iter().filter(fits).count()
        }
    };
    let over = |state: &AttemptState| matches!(state, AttemptState::Exited(_));
    eventually("all others have ended", || async { count(over).await >= 16 }).await;
    assert_eq!(count(|state| *state == AttemptState::Starting).await, 20 - count(over).await);
    kill_process(launcher, Signal::CONT).unwrap();
    for launch in &batch {
        assert_eq!(site.end(&launch.attempt).await.code, Some(4));
    }
    site.close().await;
}

#[tokio::test]
async fn when_one_is_ended_only_what_it_had_begun_fails() {
    let mut site = Site::new().await;
    let launcher = started(&mut site).await;
    kill_process(launcher, Signal::STOP).unwrap();
    let trace = site.path("trace");
    let batch: Vec<_> =
        (2..=11).map(|job| site.shell(job, &format!("echo {job} >> {}", trace.display()))).collect();
    assert_eq!(site.executor.launch(&batch).await.unwrap(), vec![Launched::Taken; 10]);
    kill_process(launcher, Signal::KILL).unwrap();
    let mut failed = 0;
    for launch in &batch {
        let exit = site.end(&launch.attempt).await;
        failed += usize::from(exit.could_not_launch.is_some());
        assert!(exit.code == Some(0) || exit.could_not_launch.is_some(), "{exit:?}");
    }
    assert!(failed <= 1, "{failed}");
    let ran = fs::read_to_string(&trace).unwrap();
    let mut ran: Vec<_> = ran.lines().collect();
    ran.sort_unstable();
    ran.dedup();
    assert_eq!(ran.len(), 10 - failed, "each of the others once: {ran:?}");
    assert_eq!(fs::read_to_string(&trace).unwrap().lines().count(), ran.len());
    site.close().await;
}
