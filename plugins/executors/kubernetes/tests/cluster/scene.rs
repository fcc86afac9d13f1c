//! What the tests share.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use berth_executor_api::{
    Attempt, AttemptName, AttemptReport, AttemptState, Command, Exit, Identity, JobId, Launch, LaunchSpec,
    Launched, LogQuery, Report, Resources, SharedExecutor, Stream, Truth,
};
use berth_executor_kubernetes::{Access, KubernetesConfig, KubernetesExecutor, Namespace};
use berth_testbed_kubernetes::StandIn;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use tokio::time::{sleep, timeout};

pub const CLUSTER: &str = "test";
pub const NAMESPACE: &str = "jobs";
/// Longer than anything takes on a machine that is busy elsewhere.
const PATIENCE: Duration = Duration::from_secs(120);

/// Nobody is root in a cluster who was not granted to be.
pub fn someone() -> Identity {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let own = |id: u32| if id == 0 { 4242 } else { id };
    Identity {
        user: "someone".into(),
        uid: own(uid),
        gid: own(gid),
        groups: Vec::new(),
        home: None,
        email: None,
        roles: Vec::new(),
    }
}

/// A folder that everybody can get into, as a shared file system is.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

pub fn config(stand_in: &StandIn, folder: &Path) -> KubernetesConfig {
    let mut config = KubernetesConfig::new(CLUSTER, Namespace::new(NAMESPACE).unwrap());
    config.access = Access::Server { url: stand_in.url(), ca: None, token_file: None };
    config.host_paths = vec![folder.to_owned()];
    config.answer_within = Duration::from_secs(10);
    config
}

/// An executor with the reports that it has given so far.
pub struct Scene {
    pub stand_in: StandIn,
    pub executor: SharedExecutor,
    pub config: KubernetesConfig,
    reports: BoxStream<'static, Report>,
    /// Those that nobody has waited for yet.
    kept: Vec<Report>,
    folder: tempfile::TempDir,
    jobs: u64,
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut KubernetesConfig)) -> Self {
        let (stand_in, folder) = (StandIn::start().await, folder());
        let mut config = config(&stand_in, folder.path());
        change(&mut config);
        let executor: SharedExecutor = Arc::new(KubernetesExecutor::start(config.clone()));
        let reports = executor.reports();
        Self { stand_in, executor, config, reports, kept: Vec::new(), folder, jobs: 0 }
    }

    /// Another executor takes the place of this one, as after a crash.
    pub fn again(&mut self) {
        let executor: SharedExecutor = Arc::new(KubernetesExecutor::start(self.config.clone()));
        self.reports = executor.reports();
        self.executor = executor;
        self.kept.clear();
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The next job, a shell's work.
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

    pub async fn start_shell(&mut self, script: &str) -> Launch {
        let launch = self.shell(script);
        self.start(&launch).await;
        launch
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
        match timeout(PATIENCE, next).await {
            Ok(report) => report,
            Err(_) => panic!("no report of {what}; there were {:#?}", self.kept),
        }
    }

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
        self.told(launch, "its start", |report| report.state == AttemptState::Running).await
    }

    pub async fn end(&mut self, launch: &Launch) -> (Exit, AttemptReport) {
        let is_end = |report: &AttemptReport| matches!(report.state, AttemptState::Exited(_));
        let report = self.told(launch, "its end", is_end).await;
        match &report.state {
            AttemptState::Exited(exit) => (exit.clone(), report),
            other => panic!("{other:?}"),
        }
    }

    /// Until its report has these words.
    pub async fn says(&mut self, launch: &Launch, words: &str) -> AttemptReport {
        let has = |report: &AttemptReport| report.message.as_ref().is_some_and(|said| said.contains(words));
        self.told(launch, words, has).await
    }

    pub async fn truth(&self, launch: &Launch) -> Truth {
        let truths = self.executor.reconcile(std::slice::from_ref(&launch.attempt)).await.unwrap();
        truths.into_iter().next().unwrap()
    }

    pub async fn log(&self, launch: &Launch) -> String {
        let query = LogQuery { stream: Stream::Stdout, tail_bytes: None, follow: false, since: None };
        let pieces: Vec<_> =
            self.executor.logs(&launch.attempt, query).await.unwrap().try_collect().await.unwrap();
        String::from_utf8(pieces.concat()).unwrap()
    }

    pub async fn remove(&self, launch: &Launch) {
        self.executor.remove(std::slice::from_ref(&launch.attempt)).await.unwrap();
    }

    /// How often it was run, as its own traces tell.
    pub fn runs(&self, launch: &Launch) -> usize {
        let trace = Path::new(&launch.directory).join("trace");
        std::fs::read_to_string(trace).map_or(0, |text| text.lines().count())
    }
}

fn spec(script: &str) -> LaunchSpec {
    LaunchSpec {
        cluster: CLUSTER.into(),
        name: "a job".into(),
        project: "default".into(),
        identity: someone(),
        as_root: false,
        command: Command::Argv(["/bin/sh", "-c", script].map(str::to_owned).into()),
        env: BTreeMap::new(),
        workdir: None,
        image: Some("site/plain:1".into()),
        resources: Resources { cpu_millis: 100, memory_bytes: 64 << 20, gpus: 0 },
        enforce_cpu: false,
        exclusive_cpus: false,
        time_limit: None,
        grace: Duration::from_secs(5),
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

/// Waits for something to become so.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waits = async {
        while !is_so().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(PATIENCE, waits).await.is_ok(), "{what} never came");
}
