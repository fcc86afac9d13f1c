//! Suspending, ending, and what is left behind.

mod support;

use std::{fs, time::Duration};

use berth_executor_api::{Action, AttemptState, Executor, ExecutorError, Truth};

use crate::support::{Site, change, eventually, number_in, process_state};

const TERMINATE: Action = Action::Terminate { grace: Duration::from_secs(60) };

#[tokio::test]
async fn a_whole_job_is_suspended_and_resumed() {
    let mut site = Site::new().await;
    let pids = site.path("pids");
    // One process of the job's group, and one in a group of its own in the job's session.
    let script = format!("sleep 60 & a=$!; set -m; sleep 60 & echo $$ $a $! > {}; wait", pids.display());
    let attempt = site.launch(&site.argv(1, &["bash", "-c", &script])).await;
    site.running(&attempt).await;
    eventually("three processes", || async { numbers(&pids).len() == 3 }).await;
    let processes = numbers(&pids);
    let all_are = |wanted: char| {
        let processes = processes.clone();
        move || {
            let right = processes
                .iter()
                .all(|pid| process_state(*pid).is_some_and(|state| (state == 'T') == (wanted == 'T')));
            async move { right }
        }
    };
    site.executor.control(&attempt, Action::Suspend).await.unwrap();
    site.until(&attempt, |state| *state == AttemptState::Suspended).await;
    eventually("all stopped", all_are('T')).await;
    site.executor.control(&attempt, Action::Resume).await.unwrap();
    eventually("all going on", all_are('S')).await;
    let states: Vec<_> = [AttemptState::Running, AttemptState::Suspended, AttemptState::Running].into();
    let report = site.truth(&attempt).await;
    assert!(format!("{report:?}").contains("Running"), "{report:?}");
    site.executor.control(&attempt, Action::Suspend).await.unwrap();
    site.executor.control(&attempt, TERMINATE).await.unwrap();
    let exit = site.end(&attempt).await;
    assert_eq!((exit.signal, exit.before_stop), (Some(15), false), "what is suspended can be ended kindly");
    assert_eq!(site.states(&attempt)[..3], states.iter().collect::<Vec<_>>());
    for pid in processes {
        eventually("nothing is left", || async { process_state(pid).is_none() }).await;
    }
    site.close().await;
}

fn numbers(path: &std::path::Path) -> Vec<i32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

#[tokio::test]
async fn a_job_may_tidy_up_before_it_ends() {
    let mut site = Site::new().await;
    let ready = site.path("ready");
    let script =
        format!("trap 'echo tidy; exit 4' TERM; echo $$ > {}; while :; do sleep 0.01; done", ready.display());
    let launch = site.shell(1, &script);
    let attempt = site.launch(&launch).await;
    number_in(&ready).await;
    site.executor.control(&attempt, TERMINATE).await.unwrap();
    let exit = site.end(&attempt).await;
    assert_eq!((exit.code, exit.before_stop, exit.time_limit), (Some(4), false, false));
    assert_eq!(fs::read_to_string(&launch.stdout).unwrap(), "tidy\n");
    site.close().await;
}

#[tokio::test]
async fn a_job_that_will_not_end_is_killed() {
    let mut site = Site::new().await;
    let ready = site.path("ready");
    let script = format!("trap '' TERM; echo $$ > {}; while :; do sleep 0.01; done", ready.display());
    let attempt = site.launch(&site.shell(1, &script)).await;
    number_in(&ready).await;
    let grace = Duration::from_millis(300);
    site.executor.control(&attempt, Action::Terminate { grace }).await.unwrap();
    let exit = site.end(&attempt).await;
    assert_eq!((exit.signal, exit.before_stop), (Some(9), false));
    site.close().await;
}

#[tokio::test]
async fn zero_grace_kills_at_once_and_shortens_a_longer_one() {
    let mut site = Site::new().await;
    let ready = site.path("ready");
    let script = format!("trap '' TERM; echo $$ > {}; while :; do sleep 0.01; done", ready.display());
    let attempt = site.launch(&site.shell(1, &script)).await;
    number_in(&ready).await;
    site.executor.control(&attempt, TERMINATE).await.unwrap();
    site.executor.control(&attempt, Action::Terminate { grace: Duration::ZERO }).await.unwrap();
    assert_eq!(site.end(&attempt).await.signal, Some(9));
    site.close().await;
}

