//! Libraries at fault: each is an error that says what is wrong, and nothing worse.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use berth_executor_api::{Executor, ExecutorError};
use berth_executor_host::{ForeignExecutor, HostEvent, LibraryError, Limits, Registry};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::{PATIENCE, launch, load, settings, spec};

/// For what is known to hang.
const SOON: Duration = Duration::from_millis(300);

/// The C library with this fault.
fn broken(fault: &str) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libbroken.so");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let include = here.join("../../plugin-api/executor/include");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&library)
        .arg(format!("-DFAULT={fault}"))
        .arg("-I")
        .arg(include)
        .arg(here.join("tests/foreign/broken.c"))
        .status()
        .unwrap();
    assert!(compiled.success());
    std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o755)).unwrap();
    (folder, library)
}

async fn load_broken(fault: &str, within: Duration) -> (TempDir, Result<ForeignExecutor, LibraryError>) {
    let (folder, library) = broken(fault);
    let loaded = ForeignExecutor::load(&library, &settings(json!({})), within).await;
    (folder, loaded)
}

fn failed(loaded: Result<ForeignExecutor, LibraryError>) -> LibraryError {
    loaded.err().expect("it was not to be loaded")
}

#[tokio::test]
async fn another_version_is_named_with_ones_own() {
    let (_folder, loaded) = load_broken("WRONG_VERSION", PATIENCE).await;
    let error = failed(loaded);
    assert!(matches!(error, LibraryError::WrongVersion { theirs: 7, ours: 1, .. }), "{error}");
    assert!(error.to_string().contains("version 7") && error.to_string().contains("version 1"), "{error}");
}

#[tokio::test]
async fn what_it_does_not_export_is_named() {
    for (fault, symbol) in [("NO_VERSION", "berth_executor_abi_version"), ("NO_CALL", "berth_executor_call")]
    {
        let (_folder, loaded) = load_broken(fault, PATIENCE).await;
        let error = failed(loaded);
        assert!(
            matches!(&error, LibraryError::NoSymbol { symbol: missing, .. } if missing == symbol),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_no_library_is_refused_in_the_loaders_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.so");
    std::fs::write(&file, "no library").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    for path in [file, folder.path().join("nowhere.so")] {
        let error = failed(ForeignExecutor::load(&path, &settings(json!({})), PATIENCE).await);
        assert!(matches!(error, LibraryError::NotOpened { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn a_library_that_others_can_write_is_not_opened() {
    let (_folder, library) = broken("SILENT");
    std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o775)).unwrap();
    let error = failed(ForeignExecutor::load(&library, &settings(json!({})), PATIENCE).await);
    assert!(matches!(error, LibraryError::NotSafe { mode: 0o775, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_start_is_given_up_in_time() {
    let (_folder, loaded) = load_broken("BLOCKS_AT_START", SOON).await;
    assert!(matches!(failed(loaded), LibraryError::NoAnswer { .. }));
    let library = crate::exported_fake();
    let hangs = ForeignExecutor::load(&library, &settings(json!({ "fault": "hangs-at-start" })), SOON).await;
    assert!(matches!(failed(hangs), LibraryError::NoAnswer { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_refuses_to_start_or_panics_there_says_so() {
    for (fault, words) in [
        ("refuses-to-start", "there is no such back end"),
        ("panics-at-start", "it was to panic at its start"),
    ] {
        let error = failed(load(json!({ "fault": fault })).await);
        assert!(matches!(error, LibraryError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let unread = failed(load(json!({ "falt": "none" })).await);
    assert!(unread.to_string().contains("unknown field `falt`"), "{unread}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_an_error_of_the_call_that_it_was_in() {
    let executor = load(json!({ "fault": "panics-in-capacity" })).await.unwrap();
    for _ in 0..2 {
        let error = executor.capacity().await.err().unwrap();
        assert!(
            matches!(&error, ExecutorError::Broken { words, .. } if words == "it was to panic in capacity")
        );
    }
    assert!(executor.attempts().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_makes_no_sense_is_an_error_of_its_call() {
    for (fault, words) in
        [("NONSENSE", "makes no sense"), ("WRONG_STATUS", "status 77"), ("HUGE", "too long")]
    {
        let (_folder, loaded) = load_broken(fault, PATIENCE).await;
        let error = loaded.unwrap().attempts().await.err().unwrap();
        assert!(
            matches!(&error, ExecutorError::Broken { words: said, .. } if said.contains(words)),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_completed_twice_is_completed_once() {
    let (_folder, loaded) = load_broken("TWICE", PATIENCE).await;
    let executor = loaded.unwrap();
    for _ in 0..3 {
        assert!(executor.attempts().await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_return_from_a_call_takes_no_more_of_them_and_holds_up_nobody() {
    let (_folder, loaded) = load_broken("BLOCKS_IN_CALL", PATIENCE).await;
    let executor = loaded.unwrap();
    let mut refused = None;
    for _ in 0..2000 {
        // Each is given up at once, as by a caller whose time is over.
        let given_up = tokio::time::timeout(Duration::ZERO, executor.attempts()).await;
        if let Ok(answer) = given_up {
            refused = answer.err();
            break;
        }
    }
    let error = refused.expect("calls pile up without end");
    assert!(
        matches!(&error, ExecutorError::Broken { words, .. } if words.contains("no more calls")),
        "{error}"
    );
}

/// What the registry tells of a library with this fault, and of another executor beside it.
async fn supervised(fault: &str) -> (TempDir, Registry, tokio::sync::mpsc::Receiver<HostEvent>) {
    let (folder, loaded) = load_broken(fault, PATIENCE).await;
    let (mut registry, events) = Registry::new(16);
    let limits = Limits { call: SOON, reconcile: SOON, launch: SOON, ..Limits::default() };
    registry.add("broken", std::sync::Arc::new(loaded.unwrap()), limits, Handle::current()).unwrap();
    let good = load(json!({})).await.unwrap();
    registry.add("good", std::sync::Arc::new(good), limits, Handle::current()).unwrap();
    (folder, registry, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_never_answers_is_away_and_the_others_go_on() {
    let (_folder, registry, mut events) = supervised("SILENT").await;
    let (mut away, mut answered) = (false, false);
    registry.get("good").unwrap().launch(vec![launch(1, &spec(&[]))]);
    let seen = async {
        while !(away && answered) {
            match events.recv().await.unwrap() {
                HostEvent::Away { executor, words, .. } => {
                    assert_eq!(&*executor, "broken");
                    assert!(words.contains("did not answer capacity"), "{words}");
                    away = true;
                }
                HostEvent::LaunchAnswered { executor, answer, .. } => {
                    assert_eq!(&*executor, "good");
                    assert!(answer.is_ok(), "{answer:?}");
                    answered = true;
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
}
