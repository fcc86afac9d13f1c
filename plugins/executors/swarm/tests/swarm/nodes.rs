//! Several nodes, and what happens to them.

use std::time::Duration;

use berth_docker_engine::Endpoint;
use berth_executor_api::{Action, AttemptReport, AttemptState, NodeState, Report, Truth};
use berth_testbed::{IMAGE_PLAIN, OwnEngine, swarm, swarm_of_two};

use crate::{
    scene::{Scene, config, until},
    silence::Silence,
};

const LONG: &str = "echo run >> trace; trap 'exit 42' TERM; while :; do sleep 0.1; done";

/// How many tasks the service of a job has had.
fn tasks(engine: &OwnEngine, service: &str) -> usize {
    engine.docker(&["service", "ps", "-q", "--no-trunc", service]).lines().count()
}

fn is_drained(report: &Report) -> bool {
    match report {
        Report::Capacity(nodes) => nodes.iter().any(|node| node.state == NodeState::Draining),
        _ => false,
    }
}

#[tokio::test]
#[ignore = "needs root, for engines of its own"]
async fn a_job_on_another_node_is_followed_stopped_and_told_of_like_one_on_this() {
    let engine = swarm_of_two();
    let mut scene = Scene::new(config(&engine));
    let names: Vec<_> = scene.executor.capacity().await.unwrap().into_iter().map(|node| node.name).collect();
    assert_eq!(names, [engine.worker_name()], "the manager leaves jobs to the worker");
    let mut prints = scene.shell("echo out; echo err >&2; exit 3");
    let mut long = scene.shell(LONG);
    for launch in [&mut prints, &mut long] {
        launch.node = Some(engine.worker_name());
        scene.start(launch).await;
    }
    let (exit, report) = scene.end(&prints).await;
    assert_eq!((exit.code, report.node), (Some(3), Some(engine.worker_name())));
    assert_eq!(std::fs::read_to_string(&prints.stdout).unwrap(), "out\n");
    assert_eq!(std::fs::read_to_string(&prints.stderr).unwrap(), "err\n");
    until("its trace", async || scene.runs(&long) == 1).await;
    let stop = Action::Terminate { grace: Duration::from_secs(30) };
    scene.executor.control(&long.attempt, stop).await.unwrap();
    let (exit, _) = scene.end(&long).await;
    assert_eq!((exit.code, exit.before_stop), (Some(42), false));
}

#[tokio::test]
#[ignore = "needs root, for engines of its own"]
async fn too_much_memory_on_another_node_is_told_as_what_it_may_be() {
    let engine = swarm_of_two();
    let mut scene = Scene::new(config(&engine));
    let eats = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done";
    let mut launch = scene.shell_with(eats, |spec| spec.resources.memory_bytes = 16 << 20);
    launch.node = Some(engine.worker_name());
    scene.start(&launch).await;
    let (exit, report) = scene.end(&launch).await;
    assert_eq!((exit.code, exit.out_of_memory), (Some(137), false), "{report:?}");
    let words = report.message.unwrap_or_default();
    assert!(words.contains("perhaps for want of memory"), "{words}");
}

#[tokio::test]
#[ignore = "needs root, for engines of its own"]
async fn a_drained_node_takes_nothing_and_what_it_had_is_not_run_again() {
    let engine = swarm_of_two();
    let mut scene = Scene::new(config(&engine));
    let mut launch = scene.shell("echo run >> trace; while :; do sleep 0.1; done");
    launch.node = Some(engine.worker_name());
    scene.start(&launch).await;
    until("its trace", async || scene.runs(&launch) == 1).await;
    engine.docker(&["node", "update", "--availability", "drain", &engine.worker_name()]);
    scene.report("a drained node", is_drained).await;
    let gone = scene.told(&launch, "its end", |report| report.state == AttemptState::NodeGone).await;
    assert!(gone.message.unwrap().contains(&engine.worker_name()));
    engine.docker(&["node", "update", "--availability", "active", &engine.worker_name()]);
    until("the node", async || scene.node_is(&engine.worker_name(), NodeState::Up).await).await;
    assert_eq!((scene.runs(&launch), tasks(&engine, launch.attempt.as_str())), (1, 1));
}