#[tokio::test]
async fn another_time_limit_is_taken_up_while_it_runs() {
    let mut site = Site::new().await;
    let limited = |site: &Site, job, limit| {
        let mut launch = site.shell(job, "sleep 60");
        change(&mut launch, |spec| spec.time_limit = Some(limit));
        launch
    };
    let longer = site.launch(&limited(&site, 1, Duration::from_secs(2))).await;
    let shorter = site.launch(&limited(&site, 2, Duration::from_secs(600))).await;
    let same = site.launch(&limited(&site, 3, Duration::from_secs(2))).await;
    site.running(&longer).await;
    site.running(&shorter).await;
    let set = |limit| Action::TimeLimit { limit };
    site.executor.control(&longer, set(Duration::from_secs(600))).await.unwrap();
    site.executor.control(&shorter, set(Duration::from_millis(1))).await.unwrap();
    assert!(site.end(&shorter).await.time_limit);
    assert!(site.end(&same).await.time_limit);
    assert!(
        matches!(site.truth(&longer).await, Truth::Known(report) if report.state == AttemptState::Running)
    );
    site.executor.control(&longer, Action::Terminate { grace: Duration::ZERO }).await.unwrap();
    site.end(&longer).await;
    let late = site.executor.control(&longer, set(Duration::from_secs(1))).await;
    assert!(matches!(late, Err(ExecutorError::UnknownAttempt { .. })), "{late:?}");
    site.close().await;
}

#[tokio::test]
async fn jobs_that_wait_their_turn_can_be_ended() {
    let mut site = Site::new().await;
    let trace = site.path("trace");
    let script = format!("echo ran >> {}; sleep 60", trace.display());
    let batch: Vec<_> = (1..=100).map(|job| site.shell(job, &script)).collect();
    let (launched, ended) = tokio::join!(site.executor.launch(&batch), async {
        for launch in &batch {
            site.executor.control(&launch.attempt, TERMINATE).await.unwrap();
        }
    });
    launched.unwrap();
    let () = ended;
    for launch in &batch {
        site.executor.control(&launch.attempt, Action::Terminate { grace: Duration::ZERO }).await.unwrap();
        let exit = site.end(&launch.attempt).await;
        assert!(matches!(exit.signal, Some(9 | 15)) && !exit.before_stop, "{exit:?}");
    }
    site.close().await;
}

#[tokio::test]
async fn the_end_of_a_job_that_came_before_the_stop_stands() {
    let mut site = Site::new().await;
    let attempt = site.launch(&site.shell(1, "exit 7")).await;
    let first = site.end(&attempt).await;
    site.executor.control(&attempt, TERMINATE).await.unwrap();
    assert_eq!((first.code, first.before_stop), (Some(7), true));
    let truth = format!("{:?}", site.truth(&attempt).await);
    assert!(truth.contains("before_stop: true"), "{truth}");
    assert!(matches!(
        site.executor.control(&attempt, Action::Suspend).await,
        Err(ExecutorError::UnknownAttempt { .. })
    ));
    let nobody = site.shell(2, "true").attempt;
    site.executor.control(&nobody, TERMINATE).await.unwrap();
    assert!(site.executor.control(&nobody, Action::Signal(10)).await.is_err());
    site.close().await;
}

#[tokio::test]
async fn a_signal_reaches_the_job() {
    let mut site = Site::new().await;
    let ready = site.path("ready");
    let script = format!("trap 'exit 10' USR1; echo $$ > {}; while :; do sleep 0.01; done", ready.display());
    let attempt = site.launch(&site.shell(1, &script)).await;
    number_in(&ready).await;
    assert!(site.executor.control(&attempt, Action::Signal(99)).await.is_err());
    site.executor.control(&attempt, Action::Signal(10)).await.unwrap();
    let exit = site.end(&attempt).await;
    assert_eq!((exit.code, exit.before_stop), (Some(10), true), "a signal is no stop");
    site.close().await;
}

