//! The executor through the conformance kit.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use berth_executor_api::{
    Launch, Resources, SharedExecutor,
    conformance::{Fixture, Outcome, Report, Site, run},
};
use berth_executor_kubernetes::{Access, KubernetesConfig, KubernetesExecutor, Namespace};
use berth_testbed_kubernetes::StandIn;

use crate::scene;

struct OnStandIn {
    stand_in: StandIn,
    folder: tempfile::TempDir,
}

impl OnStandIn {
    fn start(&self) -> SharedExecutor {
        Arc::new(KubernetesExecutor::start(scene::config(&self.stand_in, self.folder.path())))
    }
}

fn site(directory: &str) -> Site {
    Site {
        cluster: scene::CLUSTER.into(),
        identity: scene::someone(),
        directory: directory.into(),
        image: Some("busybox:1".into()),
        resources: Resources { cpu_millis: 10, memory_bytes: 8 << 20, gpus: 0 },
    }
}

fn spoil(launch: &mut Launch) -> bool {
    let mut spec = (*launch.spec).clone();
    spec.image = Some("Not An Image".into());
    launch.spec = Arc::new(spec);
    true
}

#[async_trait]
impl Fixture for OnStandIn {
    async fn executor(&self) -> SharedExecutor {
        self.start()
    }

    async fn crash(&self) {}

    async fn restart(&self) -> SharedExecutor {
        self.start()
    }

    async fn cut(&self) -> bool {
        self.stand_in.cut_off();
        true
    }

    async fn mend(&self) {
        self.stand_in.mend().await;
    }

    fn site(&self) -> Site {
        site(self.folder.path().to_str().unwrap())
    }

    fn spoil(&self, launch: &mut Launch) -> bool {
        spoil(launch)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(40)
    }
}

fn lacking(report: &Report) -> Vec<&'static str> {
    let one = |outcome: &Outcome| match outcome {
        Outcome::NotSupported(what) => Some(*what),
        _ => None,
    };
    report.cases.iter().filter_map(|case| one(&case.outcome)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubernetes_executor_conforms_on_a_stand_in() {
    let fixture = OnStandIn { stand_in: StandIn::start().await, folder: scene::folder() };
    let report = run(&fixture).await;
    println!("{report}");
    report.assert_passed();
    assert_eq!(lacking(&report), ["signal", "stats"], "{report}");
}

/// A real cluster. Its nodes have to see `BERTH_TEST_KUBERNETES_DIRECTORY` at the same path as this machine does.
struct OnCluster {
    kubeconfig: PathBuf,
    directory: String,
}

impl OnCluster {
    fn start(&self) -> SharedExecutor {
        let namespace = std::env::var("BERTH_TEST_KUBERNETES_NAMESPACE").unwrap_or_else(|_| "default".into());
        let mut config = KubernetesConfig::new(scene::CLUSTER, Namespace::new(&namespace).unwrap());
        config.access = Access::Kubeconfig { file: Some(self.kubeconfig.clone()), context: None };
        config.host_paths = vec![self.directory.clone().into()];
        Arc::new(KubernetesExecutor::start(config))
    }
}

#[async_trait]
impl Fixture for OnCluster {
    async fn executor(&self) -> SharedExecutor {
        self.start()
    }

    async fn crash(&self) {}

    async fn restart(&self) -> SharedExecutor {
        self.start()
    }

    fn site(&self) -> Site {
        site(&self.directory)
    }

    fn spoil(&self, launch: &mut Launch) -> bool {
        spoil(launch)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(300)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: BERTH_TEST_KUBECONFIG and BERTH_TEST_KUBERNETES_DIRECTORY"]
async fn the_kubernetes_executor_conforms_on_a_real_cluster() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let fixture = OnCluster {
        kubeconfig: variable("BERTH_TEST_KUBECONFIG").into(),
        directory: variable("BERTH_TEST_KUBERNETES_DIRECTORY"),
    };
    let report = run(&fixture).await;
    println!("{report}");
    report.assert_passed();
}
