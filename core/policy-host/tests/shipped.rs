//! The policies that ship with Berth, and those that are bad on purpose, as their compiler made them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // What goes wrong here is to fail the test.

mod support;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use berth_model::{Identity, JobId, Resources, UtcMs};
use berth_policy_host::{
    AdmitPolicy, AdmitRefusal, AdmitRequest, AuthPolicy, AuthSettings, CheckSettings, Credentials, Denial,
    Edit, Field, NotAdmitted, Occasion, PluginState, PolicyKind, PolicySource, PolicySpec, SchedulerPolicy,
    Unanswered, Unjudged, WatchedJob, WatcherPolicy,
};
use support::{
    daemon::{Answered, Daemon},
    host,
};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/dist");
const BAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/dist");

fn from(folder: &str, name: &str, kind: PolicyKind) -> PolicySpec {
    let file = PathBuf::from(folder).join(name).with_extension("wasm");
    let mut spec = PolicySpec::new(name, kind, PolicySource::File(file));
    spec.limits.call = Duration::from_millis(100);
    spec.limits.memory_bytes = spec.limits.memory_bytes.min(256 << 20);
    spec.grants.log = true;
    spec
}

fn bad(name: &str) -> PolicySpec {
    from(BAD, name, PolicyKind::Scheduler)
}

fn fifo() -> PolicySpec {
    from(SHIPPED, "fifo", PolicyKind::Scheduler)
}

#[test]
fn every_shipped_policy_passes_the_check() {
    let mut checked = Vec::new();
    for entry in fs::read_dir(SHIPPED).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            // The settings that have to be given.
            let must = match name {
                "max-lifespan" => Some(("max", "1h")),
                "idle" => Some(("for", "1h")),
                "disk-quota" => Some(("max", "1G")),
                "ldap" => Some(("users", "ou=people,dc=example,dc=org")),
                _ => None,
            };
            let must = must.map(|(key, value)| (key.to_owned(), value.to_owned()));
            let settings = CheckSettings { settings: must.into_iter().collect(), ..CheckSettings::default() };
            let report = host().check(name, &fs::read(&path).unwrap(), &settings);
            assert!(report.passed(), "{name}: {:#?}", report.findings);
            checked.push(name.to_owned());
        }
    }
    checked.sort();
    assert_eq!(
        checked,
        [
            "backfill",
            "bridge",
            "disk-quota",
            "fairshare",
            "fifo",
            "idle",
            "isolated",
            "ldap",
            "local",
            "max-lifespan",
            "priority",
            "rules"
        ]
    );
}

#[test]
fn shipped_schedulers_pass_the_check_with_their_other_settings_too() {
    let modes =
        [("mode", "conservative"), ("order", "priority"), ("default-time-limit", "1h"), ("depth", "1")];
    let orders = ["sjf", "wfp3", "unicep", "f1"].map(|order| ("order", order));
    let fair =
        [("method", "shares"), ("method", "tree"), ("use", "window"), ("advance", "0"), ("compat", "true")];
    let backfills = modes.map(|setting| ("backfill", setting));
    let others = orders.map(|setting| ("priority", setting)).into_iter();
    let others = others.chain(fair.map(|setting| ("fairshare", setting)));
    for (name, (key, value)) in backfills.into_iter().chain(others) {
        let bytes = fs::read(PathBuf::from(SHIPPED).join(name).with_extension("wasm")).unwrap();
        let settings = vec![(key.to_owned(), value.to_owned())];
        let report = host().check(name, &bytes, &CheckSettings { settings, ..CheckSettings::default() });
        assert!(report.passed(), "{name} with {key} = {value}: {:#?}", report.findings);
    }
}