#[tokio::test]
async fn nothing_of_a_job_outlives_it() {
    let mut site = Site::new().await;
    let (group, session, far) = (site.path("group"), site.path("session"), site.path("far"));
    let stay = "trap '' TERM HUP; while :; do sleep 1; done";
    // In the job's own group, in another group of its session, and in a session of its own.
    let script = format!(
        "(echo $BASHPID > {group}; {stay}) &\n\
         set -m; (echo $BASHPID > {session}; {stay}) & set +m\n\
         setsid bash -c '(echo $BASHPID > {far}; while :; do sleep 1; done) & exit'\n\
         while ! [ -s {group} ] || ! [ -s {session} ] || ! [ -s {far} ]; do sleep 0.01; done; exit 0",
        group = group.display(),
        session = session.display(),
        far = far.display(),
    );
    // Another job goes on meanwhile; it must not be mistaken for a leftover.
    let other = site.launch(&site.shell(2, "setsid sh -c 'sleep 3 & exit'; sleep 60")).await;
    site.running(&other).await;
    let exit = site.run(&site.argv(1, &["bash", "-c", &script])).await;
    assert_eq!(exit.code, Some(0));
    for path in [group, session, far] {
        let pid = number_in(&path).await;
        eventually(&format!("{} is gone", path.display()), || async { process_state(pid).is_none() }).await;
    }
    let truth = format!("{:?}", site.truth(&other).await);
    assert!(truth.contains("Running"), "{truth}");
    site.close().await;
}

#[tokio::test]
async fn a_time_limit_ends_a_job_kindly_then_not() {
    let mut site = Site::new().await;
    for (job, script, signal) in [(1, "sleep 60", 15), (2, "trap '' TERM; while :; do sleep 0.01; done", 9)] {
        let mut launch = site.shell(job, script);
        change(&mut launch, |spec| {
            spec.time_limit = Some(Duration::from_millis(300));
            spec.grace = Duration::from_millis(200);
        });
        let exit = site.run(&launch).await;
        assert_eq!((exit.time_limit, exit.signal), (true, Some(signal)), "{script}");
    }
    let mut short = site.shell(3, "exit 0");
    change(&mut short, |spec| spec.time_limit = Some(Duration::from_secs(60)));
    assert!(!site.run(&short).await.time_limit);
    site.close().await;
}

#[tokio::test]
async fn cleaning_up_ends_and_forgets_everything() {
    let mut site = Site::new().await;
    let attempt = site.launch(&site.shell(1, "sleep 60")).await;
    site.running(&attempt).await;
    let ended = site.launch(&site.shell(2, "true")).await;
    site.end(&ended).await;
    let would = site.executor.cleanup(true).await.unwrap();
    assert_eq!(would.len(), 2, "{would:?}");
    assert!(format!("{:?}", site.truth(&attempt).await).contains("Running"));
    assert_eq!(site.executor.cleanup(false).await.unwrap(), would);
    assert_eq!(site.end(&attempt).await.signal, Some(9));
    eventually("nothing is known", || async { site.executor.cleanup(true).await.unwrap().is_empty() }).await;
    assert_eq!(site.truth(&attempt).await, berth_executor_api::Truth::Absent);
    site.close().await;
}

#[tokio::test]
async fn what_has_no_room_waits_for_it_in_its_order() {
    let mut site = Site::with(|config| config.cpu_millis = Some(1000)).await;
    let trace = site.path("trace");
    let gate = site.path("gate");
    let script = |number: u64| {
        let (gate, trace) = (gate.display(), trace.display());
        format!("echo {number} >> {trace}; while ! [ -e {gate}{number} ]; do sleep 0.01; done")
    };
    let batch: Vec<_> = (1..=3).map(|job| site.shell(job, &script(job))).collect();
    site.executor.launch(&batch).await.unwrap();
    let names: Vec<_> = batch.iter().map(|launch| launch.attempt.clone()).collect();
    for (number, running) in (1..).zip(&names) {
        site.running(running).await;
        let waiting = site.executor.reconcile(&names[number..]).await.unwrap();
        let starts =
            |truth: &Truth| matches!(truth, Truth::Known(report) if report.state == AttemptState::Starting);
        assert!(waiting.iter().all(starts), "{waiting:?}");
        fs::write(format!("{}{number}", gate.display()), "").unwrap();
        assert_eq!(site.end(running).await.code, Some(0));
    }
    assert_eq!(fs::read_to_string(&trace).unwrap(), "1\n2\n3\n");
    site.close().await;
}
