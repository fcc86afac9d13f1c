//! A site for one test: a spool and job directories of its own, and an executor on them.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "only tests use it")]

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    future::Future,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use berth_executor_api::{
    Attempt, AttemptName, AttemptReport, AttemptState, Command, Executor, Exit, Identity, JobId, Launch,
    LaunchSpec, Launched, LogQuery, Report, Resources, Stream, Truth, Usage,
};
use berth_executor_local::{LocalConfig, LocalExecutor};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use tokio::time::{sleep, timeout};

/// Whatever is waited for comes long before that, or never.
pub const DEADLINE: Duration = Duration::from_secs(30);
pub const CLUSTER: &str = "berth-t";

pub struct Site {
    pub folder: tempfile::TempDir,
    pub executor: LocalExecutor,
    reports: BoxStream<'static, Report>,
    seen: HashMap<AttemptName, Vec<AttemptReport>>,
    pub others: Vec<Report>,
}

impl Site {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut LocalConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let executor = LocalExecutor::start(config).await.unwrap();
        let reports = executor.reports();
        Self { folder, executor, reports, seen: HashMap::new(), others: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The daemon is gone without a word; another one comes.
    pub async fn restart_executor(&mut self) {
        self.executor = LocalExecutor::start(config(self.folder.path())).await.unwrap();
        self.reports = self.executor.reports();
        self.seen.clear();
    }

    pub fn supervisor_pid(&self) -> i32 {
        fs::read_to_string(self.path("spool/lock")).unwrap().parse().unwrap()
    }

    /// A job of this process's user that runs this in a shell.
    pub fn shell(&self, job: u64, script: &str) -> Launch {
        self.argv(job, &["/bin/sh", "-c", script])
    }

    pub fn argv(&self, job: u64, argv: &[&str]) -> Launch {
        let argv = argv.iter().map(|arg| (*arg).to_owned()).collect();
        let directory = self.path(&format!("jobs/{job}")).to_str().unwrap().to_owned();
        Launch {
            attempt: AttemptName::new(CLUSTER, JobId(job), Attempt { number: 1, returned: 0 }),
            job: JobId(job),
            attempt_number: 1,
            task: None,
            node: None,
            stdout: format!("{directory}/stdout"),
            stderr: format!("{directory}/stderr"),
            granted: Vec::new(),
            directory,
            array_directory: None,
            spec: Arc::new(spec(Command::Argv(argv))),
        }
    }

    pub async fn launch(&self, launch: &Launch) -> AttemptName {
        let answers = self.executor.launch(std::slice::from_ref(launch)).await.unwrap();
        assert_eq!(answers, [Launched::Taken]);
        launch.attempt.clone()
    }

    /// Takes reports until one of this attempt fits.
    pub async fn until(
        &mut self,
        attempt: &AttemptName,
        fits: impl Fn(&AttemptState) -> bool,
    ) -> AttemptReport {
        let wait = async {
            loop {
                let seen = self.seen.get(attempt).into_iter().flatten();
                if let Some(report) = seen.rev().find(|report| fits(&report.state)) {
                    return report.clone();
                }
                match self.reports.next().await.expect("the stream of reports has ended") {
                    Report::Attempt(report) => {
                        self.seen.entry(report.attempt.clone()).or_default().push(report);
                    }
                    other => self.others.push(other),
                }
            }
        };
        timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("nothing of the kind about {attempt}"))
    }

    pub async fn running(&mut self, attempt: &AttemptName) -> AttemptReport {
        self.until(attempt, |state| *state == AttemptState::Running).await
    }

    pub async fn end_report(&mut self, attempt: &AttemptName) -> AttemptReport {
        self.until(attempt, |state| matches!(state, AttemptState::Exited(_))).await
    }

    pub async fn end(&mut self, attempt: &AttemptName) -> Exit {
        match self.end_report(attempt).await.state {
            AttemptState::Exited(exit) => exit,
            other => panic!("{other:?}"),
        }
    }

    pub async fn run(&mut self, launch: &Launch) -> Exit {
        let attempt = self.launch(launch).await;
        self.end(&attempt).await
    }

    pub fn states(&self, attempt: &AttemptName) -> Vec<&AttemptState> {
        self.seen.get(attempt).into_iter().flatten().map(|report| &report.state).collect()
    }

    pub async fn truth(&self, attempt: &AttemptName) -> Truth {
        self.executor.reconcile(std::slice::from_ref(attempt)).await.unwrap().remove(0)
    }

    pub async fn log(&self, attempt: &AttemptName, query: LogQuery) -> String {
        let pieces: Vec<Vec<u8>> =
            self.executor.logs(attempt, query).await.unwrap().try_collect().await.unwrap();
        String::from_utf8(pieces.concat()).unwrap()
    }

    pub async fn usage(&self, attempt: &AttemptName) -> Usage {
        self.executor.stats(attempt).await.unwrap()
    }

    /// Ends what is left.
    pub async fn close(self) {
        self.executor.cleanup(false).await.unwrap();
    }
}

pub const ALL: LogQuery = LogQuery { stream: Stream::Stdout, tail_bytes: None, follow: false, since: None };

pub fn config(folder: &Path) -> LocalConfig {
    let mut config = LocalConfig::new(CLUSTER, folder.join("spool"));
    config.supervisor_command = vec![env!("CARGO_BIN_EXE_berth-local-supervisor").into()];
    // Room for all that a test starts at once; what happens without room has a test of its own.
    config.cpu_millis = Some(64_000);
    config
}

pub fn me() -> Identity {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    identity("me", uid, gid)
}

pub fn identity(user: &str, uid: u32, gid: u32) -> Identity {
    Identity { user: user.into(), uid, gid, groups: vec![gid], home: None, email: None, roles: vec![] }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn spec(command: Command) -> LaunchSpec {
    LaunchSpec {
        cluster: CLUSTER.into(),
        name: "a job".into(),
        project: "default".into(),
        identity: me(),
        as_root: false,
        command,
        env: BTreeMap::new(),
        workdir: None,
        image: None,
        resources: Resources { cpu_millis: 1000, memory_bytes: 0, gpus: 0 },
        enforce_cpu: false,
        exclusive_cpus: false,
        time_limit: None,
        grace: Duration::from_secs(5),
        mounts: vec![],
        ports: vec![],
        network: None,
        scratch_bytes: 0,
        files: vec![],
        labels: BTreeMap::new(),
        constraints: BTreeMap::new(),
        interactive: false,
        extensions: BTreeMap::new(),
    }
}

/// Changes what the launch does not share yet with others.
pub fn change(launch: &mut Launch, change: impl FnOnce(&mut LaunchSpec)) {
    change(Arc::make_mut(&mut launch.spec));
}

/// Waits until something holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let wait = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// The state of a process as `/proc` has it; `None` when it is gone, or only waits to be reaped.
pub fn process_state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next().filter(|state| !matches!(state, 'Z' | 'X'))
}

/// The number in a file, once it is whole: with a line break behind it.
pub async fn number_in(path: &Path) -> i32 {
    let read = || fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'));
    eventually(&format!("a number in {}", path.display()), || async { read().is_some() }).await;
    read().unwrap().trim().parse().unwrap()
}