#[test]
fn no_bad_scheduler_passes_the_check() {
    for (name, words) in [
        ("huge-answer", "its answer is larger than 16777216 bytes"),
        ("loops", "it took more than 500000000 units of fuel"),
        ("nonsense", "is not pending"),
        ("overcommits", "there is no room for job"),
        ("refuses-settings", "it failed at its settings: it refuses its settings"),
        ("traps", "it trapped: "),
        ("traps-later", "it trapped: "),
        ("twice", "job 1 is in it twice"),
        ("wants-too-much", "wants key-value, which no scheduler policy can have"),
    ] {
        let bytes = fs::read(PathBuf::from(BAD).join(name).with_extension("wasm")).unwrap();
        let report = host().check(name, &bytes, &CheckSettings::default());
        let problems: Vec<_> = report.findings.iter().filter(|finding| !finding.ok).collect();
        assert!(matches!(&problems[..], [problem] if problem.words.contains(words)), "{name}: {problems:#?}");
    }
}

#[test]
fn a_bad_scheduler_is_benched_and_jobs_start_all_the_same() {
    for (name, words) in [
        ("loops", "it took longer than 100ms"),
        ("traps", "it trapped: wasm trap: wasm `unreachable` instruction executed"),
        ("huge-answer", "its answer is larger than 16777216 bytes"),
    ] {
        let mut spec = bad(name);
        // The huge answer takes its time to be made.
        spec.limits.call *= if name == "huge-answer" { 100 } else { 1 };
        let mut daemon = Daemon::start(&host(), spec);
        daemon.submit([7, 3, 5]);
        assert_eq!(daemon.starts(), [3, 5], "{name}");
        assert_eq!(daemon.story(), ["struck", "struck", "struck", "benched"], "{name}");
        assert_eq!(daemon.last_words(), words, "{name}");
        daemon.reload(fifo());
        assert_eq!(daemon.starts(), [3, 5]);
        assert_eq!(daemon.policy.status().version, "fifo 0.1.0");
    }
}

#[test]
fn a_scheduler_that_takes_all_memory_is_stopped_at_its_limit() {
    let mut spec = bad("grows");
    spec.limits.memory_bytes = 16 << 20;
    spec.limits.call = Duration::from_secs(60);
    let mut daemon = Daemon::start(&host(), spec);
    daemon.submit([1]);
    assert_eq!(daemon.ask(), Answered::NeedsFullState);
    assert_eq!(daemon.last_words(), "it wanted more than 16777216 bytes of memory");
}

#[test]
fn a_bad_version_never_takes_over_from_a_good_one() {
    let mut daemon = Daemon::start(&host(), fifo());
    daemon.submit([7, 3, 5]);
    assert_eq!(daemon.starts(), [3, 5]);
    for name in ["nonsense", "overcommits", "twice", "traps", "loops"] {
        daemon.reload(bad(name));
        assert_eq!(daemon.starts(), [3, 5], "{name}");
        assert_eq!(daemon.story().pop(), Some("reload failed"), "{name}");
    }
    for name in ["refuses-settings", "wants-too-much"] {
        assert!(daemon.policy.reload(&host(), bad(name)).is_err(), "{name}");
    }
    let status = daemon.policy.status();
    assert_eq!(
        (status.version.as_str(), status.state, status.strikes_total),
        ("fifo 0.1.0", PluginState::Active, 0)
    );
}

#[test]
fn a_version_that_traps_later_is_rolled_back() {
    let mut daemon = Daemon::start(&host(), fifo());
    daemon.submit([7, 3, 5]);
    daemon.reload(bad("traps-later"));
    for _ in 0..6 {
        assert_eq!(daemon.starts(), [3, 5]);
    }
    assert_eq!(daemon.story(), ["reloaded", "struck", "rolled back"]);
    assert_eq!(daemon.policy.status().version, "fifo 0.1.0");
}

#[test]
fn settings_that_a_policy_refuses_are_told_at_once() {
    let error = SchedulerPolicy::spawn(&host(), bad("refuses-settings"), |_| {}).unwrap_err();
    assert!(error.to_string().starts_with("refuses-settings refuses its settings: "), "{error}");
}

