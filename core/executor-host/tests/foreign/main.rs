//! Executors from shared libraries: a good one, and those that keep the contract badly.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod faults;
mod sessions;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use berth_executor_api::{
    Action, Attempt, AttemptName, AttemptState, Command, Executor, Identity, JobId, Launch, LaunchSpec,
    Launched, LogQuery, Report, Resources, Stream, Truth, abi::Settings,
};
use berth_executor_host::{ForeignExecutor, LibraryError};
use futures::StreamExt;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn settings(settings: Value) -> Settings {
    Settings { cluster: "kit".into(), name: "theirs".into(), state: "/nowhere".into(), settings }
}

/// The example of this package, which cargo builds with its tests.
fn exported_fake() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().join("examples");
    let library = folder.join("libexported_fake.so");
    assert!(library.exists(), "{library:?} is missing; choose tests by their names, not by --test");
    library
}

async fn load(options: Value) -> Result<ForeignExecutor, LibraryError> {
    ForeignExecutor::load(&exported_fake(), &settings(options), PATIENCE).await
}

fn launch(job: u64, spec: &Arc<LaunchSpec>) -> Launch {
    let attempt = AttemptName::new("kit", JobId(job), Attempt { number: 1, returned: 0 });
    Launch {
        directory: format!("/jobs/{attempt}"),
        stdout: format!("/jobs/{attempt}/stdout"),
        stderr: format!("/jobs/{attempt}/stderr"),
        attempt,
        job: JobId(job),
        attempt_number: 1,
        task: None,
        node: None,
        array_directory: None,
        granted: Vec::new(),
        spec: Arc::clone(spec),
    }
}

fn spec(extensions: &[(&str, &str)]) -> Arc<LaunchSpec> {
    let identity = Identity {
        user: "ann".into(),
        uid: 1000,
        gid: 1000,
        groups: vec![],
        home: None,
        email: None,
        roles: vec![],
    };
    Arc::new(LaunchSpec {
        cluster: "kit".into(),
        name: "n\u{e4}me \"quoted\"\n".into(),
        project: "default".into(),
        identity,
        as_root: false,
        command: Command::Argv(vec!["simulated".into()]),
        env: BTreeMap::new(),
        workdir: None,
        image: None,
        resources: Resources { cpu_millis: 50, ..Resources::default() },
        enforce_cpu: false,
        exclusive_cpus: false,
        time_limit: Some(Duration::from_millis(90_500)),
        grace: Duration::from_secs(5),
        mounts: vec![],
        ports: vec![],
        network: None,
        scratch_bytes: 0,
        files: vec![],
        labels: BTreeMap::new(),
        constraints: BTreeMap::new(),
        interactive: false,
        extensions: extensions.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_from_a_library_is_one_like_any_other() {
    let executor = load(json!({})).await.unwrap();
    assert_eq!(executor.describe().name, "exported");
    assert_eq!(executor.capacity().await.unwrap().len(), 1);
    let mut reports = executor.reports();
    let shared = spec(&[("fake.exit", "3"), ("fake.output", "hello")]);
    let batch = [launch(1, &shared), launch(2, &shared), launch(3, &spec(&[("fake.refuse", "no")]))];
    let answers = executor.launch(&batch).await.unwrap();
    assert_eq!(answers[..2], [Launched::Taken, Launched::Taken]);
    assert!(matches!(&answers[2], Launched::Refused { .. }), "{answers:?}");
    let ended = async {
        loop {
            let Some(Report::Attempt(report)) = reports.next().await else { continue };
            if let (true, AttemptState::Exited(exit)) = (report.attempt == batch[1].attempt, report.state) {
                return exit;
            }
        }
    };
    let exit = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(exit.code, Some(3));
    let query = LogQuery { stream: Stream::Stdout, tail_bytes: None, follow: false, since: None };
    let log: Vec<_> = executor.logs(&batch[1].attempt, query).await.unwrap().collect().await;
    let log: Vec<u8> = log.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(String::from_utf8(log).unwrap(), "hello");
    let truths = executor.reconcile(&[batch[1].attempt.clone(), batch[2].attempt.clone()]).await.unwrap();
    assert!(matches!(&truths[..], [Truth::Known(_), Truth::Absent]), "{truths:?}");
    let kill = Action::Terminate { grace: Duration::ZERO };
    executor.control(&batch[0].attempt, kill).await.unwrap();
    executor.remove(&[batch[1].attempt.clone()]).await.unwrap();
    assert!(!executor.attempts().await.unwrap().contains(&batch[1].attempt));
    assert!(!executor.cleanup(true).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_keep_their_kind() {
    let executor = load(json!({})).await.unwrap();
    let nobody = AttemptName::new("kit", JobId(9), Attempt { number: 1, returned: 0 });
    let query = LogQuery { stream: Stream::Stdout, tail_bytes: None, follow: false, since: None };
    let error = executor.logs(&nobody, query).await.err().unwrap();
    let unknown = berth_executor_api::ExecutorError::UnknownAttempt {
        backend: "theirs".into(),
        attempt: nobody.to_string(),
    };
    assert_eq!(error.to_string(), unknown.to_string());
}
