//! What all cases share: the executor, its reports, and ways to wait.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use tokio::{sync::Notify, task::JoinHandle};

use super::{
    Fixture, Sample, Site,
    report::{Miss, ensure},
};
use crate::{
    Action, Attempt, AttemptName, AttemptReport, AttemptState, Description, Exit, JobId, Launch, LaunchSpec,
    Launched, LogQuery, NodeState, Report, SharedExecutor, Stream, Truth,
};

/// What a case answers with.
pub(super) type Checked = Result<(), Miss>;

/// The time between two questions where only asking helps.
const PAUSE: Duration = Duration::from_millis(20);

/// All reports so far.
#[derive(Default)]
struct Heard {
    reports: Mutex<Vec<Report>>,
    more: Notify,
}

/// The stage that the cases play on.
pub(super) struct Stage<'f> {
    pub fixture: &'f dyn Fixture,
    pub description: Description,
    site: Site,
    node: Mutex<Option<String>>,
    executor: Mutex<Option<SharedExecutor>>,
    heard: Arc<Heard>,
    listener: Mutex<Option<JoinHandle<()>>>,
    jobs: AtomicU64,
    launched: Mutex<Vec<AttemptName>>,
    waiting: Mutex<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'f> Stage<'f> {
    pub(super) async fn new(fixture: &'f dyn Fixture) -> Self {
        let executor = fixture.executor().await;
        let stage = Self {
            fixture,
            description: executor.describe(),
            site: fixture.site(),
            node: Mutex::new(None),
            executor: Mutex::new(None),
            heard: Arc::default(),
            listener: Mutex::new(None),
            jobs: AtomicU64::new(0),
            launched: Mutex::default(),
            waiting: Mutex::default(),
        };
        stage.take(executor);
        if let Ok(Ok(nodes)) = tokio::time::timeout(fixture.patience(), stage.executor().capacity()).await {
            let up = nodes.into_iter().find(|node| node.state == NodeState::Up);
            *lock(&stage.node) = up.map(|node| node.name);
        }
        stage
    }

    fn take(&self, executor: SharedExecutor) {
        let (mut reports, heard) = (executor.reports(), Arc::clone(&self.heard));
        *lock(&self.executor) = Some(executor);
        *lock(&self.listener) = Some(tokio::spawn(async move {
            while let Some(report) = reports.next().await {
                lock(&heard.reports).push(report);
                heard.more.notify_waiters();
            }
        }));
    }

    pub(super) fn executor(&self) -> SharedExecutor {
        let executor = lock(&self.executor).clone();
        // Between a crash and the restart no case asks for it.
        executor.expect("the executor is there but between a crash and a restart")
    }

    /// Crashes, stays away for a time, and comes back.
    pub(super) async fn restart(&self, away: Duration) {
        self.waits_for("the restart");
        let listener = lock(&self.listener).take();
        if let Some(listener) = listener {
            listener.abort();
            // Cancelled, as was just asked for.
            let _ = listener.await;
        }
        *lock(&self.executor) = None;
        self.fixture.crash().await;
        tokio::time::sleep(away).await;
        let executor = self.fixture.restart().await;
        self.take(executor);
    }

    /// A launch of the next job.
    pub(super) fn launch_of(&self, sample: &Sample) -> Launch {
        self.launch_with(sample, |_| ())
    }

    pub(super) fn launch_with(&self, sample: &Sample, change: impl FnOnce(&mut LaunchSpec)) -> Launch {
        let job = JobId(self.jobs.fetch_add(1, Ordering::Relaxed) + 1);
        let attempt = AttemptName::new(&self.site.cluster, job, Attempt { number: 1, returned: 0 });
        let mut spec = self.spec(sample);
        change(&mut spec);
        let directory = format!("{}/{attempt}", self.site.directory.trim_end_matches('/'));
        Launch {
            attempt,
            job,
            attempt_number: 1,
            task: None,
            node: lock(&self.node).clone(),
            stdout: format!("{directory}/stdout"),
            stderr: format!("{directory}/stderr"),
            granted: Vec::new(),
            directory,
            array_directory: None,
            spec: Arc::new(spec),
        }
    }

    fn spec(&self, sample: &Sample) -> LaunchSpec {
        let work = self.fixture.work(sample);
        LaunchSpec {
            cluster: self.site.cluster.clone(),
            name: "conformance".into(),
            project: "default".into(),
            identity: self.site.identity.clone(),
            as_root: false,
            command: work.command,
            env: BTreeMap::new(),
            workdir: None,
            image: self.site.image.clone(),
            resources: self.site.resources,
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
            extensions: work.extensions,
        }
    }

    /// Launches a sample and sees that it is taken.
    pub(super) async fn start(&self, sample: &Sample) -> Result<Launch, Miss> {
        let launch = self.launch_of(sample);
        self.start_this(&launch).await?;
        Ok(launch)
    }

    pub(super) async fn start_this(&self, launch: &Launch) -> Checked {
        let answers = self.launch(std::slice::from_ref(launch)).await?;
        ensure!(answers == [Launched::Taken], "the launch was answered with {answers:?}, not taken");
        Ok(())
    }

    pub(super) async fn launch(&self, batch: &[Launch]) -> Result<Vec<Launched>, Miss> {
        self.waits_for("the answer to a launch");
        batch.iter().for_each(|launch| self.will_be_tidied(launch));
        Ok(self.executor().launch(batch).await?)
    }

    /// What is launched is ended and removed after the case.
    pub(super) fn will_be_tidied(&self, launch: &Launch) {
        lock(&self.launched).push(launch.attempt.clone());
    }

    /// Launches a sample and waits until its program is set up.
    pub(super) async fn start_and_see(&self, sample: &Sample) -> Result<Launch, Miss> {
        let launch = self.start(sample).await?;
        self.waits_for("the first trace of a job");
        while self.fixture.runs(&launch).await == 0 {
            tokio::time::sleep(PAUSE).await;
        }
        // A back end that is looked at now and then may show a short one only when it is over; its fixture says so.
        let look = self.fixture.looks_every() * 3;
        let short = match sample {
            Sample::Run { millis, .. } | Sample::PrintTwice { millis, .. } => {
                Duration::from_millis(*millis) < look
            }
            Sample::Print { .. } | Sample::Environment => !look.is_zero(),
            _ => false,
        };
        let seen = |state: &AttemptState| match state {
            AttemptState::Running => true,
            AttemptState::Exited(_) => short,
            _ => false,
        };
        self.until(&launch, "running", seen).await?;
        Ok(launch)
    }

    /// What was reported about an attempt.
    pub(super) fn told(&self, attempt: &AttemptName) -> Vec<AttemptReport> {
        let about = |report: &Report| match report {
            Report::Attempt(report) if report.attempt == *attempt => Some(report.clone()),
            _ => None,
        };
        lock(&self.heard.reports).iter().filter_map(about).collect()
    }

    /// Waits for the report of its end.
    pub(super) async fn end(&self, launch: &Launch) -> Exit {
        self.waits_for("the report of an end");
        let ended = || {
            self.told(&launch.attempt).into_iter().find_map(|report| match report.state {
                AttemptState::Exited(exit) => Some(exit),
                _ => None,
            })
        };
        loop {
            let more = self.heard.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if let Some(exit) = ended() {
                return exit;
            }
            more.await;
        }
    }

    /// The truth about one attempt.
    pub(super) async fn truth(&self, attempt: &AttemptName) -> Result<Truth, Miss> {
        let truths = self.executor().reconcile(std::slice::from_ref(attempt)).await?;
        match <[Truth; 1]>::try_from(truths) {
            Ok([Truth::Known(report)]) if report.attempt != *attempt => {
                Err(Miss::Failed(format!("asked about {attempt}, it told of {}", report.attempt)))
            }
            Ok([truth]) => Ok(truth),
            Err(truths) => Err(Miss::Failed(format!("one question has {} answers", truths.len()))),
        }
    }

    pub(super) async fn state(&self, launch: &Launch) -> Result<AttemptState, Miss> {
        match self.truth(&launch.attempt).await? {
            Truth::Known(report) => Ok(report.state),
            other => Err(Miss::Failed(format!("the truth about an attempt that was taken is {other:?}"))),
        }
    }

    /// Asks for the truth until it is as wanted.
    pub(super) async fn until(
        &self,
        launch: &Launch,
        what: &str,
        wanted: impl Fn(&AttemptState) -> bool,
    ) -> Result<AttemptState, Miss> {
        loop {
            let state = self.state(launch).await?;
            if wanted(&state) {
                return Ok(state);
            }
            ensure!(!matches!(state, AttemptState::Exited(_)), "it is {state:?} instead of {what}");
            self.waits_for(&format!("the truth to be {what}; it is {state:?}"));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks for the truth until it is over.
    pub(super) async fn exit_by_truth(&self, launch: &Launch) -> Result<Exit, Miss> {
        let over = |state: &AttemptState| matches!(state, AttemptState::Exited(_));
        match self.until(launch, "over", over).await? {
            AttemptState::Exited(exit) => Ok(exit),
            other => Err(Miss::Failed(format!("{other:?} is no end"))),
        }
    }

    pub(super) async fn control(&self, launch: &Launch, action: Action) -> Checked {
        self.waits_for("the answer to a control");
        Ok(self.executor().control(&launch.attempt, action).await?)
    }

    /// What it has written; waits for the end where it follows.
    pub(super) async fn log(&self, launch: &Launch, query: LogQuery) -> Result<String, Miss> {
        self.waits_for("the end of a log");
        let mut log = self.executor().logs(&launch.attempt, query).await?;
        let mut bytes = Vec::new();
        while let Some(part) = log.next().await {
            bytes.extend(part?);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// All of what it has written, by the log or, where there are none, from its file.
    pub(super) async fn output(&self, launch: &Launch, stream: Stream) -> Result<String, Miss> {
        if self.description.capabilities.logs {
            return self.log(launch, LogQuery { stream, tail_bytes: None, follow: false, since: None }).await;
        }
        let path = if stream == Stream::Stdout { &launch.stdout } else { &launch.stderr };
        std::fs::read_to_string(path).map_err(|error| Miss::Failed(format!("{path}: {error}")))
    }

    /// The case does not apply where this is not offered.
    pub(super) fn needs(&self, offered: bool, what: &'static str) -> Checked {
        if offered { Ok(()) } else { Err(Miss::Lacks(what)) }
    }

    pub(super) fn waits_for(&self, what: &str) {
        what.clone_into(&mut lock(&self.waiting));
    }

    pub(super) fn waiting_for(&self) -> String {
        lock(&self.waiting).clone()
    }

    /// Ends and removes what the last case has left.
    pub(super) async fn tidy(&self, patience: Duration) {
        let attempts = std::mem::take(&mut *lock(&self.launched));
        if lock(&self.executor).is_none() {
            let executor = self.fixture.restart().await;
            self.take(executor);
        }
        let executor = self.executor();
        let all = async {
            for attempt in &attempts {
                let kill = Action::Terminate { grace: Duration::ZERO };
                // What cannot be ended now is left to the clean-up, which is a case of its own.
                let _ = executor.control(attempt, kill).await;
            }
            let _ = executor.remove(&attempts).await;
        };
        let _ = tokio::time::timeout(patience, all).await;
    }
}

/// Whether it was ended by this signal, directly or as a shell tells it.
pub(super) fn by_signal(exit: &Exit, signals: &[i32]) -> bool {
    signals.iter().any(|signal| exit.signal == Some(*signal) || exit.code == Some(128 + signal))
}

/// Whether two things are the same, with words if not.
pub(super) fn same<T: PartialEq + Debug>(what: &str, is: &T, wanted: &T) -> Checked {
    ensure!(is == wanted, "{what} is {is:?}, not {wanted:?}");
    Ok(())
}
