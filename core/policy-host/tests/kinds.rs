//! Auth, watcher and network policies, good and bad.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // What goes wrong here is to fail the test.

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use berth_model::{Identity, JobId, NetworkAttachment, Resources, UtcMs};
use berth_policy_host::{
    Attached, AuthPolicy, AuthSettings, Credentials, Denial, JobRequest, NetworkPolicy, NetworkRefusal,
    NetworkRequest, OnSupervised, PluginState, PolicySpec, StartRefusal, StartingJob, Supervised, Unjudged,
    Verdict, WatchedJob, WatcherPolicy, Wishes,
};
use support::{auth, host, network, watcher};

const NOW: UtcMs = UtcMs(1_000_000);
const LOOP: &str = "(loop $for_ever (br $for_ever))";
const TRAP: &str = "(unreachable)";

/// Collects what becomes of a policy.
fn story() -> (OnSupervised, Arc<Mutex<Vec<Supervised>>>) {
    let story = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&story);
    (Arc::new(move |became| kept.lock().unwrap().push(became)), story)
}

fn quick(mut spec: PolicySpec) -> PolicySpec {
    spec.limits.call = Duration::from_millis(50);
    spec
}

fn start_auth(changes: &[(&str, &str)]) -> (AuthPolicy, Arc<Mutex<Vec<Supervised>>>) {
    let (told, story) = story();
    let policy = AuthPolicy::spawn(&host(), quick(auth(changes)), &AuthSettings::default(), told).unwrap();
    (policy, story)
}

fn user(uid: u32) -> Identity {
    let nothing = (None, None, Vec::new());
    Identity {
        user: "u".into(),
        uid,
        gid: 100,
        groups: vec![],
        home: nothing.0,
        email: nothing.1,
        roles: nothing.2,
    }
}

#[tokio::test]
async fn an_identity_is_remembered_for_the_time_that_is_set() {
    let (policy, _) = start_auth(&[]);
    for _ in 0..5 {
        assert_eq!(policy.identify(NOW, &Credentials::UnixUser(7)).await, Ok(user(7)));
    }
    assert_eq!(policy.status().calls, 1);
    assert_eq!(
        policy.identify(NOW.after(Duration::from_secs(31)), &Credentials::UnixUser(7)).await,
        Ok(user(7))
    );
    assert_eq!(policy.identify(NOW, &Credentials::UnixUser(8)).await, Ok(user(8)));
    policy.forget_answers();
    assert_eq!(policy.identify(NOW, &Credentials::UnixUser(8)).await, Ok(user(8)));
    assert_eq!(policy.status().calls, 4);
}

#[tokio::test]
async fn a_grant_is_remembered_for_the_same_person_only() {
    let (policy, _) = start_auth(&[]);
    let job = JobRequest { project: "p".into(), ..JobRequest::default() };
    for _ in 0..3 {
        assert!(policy.authorise(NOW, &user(7), &job).await.is_ok());
    }
    assert_eq!(policy.status().calls, 1);
    let changed = Identity { groups: vec![5], ..user(7) };
    assert!(policy.authorise(NOW, &changed, &job).await.is_ok());
    assert_eq!(policy.status().calls, 2);
}

#[tokio::test]
async fn a_denial_is_not_remembered() {
    // The first case of a denial, `unknown`, at the place of the error.
    let (policy, _) = start_auth(&[(
        "identified",
        "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const 0))",
    )]);
    for _ in 0..3 {
        assert_eq!(policy.identify(NOW, &Credentials::UnixUser(7)).await, Err(Denial::Unknown));
    }
    let status = policy.status();
    assert_eq!((status.calls, status.strikes_total), (3, 0));
}

#[tokio::test]
async fn an_auth_policy_that_fails_lets_nobody_in() {
    for fault in [TRAP, LOOP] {
        let (policy, story) = start_auth(&[("identify", fault)]);
        for _ in 0..5 {
            let denial = policy.identify(NOW, &Credentials::UnixUser(7)).await.unwrap_err();
            assert!(matches!(denial, Denial::Unavailable(_)), "{denial:?}");
        }
        assert!(matches!(policy.status().state, PluginState::Benched { .. }));
        assert_eq!(policy.status().calls, 3, "a benched policy is not asked");
        assert!(matches!(story.lock().unwrap().last(), Some(Supervised::Benched { .. })));
    }
}

