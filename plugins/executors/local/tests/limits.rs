//! Memory, CPU, and CPUs for one alone.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

use berth_executor_api::{Action, Executor, Launched, Resources};
use berth_executor_local::Enforce;

use crate::support::{Site, change, eventually, number_in};

const MIB: u64 = 1 << 20;
/// A shell that takes 200 MiB of memory and then says so.
const HUNGRY: &str = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}";

fn in_cgroup(site: &Site, what: &str) -> bool {
    site.executor.describe().notes.iter().any(|note| note.starts_with(what) && note.contains("cgroup v"))
}

#[tokio::test]
async fn a_job_that_takes_too_much_memory_is_ended() {
    let mut site = Site::new().await;
    let mut launch = site.shell(1, HUNGRY);
    change(&mut launch, |spec| spec.resources.memory_bytes = 64 * MIB);
    let attempt = site.launch(&launch).await;
    let report = site.end_report(&attempt).await;
    let exit = site.end(&attempt).await;
    assert_ne!(exit.code, Some(0));
    if in_cgroup(&site, "memory limits") {
        assert!(exit.out_of_memory, "{exit:?}");
        let peak = report.usage.unwrap().memory_peak_bytes;
        assert!((32 * MIB..=65 * MIB).contains(&peak), "{peak}");
    }
    let mut enough = site.shell(2, HUNGRY);
    change(&mut enough, |spec| spec.resources.memory_bytes = 1024 * MIB);
    let exit = site.run(&enough).await;
    assert_eq!((exit.code, exit.out_of_memory), (Some(0), false));
    eventually("no control groups are left", || async { groups(&site).is_empty() }).await;
    site.close().await;
}

#[tokio::test]
async fn limits_are_not_held_where_the_site_says_so() {
    let mut site = Site::with(|config| config.enforce = Enforce::Never).await;
    let mut launch = site.shell(1, HUNGRY);
    change(&mut launch, |spec| spec.resources.memory_bytes = 64 * MIB);
    let attempt = site.launch(&launch).await;
    assert_eq!(site.end(&attempt).await.code, Some(0));
    let peak = site.end_report(&attempt).await.usage.unwrap().memory_peak_bytes;
    assert!(peak > 150 * MIB, "counted all the same: {peak}");
    site.close().await;
}

#[tokio::test]
async fn cpu_is_held_and_counted() {
    let mut site = Site::new().await;
    if !in_cgroup(&site, "CPU limits") {
        return;
    }
    let mut launch = site.shell(1, "while :; do :; done");
    change(&mut launch, |spec| {
        spec.enforce_cpu = true;
        spec.resources.cpu_millis = 100;
    });
    let attempt = site.launch(&launch).await;
    site.running(&attempt).await;
    eventually("it is held back", || async { throttled(&site) }).await;
    assert!(site.usage(&attempt).await.memory_bytes > 0);
    site.executor.control(&attempt, Action::Terminate { grace: std::time::Duration::ZERO }).await.unwrap();
    assert!(site.end_report(&attempt).await.usage.unwrap().cpu_micros > 0);
    site.close().await;
}

/// The control groups of this site's attempts, wherever they are.
fn groups(site: &Site) -> Vec<PathBuf> {
    let own = format!("{}-{:x}", support::CLUSTER, fs::metadata(site.path("spool")).unwrap().ino());
    let mut todo = vec![PathBuf::from("/sys/fs/cgroup")];
    let mut found = Vec::new();
    while let Some(folder) = todo.pop() {
        let inside = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let inside: Vec<_> = inside.filter(|path| path.is_dir() && !path.is_symlink()).collect();
        let is_own = folder.file_name().is_some_and(|name| name.to_str() == Some(own.as_str()));
        if is_own { &mut found } else { &mut todo }.extend(inside);
    }
    found
}

/// Whether some attempt has been held back.
fn throttled(site: &Site) -> bool {
    groups(site).iter().any(|group| {
        fs::read_to_string(group.join("cpu.stat"))
            .unwrap_or_default()
            .lines()
            .any(|line| line.strip_prefix("nr_throttled ").is_some_and(|count| count != "0"))
    })
}

#[tokio::test]
async fn cpus_of_ones_own_are_nobody_elses() {
    let mut site = Site::new().await;
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    if cpus < 2 {
        return;
    }
    let shared_pid = site.path("shared");
    let shared = site.launch(&site.shell(1, &format!("echo $$ > {}; sleep 60", shared_pid.display()))).await;
    let shared_pid = number_in(&shared_pid).await;
    let mut owned = Vec::new();
    let mut attempts = Vec::new();
    let pin = |site: &Site, job, millis| {
        let path = site.path(&format!("pid-{job}"));
        let mut launch = site.shell(job, &format!("echo $$ > {}; sleep 60", path.display()));
        change(&mut launch, |spec| {
            spec.exclusive_cpus = true;
            spec.resources = Resources { cpu_millis: millis, memory_bytes: 0, gpus: 0 };
        });
        (launch, path)
    };
    for job in 2..2 + cpus {
        let (launch, path) = pin(&site, job, 1000);
        attempts.push(site.launch(&launch).await);
        let its = allowed(number_in(&path).await);
        assert_eq!(its.len(), 1, "{its:?}");
        assert!(!owned.contains(&its), "{its:?} twice");
        if job < 1 + cpus {
            let others = allowed(shared_pid);
            assert!(!others.contains(&its[0]), "{its:?} is not left alone: {others:?}");
        }
        owned.push(its);
    }
    let (launch, _) = pin(&site, 90, 1);
    let full = site.executor.launch(std::slice::from_ref(&launch)).await.unwrap();
    assert!(matches!(&full[..], [Launched::NoRoom { .. }]), "{full:?}");
    let (never, _) = pin(&site, 91, (cpus + 1) * 1000);
    let refused = site.executor.launch(&[never]).await.unwrap();
    assert!(matches!(&refused[..], [Launched::Refused { .. }]), "{refused:?}");
    let first = attempts.remove(0);
    site.executor.control(&first, Action::Terminate { grace: std::time::Duration::ZERO }).await.unwrap();
    site.end(&first).await;
    assert_eq!(site.executor.launch(&[launch]).await.unwrap(), [Launched::Taken], "no room is no end");
    site.running(&shared).await;
    site.close().await;
}

fn allowed(pid: i32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    list.trim()
        .split(',')
        .flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse::<u32>().unwrap()..=last.parse::<u32>().unwrap()
        })
        .collect()
}

#[tokio::test]
async fn use_is_told_while_it_runs_and_at_the_end() {
    let mut site = Site::new().await;
    let ready = site.path("ready");
    let script = format!(
        "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $$ > {}; sleep 60 & wait",
        ready.display()
    );
    let attempt = site.launch(&site.shell(1, &script)).await;
    number_in(&ready).await;
    let now = site.usage(&attempt).await;
    assert!(
        now.cpu_micros > 0 && now.memory_bytes > 0 && now.memory_peak_bytes >= now.memory_bytes,
        "{now:?}"
    );
    site.executor.control(&attempt, Action::Terminate { grace: std::time::Duration::ZERO }).await.unwrap();
    let end = site.end_report(&attempt).await.usage.unwrap();
    assert!(end.cpu_micros >= 10_000 && end.memory_peak_bytes > 0, "{end:?}");
    assert!(site.executor.stats(&attempt).await.is_err(), "it does not run any more");
    site.close().await;
}
