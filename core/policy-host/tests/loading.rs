//! What is loaded, what is refused, and what is kept on disk.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // What goes wrong here is to fail the test.

mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use berth_policy_host::{
    Account, Accounts, AuthPolicy, AuthSettings, Capability, Credentials, HostAccounts, HostSettings,
    KeyValueStore, LoadError, LogLine, MemoryKeyValues, PolicyHost, PolicyKind, PolicySource, PolicySpec,
    SchedulerPolicy,
};
use support::{auth, component, host, scheduler, scheduler_wat, spec};

const BY_UID: &str = r#"(import "berth:policy/accounts@0.1.0" "by-uid" (func $by_uid (param i32 i32)))"#;
const GET: &str = r#"(import "berth:policy/key-value@0.1.0" "get" (func $get (param i32 i32 i32)))"#;
const WRITE: &str = r#"(import "berth:policy/log@0.1.0" "write" (func $write (param i32 i32 i32)))"#;

fn refused(spec: PolicySpec) -> String {
    host().load(spec).expect_err("it is refused").to_string()
}

#[test]
fn a_policy_says_who_it_is() {
    let loaded = host().load(scheduler("1.2.3", &[])).unwrap();
    assert_eq!((loaded.info().name.as_str(), loaded.info().version.as_str()), ("small", "1.2.3"));
    assert_eq!(loaded.imports(), []);
    assert_eq!(loaded.sha256().len(), 64);
    assert_eq!(loaded.title(), format!("small 1.2.3 ({})", &loaded.sha256()[..12]));
}

#[test]
fn what_is_not_granted_is_refused_with_the_key_that_grants_it() {
    let mut spec = auth(&[("import", BY_UID)]);
    assert_eq!(
        refused(spec.clone()),
        "small wants accounts, which is not granted; add \"accounts\" to auth.grants in berth.toml to grant it"
    );
    spec.grants.accounts = Some(Arc::new(HostAccounts));
    assert_eq!(host().load(spec).unwrap().imports(), [Capability::Accounts]);
}

#[test]
fn a_scheduler_gets_nothing_that_waits_even_if_it_is_granted() {
    let world = "world test { import berth:policy/key-value@0.1.0; export berth:policy/scheduler@0.1.0; }";
    let module = scheduler_wat("1", &[("import", GET)]);
    let mut spec = spec(PolicyKind::Scheduler, component(world, &module));
    spec.grants.key_value = Some(Arc::new(MemoryKeyValues::new(100)));
    assert_eq!(refused(spec), "small wants key-value, which no scheduler policy can have");
}