#[tokio::test]
async fn a_fresh_instance_answers_after_a_fault() {
    // The second call of each instance traps.
    let second = "(if (i32.eq (global.get $calls) (i32.const 3)) (then (unreachable)))";
    let one = AuthSettings { instances: 1, cache_for: Duration::ZERO };
    let (told, _) = story();
    let single = AuthPolicy::spawn(&host(), auth(&[("identify", second)]), &one, told).unwrap();
    assert_eq!(single.identify(NOW, &Credentials::UnixUser(1)).await, Ok(user(1)));
    assert!(single.identify(NOW, &Credentials::UnixUser(1)).await.is_err());
    assert_eq!(single.identify(NOW, &Credentials::UnixUser(1)).await, Ok(user(1)));
    assert_eq!(single.status().strikes, 1);
}

#[tokio::test]
async fn who_is_named_has_to_be_who_was_asked_for() {
    let (policy, _) = start_auth(&[("identified", "(i32.store (i32.const 1036) (i32.const 0))")]);
    let denial = policy.identify(NOW, &Credentials::UnixUser(7)).await.unwrap_err();
    assert_eq!(
        denial.to_string(),
        "it cannot be decided now: policy small failed: it broke its contract: asked who has number 7, it named somebody with number 0"
    );
    let known = policy.identify(NOW, &Credentials::KnownUser("somebody".into())).await.unwrap_err();
    assert!(known.to_string().contains("asked for user \"somebody\", it gave \"u\""), "{known}");
}

#[tokio::test]
async fn more_than_was_asked_for_is_not_granted() {
    // A grant lies behind the discriminant: mounts, root, extensions.
    let root = "(i32.store8 (i32.const 1036) (i32.const 1))";
    let volume = "(i32.store (i32.const 1028) (i32.const 2048)) (i32.store (i32.const 1032) (i32.const 1)) (call $text (i32.const 2048) (i32.const 48) (i32.const 4)) (call $text (i32.const 2056) (i32.const 48) (i32.const 4)) (call $text (i32.const 2064) (i32.const 48) (i32.const 4))";
    let relative = volume.replace("(i32.const 2064) (i32.const 48)", "(i32.const 2064) (i32.const 49)");
    let extension = "(i32.store (i32.const 1040) (i32.const 2048)) (i32.store (i32.const 1044) (i32.const 1)) (call $text (i32.const 2048) (i32.const 16) (i32.const 5))";
    let nothing = JobRequest::default();
    let readable = JobRequest { volumes: vec![("/etc".into(), true)], ..JobRequest::default() };
    let writable = JobRequest { volumes: vec![("/etc".into(), false)], ..JobRequest::default() };
    for (change, job, words) in [
        (root, &nothing, "root"),
        (volume, &nothing, "volume \"/etc\", which was not asked for"),
        (volume, &readable, "writing to volume \"/etc\""),
        (&*relative, &writable, "has \"etc\\0\" for an absolute path"),
        (extension, &nothing, "\"small\", which was not asked for"),
    ] {
        let (policy, _) = start_auth(&[("authorise", change)]);
        let denial = policy.authorise(NOW, &user(7), job).await.unwrap_err();
        assert!(denial.to_string().contains(words), "{denial}");
        assert_eq!(policy.status().strikes, 1);
    }
    let (policy, _) = start_auth(&[("authorise", volume)]);
    let grant = policy.authorise(NOW, &user(7), &writable).await.unwrap();
    assert_eq!((grant.mounts.len(), grant.as_root), (1, false));
}

#[tokio::test]
async fn a_new_version_that_strikes_on_probation_goes_back() {
    let (policy, story) = start_auth(&[]);
    policy.reload(&host(), quick(auth(&[("identify", TRAP)]))).unwrap();
    assert!(policy.identify(NOW, &Credentials::UnixUser(7)).await.is_err());
    assert_eq!(policy.identify(NOW, &Credentials::UnixUser(7)).await, Ok(user(7)));
    let story = story.lock().unwrap();
    assert!(
        matches!(
            &story[..],
            [Supervised::Reloaded { .. }, Supervised::Struck { .. }, Supervised::RolledBack { .. }]
        ),
        "{story:?}"
    );
}

