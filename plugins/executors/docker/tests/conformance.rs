//! The executor through the conformance kit, on a real engine.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use berth_executor_api::{
    Launch, Resources, SharedExecutor,
    conformance::{Fixture, Outcome, Site, run},
};
use berth_executor_docker::{DockerConfig, DockerExecutor};
use berth_testbed::{IMAGE_PLAIN, docker_engine};
use support::proxy::Proxy;

struct Docker {
    config: DockerConfig,
    proxy: Arc<Proxy>,
    jobs: PathBuf,
}

impl Docker {
    async fn start(&self) -> SharedExecutor {
        Arc::new(DockerExecutor::start(self.config.clone()).await.unwrap())
    }
}

#[async_trait]
impl Fixture for Docker {
    async fn executor(&self) -> SharedExecutor {
        self.start().await
    }

    async fn crash(&self) {}

    async fn restart(&self) -> SharedExecutor {
        self.start().await
    }

    async fn cut(&self) -> bool {
        self.proxy.cut();
        true
    }

    async fn mend(&self) {
        self.proxy.mend();
    }

    fn site(&self) -> Site {
        Site {
            cluster: self.config.cluster.clone(),
            identity: support::someone(),
            directory: self.jobs.to_str().unwrap().into(),
            image: Some(IMAGE_PLAIN.into()),
            resources: Resources { cpu_millis: 10, memory_bytes: 0, gpus: 0 },
        }
    }

    fn spoil(&self, launch: &mut Launch) -> bool {
        let mut spec = (*launch.spec).clone();
        spec.extensions.insert("docker.restart".into(), "always".into());
        launch.spec = Arc::new(spec);
        true
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(300)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn the_docker_executor_conforms() {
    let engine = tokio::task::spawn_blocking(docker_engine).await.unwrap();
    let folder = support::folder();
    let proxy = Proxy::new(folder.path(), &engine.socket);
    let config = support::config(&support::own_cluster(), folder.path(), &proxy.socket);
    let fixture = Docker { config, proxy, jobs: folder.path().join("jobs") };
    let report = run(&fixture).await;
    report.assert_passed();
    let lacking: Vec<_> =
        report.cases.iter().filter(|case| matches!(case.outcome, Outcome::NotSupported(_))).collect();
    // The time limit is Berth's own.
    assert!(lacking.len() <= 1, "{report}");
}
