mod odd;

use std::collections::BTreeMap;

use berth_executor_api::{
    Attempt, AttemptName, AttemptState, Command, Identity, JobId, Launch, LaunchSpec, LogQuery, Resources,
};
use berth_executor_fake::{FakeConfig, FakeControl, Lack};
use tokio::runtime::Handle;

use self::odd::{Fault, Odd, odd};
use super::*;
use crate::Registry;

/// One supervised executor and what the daemon would hear.
struct Stage {
    registry: Registry,
    events: mpsc::Receiver<HostEvent>,
    odd: Arc<Odd>,
    control: FakeControl,
    unblock: std::sync::mpsc::Sender<()>,
}

impl Stage {
    fn new(config: FakeConfig, limits: Limits, fault: Fault) -> Self {
        Self::on(config, limits, fault, Handle::current())
    }

    fn on(config: FakeConfig, limits: Limits, fault: Fault, runtime: Handle) -> Self {
        let (mut registry, events) = Registry::new(100);
        let (odd, unblock) = odd(config, fault);
        registry.add("here", Arc::clone(&odd) as SharedExecutor, limits, runtime).unwrap();
        let control = odd.fake.control_handle();
        Self { registry, events, odd, control, unblock }
    }

    fn usual(fault: Fault) -> Self {
        Self::new(FakeConfig { run_ms: 1000, ..FakeConfig::default() }, Limits::default(), fault)
    }

    fn here(&self) -> &Supervised {
        self.registry.get("here").unwrap()
    }

