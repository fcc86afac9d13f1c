use std::time::Duration;

use berth_executor_api::{Attempt, AttemptReport, Command, Exit, Identity, LaunchSpec, Resources};

use super::*;
use crate::config::{Faults, NodeConfig};

pub(crate) fn spec_of(argv: &[&str]) -> LaunchSpec {
    LaunchSpec {
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
        command: Command::Argv(argv.iter().map(|word| (*word).to_owned()).collect()),
        env: BTreeMap::new(),
        workdir: None,
        image: None,
        resources: Resources { cpu_millis: 1000, memory_bytes: 1 << 20, gpus: 0 },
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

pub(crate) fn launch_of(job: u64, spec: LaunchSpec) -> Launch {
    Launch {
        attempt: AttemptName::new("berth", JobId(job), Attempt { number: 1, returned: 0 }),
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

fn cluster(config: FakeConfig) -> Cluster {
    Cluster::new(FakeConfig { count_runs: true, ..config }, UtcMs(0)).unwrap()
}

fn reports(cluster: &mut Cluster) -> Vec<(AttemptState, u64)> {
    let attempt = |report| match report {
        Report::Attempt(AttemptReport { state, at, .. }) => Some((state, at.0)),
        _ => None,
    };
    cluster.world.out.take().into_iter().filter_map(attempt).collect()
}

fn run(cluster: &mut Cluster, argv: &[&str]) -> AttemptName {
    let launch = launch_of(1, spec_of(argv));
    assert_eq!(cluster.launch(std::slice::from_ref(&launch), UtcMs(0)).launched, [Launched::Taken]);
    launch.attempt
}

fn end(at: u64, exit: Exit) -> (AttemptState, u64) {
    (AttemptState::Exited(Exit { at: UtcMs(at), ..exit }), at)
}

#[test]
fn a_job_without_run_time_is_over_at_once() {
    let mut cluster = cluster(FakeConfig::default());
    let attempt = run(&mut cluster, &["fake", "exit=3"]);
    let exit = Exit { code: Some(3), before_stop: true, ..Exit::default() };
    assert_eq!(reports(&mut cluster), [(AttemptState::Running, 0), end(0, exit)]);
    assert_eq!(cluster.world.out.next_time(), None);
    assert_eq!(cluster.runs(&attempt), Some(Runs { launched: 1, ended: 1 }));
}

#[test]
fn run_time_stands_still_while_suspended() {
    let mut cluster = cluster(FakeConfig::default());
    let attempt = run(&mut cluster, &["fake", "run-ms=100", "slow-start-ms=10"]);
    cluster.run_due(UtcMs(40));
    assert!(cluster.control(&attempt, Action::Suspend, UtcMs(40)));
    cluster.run_due(UtcMs(500));
    assert!(cluster.control(&attempt, Action::Resume, UtcMs(500)));
    cluster.run_due(UtcMs(1000));
    let exit = Exit { code: Some(0), before_stop: true, ..Exit::default() };
    use AttemptState::{Running, Starting, Suspended};
    let expected = [(Starting, 0), (Running, 10), (Suspended, 40), (Running, 500), end(570, exit)];
    assert_eq!(reports(&mut cluster), expected);
}

#[test]
fn only_a_kill_ends_what_ignores_sigterm() {
    for (argv, ended_at, signal) in [("ignore-term=true", 250, 9), ("ignore-term=false", 50, 15)] {
        let mut cluster = cluster(FakeConfig::default());
        let attempt = run(&mut cluster, &["fake", "run-ms=1000", argv]);
        cluster.run_due(UtcMs(50));
        cluster.control(&attempt, Action::Terminate { grace: Duration::from_millis(200) }, UtcMs(50));
        cluster.run_due(UtcMs(5000));
        let exit = Exit { signal: Some(signal), before_stop: false, ..Exit::default() };
        assert_eq!(reports(&mut cluster).last(), Some(&end(ended_at, exit)));
    }
}

#[test]
fn a_stop_asked_after_the_end_changes_nothing() {
    let mut cluster = cluster(FakeConfig::default());
    let attempt = run(&mut cluster, &["fake", "exit=3"]);
    assert!(!cluster.control(&attempt, Action::Terminate { grace: Duration::ZERO }, UtcMs(5)));
    let Truth::Known(report) = cluster.truth(&attempt) else { panic!("absent") };
    let AttemptState::Exited(exit) = report.state else { panic!("{:?}", report.state) };
    assert!(exit.before_stop && exit.code == Some(3), "{exit:?}");
}

#[test]
fn the_time_limit_counts_from_the_start_and_goes_on_while_suspended() {
    let mut cluster = cluster(FakeConfig::default());
    let mut spec = spec_of(&["fake", "run-ms=1000", "slow-start-ms=30"]);
    spec.time_limit = Some(Duration::from_millis(100));
    let launch = launch_of(1, spec);
    cluster.launch(std::slice::from_ref(&launch), UtcMs(0));
    cluster.run_due(UtcMs(50));
    cluster.control(&launch.attempt, Action::Suspend, UtcMs(50));
    cluster.run_due(UtcMs(2000));
    let exit = Exit { signal: Some(15), time_limit: true, before_stop: true, ..Exit::default() };
    assert_eq!(reports(&mut cluster).last(), Some(&end(130, exit)));
}

#[test]
fn another_time_limit_is_taken_up_by_what_runs() {
    for (new, ended_at) in [(300, 330), (80, 110), (10, 60)] {
        let mut cluster = cluster(FakeConfig::default());
        let mut spec = spec_of(&["fake", "run-ms=1000", "slow-start-ms=30"]);
        spec.time_limit = Some(Duration::from_millis(100));
        let launch = launch_of(1, spec);
        cluster.launch(std::slice::from_ref(&launch), UtcMs(0));
        cluster.run_due(UtcMs(60));
        let limit = Duration::from_millis(new);
        assert!(cluster.control(&launch.attempt, Action::TimeLimit { limit }, UtcMs(60)));
        cluster.run_due(UtcMs(2000));
        let exit = Exit { signal: Some(15), time_limit: true, before_stop: true, ..Exit::default() };
        assert_eq!(reports(&mut cluster).last(), Some(&end(ended_at, exit)), "{new} ms");
    }
}

#[test]
fn a_node_never_holds_more_than_it_has() {
    let mut cluster = cluster(FakeConfig { run_ms: 100, ..FakeConfig::default() });
    let batch: Vec<_> = (1..=5).map(|job| launch_of(job, spec_of(&["x"]))).collect();
    let launched = cluster.launch(&batch, UtcMs(0)).launched;
    assert_eq!(launched.iter().filter(|answer| **answer == Launched::Taken).count(), 4);
    assert!(matches!(&launched[4], Launched::NoRoom { words } if words.contains("1 CPU")), "{launched:?}");
    cluster.run_due(UtcMs(100));
    assert_eq!(cluster.launch(&batch[4..], UtcMs(100)).launched, [Launched::Taken]);
    let mut big = spec_of(&["x"]);
    big.resources.cpu_millis = 5000;
    let refused = cluster.launch(&[launch_of(9, big)], UtcMs(100)).launched;
    assert!(matches!(&refused[0], Launched::Refused { words } if words.contains("5 CPU")), "{refused:?}");
}

#[test]
fn constraints_and_names_choose_the_node() {
    let node = |name: &str, disk: &str| NodeConfig {
        name: name.into(),
        labels: [("disk".into(), disk.into())].into(),
        ..NodeConfig::default()
    };
    let mut cluster =
        cluster(FakeConfig { nodes: vec![node("a", "hdd"), node("b", "ssd")], ..FakeConfig::default() });
    let mut spec = spec_of(&["x"]);
    spec.constraints.insert("disk".into(), "ssd".into());
    let on_ssd = launch_of(1, spec);
    let named = Launch { node: Some("a".into()), ..launch_of(2, spec_of(&["x"])) };
    let nowhere = Launch { node: Some("c".into()), ..launch_of(3, spec_of(&["x"])) };
    let launched = cluster.launch(&[on_ssd.clone(), named.clone(), nowhere], UtcMs(0)).launched;
    assert!(matches!(launched.as_slice(), [Launched::Taken, Launched::Taken, Launched::Refused { .. }]));
    for (attempt, node) in [(on_ssd.attempt, "b"), (named.attempt, "a")] {
        let Truth::Known(report) = cluster.truth(&attempt) else { panic!("absent") };
        assert_eq!(report.node.as_deref(), Some(node));
    }
}

#[test]
fn at_most_so_many_are_taken_per_call() {
    let mut cluster = cluster(FakeConfig { accepts_per_call: Some(2), ..FakeConfig::default() });
    let batch: Vec<_> = (1..=4).map(|job| launch_of(job, spec_of(&["true"]))).collect();
    let taken =
        |launched: Vec<Launched>| launched.into_iter().map(|one| one == Launched::Taken).collect::<Vec<_>>();
    assert_eq!(taken(cluster.launch(&batch, UtcMs(0)).launched), [true, true, false, false]);
    assert_eq!(taken(cluster.launch(&batch, UtcMs(0)).launched), [true; 4]);
}

#[test]
fn no_room_and_give_back_end_with_the_returned_number() {
    for (key, first_answer_taken) in [("no-room=1", false), ("give-back=1", true)] {
        let mut cluster = cluster(FakeConfig::default());
        let first = launch_of(1, spec_of(&["fake", key]));
        let again = AttemptName::new("berth", JobId(1), Attempt { number: 1, returned: 1 });
        let second = Launch { attempt: again, ..first.clone() };
        let answers = cluster.launch(&[first.clone(), second.clone()], UtcMs(0)).launched;
        assert_eq!(answers[0] == Launched::Taken, first_answer_taken, "{key}");
        assert_eq!(answers[1], Launched::Taken, "{key}");
        assert_eq!(cluster.truth(&first.attempt), Truth::Absent, "{key}");
        assert!(matches!(cluster.truth(&second.attempt), Truth::Known(_)), "{key}");
        let told_back = reports(&mut cluster).iter().any(|(state, _)| *state == AttemptState::NoRoom);
        assert_eq!(told_back, first_answer_taken, "{key}");
    }
}

#[test]
fn ports_are_published_once_and_come_back() {
    let mut cluster = cluster(FakeConfig { run_ms: 50, ..FakeConfig::default() });
    let mut spec = spec_of(&["x"]);
    spec.ports = vec![80, 443];
    let batch = [launch_of(1, spec.clone()), launch_of(2, spec.clone())];
    cluster.launch(&batch, UtcMs(0));
    let ports_of = |cluster: &Cluster, launch: &Launch| -> Vec<u16> {
        let Truth::Known(report) = cluster.truth(&launch.attempt) else { panic!("absent") };
        report.ports.iter().map(|port| port.host_port).collect()
    };
    let mut all = [ports_of(&cluster, &batch[0]), ports_of(&cluster, &batch[1])].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4);
    cluster.run_due(UtcMs(50));
    let third = launch_of(3, spec);
    cluster.launch(std::slice::from_ref(&third), UtcMs(60));
    assert!(all.starts_with(&ports_of(&cluster, &third)));
}

#[test]
fn reports_are_lost_doubled_and_late_as_asked() {
    let tell = |argv: &str| {
        let mut cluster = cluster(FakeConfig::default());
        run(&mut cluster, &["fake", argv]);
        let first = cluster.world.out.take().len();
        cluster.run_due(UtcMs(1000));
        (first, cluster.world.out.take())
    };
    assert!(matches!(tell("lose-report"), (0, late) if late == [Report::Back, Report::Back]));
    assert!(matches!(tell("double-report"), (4, late) if late.is_empty()));
    let (first, late) = tell("late-report-ms=20");
    assert_eq!((first, late.len()), (0, 2));
    assert!(late.iter().all(|report| matches!(report, Report::Attempt(told) if told.at == UtcMs(0))));
}

#[test]
fn a_lost_node_takes_its_attempts_with_it() {
    let mut cluster = cluster(FakeConfig { run_ms: 100, ..FakeConfig::default() });
    let attempt = run(&mut cluster, &["x"]);
    assert!(cluster.set_node("fake", NodeState::Down, UtcMs(10)));
    let told = cluster.world.out.take();
    assert!(
        matches!(&told[1], Report::Attempt(report) if report.state == AttemptState::NodeGone),
        "{told:?}"
    );
    assert!(matches!(&told[2], Report::Capacity(nodes) if nodes[0].state == NodeState::Down), "{told:?}");
    assert!(
        matches!(cluster.truth(&attempt), Truth::Known(report) if report.state == AttemptState::NodeGone)
    );
    let there = Launch { node: Some("fake".into()), ..launch_of(2, spec_of(&["x"])) };
    let next = cluster.launch(&[there], UtcMs(20)).launched;
    assert!(matches!(&next[0], Launched::NoRoom { words } if words.contains("down")), "{next:?}");
}

#[test]
fn the_state_file_brings_everything_back_and_counts_the_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fake.state");
    let config =
        || FakeConfig { state: Some(path.clone()), faults: Faults::default(), ..FakeConfig::default() };
    let start = |now| Cluster::new(config(), UtcMs(now)).unwrap();
    let mut before = start(0);
    let launch = |job, argv: &[&str]| launch_of(job, spec_of(argv));
    let batch = [
        launch(1, &["fake", "exit=3"]),
        launch(2, &["fake", "run-ms=100"]),
        launch(3, &["fake", "run-ms=900"]),
    ];
    before.launch(&batch, UtcMs(0));
    before.run_due(UtcMs(20));
    before.control(&batch[2].attempt, Action::Suspend, UtcMs(20));
    before.write().unwrap();
    drop(before);
    // A line that the crash cut off.
    std::fs::write(&path, [std::fs::read(&path).unwrap(), b"{\"event\":\"laun".to_vec()].concat()).unwrap();

    let mut after = start(500);
    assert_eq!(after.launch(&batch, UtcMs(500)).launched, vec![Launched::Taken; 3]);
    let state = |cluster: &Cluster, launch: &Launch| match cluster.truth(&launch.attempt) {
        Truth::Known(report) => (report.state, report.at.0),
        other => panic!("{other:?}"),
    };
    let exit = |code| Exit { code: Some(code), before_stop: true, ..Exit::default() };
    assert_eq!(state(&after, &batch[0]), end(0, exit(3)));
    assert_eq!(state(&after, &batch[1]), end(100, exit(0)));
    assert_eq!(state(&after, &batch[2]), (AttemptState::Suspended, 20));
    after.control(&batch[2].attempt, Action::Resume, UtcMs(600));
    after.run_due(UtcMs(5000));
    assert_eq!(state(&after, &batch[2]), end(1480, exit(0)));
    after.write().unwrap();
    let runs = crate::read_runs(&path).unwrap();
    assert_eq!(runs.len(), 3);
    assert!(runs.values().all(|runs| *runs == Runs { launched: 1, ended: 1 }), "{runs:?}");
}
