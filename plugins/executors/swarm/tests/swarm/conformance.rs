//! The executor through the conformance kit, on a real Swarm.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use berth_executor_api::{
    Launch, Resources, SharedExecutor,
    conformance::{Fixture, Outcome, Site, run},
};
use berth_executor_swarm::SwarmExecutor;
use berth_testbed::{IMAGE_PLAIN, OwnEngine, swarm};

use crate::scene;

struct Swarm {
    engine: OwnEngine,
    folder: tempfile::TempDir,
}

impl Swarm {
    fn start(&self) -> SharedExecutor {
        let mut config = scene::config(&self.engine);
        config.engine.answer_within = Duration::from_secs(5);
        Arc::new(SwarmExecutor::start(config))
    }
}

#[async_trait]
impl Fixture for Swarm {
    async fn executor(&self) -> SharedExecutor {
        self.start()
    }

    async fn crash(&self) {}

    async fn restart(&self) -> SharedExecutor {
        self.start()
    }

    async fn cut(&self) -> bool {
        self.engine.freeze();
        true
    }

    async fn mend(&self) {
        self.engine.thaw();
    }

    fn site(&self) -> Site {
        Site {
            cluster: scene::CLUSTER.into(),
            identity: scene::me(),
            directory: self.folder.path().to_str().unwrap().into(),
            image: Some(IMAGE_PLAIN.into()),
            resources: Resources { cpu_millis: 10, memory_bytes: 0, gpus: 0 },
        }
    }

    fn spoil(&self, launch: &mut Launch) -> bool {
        let mut spec = (*launch.spec).clone();
        spec.image = Some("Not An Image".into());
        launch.spec = Arc::new(spec);
        true
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(240)
    }
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn the_swarm_executor_conforms() {
    let fixture = Swarm { engine: swarm(), folder: tempfile::tempdir().unwrap() };
    let report = run(&fixture).await;
    println!("{report}");
    report.assert_passed();
    let lacking: Vec<_> = report
        .cases
        .iter()
        .filter_map(|case| match case.outcome {
            Outcome::NotSupported(what) => Some(what),
            _ => None,
        })
        .collect();
    assert_eq!(lacking, ["time limit", "suspend", "suspend", "signal", "stats"], "{report}");
}