#[tokio::test]
async fn an_auth_policy_that_traps_lets_nobody_in() {
    let spec = from(BAD, "auth-traps", PolicyKind::Auth);
    let policy = AuthPolicy::spawn(&host(), spec, &AuthSettings::default(), Arc::new(|_| {})).unwrap();
    for _ in 0..4 {
        let denial = policy.identify(UtcMs(1), &Credentials::UnixUser(0)).await.unwrap_err();
        assert!(matches!(denial, Denial::Unavailable(_)), "{denial:?}");
    }
    assert!(matches!(policy.status().state, PluginState::Benched { .. }));
}

#[tokio::test]
async fn a_watcher_that_loops_is_skipped() {
    let spec = from(BAD, "watcher-loops", PolicyKind::Watcher);
    let policy = WatcherPolicy::spawn(&host(), spec, UtcMs(0), Vec::new(), Arc::new(|_| {})).unwrap();
    let job = WatchedJob {
        id: JobId(1),
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
    };
    for _ in 0..4 {
        let judged = policy.judge(UtcMs(1), std::slice::from_ref(&job)).await;
        assert!(matches!(judged, Err(Unjudged::Skipped(_))), "{judged:?}");
    }
    assert_eq!(policy.status().calls, 3);
}

fn odd(does: &str) -> AdmitPolicy {
    let mut spec = from(BAD, "admit-odd", PolicyKind::Admit);
    spec.settings = vec![("does".to_owned(), does.to_owned())];
    AdmitPolicy::spawn(&host(), spec, Arc::new(|_| ())).unwrap()
}

fn asked(changeable: Option<Vec<String>>) -> AdmitRequest {
    AdmitRequest {
        occasion: Occasion::Submission,
        by: "ann".into(),
        owner: Identity {
            user: "ann".into(),
            uid: 7,
            gid: 7,
            groups: vec![],
            home: None,
            email: None,
            roles: vec![],
        },
        projects: vec!["rna".into()],
        fields: vec![Field { name: "labels.seen".into(), values: vec!["4".into()] }],
        variables: vec![],
        changeable,
    }
}

#[tokio::test]
async fn a_filter_sees_the_fields_of_a_job_and_sets_some() {
    let edits = odd("labels").admit(UtcMs(1), &asked(None)).await.unwrap();
    let field = Field { name: "labels.seen".into(), values: vec!["5".into()] };
    assert_eq!(edits, [Edit { field, words: "it has been seen".into() }]);
}

#[tokio::test]
async fn a_filter_that_fails_or_breaks_its_contract_is_struck_and_benched() {
    for (does, words) in [
        ("loops", "took longer than"),
        ("traps", "trapped"),
        ("root", "it made a job of root's that was none"),
        ("unknown", "it set \"colour\", and jobs have no such field"),
    ] {
        let policy = odd(does);
        for _ in 0..3 {
            let failed = policy.admit(UtcMs(1), &asked(None)).await.unwrap_err();
            let NotAdmitted::Failed(Unanswered::Failed { fault, .. }) = failed else {
                panic!("{does}: {failed:?}")
            };
            assert!(fault.to_string().contains(words), "{does}: {fault}");
        }
        let benched = policy.admit(UtcMs(1), &asked(None)).await.unwrap_err();
        assert!(matches!(benched, NotAdmitted::Failed(Unanswered::Benched { .. })), "{does}: {benched:?}");
        assert!(matches!(policy.status().state, PluginState::Benched { .. }), "{does}");
    }
}

#[tokio::test]
async fn a_filter_that_says_no_is_not_struck() {
    let policy = odd("not-now");
    let refused = policy.admit(UtcMs(1), &asked(None)).await.unwrap_err();
    let words = "the site is being rearranged".to_owned();
    assert_eq!(refused, NotAdmitted::Refused(AdmitRefusal::NotNow(words)));
    assert_eq!(policy.status().strikes_total, 0);
}
