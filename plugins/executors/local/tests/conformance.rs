//! The executor through the conformance kit, on real processes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{path::Path, sync::Mutex, time::Duration};

use async_trait::async_trait;
use berth_executor_api::{
    Launch, Resources, SharedExecutor,
    conformance::{Fixture, Outcome, Site, run},
};
use berth_executor_local::LocalExecutor;
use rustix::process::{Pid, Signal, kill_process};

struct Local {
    folder: tempfile::TempDir,
    /// A supervisor that stands still.
    stopped: Mutex<Option<Pid>>,
}

impl Local {
    async fn start(&self) -> SharedExecutor {
        let mut config = support::config(self.folder.path());
        config.answer_within = Duration::from_secs(1);
        std::sync::Arc::new(LocalExecutor::start(config).await.unwrap())
    }

    fn supervisor(folder: &Path) -> Pid {
        let pid = std::fs::read_to_string(folder.join("spool/lock")).unwrap();
        Pid::from_raw(pid.parse().unwrap()).unwrap()
    }
}

#[async_trait]
impl Fixture for Local {
    async fn executor(&self) -> SharedExecutor {
        self.start().await
    }

    async fn crash(&self) {}

    async fn restart(&self) -> SharedExecutor {
        self.start().await
    }

    async fn cut(&self) -> bool {
        let supervisor = Self::supervisor(self.folder.path());
        kill_process(supervisor, Signal::STOP).unwrap();
        *self.stopped.lock().unwrap() = Some(supervisor);
        true
    }

    async fn mend(&self) {
        if let Some(supervisor) = self.stopped.lock().unwrap().take() {
            kill_process(supervisor, Signal::CONT).unwrap();
        }
    }

    fn site(&self) -> Site {
        Site {
            cluster: support::CLUSTER.into(),
            identity: support::me(),
            directory: self.folder.path().join("jobs").to_str().unwrap().into(),
            image: None,
            resources: Resources { cpu_millis: 10, memory_bytes: 0, gpus: 0 },
        }
    }

    fn spoil(&self, launch: &mut Launch) -> bool {
        launch.directory = "not/absolute".into();
        true
    }
}

#[tokio::test]
async fn the_local_executor_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let report = run(&Local { folder, stopped: Mutex::new(None) }).await;
    report.assert_passed();
    let lacking: Vec<_> =
        report.cases.iter().filter(|case| matches!(case.outcome, Outcome::NotSupported(_))).collect();
    assert!(lacking.is_empty(), "{report}");
}
