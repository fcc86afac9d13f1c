//! The example through Berth's conformance kit, as any executor's author would run it.

use std::sync::Arc;

use async_trait::async_trait;
use berth_executor_api::{
    Identity, Launch, Resources, SharedExecutor,
    conformance::{Fixture, Site, run},
};
use berth_executor_detached::{Detached, Options};

struct Here {
    folder: tempfile::TempDir,
}

impl Here {
    fn make(&self) -> SharedExecutor {
        let options = Options { cpus: 64, ..Options::default() };
        Arc::new(Detached::new("detached", &self.folder.path().join("state"), &options).unwrap())
    }
}

#[async_trait]
impl Fixture for Here {
    async fn executor(&self) -> SharedExecutor {
        self.make()
    }

    async fn crash(&self) {}

    async fn restart(&self) -> SharedExecutor {
        self.make()
    }

    fn site(&self) -> Site {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let identity = Identity {
            user: "me".into(),
            uid,
            gid,
            groups: Vec::new(),
            home: None,
            email: None,
            roles: Vec::new(),
        };
        Site {
            cluster: "kit".into(),
            identity,
            directory: self.folder.path().join("jobs").to_str().unwrap().into(),
            image: None,
            resources: Resources { cpu_millis: 10, ..Resources::default() },
        }
    }

    fn spoil(&self, launch: &mut Launch) -> bool {
        launch.directory = "not/absolute".into();
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn detached_processes_conform() {
    let report = run(&Here { folder: tempfile::tempdir().unwrap() }).await;
    println!("{report}");
    report.assert_passed();
}
