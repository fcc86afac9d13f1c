//! The executor through the conformance kit, on a real cell.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use berth_executor_api::{
    Identity, Launch, Resources, SharedExecutor,
    conformance::{Fixture, Outcome, Site, run},
};
use berth_executor_sge::{SgeConfig, SgeExecutor};
use berth_testbed::{Cell, cell};

struct Sge {
    config: SgeConfig,
    cell: Cell,
    jobs: PathBuf,
}

impl Sge {
    fn start(&self) -> SharedExecutor {
        Arc::new(SgeExecutor::start(self.config.clone()).unwrap())
    }
}

#[async_trait]
impl Fixture for Sge {
    async fn executor(&self) -> SharedExecutor {
        self.start()
    }

    async fn crash(&self) {}

    async fn restart(&self) -> SharedExecutor {
        self.start()
    }

    async fn cut(&self) -> bool {
        self.cell.freeze();
        true
    }

    async fn mend(&self) {
        self.cell.thaw();
    }

    fn site(&self) -> Site {
        let identity = Identity {
            user: "nobody".into(),
            uid: 65534,
            gid: 65534,
            groups: Vec::new(),
            home: None,
            email: None,
            roles: Vec::new(),
        };
        Site {
            cluster: self.config.cluster.clone(),
            identity,
            directory: self.jobs.to_str().unwrap().into(),
            image: None,
            resources: Resources { cpu_millis: 10, memory_bytes: 0, gpus: 0 },
        }
    }

    fn spoil(&self, launch: &mut Launch) -> bool {
        let mut spec = (*launch.spec).clone();
        spec.extensions.insert("sge.resources".into(), "nonesuch=1".into());
        launch.spec = Arc::new(spec);
        true
    }

    fn looks_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(180)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and a Grid Engine cell"]
async fn the_sge_executor_conforms() {
    let cell = tokio::task::spawn_blocking(|| cell(16)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Users have to get through to their jobs.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let mut config = SgeConfig::new("kit", folder.path().join("state"));
    config.binaries.clone_from(&cell.binaries);
    config.environment.clone_from(&cell.environment);
    config.queues = vec!["all.q".into()];
    config.look_every = Duration::from_millis(400);
    config.answer_within = Duration::from_secs(5);
    config.settle = Duration::from_secs(3);
    let fixture = Sge { config, cell, jobs: folder.path().join("jobs") };
    let report = run(&fixture).await;
    println!("{report}");
    report.assert_passed();
    let lacking: Vec<_> =
        report.cases.iter().filter(|case| matches!(case.outcome, Outcome::NotSupported(_))).collect();
    // The time limit is Berth's own; SGE sends no signals of choice, tells no use of what runs, and is not asked to
    // suspend anything, which two cases are about.
    assert!(lacking.len() <= 5, "{report}");
}