#[tokio::test]
#[ignore = "needs root, for engines of its own"]
async fn a_lost_node_makes_its_job_unreachable_then_uncertain_and_never_doubles_it() {
    let engine = swarm_of_two();
    let mut settings = config(&engine);
    settings.lost_after = Duration::from_secs(3);
    let mut scene = Scene::new(settings);
    let mut launch =
        scene.shell("echo run >> trace; while [ ! -e go ]; do sleep 0.1; done; echo done >> trace; exit 6");
    launch.node = Some(engine.worker_name());
    scene.start(&launch).await;
    // Its first trace comes before its node has said that it runs.
    scene.running(&launch).await;
    until("its trace", async || scene.runs(&launch) == 1).await;
    engine.kill_worker();
    let unreachable = |report: &AttemptReport| {
        let said = report.message.as_deref().unwrap_or_default();
        report.state == AttemptState::Running && said.starts_with("unreachable")
    };
    scene.told(&launch, "that its node is away", unreachable).await;
    scene.report("a reason to ask", |report| *report == Report::Back).await;
    let Truth::Uncertain { words } = scene.truth(&launch).await else { panic!("nobody can know") };
    assert!(words.contains(&engine.worker_name()), "{words}");
    // It has gone on all the while, and its own end is known when the node is back.
    std::fs::write(std::path::Path::new(&launch.directory).join("go"), "").unwrap();
    until("its last trace", async || scene.runs(&launch) == 2).await;
    engine.start_again();
    let (exit, _) = scene.end(&launch).await;
    assert!(exit.code.is_some() && exit.before_stop, "{exit:?}");
    assert_eq!((scene.runs(&launch), tasks(&engine, launch.attempt.as_str())), (2, 1));
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn what_no_event_tells_of_is_seen_all_the_same() {
    let engine = swarm();
    let folder = tempfile::tempdir().unwrap();
    let silence = Silence::before(&engine.socket, folder.path());
    let mut settings = config(&engine);
    settings.engine.endpoint = Endpoint::Unix(silence.socket.clone());
    let mut scene = Scene::new(settings);
    let launch = scene.shell("while :; do sleep 0.1; done");
    scene.start(&launch).await;
    scene.running(&launch).await;
    engine.docker(&["service", "rm", launch.attempt.as_str()]);
    engine.docker(&["node", "update", "--availability", "drain", engine.name()]);
    scene.report("a drained node", is_drained).await;
    scene.report("a reason to ask", |report| *report == Report::Back).await;
    assert_eq!(scene.truth(&launch).await, Truth::Absent);
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn what_other_services_reserve_is_not_told_as_free() {
    let engine = swarm();
    let mut scene = Scene::new(config(&engine));
    let whole = scene.executor.capacity().await.unwrap().remove(0).total;
    // Berth's own are in its books.
    let launch = scene.shell_with("while :; do sleep 0.1; done", |spec| spec.resources.cpu_millis = 300);
    scene.start(&launch).await;
    scene.running(&launch).await;
    let foreign = ["service", "create", "-q", "-d", "--name", "foreign", "--no-resolve-image"];
    let asks = ["--reserve-cpu", "0.5", "--reserve-memory", "1g", IMAGE_PLAIN, "sleep", "1000"];
    engine.docker(&[&foreign[..], &asks].concat());
    let left = |cpu_millis, memory_bytes| {
        move |report: &Report| match report {
            Report::Capacity(nodes) => nodes
                .iter()
                .all(|node| (node.total.cpu_millis, node.total.memory_bytes) == (cpu_millis, memory_bytes)),
            _ => false,
        }
    };
    scene.report("what is left", left(whole.cpu_millis - 500, whole.memory_bytes - (1 << 30))).await;
    engine.docker(&["service", "scale", "-d", "foreign=0"]);
    scene.forget_reports();
    scene.report("all of it", left(whole.cpu_millis, whole.memory_bytes)).await;
}
