//! The end of the daemon, of the supervisor, and of the machine.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs;

use berth_executor_api::{Action, AttemptState, Executor, Report, Truth};

use crate::support::{Site, change, eventually, number_in, process_state};

fn kill(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn exit_codes_are_known_after_the_daemon_was_gone() {
    let mut site = Site::new().await;
    let gate = site.path("gate");
    let wait = format!("while ! [ -e {} ]; do sleep 0.01; done", gate.display());
    let meanwhile = site.launch(&site.shell(1, &format!("{wait}; exit 5"))).await;
    let later = site.launch(&site.shell(2, "sleep 60")).await;
    site.running(&meanwhile).await;
    site.running(&later).await;
    let supervisor = site.supervisor_pid();
    // A daemon that is killed leaves nothing behind but a closed socket.
    let socket = site.path("spool/supervisor.sock");
    let away = tempfile::tempdir().unwrap();
    let elsewhere = berth_executor_local::LocalExecutor::start(support::config(away.path())).await.unwrap();
    let before = std::mem::replace(&mut site.executor, elsewhere);
    drop(before);
    fs::write(&gate, "").unwrap();
    let stdout = site.path("jobs/1");
    assert!(stdout.exists() && socket.exists());
    site.restart_executor().await;
    assert_eq!(site.supervisor_pid(), supervisor, "it has outlived the daemon");
    eventually("the end is known", || async {
        let truth = site.truth(&meanwhile).await;
        matches!(truth, Truth::Known(report)
            if matches!(&report.state, AttemptState::Exited(exit) if exit.code == Some(5)))
    })
    .await;
    assert!(
        matches!(site.truth(&later).await, Truth::Known(report) if report.state == AttemptState::Running)
    );
    site.close().await;
}

#[tokio::test]
async fn what_a_killed_supervisor_started_goes_on_and_is_never_run_again() {
    let mut site = Site::new().await;
    let (trace, gate) = (site.path("trace"), site.path("gate"));
    let script =
        format!("echo ran >> {}; while ! [ -e {} ]; do sleep 0.01; done", trace.display(), gate.display());
    let launch = site.shell(1, &script);
    let running = site.launch(&launch).await;
    let pid_file = site.path("pid");
    let short = site.shell(2, &format!("echo $$ > {}; sleep 60", pid_file.display()));
    let doomed = site.launch(&short).await;
    let ended = site.launch(&site.shell(3, "exit 3")).await;
    site.end(&ended).await;
    site.running(&running).await;
    let pid = number_in(&pid_file).await;

    let before = site.supervisor_pid();
    kill(before, rustix::process::Signal::KILL);
    eventually("another supervisor", || async {
        fs::read_to_string(site.path("spool/lock"))
            .is_ok_and(|text| text.parse::<i32>().is_ok_and(|pid| pid != before))
    })
    .await;
    eventually("an answer", || async { site.executor.cleanup(true).await.is_ok() }).await;
    assert!(matches!(site.truth(&ended).await, Truth::Known(report)
        if matches!(&report.state, AttemptState::Exited(exit) if exit.code == Some(3))));
    assert!(
        matches!(site.truth(&running).await, Truth::Known(report) if report.state == AttemptState::Running)
    );
    // It is still in hand.
    site.executor.control(&doomed, Action::Terminate { grace: std::time::Duration::ZERO }).await.unwrap();
    eventually("gone", || async { process_state(pid).is_none() }).await;
    let exit = site.end(&doomed).await;
    assert_eq!((exit.code, exit.signal, exit.before_stop), (None, None, false));

    fs::write(&gate, "").unwrap();
    let exit = site.end(&running).await;
    assert_eq!((exit.code, exit.signal, exit.before_stop), (None, None, true), "nobody saw how it ended");
    assert!(matches!(site.truth(&running).await, Truth::Uncertain { .. }));
    assert_eq!(site.executor.launch(&[launch]).await.unwrap(), [berth_executor_api::Launched::Taken]);
    let after = site.shell(4, "true");
    assert_eq!(site.run(&after).await.code, Some(0));
    assert_eq!(fs::read_to_string(&trace).unwrap(), "ran\n");
    let told: Vec<_> = site.others.iter().collect();
    assert!(matches!(told[..], [Report::Away(_), Report::Back]), "{told:?}");
    site.close().await;
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_uncertain() {
    let mut site = Site::new().await;
    let pid_file = site.path("pid");
    let script = format!("echo $$ > {}; sleep 60", pid_file.display());
    let attempt = site.launch(&site.shell(1, &script)).await;
    let pid = number_in(&pid_file).await;
    site.running(&attempt).await;
    let supervisor = site.supervisor_pid();
    // Both end while neither can see the other.
    kill(supervisor, rustix::process::Signal::STOP);
    kill(pid, rustix::process::Signal::KILL);
    kill(supervisor, rustix::process::Signal::KILL);
    eventually("an answer", || async {
        site.executor
            .reconcile(std::slice::from_ref(&attempt))
            .await
            .is_ok_and(|truths| matches!(&truths[..], [Truth::Uncertain { .. }]))
    })
    .await;
    site.close().await;
}

#[tokio::test]
async fn jobs_killed_with_their_supervisor_under_load_run_at_most_once() {
    let site = Site::new().await;
    for round in 0..5_u64 {
        let batch: Vec<_> = (1..=60)
            .map(|job| {
                let job = round * 100 + job;
                site.shell(job, &format!("echo ran >> {}", site.path(&format!("trace-{job}")).display()))
            })
            .collect();
        let launched = site.executor.launch(&batch).await;
        assert!(launched.is_ok(), "{launched:?}");
        kill(site.supervisor_pid(), rustix::process::Signal::KILL);
        let names: Vec<_> = batch.iter().map(|launch| launch.attempt.clone()).collect();
        let truths = std::cell::RefCell::new(Vec::new());
        eventually("the truth, none of it running", || async {
            let Ok(told) = site.executor.reconcile(&names).await else { return false };
            let runs = |truth: &Truth| {
                matches!(truth, Truth::Known(report) if matches!(report.state,
                AttemptState::Running | AttemptState::Starting))
            };
            let all_over = !told.iter().any(runs);
            *truths.borrow_mut() = told;
            all_over
        })
        .await;
        for (launch, truth) in batch.iter().zip(truths.into_inner()) {
            let runs = fs::read_to_string(site.path(&format!("trace-{}", launch.job)));
            let runs = runs.unwrap_or_default().lines().count();
            match truth {
                Truth::Known(report) if report.state == AttemptState::NoRoom => assert_eq!(runs, 0),
                Truth::Known(report) => {
                    assert!(matches!(report.state, AttemptState::Exited(_)), "{report:?}");
                    assert_eq!(runs, 1, "{report:?}");
                }
                Truth::Uncertain { .. } => assert!(runs <= 1),
                Truth::Absent => panic!("{} was taken", launch.attempt),
            }
        }
    }
    site.close().await;
}

#[tokio::test]
async fn after_a_reboot_what_ran_is_lost_and_what_is_unknown_is_asked_about_once() {
    let mut site = Site::new().await;
    let running = site.launch(&site.shell(1, "sleep 60")).await;
    site.running(&running).await;
    let ended = site.launch(&site.shell(2, "exit 2")).await;
    site.end(&ended).await;
    // Another boot: what ran is gone, and the journal speaks of a boot that is over.
    site.executor.control(&running, Action::Signal(19)).await.unwrap();
    kill(site.supervisor_pid(), rustix::process::Signal::STOP);
    let old = site.supervisor_pid();
    let journal = site.path("spool/journal");
    let boot = fs::read_to_string(site.path("spool/boot_id")).unwrap();
    let before = "00000000-0000-0000-0000-000000000000";
    fs::write(&journal, fs::read_to_string(&journal).unwrap().replace(&boot, before)).unwrap();
    fs::write(site.path("spool/boot_id"), before).unwrap();
    let pid = fs::read_to_string(&journal).unwrap();
    let pid: i32 = pid.split("\"pid\":").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    kill(pid, rustix::process::Signal::KILL);
    kill(old, rustix::process::Signal::KILL);

    eventually("an answer", || async { site.executor.cleanup(true).await.is_ok() }).await;
    let unheard = site.shell(9, "true").attempt;
    let asked = [running.clone(), ended.clone(), unheard.clone()];
    let truths = site.executor.reconcile(&asked).await.unwrap();
    assert!(matches!(&truths[0], Truth::Uncertain { words } if words.contains("started anew")), "{truths:?}");
    assert!(matches!(&truths[1], Truth::Known(_)));
    assert!(matches!(&truths[2], Truth::Uncertain { .. }));
    assert_eq!(site.truth(&unheard).await, Truth::Absent, "asked again, it is sure");
    assert_eq!(fs::read_to_string(site.path("spool/boot_id")).unwrap(), boot);
    site.close().await;
}

#[tokio::test]
async fn a_time_limit_holds_while_the_daemon_is_away() {
    let mut site = Site::new().await;
    let mut launch = site.shell(1, "sleep 60");
    change(&mut launch, |spec| spec.time_limit = Some(std::time::Duration::from_millis(500)));
    let attempt = site.launch(&launch).await;
    site.running(&attempt).await;
    let away = tempfile::tempdir().unwrap();
    let elsewhere = berth_executor_local::LocalExecutor::start(support::config(away.path())).await.unwrap();
    drop(std::mem::replace(&mut site.executor, elsewhere));
    let journal = site.path("spool/journal");
    eventually("its end is on record", || async {
        fs::read_to_string(&journal).is_ok_and(|text| text.contains("exited"))
    })
    .await;
    site.restart_executor().await;
    assert!(matches!(site.truth(&attempt).await, Truth::Known(report)
        if matches!(&report.state, AttemptState::Exited(exit) if exit.time_limit)));
    site.close().await;
}

#[tokio::test]
async fn a_supervisor_that_nobody_needs_ends() {
    let mut site = Site::new().await;
    let supervisor = site.supervisor_pid();
    let launch = site.shell(1, "exit 6");
    let attempt = site.launch(&launch).await;
    site.end(&attempt).await;
    let away = tempfile::tempdir().unwrap();
    let elsewhere = berth_executor_local::LocalExecutor::start(support::config(away.path())).await.unwrap();
    drop(std::mem::replace(&mut site.executor, elsewhere));
    eventually("it is gone", || async { process_state(supervisor).is_none() }).await;
    site.restart_executor().await;
    assert_ne!(site.supervisor_pid(), supervisor);
    assert!(matches!(site.truth(&attempt).await, Truth::Known(report)
        if matches!(&report.state, AttemptState::Exited(exit) if exit.code == Some(6))));
    site.close().await;
}

#[tokio::test]
async fn a_supervisor_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = support::config(folder.path());
    config.spool = "/dev/null/spool".into();
    let error = berth_executor_local::LocalExecutor::start(config).await.err().unwrap().to_string();
    assert!(error.contains("/dev/null/spool"), "{error}");
    let mut config = support::config(folder.path());
    config.supervisor_command = vec!["/no/such/program".into()];
    let error = berth_executor_local::LocalExecutor::start(config).await.err().unwrap().to_string();
    assert!(error.contains("/no/such/program"), "{error}");
    let site = Site::new().await;
    let mut other = support::config(site.folder.path());
    other.cluster = "another".into();
    let error = berth_executor_local::LocalExecutor::start(other).await.err().unwrap().to_string();
    assert!(error.contains("belongs to cluster"), "{error}");
    site.close().await;
}
