//! What the tests share: an executor on a real engine, jobs, and ways to wait.

#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

pub mod proxy;

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use berth_executor_api::{
    Action, Attempt, AttemptName, AttemptReport, AttemptState, Command, Executor, Exit, Identity, JobId,
    Launch, LaunchSpec, Launched, LogQuery, Report, Resources, Stream, Truth,
};
use berth_executor_docker::{DockerConfig, DockerExecutor};
use berth_testbed::{Engine, IMAGE_PLAIN, Registry, docker_engine};
use futures::StreamExt;
use tokio::{sync::Notify, task::JoinHandle, time::timeout};

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// A user of the test images.
pub const UID: u32 = 1234;

pub fn someone() -> Identity {
    Identity {
        user: "someone".into(),
        uid: UID,
        gid: UID,
        groups: vec![4321],
        home: None,
        email: None,
        roles: Vec::new(),
    }
}

/// A cluster's name that no other test has.
pub fn own_cluster() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("test{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A folder that users can look into.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

pub fn config(cluster: &str, folder: &Path, socket: &Path) -> DockerConfig {
    let mut config = DockerConfig::new(cluster, folder.join("state"));
    config.endpoint = berth_docker_engine::Endpoint::Unix(socket.to_owned());
    config.answer_within = Duration::from_secs(20);
    // Half the cost of a container is its network.
    config.network = "none".into();
    config
}

/// All reports so far.
#[derive(Default)]
struct Heard {
    reports: Mutex<Vec<Report>>,
    more: Notify,
}

/// An executor with what it has told.
pub struct Berth {
    pub config: DockerConfig,
    pub engine: Engine,
    folder: tempfile::TempDir,
    executor: Option<Arc<DockerExecutor>>,
    heard: Arc<Heard>,
    listener: Option<JoinHandle<()>>,
    jobs: AtomicU64,
}

impl Berth {
    /// On the engine that all tests share.
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut DockerConfig)) -> Self {
        let engine = tokio::task::spawn_blocking(docker_engine).await.unwrap();
        Self::on(engine, change).await
    }

    pub async fn on(engine: Engine, change: impl FnOnce(&mut DockerConfig)) -> Self {
        let folder = folder();
        let mut config = config(&own_cluster(), folder.path(), &engine.socket);
        change(&mut config);
        let mut berth = Self {
            config,
            engine,
            folder,
            executor: None,
            heard: Arc::default(),
            listener: None,
            jobs: AtomicU64::new(0),
        };
        berth.start().await;
        berth
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn executor(&self) -> &DockerExecutor {
        self.executor.as_ref().unwrap()
    }

    /// As kill -9 would.
    pub async fn crash(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
            let _ = listener.await;
        }
        self.executor = None;
    }

    pub async fn start(&mut self) {
        let executor = Arc::new(DockerExecutor::start(self.config.clone()).await.unwrap());
        let (mut reports, heard) = (executor.reports(), Arc::clone(&self.heard));
        self.executor = Some(executor);
        self.listener = Some(tokio::spawn(async move {
            while let Some(report) = reports.next().await {
                heard.reports.lock().unwrap().push(report);
                heard.more.notify_waiters();
            }
        }));
    }

    pub fn job(&self, command: Command) -> Launch {
        self.job_with(command, |_| ())
    }

    pub fn job_with(&self, command: Command, change: impl FnOnce(&mut LaunchSpec)) -> Launch {
        let job = JobId(self.jobs.fetch_add(1, Ordering::Relaxed) + 1);
        let attempt = AttemptName::new(&self.config.cluster, job, Attempt { number: 1, returned: 0 });
        let directory = self.folder.path().join("jobs").join(attempt.as_str());
        let mut spec = LaunchSpec {
            cluster: self.config.cluster.clone(),
            name: "test".into(),
            project: "default".into(),
            identity: someone(),
            as_root: false,
            command,
            env: BTreeMap::new(),
            workdir: None,
            image: Some(IMAGE_PLAIN.into()),
            resources: Resources { cpu_millis: 100, ..Resources::default() },
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
        };
        change(&mut spec);
        let directory = directory.to_str().unwrap().to_owned();
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
        self.executor().launch(std::slice::from_ref(launch)).await.unwrap().remove(0)
    }

    pub async fn taken(&self, launch: Launch) -> Launch {
        assert_eq!(self.launch(&launch).await, Launched::Taken);
        launch
    }

    /// Launches a shell command.
    pub async fn sh(&self, text: &str) -> Launch {
        self.taken(self.job(sh(text))).await
    }

    pub async fn sh_with(&self, text: &str, change: impl FnOnce(&mut LaunchSpec)) -> Launch {
        self.taken(self.job_with(sh(text), change)).await
    }

    pub fn reports(&self) -> Vec<Report> {
        self.heard.reports.lock().unwrap().clone()
    }

    /// What was reported about an attempt.
    pub fn told(&self, launch: &Launch) -> Vec<AttemptReport> {
        let about = |report: Report| match report {
            Report::Attempt(report) if report.attempt == launch.attempt => Some(report),
            _ => None,
        };
        self.reports().into_iter().filter_map(about).collect()
    }

    /// Waits for a report.
    pub async fn heard<T>(&self, what: &str, wanted: impl Fn(&Report) -> Option<T>) -> T {
        let wait = async {
            loop {
                let more = self.heard.more.notified();
                tokio::pin!(more);
                more.as_mut().enable();
                if let Some(found) = self.reports().iter().find_map(&wanted) {
                    return found;
                }
                more.await;
            }
        };
        let late = || panic!("no report of {what}; there are {:#?}", self.reports());
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| late())
    }

    pub async fn report(
        &self,
        launch: &Launch,
        what: &str,
        wanted: impl Fn(&AttemptState) -> bool,
    ) -> AttemptReport {
        self.heard(&format!("{} being {what}", launch.attempt), |report| match report {
            Report::Attempt(report) if report.attempt == launch.attempt && wanted(&report.state) => {
                Some(report.clone())
            }
            _ => None,
        })
        .await
    }

    pub async fn running(&self, launch: &Launch) -> AttemptReport {
        self.report(launch, "running", |state| *state == AttemptState::Running).await
    }

    pub async fn ended(&self, launch: &Launch) -> AttemptReport {
        self.report(launch, "over", |state| matches!(state, AttemptState::Exited(_))).await
    }

    pub async fn exit(&self, launch: &Launch) -> Exit {
        exit_of(&self.ended(launch).await)
    }

    pub async fn truth(&self, launch: &Launch) -> Truth {
        self.executor().reconcile(std::slice::from_ref(&launch.attempt)).await.unwrap().remove(0)
    }

    /// Asks for the truth until it is over.
    pub async fn exit_by_truth(&self, launch: &Launch) -> Exit {
        let mut last = None;
        let wait = async {
            loop {
                match self.truth(launch).await {
                    Truth::Known(report) if matches!(report.state, AttemptState::Exited(_)) => {
                        return exit_of(&report);
                    }
                    other => last = Some(other),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("it does not end; the truth is {last:?}"))
    }

    pub async fn control(&self, launch: &Launch, action: Action) {
        self.executor().control(&launch.attempt, action).await.unwrap();
    }

    pub async fn log(&self, launch: &Launch, query: LogQuery) -> String {
        let log = self.executor().logs(&launch.attempt, query).await.unwrap();
        let pieces: Vec<Vec<u8>> = log.map(Result::unwrap).collect().await;
        String::from_utf8(pieces.concat()).unwrap()
    }

    pub fn file(&self, launch: &Launch, name: &str) -> PathBuf {
        Path::new(&launch.directory).join(name)
    }

    pub fn read(&self, launch: &Launch, name: &str) -> String {
        std::fs::read_to_string(self.file(launch, name)).unwrap()
    }

    /// Waits until a job has written this into a file of its directory.
    pub async fn wrote(&self, launch: &Launch, name: &str, text: &str) {
        let file = self.file(launch, name);
        let wait = async {
            while !std::fs::read_to_string(&file).is_ok_and(|written| written.contains(text)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{} has no {text:?}", file.display()));
    }

    /// The engine's own client.
    pub async fn docker(&self, arguments: &[&str]) -> String {
        let (engine, arguments) = (self.engine.clone(), arguments.iter().map(|word| (*word).to_owned()));
        let arguments: Vec<String> = arguments.collect();
        let run = move || {
            let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            engine.docker(&words)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// An image in the registry whose contents no engine has, so that nothing uses them.
    pub async fn image_of_its_own(&self, registry: &Registry, client: &Path) -> String {
        let image = format!("{}/secret/tool:1", registry.address);
        let container = self.docker(&["create", IMAGE_PLAIN, "true"]).await;
        let label = format!("LABEL of={}", own_cluster());
        self.docker(&["commit", "--change", &label, &container, &image]).await;
        self.docker(&["rm", &container]).await;
        let client = client.to_str().unwrap();
        let login = ["login", "-u", &registry.username, "-p", &registry.password, &registry.address];
        self.docker(&[&["--config", client], &login[..]].concat()).await;
        self.docker(&["--config", client, "push", "-q", &image]).await;
        self.docker(&["rmi", &image]).await;
        image
    }

    /// One value of a container.
    pub async fn inspect(&self, launch: &Launch, format: &str) -> String {
        self.docker(&["inspect", "-f", format, launch.attempt.as_str()]).await
    }
}

impl Drop for Berth {
    /// Whatever the test has left goes, also where it has failed.
    fn drop(&mut self) {
        self.executor = None;
        let label = format!("label=berth.cluster={}", self.config.cluster);
        let list = |kind: &[&str]| {
            let mut words = kind.to_vec();
            words.extend(["-q", "--filter", label.as_str()]);
            let output = self.engine.try_docker(&words);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        // Twice: the executor's last request may still be on its way.
        for _ in 0..2 {
            for (kind, remove) in [
                (&["ps", "-a"][..], &["rm", "-f", "-v"][..]),
                (&["network", "ls"][..], &["network", "rm"][..]),
                (&["volume", "ls"][..], &["volume", "rm"][..]),
            ] {
                let all = list(kind);
                if !all.is_empty() {
                    let words: Vec<&str> =
                        remove.iter().copied().chain(all.iter().map(String::as_str)).collect();
                    let _ = self.engine.try_docker(&words);
                }
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

pub fn exit_of(report: &AttemptReport) -> Exit {
    match &report.state {
        AttemptState::Exited(exit) => exit.clone(),
        other => panic!("{other:?} is no end"),
    }
}

pub fn argv(words: &[&str]) -> Command {
    Command::Argv(words.iter().map(|word| (*word).to_owned()).collect())
}

pub fn sh(text: &str) -> Command {
    argv(&["/bin/sh", "-c", text])
}

pub fn script(text: &str, args: &[&str]) -> Command {
    Command::Script { text: text.into(), args: args.iter().map(|word| (*word).to_owned()).collect() }
}

pub fn terminate(grace: Duration) -> Action {
    Action::Terminate { grace }
}

pub const ALL: LogQuery = LogQuery { stream: Stream::Stdout, tail_bytes: None, follow: false, since: None };
/// A job that goes on for minutes.
pub const LONG: &str = "n=0; while [ $n -lt 3000 ]; do sleep 0.1; n=$((n+1)); done";
