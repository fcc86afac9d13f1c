//! What becomes of jobs.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use berth_executor_api::{
    Action, AttemptReport, AttemptState, Command, Launched, LogQuery, NodeState, PortMapping, Report,
    Resources, Stream, Truth, UtcMs,
};
use berth_testbed_kubernetes::{Kind, NODE};
use futures::TryStreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::scene::{NAMESPACE, Scene, until};

const STOP: Action = Action::Terminate { grace: Duration::ZERO };
const LONG: &str = "echo run >> trace; trap 'exit 42' TERM; while :; do sleep 0.1; done";
const UNTIL_GO: &str = "echo run >> trace; while [ ! -e go ]; do sleep 0.05; done";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_created_watched_told_of_and_removed() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell("echo out; echo err >&2; exit 3").await;
    let running = scene.running(&launch).await;
    assert_eq!(
        (running.node.as_deref(), &running.addresses[..]),
        (Some(NODE), &["127.0.0.1".to_owned()][..])
    );
    let (exit, _) = scene.end(&launch).await;
    assert_eq!((exit.code, exit.before_stop), (Some(3), true));
    assert_eq!(std::fs::read_to_string(&launch.stdout).unwrap(), "out\nerr\n");
    assert_eq!(scene.log(&launch).await, "out\nerr\n");
    scene.remove(&launch).await;
    assert_eq!(scene.truth(&launch).await, Truth::Absent);
    until("an empty cluster", async || scene.stand_in.all(Kind::Pod).is_empty()).await;
    assert!(scene.stand_in.all(Kind::Job).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_runs_in_its_directory_with_its_arguments() {
    let mut scene = Scene::new().await;
    let launch = scene.shell_with("", |spec| {
        let text = "echo $1 $PWD '$(HOME)' $$ | sed 's/[0-9]*$/n/'\n".into();
        spec.command = Command::Script { text, args: vec!["a b".into()] };
    });
    scene.start(&launch).await;
    assert_eq!(scene.end(&launch).await.0.code, Some(0));
    assert_eq!(scene.log(&launch).await, format!("a b {} $(HOME) n\n", launch.directory));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_whole_to_the_byte_across_a_crash_of_berth() {
    let mut scene = Scene::new().await;
    let says = format!(r"printf 'a\377\000b\n'; touch half; {UNTIL_GO}; printf end");
    let launch = scene.start_shell(&says).await;
    scene.running(&launch).await;
    until("the first half in its file", async || {
        std::fs::read(&launch.stdout).is_ok_and(|bytes| bytes == b"a\xff\0b\n")
    })
    .await;
    scene.again();
    assert!(matches!(
        scene.truth(&launch).await,
        Truth::Known(AttemptReport { state: AttemptState::Running, .. })
    ));
    std::fs::write(Path::new(&launch.directory).join("go"), "").unwrap();
    assert_eq!(scene.end(&launch).await.0.code, Some(0));
    assert_eq!(std::fs::read(&launch.stdout).unwrap(), b"a\xff\0b\nend");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_from_a_time_on() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(&format!("echo before; touch said; {UNTIL_GO}; echo after")).await;
    until("its first word", async || Path::new(&launch.directory).join("said").exists()).await;
    // Times of logs are asked for in whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    std::fs::write(Path::new(&launch.directory).join("go"), "").unwrap();
    scene.end(&launch).await;
    let since = Some(UtcMs(now.as_millis().try_into().unwrap()));
    let query = LogQuery { stream: Stream::Stdout, tail_bytes: None, follow: false, since };
    let pieces: Vec<_> =
        scene.executor.logs(&launch.attempt, query).await.unwrap().try_collect().await.unwrap();
    assert_eq!(pieces.concat(), b"after\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_job_keeps_its_exit_code_though_its_pod_is_gone() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(LONG).await;
    scene.running(&launch).await;
    until("its trace", async || scene.runs(&launch) == 1).await;
    scene
        .executor
        .control(&launch.attempt, Action::Terminate { grace: Duration::from_secs(30) })
        .await
        .unwrap();
    let (exit, _) = scene.end(&launch).await;
    assert_eq!((exit.code, exit.before_stop), (Some(42), false));
    until("its Pod is gone", async || scene.stand_in.all(Kind::Pod).is_empty()).await;
    scene.again();
    match scene.truth(&launch).await {
        Truth::Known(AttemptReport { state: AttemptState::Exited(exit), .. }) => {
            assert_eq!((exit.code, exit.before_stop), (Some(42), false));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_a_job_loses_its_pod_and_resumed_it_begins_anew() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(&format!("echo begun; {UNTIL_GO}; exit 5")).await;
    until("its first run", async || scene.runs(&launch) == 1).await;
    scene.running(&launch).await;
    scene.executor.control(&launch.attempt, Action::Suspend).await.unwrap();
    scene.told(&launch, "suspended", |report| report.state == AttemptState::Suspended).await;
    until("no Pod", async || scene.stand_in.all(Kind::Pod).is_empty()).await;
    scene.executor.control(&launch.attempt, Action::Resume).await.unwrap();
    scene.running(&launch).await;
    until("its second run", async || scene.runs(&launch) == 2).await;
    std::fs::write(Path::new(&launch.directory).join("go"), "").unwrap();
    assert_eq!(scene.end(&launch).await.0.code, Some(5));
    assert_eq!(scene.log(&launch).await, "begun\nbegun\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_the_cluster_has_no_room_for_is_taken_back() {
    let mut scene = Scene::with(|config| config.no_room_after = Duration::from_millis(500)).await;
    let launch = scene.shell_with("true", |spec| spec.resources.cpu_millis = 640_000);
    scene.start(&launch).await;
    scene.says(&launch, "Insufficient cpu").await;
    let back = scene.told(&launch, "no room", |report| report.state == AttemptState::NoRoom).await;
    assert!(back.message.unwrap().contains("0/1 nodes are available"));
    until("an empty cluster", async || scene.stand_in.all(Kind::Job).is_empty()).await;
    assert_eq!((scene.truth(&launch).await, scene.runs(&launch)), (Truth::Absent, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_gets_room_in_time_is_not_taken_back() {
    let mut scene = Scene::with(|config| config.no_room_after = Duration::from_secs(60)).await;
    let first = scene.shell_with(UNTIL_GO, |spec| spec.resources.cpu_millis = 40_000);
    let second = scene.shell_with("exit 4", |spec| spec.resources.cpu_millis = 40_000);
    scene.start(&first).await;
    scene.running(&first).await;
    scene.start(&second).await;
    scene.says(&second, "Insufficient cpu").await;
    std::fs::write(Path::new(&first.directory).join("go"), "").unwrap();
    assert_eq!(scene.end(&second).await.0.code, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_lets_no_pod_be_made_is_told_and_gives_the_job_back() {
    let mut scene = Scene::with(|config| config.no_room_after = Duration::from_secs(1)).await;
    scene.stand_in.pod_quota(Some(0));
    let launch = scene.start_shell("true").await;
    let back = scene.told(&launch, "no room", |report| report.state == AttemptState::NoRoom).await;
    assert!(back.message.unwrap().contains("exceeded quota"));
    until("an empty cluster", async || scene.stand_in.all(Kind::Job).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_back_is_known_as_such_after_a_crash_too() {
    let mut scene = Scene::with(|config| config.no_room_after = Duration::from_millis(300)).await;
    let launch = scene.shell_with("true", |spec| spec.resources.cpu_millis = 640_000);
    // Its Job is not removed, as if the crash had come just before.
    scene.stand_in.fail("DELETE", "/namespaces/jobs/jobs/", 503, 1000);
    scene.start(&launch).await;
    scene.told(&launch, "no room", |report| report.state == AttemptState::NoRoom).await;
    scene.again();
    match scene.truth(&launch).await {
        Truth::Known(report) => assert_eq!(report.state, AttemptState::NoRoom),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there_ends_the_job_after_a_time_with_the_reason() {
    let mut scene = Scene::with(|config| config.cannot_start_after = Duration::from_millis(500)).await;
    let launch = scene.shell_with("true", |spec| spec.image = Some("site/no/such:1".into()));
    scene.start(&launch).await;
    scene.says(&launch, "ImagePullBackOff").await;
    let (exit, _) = scene.end(&launch).await;
    assert!(
        exit.could_not_launch.as_ref().is_some_and(|words| words.contains("ImagePullBackOff")),
        "{exit:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_job_lost_its_node_and_is_not_run_again_by_itself() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(LONG).await;
    until("its trace", async || scene.runs(&launch) == 1).await;
    let pod = scene.stand_in.pod_of(launch.attempt.as_str(), |_| true).await;
    let name = pod["metadata"]["name"].as_str().unwrap();
    let target = json!([{
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
    }]);
    let change = json!({
        "metadata": { "deletionTimestamp": "2026-11-21T07:22:01Z", "deletionGracePeriodSeconds": 0 },
        "status": { "conditions": target },
    });
    scene.stand_in.change(Kind::Pod, NAMESPACE, name, &change);
    let gone = scene.told(&launch, "its end", |report| report.state == AttemptState::NodeGone).await;
    assert!(gone.message.unwrap().contains("EvictionByEvictionAPI"));
    assert_eq!(scene.runs(&launch), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_somebody_deletes_is_told_with_its_code() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(LONG).await;
    until("its trace", async || scene.runs(&launch) == 1).await;
    let pod = scene.stand_in.pod_of(launch.attempt.as_str(), |_| true).await;
    let name = pod["metadata"]["name"].as_str().unwrap();
    let change = json!({ "metadata": { "deletionTimestamp": "2026-11-21T07:22:01Z", "deletionGracePeriodSeconds": 5 } });
    scene.stand_in.change(Kind::Pod, NAMESPACE, name, &change);
    let (exit, report) = scene.end(&launch).await;
    assert_eq!((exit.code, exit.before_stop), (Some(42), true));
    assert!(report.message.unwrap().contains("someone else"));
}

#[tokio::test(flavor = "multi_thread")]
async fn want_of_memory_is_told() {
    let mut scene = Scene::new().await;
    scene.stand_in.by_hand();
    let launch = scene.start_shell("true").await;
    let pod = scene.stand_in.pod_of(launch.attempt.as_str(), |pod| pod["spec"]["nodeName"] == NODE).await;
    let name = pod["metadata"]["name"].as_str().unwrap();
    let state = json!({ "terminated": {
        "exitCode": 137, "reason": "OOMKilled",
        "startedAt": "2026-11-21T07:24:34Z", "finishedAt": "2026-11-21T07:24:35Z",
    }});
    let status = json!([{ "name": "main", "state": state, "ready": false, "restartCount": 0, "image": "", "imageID": "" }]);
    scene.stand_in.change(
        Kind::Pod,
        NAMESPACE,
        name,
        &json!({ "status": { "phase": "Failed", "containerStatuses": status } }),
    );
    let (exit, _) = scene.end(&launch).await;
    assert!(exit.out_of_memory && exit.code == Some(137), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_on_a_node_that_is_away_is_unreachable_then_uncertain_and_never_doubled() {
    let mut scene = Scene::with(|config| config.lost_after = Duration::from_secs(3)).await;
    let launch = scene.start_shell(&format!("{UNTIL_GO}; exit 6")).await;
    scene.running(&launch).await;
    scene.stand_in.node_answers(NODE, false);
    scene.says(&launch, "unreachable").await;
    scene.report("a question", |report| *report == Report::Back).await;
    assert!(matches!(scene.truth(&launch).await, Truth::Uncertain { .. }));
    std::fs::write(Path::new(&launch.directory).join("go"), "").unwrap();
    scene.stand_in.node_answers(NODE, true);
    assert_eq!((scene.end(&launch).await.0.code, scene.runs(&launch)), (Some(6), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_go_and_are_cordoned_and_others_take_their_part() {
    let mut scene = Scene::new().await;
    let before = scene.executor.capacity().await.unwrap();
    assert_eq!(before[0].total, Resources { cpu_millis: 64_000, memory_bytes: 64 << 30, gpus: 2 });
    scene.stand_in.add_node("node-2", json!({ "cpu": "4", "memory": "8Gi" }));
    let has = |report: &Report, wanted: &dyn Fn(&berth_executor_api::Node) -> bool| match report {
        Report::Capacity(nodes) => nodes.iter().any(wanted),
        _ => false,
    };
    scene.report("a new node", |report| has(report, &|node| node.name == "node-2")).await;
    scene.stand_in.change(Kind::Node, "", "node-2", &json!({ "spec": { "unschedulable": true } }));
    scene.report("a cordoned node", |report| has(report, &|node| node.state == NodeState::Draining)).await;
    let theirs = json!({ "containers": [{ "name": "x", "resources": { "requests": { "cpu": "4" } } }], "nodeName": NODE });
    scene.stand_in.put(
        Kind::Pod,
        json!({ "metadata": { "name": "theirs", "namespace": "others" }, "spec": theirs, "status": { "phase": "Running" } }),
    );
    scene.report("less", |report| has(report, &|node| node.total.cpu_millis == 60_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_published_by_a_service_that_goes_with_the_job() {
    let mut scene = Scene::with(|config| config.services = true).await;
    let launch = scene.shell_with(LONG, |spec| spec.ports = vec![8080]);
    scene.start(&launch).await;
    let report = scene.told(&launch, "its ports", |report| !report.ports.is_empty()).await;
    assert_eq!(report.ports, [PortMapping { job: 8080, host: "127.0.0.1".into(), host_port: 8080 }]);
    assert_eq!(scene.stand_in.all(Kind::Service).len(), 1);
    scene.executor.control(&launch.attempt, STOP).await.unwrap();
    scene.end(&launch).await;
    scene.remove(&launch).await;
    until("no Service", async || scene.stand_in.all(Kind::Service).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_runs_beside_a_job_and_tells_its_code() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(LONG).await;
    let argv = ["/bin/sh", "-c", "read word; echo got $word in $BERTH_JOB_ID; echo err >&2; exit 7"];
    let session = scene.executor.exec(&launch.attempt, &argv.map(str::to_owned), false).await.unwrap();
    let (mut input, mut output) = (session.input, session.output);
    input.write_all(b"it\n").await.unwrap();
    input.flush().await.unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("got it in 1\n") && text.contains("err\n"), "{text}");
    assert_eq!(session.exit.await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_a_job_is_connected_with_and_one_that_nobody_listens_at_is_refused() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(LONG).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        stream.write_all(&word).await.unwrap();
    });
    let mut connection = scene.executor.connect(&launch.attempt, port).await.unwrap();
    connection.input.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    connection.output.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
    echo.await.unwrap();
    let refused = scene.executor.connect(&launch.attempt, port).await.err().unwrap().to_string();
    assert!(refused.contains("refused"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_cut_loose_from_its_job_is_still_known_and_ended() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(LONG).await;
    let runs =
        |truth: Truth| matches!(truth, Truth::Known(AttemptReport { state: AttemptState::Running, .. }));
    // It leaves its trace before its node has said that it runs.
    until("it runs", async || scene.runs(&launch) == 1 && runs(scene.truth(&launch).await)).await;
    // As a plain `kubectl delete --cascade=orphan` does.
    let pod = scene.stand_in.pod_of(launch.attempt.as_str(), |_| true).await;
    let name = pod["metadata"]["name"].as_str().unwrap();
    scene.stand_in.change(
        Kind::Pod,
        NAMESPACE,
        name,
        &json!({ "metadata": { "ownerReferences": [], "finalizers": [] } }),
    );
    scene.stand_in.remove(Kind::Job, NAMESPACE, launch.attempt.as_str());
    scene.again();
    assert!(runs(scene.truth(&launch).await));
    assert_eq!(scene.launch(&launch).await, Launched::Taken);
    scene.executor.control(&launch.attempt, STOP).await.unwrap();
    until("its end", async || scene.truth(&launch).await == Truth::Absent).await;
    assert_eq!(scene.runs(&launch), 1);
}

/// The rights that `examples/kubernetes/rbac.yaml` gives: resource and verb.
fn granted() -> std::collections::BTreeSet<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../examples/kubernetes/rbac.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let list = |line: &str, key: &str| -> Option<Vec<String>> {
        let words = line.trim().strip_prefix(key)?.trim().strip_prefix('[')?.strip_suffix(']')?;
        Some(words.split(',').map(|word| word.trim().to_owned()).collect())
    };
    let mut all = std::collections::BTreeSet::new();
    let mut resources = Vec::new();
    for line in text.lines() {
        if let Some(named) = list(line, "resources:") {
            resources = named;
        } else if let Some(verbs) = list(line, "verbs:") {
            let pairs =
                resources.iter().flat_map(|one| verbs.iter().map(move |verb| (one.clone(), verb.clone())));
            all.extend(pairs);
        }
    }
    all
}

/// What a request needs the right to.
fn needs(request: &str) -> (String, String) {
    let (method, url) = request.split_once(' ').unwrap();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let rest = path.trim_start_matches("/apis/batch/v1/").trim_start_matches("/api/v1/");
    let rest = match rest.strip_prefix("namespaces/") {
        Some(rest) => rest.split_once('/').unwrap().1,
        None => rest,
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let resource = match &parts[..] {
        [plural, _, part, ..] => format!("{plural}/{part}"),
        [plural, ..] => (*plural).to_owned(),
        [] => String::new(),
    };
    let verb = match (method, parts.len()) {
        ("POST", _) => "create",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        (_, 1) if query.contains("watch=") => "watch",
        (_, 1) => "list",
        _ => "get",
    };
    (resource, verb.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_right_is_needed_that_the_example_does_not_give() {
    let mut scene = Scene::with(|config| {
        config.services = true;
        config.no_room_after = Duration::from_millis(300);
    })
    .await;
    scene.executor.capacity().await.unwrap();
    let launch = scene.shell_with(LONG, |spec| spec.ports = vec![8080]);
    scene.start(&launch).await;
    scene.told(&launch, "its ports", |report| !report.ports.is_empty()).await;
    let session = scene.executor.exec(&launch.attempt, &["true".to_owned()], false).await.unwrap();
    assert_eq!(session.exit.await.unwrap(), 0);
    // Nobody listens there; asked for it was all the same.
    assert!(scene.executor.connect(&launch.attempt, 1).await.is_err());
    scene.executor.control(&launch.attempt, Action::Suspend).await.unwrap();
    scene.executor.control(&launch.attempt, Action::Resume).await.unwrap();
    scene.executor.control(&launch.attempt, STOP).await.unwrap();
    scene.end(&launch).await;
    scene.remove(&launch).await;
    scene.stand_in.pod_quota(Some(0));
    let launch = scene.start_shell("true").await;
    scene.told(&launch, "no room", |report| report.state == AttemptState::NoRoom).await;
    scene.executor.cleanup(false).await.unwrap();
    let granted = granted();
    let lacking: Vec<_> = scene
        .stand_in
        .requests()
        .iter()
        .map(|line| needs(line))
        .filter(|need| !granted.contains(need))
        .collect();
    assert_eq!(lacking, [], "rbac.yaml does not give what was needed");
}