#[test]
fn an_import_from_elsewhere_is_refused_by_its_name() {
    let world = "world test { import now: func() -> u64; export berth:policy/scheduler@0.1.0; }";
    let module = scheduler_wat("1", &[("import", r#"(import "$root" "now" (func $now (result i64)))"#)]);
    let words = refused(spec(PolicyKind::Scheduler, component(world, &module)));
    assert!(words.starts_with("small imports now, which Berth does not have"), "{words}");
}

#[test]
fn what_is_no_policy_is_refused() {
    let of = |bytes: &[u8]| refused(spec(PolicyKind::Scheduler, bytes.to_vec()));
    for bytes in [&b"not a component"[..], b"", b"\0asm\x01\0\0\0"] {
        assert!(of(bytes).starts_with("small is not a WebAssembly component"), "{}", of(bytes));
    }
    let empty = wat::parse_str("(component)").unwrap();
    assert!(of(&empty).contains("it exports nothing"), "{}", of(&empty));
    let other =
        wat::parse_str(r#"(component (instance $i) (export "berth:policy/scheduler@9.0.0" (instance $i)))"#)
            .unwrap();
    assert!(
        of(&other)
            .contains("it exports berth:policy/scheduler@9.0.0, and one of berth:policy/scheduler@0.1.0")
    );
    let hollow =
        wat::parse_str(r#"(component (instance $i) (export "berth:policy/scheduler@0.1.0" (instance $i)))"#)
            .unwrap();
    assert!(of(&hollow).starts_with("small does not keep to its contract"), "{}", of(&hollow));
    let mut kind = scheduler("1", &[]);
    kind.kind = PolicyKind::Auth;
    assert_eq!(refused(kind), "small is of kind scheduler, but is configured as auth");
    let file = PolicySpec::new("gone", PolicyKind::Auth, PolicySource::File("/no/such/file.wasm".into()));
    assert_eq!(refused(file), "cannot read the policy /no/such/file.wasm");
}

#[test]
fn settings_that_are_refused_are_reported_at_once() {
    let mut spec = scheduler("1", &[]);
    spec.settings = vec![("no-such-key".to_owned(), "1".to_owned())];
    let error = SchedulerPolicy::spawn(&host(), spec, |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "small refuses its settings: no-such-key");
}

#[test]
fn a_policy_that_fails_when_asked_who_it_is_is_refused() {
    for fault in ["(unreachable)", "(loop $for_ever (br $for_ever))"] {
        let mut spec = scheduler("1", &[("describe", fault)]);
        spec.limits.call = Duration::from_millis(20);
        assert!(matches!(host().load(spec), Err(LoadError::Faulty { .. })));
    }
}

#[tokio::test]
async fn a_policy_uses_what_it_was_granted() {
    // Looks up the user and gives them the name that the host has for them.
    let look_up = "(call $by_uid (local.get $first) (i32.const 3072))";
    let named = "(call $text (i32.const 1028) (i32.load (i32.const 3080)) (i32.load (i32.const 3084)))";
    let mut spec = auth(&[("import", BY_UID), ("identify", look_up), ("identified", named)]);
    spec.grants.accounts = Some(Arc::new(HostAccounts));
    let policy = AuthPolicy::spawn(&host(), spec, &AuthSettings::default(), Arc::new(|_| {})).unwrap();
    let root = policy.identify(berth_model::UtcMs(1), &Credentials::UnixUser(0)).await.unwrap();
    assert_eq!(root.user, "root");
}

/// A name service that takes its time for everybody.
struct Slow;

impl Accounts for Slow {
    fn by_uid(&self, _: u32) -> Result<Option<Account>, String> {
        std::thread::sleep(Duration::from_millis(10));
        Ok(None)
    }

    fn by_name(&self, _: &str) -> Result<Option<Account>, String> {
        Ok(None)
    }

    fn groups_of(&self, _: &str) -> Result<Vec<u32>, String> {
        Ok(Vec::new())
    }

    fn group(&self, _: &str) -> Result<Option<u32>, String> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_call_is_not_prolonged_by_waiting_again_and_again() {
    let look_up = "(loop $again (call $by_uid (local.get $first) (i32.const 3072)) (br $again))";
    let mut spec = auth(&[("import", BY_UID), ("identify", look_up)]);
    spec.grants.accounts = Some(Arc::new(Slow));
    spec.limits.call = Duration::from_secs(3600);
    spec.limits.wait = Duration::from_millis(50);
    let policy = AuthPolicy::spawn(&host(), spec, &AuthSettings::default(), Arc::new(|_| {})).unwrap();
    assert!(policy.identify(berth_model::UtcMs(1), &Credentials::UnixUser(0)).await.is_err());
    assert_eq!(policy.status().last_strike.as_deref(), Some("it took longer than 50ms"));
}

/// A store that fails.
struct Broken;

impl KeyValueStore for Broken {
    fn get(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, String> {
        Err("the disk is full".to_owned())
    }

    fn set(&self, _: &str, _: &str, _: Vec<u8>) -> Result<bool, String> {
        Err("the disk is full".to_owned())
    }

    fn delete(&self, _: &str, _: &str) -> Result<(), String> {
        Err("the disk is full".to_owned())
    }

    fn keys(&self, _: &str, _: &str) -> Result<Vec<String>, String> {
        Err("the disk is full".to_owned())
    }
}

#[tokio::test]
async fn what_berth_cannot_do_is_not_held_against_the_policy() {
    let get = "(call $get (i32.const 16) (i32.const 5) (i32.const 3072))";
    let mut spec = auth(&[("import", GET), ("identify", get)]);
    spec.grants.key_value = Some(Arc::new(Broken));
    let policy = AuthPolicy::spawn(&host(), spec, &AuthSettings::default(), Arc::new(|_| {})).unwrap();
    for _ in 0..5 {
        let denial = policy.identify(berth_model::UtcMs(1), &Credentials::UnixUser(0)).await.unwrap_err();
        assert!(denial.to_string().contains("the disk is full"), "{denial}");
    }
    assert_eq!(policy.status().strikes_total, 0);
}

#[tokio::test]
async fn log_lines_are_bounded_in_number_and_length() {
    let lines = Arc::new(std::sync::Mutex::new(Vec::<LogLine>::new()));
    let kept = Arc::clone(&lines);
    let flood = "(local.set $second (i32.const 1000)) (loop $more (call $write (i32.const 2) (i32.const 16) (i32.const 5)) (local.set $second (i32.sub (local.get $second) (i32.const 1))) (br_if $more (local.get $second)))";
    let mut spec = auth(&[("import", WRITE), ("identify", flood)]);
    spec.grants.log = true;
    spec.grants.log_to = Some(Arc::new(move |line| kept.lock().unwrap().push(line)));
    spec.limits.log_lines = 7;
    spec.limits.words_bytes = 3;
    let policy = AuthPolicy::spawn(&host(), spec, &AuthSettings::default(), Arc::new(|_| {})).unwrap();
    policy.identify(berth_model::UtcMs(1), &Credentials::UnixUser(0)).await.unwrap();
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 7);
    assert_eq!((lines[0].level, lines[0].message.as_str()), (tracing::Level::WARN, "sma…"));
}

fn cached(folder: &Path) -> PolicyHost {
    PolicyHost::new(HostSettings { cache_dir: Some(folder.to_owned()) }).unwrap()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_compiled_policy_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    cached(&cache).load(scheduler("1", &[])).unwrap();
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    let [file] = &files(&cache)[..] else { panic!("one file") };
    let before = fs::metadata(file).unwrap().modified().unwrap();
    cached(&cache).load(scheduler("1", &[])).unwrap();
    assert_eq!(files(&cache).len(), 1);
    assert_eq!(fs::metadata(file).unwrap().modified().unwrap(), before, "it was not compiled again");
    cached(&cache).load(scheduler("2", &[])).unwrap();
    assert_eq!(files(&cache).len(), 2);
}

#[test]
fn a_damaged_file_is_compiled_anew() {
    let folder = tempfile::tempdir().unwrap();
    cached(folder.path()).load(scheduler("1", &[])).unwrap();
    let [file] = &files(folder.path())[..] else { panic!("one file") };
    let good = fs::read(file).unwrap();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [&flipped[..], &good[..good.len() / 2], b"", b"short"] {
        fs::write(file, damaged).unwrap();
        cached(folder.path()).load(scheduler("1", &[])).unwrap();
        assert_eq!(fs::read(file).unwrap(), good);
    }
}

#[test]
fn what_others_could_have_written_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    cached(folder.path()).load(scheduler("1", &[])).unwrap();
    let [file] = &files(folder.path())[..] else { panic!("one file") };
    fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
    cached(folder.path()).load(scheduler("1", &[])).unwrap();
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "it was written anew");

    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    cached(open.path()).load(scheduler("1", &[])).unwrap();
    assert_eq!(files(open.path()).len(), 0, "an open folder is not used");
}