    /// The next event that is of interest.
    async fn wait<T>(&mut self, what: &str, mut find: impl FnMut(HostEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.recv().await.expect("the events have ended");
                assert_eq!(&**event.executor(), "here");
                if let Some(found) = find(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(600), search).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    async fn launched(&mut self) -> (Vec<AttemptName>, Result<Vec<Launched>, CallError>) {
        let find = |event| match event {
            HostEvent::LaunchAnswered { attempts, answer, .. } => Some((attempts, answer)),
            _ => None,
        };
        self.wait("answer to a launch", find).await
    }

    async fn told(&mut self) -> (Action, Result<(), CallError>) {
        let find = |event| match event {
            HostEvent::ControlAnswered { action, answer, .. } => Some((action, answer)),
            _ => None,
        };
        self.wait("answer to a control", find).await
    }

    async fn reconcile_needed(&mut self) {
        self.wait("reconcile", |event| matches!(event, HostEvent::ReconcileNeeded { .. }).then_some(()))
            .await;
    }

    async fn away(&mut self) -> String {
        let find = |event| match event {
            HostEvent::Away { words, .. } => Some(words),
            _ => None,
        };
        self.wait("away", find).await
    }

    async fn capacity(&mut self) {
        self.wait("capacity", |event| matches!(event, HostEvent::Capacity { .. }).then_some(())).await;
    }

    fn runs(&self, job: u64) -> u32 {
        self.control.runs(&name(job)).unwrap().launched
    }
}

const KILL: Action = Action::Terminate { grace: Duration::ZERO };

fn name(job: u64) -> AttemptName {
    AttemptName::new("berth", JobId(job), Attempt { number: 1, returned: 0 })
}

fn launch(job: u64) -> Launch {
    let spec = LaunchSpec {
        cluster: "berth".into(),
        name: "job".into(),
        project: "default".into(),
        identity: Identity {
            user: "ann".into(),
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
            home: None,
            email: None,
            roles: Vec::new(),
        },
        as_root: false,
        command: Command::Argv(vec!["x".into()]),
        env: BTreeMap::new(),
        workdir: None,
        image: None,
        resources: Resources { cpu_millis: 10, memory_bytes: 0, gpus: 0 },
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
    Launch {
        attempt: name(job),
        job: JobId(job),
        attempt_number: 1,
        task: None,
        node: None,
        directory: format!("/jobs/{job}"),
        array_directory: None,
        stdout: format!("/jobs/{job}/stdout"),
        stderr: format!("/jobs/{job}/stderr"),
        granted: Vec::new(),
        spec: Arc::new(spec),
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_come_first_and_reports_carry_the_executors_name() {
    let mut stage = Stage::usual(Fault::None);
    let first = stage.events.recv().await.unwrap();
    assert!(matches!(&first, HostEvent::Capacity { nodes, .. } if nodes.len() == 1), "{first:?}");
    stage.here().launch(vec![launch(1)]);
    let mut states = Vec::new();
    while states.len() < 2 {
        let find = |event| match event {
            HostEvent::Reports { reports, .. } => Some(reports),
            _ => None,
        };
        states.extend(stage.wait("reports", find).await.into_iter().map(|report| report.state));
    }
    assert!(matches!(&states[..], [AttemptState::Running, AttemptState::Exited(_)]), "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn batches_are_bounded_and_answered_one_by_one() {
    let limits = Limits { batch: 4, ..Limits::default() };
    let mut stage = Stage::new(FakeConfig { run_ms: 1000, ..FakeConfig::default() }, limits, Fault::None);
    stage.here().launch((1..=10).map(launch).collect());
    let mut attempts = Vec::new();
    while attempts.len() < 10 {
        let (some, answer) = stage.launched().await;
        assert_eq!(answer.unwrap(), vec![Launched::Taken; some.len()]);
        attempts.extend(some);
    }
    assert_eq!(attempts, (1..=10).map(name).collect::<Vec<_>>());
    assert_eq!(*stage.odd.batches.lock().unwrap(), [4, 4, 2]);
}

#[tokio::test(start_paused = true)]
async fn while_away_launches_are_answered_at_once_and_kills_wait() {
    let mut stage = Stage::usual(Fault::None);
    stage.here().launch(vec![launch(1)]);
    stage.launched().await.1.unwrap();
    stage.control.away("the cable is out");
    assert_eq!(stage.away().await, "the cable is out");
    assert!(matches!(stage.here().reach(), Reach::Away { words, .. } if words == "the cable is out"));

    let asked = Instant::now();
    stage.here().launch(vec![launch(2)]);
    stage.here().control(name(1), KILL);
    stage.here().control(name(1), Action::Suspend);
    let error = stage.launched().await.1.unwrap_err();
    assert!(matches!(error, CallError::Away { .. }) && !error.may_be_done(), "{error}");
    assert_eq!(asked.elapsed(), Duration::ZERO);

    stage.control.back();
    stage.reconcile_needed().await;
    assert_eq!(stage.here().reach(), Reach::Reachable);
    let (action, answer) = stage.told().await;
    assert_eq!(action, KILL);
    answer.unwrap();
    assert_eq!(stage.runs(2), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_cut_is_found_and_its_end_too() {
    let mut stage = Stage::usual(Fault::None);
    stage.capacity().await;
    stage.control.cut();
    stage.here().launch(vec![launch(1)]);
    assert!(stage.away().await.contains("cut off"));
    let error = stage.launched().await.1.unwrap_err();
    assert!(error.may_be_done() && error.is_unreachable(), "{error}");
    // Long enough for the waits to have become long.
    tokio::time::sleep(Duration::from_secs(300)).await;
    stage.here().reconcile(&[name(1)]);
    stage.control.back();
    stage.wait("back", |event| matches!(event, HostEvent::Back { .. }).then_some(())).await;
    stage.reconcile_needed().await;
    let find = |event| match event {
        HostEvent::Reconciled { answer, .. } => Some(answer),
        _ => None,
    };
    assert_eq!(stage.wait("truth", find).await.unwrap(), [Truth::Absent]);
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_is_not_answering_is_away_until_it_does() {
    let mut stage = Stage::usual(Fault::None);
    stage.capacity().await;
    stage.control.freeze();
    stage.here().launch(vec![launch(1)]);
    let error = stage.launched().await.1.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { call: "launch", .. }) && error.may_be_done(), "{error}");
    stage.away().await;
    stage.control.thaw();
    stage.reconcile_needed().await;
}

#[tokio::test(start_paused = true)]
async fn one_call_that_hangs_does_not_make_the_back_end_away() {
    let mut stage = Stage::usual(Fault::HangInLaunch);
    stage.capacity().await;
    stage.here().launch(vec![launch(1)]);
    assert!(matches!(stage.launched().await.1, Err(CallError::TimedOut { .. })));
    // The nodes are asked for to see whether it is there.
    stage.capacity().await;
    assert_eq!(stage.here().reach(), Reach::Reachable);
    stage.odd.set(Fault::None);
    stage.here().launch(vec![launch(1)]);
    stage.launched().await.1.unwrap();
    assert_eq!(stage.runs(1), 1);
}

#[tokio::test(start_paused = true)]
async fn one_executor_that_hangs_does_not_hold_up_another() {
    let mut stage = Stage::usual(Fault::None);
    let (other, _unblock) = odd(FakeConfig::default(), Fault::HangInLaunch);
    stage.registry.add("hangs", other, Limits::default(), Handle::current()).unwrap();
    let asked = Instant::now();
    stage.registry.get("hangs").unwrap().launch(vec![launch(1)]);
    stage.here().launch(vec![launch(2)]);
    loop {
        let event = stage.events.recv().await.unwrap();
        if let HostEvent::LaunchAnswered { executor, answer, .. } = event {
            assert_eq!(&*executor, "here");
            answer.unwrap();
            break;
        }
    }
    assert_eq!(asked.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_plugin_that_blocks_its_thread_holds_up_only_itself() {
    let own = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let limits =
        Limits { launch: Duration::from_millis(20), call: Duration::from_millis(20), ..Limits::default() };
    let config = FakeConfig { run_ms: 1000, ..FakeConfig::default() };
    let mut stage = Stage::on(config, limits, Fault::BlockInLaunch, own.handle().clone());
    stage.here().launch(vec![launch(1)]);
    assert!(matches!(stage.launched().await.1, Err(CallError::TimedOut { .. })));
    stage.away().await;
    stage.unblock.send(()).unwrap();
    stage.odd.set(Fault::None);
    stage.reconcile_needed().await;
    own.shutdown_background();
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_of_that_call_and_nothing_else() {
    let mut stage = Stage::usual(Fault::PanicInLaunch);
    stage.here().launch(vec![launch(1)]);
    let error = stage.launched().await.1.unwrap_err();
    assert!(error.may_be_done() && error.to_string().contains("launch is broken"), "{error}");
    stage.odd.set(Fault::PanicInReconcile);
    stage.here().reconcile(&[name(1)]);
    let find = |event| match event {
        HostEvent::Reconciled { answer, .. } => Some(answer),
        _ => None,
    };
    assert!(matches!(stage.wait("truth", find).await, Err(CallError::BrokeDown { .. })));
    assert_eq!(stage.here().faults(), 2);
    stage.odd.set(Fault::None);
    stage.here().launch(vec![launch(1)]);
    assert_eq!(stage.launched().await.1.unwrap(), [Launched::Taken]);
    assert_eq!(stage.here().reach(), Reach::Reachable);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_log_is_an_error_at_its_end() {
    let mut stage = Stage::usual(Fault::PanicInLogs);
    stage.here().launch(vec![launch(1)]);
    stage.launched().await.1.unwrap();
    let query =
        LogQuery { stream: berth_executor_api::Stream::Stdout, tail_bytes: None, follow: false, since: None };
    let mut log = stage.here().logs(name(1), query).await.unwrap();
    let error = log.next().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("the log is broken"), "{error}");
    assert!(log.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_wrong_length_is_not_believed() {
    let mut stage = Stage::usual(Fault::OneAnswerTooFew);
    stage.here().launch(vec![launch(1), launch(2)]);
    let error = stage.launched().await.1.unwrap_err();
    assert!(
        matches!(error, CallError::WrongAnswer { asked: 2, got: 1, .. }) && error.may_be_done(),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn reports_that_end_are_asked_for_again() {
    let mut stage = Stage::usual(Fault::StreamEnds);
    stage.reconcile_needed().await;
    stage.here().launch(vec![launch(1)]);
    stage.wait("reports", |event| matches!(event, HostEvent::Reports { .. }).then_some(())).await;
    assert_eq!(stage.odd.listened.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_kill_never_overtakes_the_launch() {
    let mut stage = Stage::usual(Fault::None);
    stage.capacity().await;
    stage.control.freeze();
    stage.here().launch(vec![launch(1)]);
    stage.here().control(name(1), KILL);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.odd.controls.load(Ordering::Relaxed), 0);
    stage.control.thaw();
    stage.told().await.1.unwrap();
    let truth = stage.control.truth(&name(1)).unwrap();
    let Truth::Known(report) = truth else { panic!("{truth:?}") };
    assert!(matches!(report.state, AttemptState::Exited(exit) if exit.signal == Some(9)));
}

#[tokio::test(start_paused = true)]
async fn a_kill_is_tried_ten_times_and_then_its_error_is_told() {
    let mut stage = Stage::usual(Fault::ControlUnreachable);
    stage.here().launch(vec![launch(1)]);
    stage.launched().await.1.unwrap();
    stage.here().control(name(1), KILL);
    let error = stage.told().await.1.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert_eq!(stage.odd.controls.load(Ordering::Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_offered_is_never_called() {
    let without = vec![Lack::Suspend, Lack::Stats];
    let mut stage =
        Stage::new(FakeConfig { without, ..FakeConfig::default() }, Limits::default(), Fault::None);
    stage.here().control(name(1), Action::Suspend);
    let error = stage.told().await.1.unwrap_err();
    assert!(
        matches!(error, CallError::Executor { source: ExecutorError::Unsupported { .. }, .. }),
        "{error}"
    );
    assert_eq!(stage.odd.controls.load(Ordering::Relaxed), 0);
    assert!(stage.here().stats(name(1)).await.unwrap_err().words().contains("cannot tell usage"));
}

#[tokio::test(start_paused = true)]
async fn two_executors_cannot_have_one_name() {
    let mut stage = Stage::usual(Fault::None);
    let (other, _unblock) = odd(FakeConfig::default(), Fault::None);
    let error = stage.registry.add("here", other, Limits::default(), Handle::current()).err().unwrap();
    assert!(error.to_string().contains("\"here\""), "{error}");
    assert!(stage.registry.remove("here") && stage.registry.get("here").is_none());
}