fn watched(id: u64) -> WatchedJob {
    WatchedJob {
        id: JobId(id),
        user: "u".into(),
        project: "p".into(),
        needs: Resources::default(),
        started: UtcMs(0),
        active_since: UtcMs(0),
        suspended: false,
        time_limit_ms: None,
        cpu_micros: None,
        memory_bytes: None,
        directory: None,
    }
}

#[tokio::test]
async fn a_watcher_judges_in_parts() {
    let (told, _) = story();
    let policy = WatcherPolicy::spawn(&host(), watcher(&[]), NOW, Vec::new(), told).unwrap();
    let jobs: Vec<_> = (1..=15_000).map(watched).collect();
    let stop = || Verdict::Stop("small".into());
    assert_eq!(policy.judge(NOW, &jobs).await, Ok(vec![(JobId(1), stop()), (JobId(10_001), stop())]));
    assert_eq!(policy.judge(NOW, &[]).await, Ok(vec![]));
}

#[tokio::test]
async fn a_watcher_that_fails_is_skipped_with_an_alarm() {
    for fault in [LOOP, TRAP] {
        let (told, story) = story();
        let policy =
            WatcherPolicy::spawn(&host(), quick(watcher(&[("judge", fault)])), NOW, Vec::new(), told)
                .unwrap();
        for _ in 0..4 {
            assert!(matches!(policy.judge(NOW, &[watched(1)]).await, Err(Unjudged::Skipped(_))));
        }
        assert!(matches!(story.lock().unwrap().last(), Some(Supervised::Benched { .. })));
        assert_eq!(policy.status().calls, 3);
    }
}

#[tokio::test]
async fn a_watcher_judges_only_jobs_that_it_was_asked_about() {
    let (told, _) = story();
    let changes = [("judged", "(i64.store (i32.const 2048) (i64.const 99))")];
    let policy = WatcherPolicy::spawn(&host(), watcher(&changes), NOW, Vec::new(), told).unwrap();
    assert!(matches!(policy.judge(NOW, &[watched(1)]).await, Err(Unjudged::Skipped(_))));
    assert!(policy.status().last_strike.unwrap().contains("it judged job 99"));
}

fn starting(id: u64) -> StartingJob {
    StartingJob {
        id: JobId(id),
        user: "u".into(),
        project: "p".into(),
        needs: Resources::default(),
        time_limit_ms: None,
        node: "n".into(),
    }
}

#[tokio::test]
async fn a_fresh_watcher_is_told_what_is_started_and_not_over_if_it_wants_to_know() {
    let (told, _) = story();
    let spec = watcher(&[("wants", "(return (i32.const 4))")]);
    let policy = WatcherPolicy::spawn(&host(), spec, NOW, vec![starting(1)], told).unwrap();
    let wishes = Wishes { starts: true, ..Wishes::default() };
    assert_eq!(policy.wishes(NOW).await, Ok(wishes));
    let refused = Ok(Err(StartRefusal::NotNow("small".into())));
    assert_eq!(policy.may_start(NOW, &starting(2)).await, refused);
    policy.ended(NOW, JobId(1)).await.unwrap();
    assert_eq!(policy.may_start(NOW, &starting(2)).await, Ok(Ok(())));
    policy.started(NOW, starting(2)).await.unwrap();
    policy.reload(&host(), policy.spec()).unwrap();
    assert_eq!(policy.may_start(NOW, &starting(3)).await, refused);
    let (told, _) = story();
    let policy = WatcherPolicy::spawn(&host(), watcher(&[]), NOW, vec![starting(1)], told).unwrap();
    assert_eq!(policy.wishes(NOW).await, Ok(Wishes::default()));
    assert_eq!(policy.may_start(NOW, &starting(2)).await, Ok(Ok(())));
}

