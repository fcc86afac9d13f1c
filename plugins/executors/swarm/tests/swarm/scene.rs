//! What the tests share.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use berth_docker_engine::Endpoint;
use berth_executor_api::{
    Attempt, AttemptName, AttemptReport, AttemptState, Command, Exit, Identity, JobId, Launch, LaunchSpec,
    Launched, NodeState, Report, Resources, SharedExecutor, Truth,
};
use berth_executor_swarm::{SwarmConfig, SwarmExecutor};
use berth_testbed::{Engine, IMAGE_PLAIN};
use futures::{StreamExt, stream::BoxStream};
use tokio::time::{sleep, timeout};

pub const CLUSTER: &str = "test";
/// Longer than anything takes on a machine that is busy elsewhere.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn me() -> Identity {
    Identity {
        user: "someone".into(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: Vec::new(),
        home: None,
        email: None,
        roles: Vec::new(),
    }
}

pub fn config(engine: &Engine) -> SwarmConfig {
    let mut config = SwarmConfig::new(CLUSTER);
    config.engine.endpoint = Endpoint::Unix(engine.socket.clone());
    config.look_at_least_every = Duration::from_millis(500);
    config
}

/// An executor with the reports that it has given so far.
pub struct Scene {
    pub executor: SharedExecutor,
    reports: BoxStream<'static, Report>,
    /// Those that nobody has waited for yet.
    kept: Vec<Report>,
    folder: tempfile::TempDir,
    jobs: u64,
}

impl Scene {
    pub fn new(config: SwarmConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let executor: SharedExecutor = Arc::new(SwarmExecutor::start(config));
        Self { reports: executor.reports(), kept: Vec::new(), executor, folder, jobs: 0 }
    }

    /// The same directory of jobs with another executor, as after a crash.
    pub fn again(self, config: SwarmConfig) -> Self {
        let Self { folder, jobs, executor, reports, .. } = self;
        drop((executor, reports));
        let executor: SharedExecutor = Arc::new(SwarmExecutor::start(config));
        Self { reports: executor.reports(), kept: Vec::new(), executor, folder, jobs }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The next job, a shell's work, on whatever node Swarm likes.
    pub fn shell(&mut self, script: &str) -> Launch {
        self.shell_with(script, |_| ())
    }

    pub fn shell_with(&mut self, script: &str, change: impl FnOnce(&mut LaunchSpec)) -> Launch {
        self.jobs += 1;
        let job = JobId(self.jobs);
        let attempt = AttemptName::new(CLUSTER, job, Attempt { number: 1, returned: 0 });
        let directory = format!("{}/{job}", self.folder.path().display());
        let mut spec = spec(script);
        change(&mut spec);
        Launch {
            attempt,
            job,
            attempt_number: 1,
            task: None,
            node: None,
            stdout: format!("{directory}/stdout"),
            stderr: format!("{directory}/stderr"),
            granted: Vec::new(),
            directory,
            array_directory: None,
            spec: Arc::new(spec),
        }
    }

    pub async fn launch(&self, launch: &Launch) -> Launched {
        let answer = self.executor.launch(std::slice::from_ref(launch)).await.unwrap();
        answer.into_iter().next().unwrap()
    }

    pub async fn start(&self, launch: &Launch) {
        assert_eq!(self.launch(launch).await, Launched::Taken);
    }

    /// What was reported so far is not waited for any more.
    pub fn forget_reports(&mut self) {
        self.kept.clear();
    }

    /// Waits for a report that is wanted, unless it has come already.
    pub async fn report(&mut self, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        if let Some(place) = self.kept.iter().position(&wanted) {
            return self.kept.remove(place);
        }
        let next = async {
            loop {
                let report = self.reports.next().await.unwrap();
                if wanted(&report) {
                    return report;
                }
                self.kept.push(report);
            }
        };
        let found = timeout(PATIENCE, next).await;
        found.unwrap_or_else(|_| panic!("no report of {what} among {:#?}", self.kept))
    }

    /// Waits for a report about an attempt.
    pub async fn told(
        &mut self,
        launch: &Launch,
        what: &str,
        wanted: impl Fn(&AttemptReport) -> bool,
    ) -> AttemptReport {
        let about = |report: &Report| match report {
            Report::Attempt(report) => report.attempt == launch.attempt && wanted(report),
            _ => false,
        };
        match self.report(what, about).await {
            Report::Attempt(report) => report,
            other => panic!("{other:?}"),
        }
    }

    pub async fn running(&mut self, launch: &Launch) -> AttemptReport {
        self.told(launch, "running", |report| report.state == AttemptState::Running).await
    }

    /// Waits for the report of its end.
    pub async fn end(&mut self, launch: &Launch) -> (Exit, AttemptReport) {
        let over = |report: &AttemptReport| matches!(report.state, AttemptState::Exited(_));
        let report = self.told(launch, "its end", over).await;
        match &report.state {
            AttemptState::Exited(exit) => (exit.clone(), report),
            other => panic!("{other:?}"),
        }
    }

    pub async fn truth(&self, launch: &Launch) -> Truth {
        let truths = self.executor.reconcile(std::slice::from_ref(&launch.attempt)).await.unwrap();
        truths.into_iter().next().unwrap()
    }

    /// How often the job has left a trace.
    pub fn runs(&self, launch: &Launch) -> usize {
        let trace = Path::new(&launch.directory).join("trace");
        std::fs::read_to_string(trace).map_or(0, |text| text.lines().count())
    }

    pub async fn node_is(&self, name: &str, state: NodeState) -> bool {
        let nodes = self.executor.capacity().await.unwrap();
        nodes.iter().any(|node| node.name == name && node.state == state)
    }
}

pub fn spec(script: &str) -> LaunchSpec {
    LaunchSpec {
        cluster: CLUSTER.into(),
        name: "job".into(),
        project: "default".into(),
        identity: me(),
        as_root: false,
        command: Command::Argv(["/bin/sh", "-c", script].map(str::to_owned).into()),
        env: BTreeMap::new(),
        workdir: None,
        image: Some(IMAGE_PLAIN.into()),
        resources: Resources { cpu_millis: 10, memory_bytes: 0, gpus: 0 },
        enforce_cpu: false,
        exclusive_cpus: false,
        time_limit: None,
        grace: Duration::from_secs(2),
        mounts: Vec::new(),
        ports: Vec::new(),
        network: None,
        scratch_bytes: 0,
        files: Vec::new(),
        labels: BTreeMap::new(),
        constraints: BTreeMap::new(),
        interactive: false,
        extensions: BTreeMap::new(),
    }
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !holds().await {
            sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} does not come to be"));
}