#[tokio::test]
async fn a_watcher_that_fails_when_it_is_asked_about_a_start_is_no_refusal() {
    let (told, _) = story();
    let spec = quick(watcher(&[("may-start", TRAP)]));
    let policy = WatcherPolicy::spawn(&host(), spec, NOW, Vec::new(), told).unwrap();
    for _ in 0..4 {
        assert!(policy.may_start(NOW, &starting(1)).await.is_err());
    }
    assert!(matches!(policy.status().state, PluginState::Benched { .. }));
}

#[tokio::test]
async fn a_watcher_warns_by_signals_that_there_are() {
    // A warning with the signal 99, in the place of the reason for a stop.
    let change = "(i32.store (i32.const 2056) (i32.const 1)) (i32.store (i32.const 2068) (i32.const 1)) \
                  (i32.store (i32.const 2072) (i32.const 99))";
    let (told, _) = story();
    let policy =
        WatcherPolicy::spawn(&host(), watcher(&[("judged", change)]), NOW, Vec::new(), told).unwrap();
    assert!(policy.judge(NOW, &[watched(1)]).await.is_err());
    assert!(policy.status().last_strike.unwrap().contains("there is no signal 99"));
}

fn wants(job: u64, ports: &[u16]) -> NetworkRequest {
    NetworkRequest {
        job: JobId(job),
        user: "u".into(),
        project: "p".into(),
        label: None,
        ports: ports.to_vec(),
        node: "n".into(),
    }
}

fn given(ports: &[(u16, u16)]) -> NetworkAttachment {
    NetworkAttachment { network: "small".into(), ports: ports.to_vec(), ..NetworkAttachment::default() }
}

#[tokio::test]
async fn a_network_policy_gives_each_port_once() {
    let (told, _) = story();
    let policy = NetworkPolicy::spawn(&host(), network(&[]), Vec::new(), told).unwrap();
    assert_eq!(policy.attach(NOW, &wants(1, &[80, 443])).await, Ok(given(&[(80, 20000), (443, 20001)])));
    assert_eq!(policy.attach(NOW, &wants(2, &[80])).await, Ok(given(&[(80, 20002)])));
    assert_eq!(policy.release(NOW, JobId(1)).await, Ok(()));
}

#[tokio::test]
async fn a_fresh_network_policy_is_told_what_is_attached() {
    let (told, _) = story();
    let attached = Attached { job: JobId(9), node: "n".into(), what: given(&[(80, 20041)]) };
    let policy = NetworkPolicy::spawn(&host(), network(&[]), vec![attached], told).unwrap();
    assert_eq!(policy.attach(NOW, &wants(1, &[80])).await, Ok(given(&[(80, 20042)])));
    policy.reload(&host(), policy.spec()).unwrap();
    assert_eq!(policy.attach(NOW, &wants(2, &[80])).await, Ok(given(&[(80, 20043)])));
}

#[tokio::test]
async fn a_port_that_is_taken_is_not_given_again() {
    let (told, _) = story();
    let changes = [("attach", "(global.set $next (i32.const 30000))")];
    let policy = NetworkPolicy::spawn(&host(), network(&changes), Vec::new(), told).unwrap();
    assert_eq!(policy.attach(NOW, &wants(1, &[80])).await, Ok(given(&[(80, 30000)])));
    let refusal = policy.attach(NOW, &wants(2, &[80])).await.unwrap_err();
    assert!(
        matches!(&refusal, NetworkRefusal::NotNow(words) if words.contains("port 30000 of node n is not free"))
    );
    assert_eq!(policy.status().strikes, 1);
    policy.release(NOW, JobId(1)).await.unwrap();
    assert_eq!(policy.attach(NOW, &wants(2, &[80])).await, Ok(given(&[(80, 30000)])));
}

#[tokio::test]
async fn jobs_wait_while_the_network_policy_is_benched() {
    let (told, _) = story();
    let policy =
        NetworkPolicy::spawn(&host(), quick(network(&[("attach", TRAP)])), Vec::new(), told).unwrap();
    for _ in 0..5 {
        assert!(matches!(policy.attach(NOW, &wants(1, &[])).await, Err(NetworkRefusal::NotNow(_))));
    }
    assert!(matches!(policy.status().state, PluginState::Benched { .. }));
}
