use serde_json::{Value, json};

use super::*;
use crate::names::annotation;

/// A Job as it was recorded, with what a test is about.
fn job(status: Value, spec: Value, annotations: Value) -> Job {
    serde_json::from_value(json!({
        "metadata": { "name": "c-7-1", "namespace": "jobs", "annotations": annotations },
        "spec": spec_of(spec),
        "status": status,
    }))
    .unwrap()
}

fn spec_of(own: Value) -> Value {
    let mut spec = json!({ "template": { "spec": { "containers": [] } } });
    for (key, value) in own.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

fn plain() -> Job {
    job(json!({}), json!({ "suspend": false }), json!({}))
}

fn failed(reason: &str, message: &str) -> Value {
    let at = "2026-11-21T07:21:59Z";
    json!({ "conditions": [{ "type": "Failed", "status": "True", "lastTransitionTime": at, "reason": reason, "message": message }] })
}

fn stopped() -> Value {
    json!({ "berth.stop": "5" })
}

fn suspended(annotations: Value) -> Job {
    job(json!({}), json!({ "suspend": true }), annotations)
}

fn pod(status: Value, going: bool) -> Pod {
    let mut meta = json!({ "name": "c-7-1-x", "uid": "u", "creationTimestamp": "2026-11-21T07:19:46Z" });
    if going {
        meta["deletionTimestamp"] = json!("2026-11-21T07:19:50Z");
    }
    serde_json::from_value(json!({
        "metadata": meta,
        "spec": { "nodeName": "node-1", "containers": [] },
        "status": status,
    }))
    .unwrap()
}

/// A Pod whose container is over.
fn ended(code: i32, reason: &str, going: bool) -> Pod {
    pod(ended_status(code, reason), going)
}

fn ended_status(code: i32, reason: &str) -> Value {
    json!({
        "phase": "Failed",
        "hostIP": "10.99.0.1",
        "podIPs": [{ "ip": "10.244.0.14" }],
        "containerStatuses": [{
            "name": "main", "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": { "terminated": {
                "exitCode": code, "reason": reason,
                "startedAt": "2026-11-21T07:19:47Z", "finishedAt": "2026-11-21T07:19:49Z",
            }},
        }],
    })
}

fn waiting(reason: &str, message: &str) -> Pod {
    pod(
        json!({ "phase": "Pending", "containerStatuses": [{
            "name": "main", "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": { "waiting": { "reason": reason, "message": message } },
        }]}),
        false,
    )
}

fn exit(standing: &Standing) -> Exit {
    match &standing.state {
        State::Exited(exit) => exit.clone(),
        other => panic!("{other:?}"),
    }
}

fn of(job: &Job, pod: &Pod) -> Standing {
    standing(Some(job), Some(pod), None)
}

fn with_condition(mut pod: Pod, kind: &str, reason: &str) -> Pod {
    let condition = json!([{ "type": kind, "status": "True", "reason": reason, "message": "words" }]);
    pod.status.as_mut().unwrap().conditions = serde_json::from_value(condition).unwrap();
    pod
}

#[test]
fn a_container_that_is_over_is_the_end_long_before_its_job_says_so() {
    let now = of(&plain(), &ended(7, "Error", false));
    let exit = exit(&now);
    assert_eq!((exit.code, exit.signal, exit.before_stop), (Some(7), None, true));
    assert_eq!(
        exit.at.to_string(),
        "2026-11-21T07:19:49Z"
            .parse::<k8s_openapi::jiff::Timestamp>()
            .map(|at| UtcMs(at.as_millisecond().try_into().unwrap()).to_string())
            .unwrap()
    );
    assert_eq!((now.node.as_deref(), now.host.as_deref()), (Some("node-1"), Some("10.99.0.1")));
    assert_eq!(now.addresses, ["10.244.0.14"]);
}

#[test]
fn want_of_memory_is_told_from_a_kill() {
    assert!(exit(&of(&plain(), &ended(137, "OOMKilled", false))).out_of_memory);
    let killed = of(&plain(), &ended(137, "Error", false));
    assert!(!exit(&killed).out_of_memory && killed.message.unwrap().contains("killed from outside"));
}

#[test]
fn what_could_not_be_started_says_so_and_has_no_code() {
    let exit = exit(&of(&plain(), &ended(128, "StartError", false)));
    assert_eq!((exit.code, exit.could_not_launch.is_some()), (None, true));
}

#[test]
fn a_stop_is_why_a_pod_ends_only_if_it_was_asked_to_go() {
    let stopped = job(json!({}), json!({ "suspend": false }), stopped());
    assert!(!exit(&of(&stopped, &ended(143, "Error", true))).before_stop);
    assert!(exit(&of(&stopped, &ended(3, "Error", false))).before_stop);
}

#[test]
fn of_a_pod_that_goes_nothing_is_said_before_it_is_known_why() {
    let goes = ended(137, "Error", true);
    assert_eq!(of(&plain(), &goes).state, State::Running);
    let over_time = job(failed("DeadlineExceeded", ""), json!({}), json!({}));
    assert!(exit(&of(&over_time, &goes)).time_limit);
    let by_hand = of(&job(failed("BackoffLimitExceeded", ""), json!({}), json!({})), &goes);
    assert_eq!(exit(&by_hand).code, Some(137));
    assert!(by_hand.message.unwrap().contains("deleted by someone else"));
}

#[test]
fn a_time_limit_is_told_by_the_pod_as_well() {
    let mut status = ended_status(143, "Error");
    status["phase"] = json!("Running");
    status["startTime"] = json!("2026-11-21T07:19:46Z");
    let mut early = pod(status.clone(), false);
    early.spec.as_mut().unwrap().active_deadline_seconds = Some(3);
    assert_eq!(of(&plain(), &early).state, State::Running, "it may have been its time limit");
    early.spec.as_mut().unwrap().active_deadline_seconds = Some(30);
    assert_eq!(exit(&of(&plain(), &early)).code, Some(143), "it cannot");
    status["reason"] = json!("DeadlineExceeded");
    assert!(exit(&of(&plain(), &pod(status, false))).time_limit);
    // Its node says so before its container has ended.
    let running = json!({ "phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": [{
        "name": "main", "ready": true, "restartCount": 0, "image": "", "imageID": "",
        "state": { "running": { "startedAt": "2026-11-21T07:19:47Z" } },
    }]});
    assert_eq!(of(&plain(), &pod(running, false)).state, State::Running);
}

#[test]
fn an_eviction_is_no_doing_of_the_jobs_unless_its_own_node_did_it_for_what_it_wrote() {
    for reason in
        ["EvictionByEvictionAPI", "DeletionByTaintManager", "PreemptionByScheduler", "DeletionByPodGC"]
    {
        let now = of(&plain(), &with_condition(ended(137, "Error", true), "DisruptionTarget", reason));
        assert_eq!(now.state, State::NodeGone, "{reason}");
        assert!(now.message.unwrap().contains(reason));
    }
    let mut status = ended_status(137, "Error");
    status["reason"] = json!("Evicted");
    status["message"] = json!("ephemeral local storage usage exceeds the total limit");
    let evicted = with_condition(pod(status, false), "DisruptionTarget", "TerminationByKubelet");
    let now = of(&plain(), &evicted);
    assert_eq!(exit(&now).code, Some(137));
    assert!(now.message.unwrap().contains("exceeds the total limit"));
    // Done is done, whatever became of the node.
    let done = with_condition(ended(0, "Completed", true), "DisruptionTarget", "DeletionByTaintManager");
    assert_eq!(exit(&of(&plain(), &done)).code, Some(0));
}

#[test]
fn what_does_not_start_says_why() {
    for (reason, trouble) in [
        ("ImagePullBackOff", Some(Trouble::CannotStart)),
        ("CreateContainerConfigError", Some(Trouble::CannotStart)),
        ("InvalidImageName", Some(Trouble::NeverStarts)),
        ("ContainerCreating", None),
    ] {
        let now = of(&plain(), &waiting(reason, "why"));
        assert_eq!((&now.state, &now.trouble), (&State::Starting, &trouble), "{reason}");
        assert_eq!(now.message.unwrap().contains("why"), trouble.is_some(), "{reason}");
    }
    let mut unplaced = pod(json!({ "phase": "Pending" }), false);
    let words = "0/1 nodes are available: 1 Insufficient cpu.";
    let condition =
        json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words }]);
    unplaced.status.as_mut().unwrap().conditions = serde_json::from_value(condition).unwrap();
    let now = of(&plain(), &unplaced);
    assert_eq!(now.trouble, Some(Trouble::NoRoom));
    assert!(now.message.unwrap().contains(words));
    assert_eq!(standing(Some(&plain()), None, None).trouble, Some(Trouble::NoPod));
}

#[test]
fn a_node_that_has_no_room_after_all_gives_the_attempt_back() {
    let refused = pod(json!({ "phase": "Failed", "reason": "OutOfcpu", "message": "no cpu" }), false);
    assert_eq!(of(&plain(), &refused).trouble, Some(Trouble::NoRoomForGood));
    let why = Withdrawn { no_room: true, words: "OutOfcpu".into() };
    let job = job(json!({}), json!({}), json!({ annotation::WITHDRAWN: why.write() }));
    assert_eq!(of(&job, &refused).state, State::NoRoom);
}

#[test]
fn what_is_taken_back_is_so_only_if_it_never_ran() {
    let noted = |no_room| {
        let why = Withdrawn { no_room, words: "why".into() };
        job(failed("BackoffLimitExceeded", ""), json!({}), json!({ annotation::WITHDRAWN: why.write() }))
    };
    assert_eq!(standing(Some(&noted(true)), None, None).state, State::NoRoom);
    let not_started = standing(Some(&noted(false)), None, None);
    assert_eq!(exit(&not_started).could_not_launch.as_deref(), Some("why"));
    let ran = standing(Some(&noted(true)), None, Some(&ended(0, "Completed", true)));
    assert_eq!(exit(&ran).code, Some(0));
    assert_eq!(of(&noted(true), &waiting("ContainerCreating", "")).state, State::Starting);
}

#[test]
fn suspended_is_what_has_no_pod_any_more_and_was_asked_to() {
    let ran = json!({ "berth.suspended": "then" });
    assert_eq!(of(&suspended(ran.clone()), &ended(143, "Error", true)).state, State::Suspended);
    assert_eq!(standing(Some(&suspended(ran.clone())), None, None).state, State::Suspended);
    // It ended by itself just before.
    assert_eq!(exit(&of(&suspended(ran), &ended(4, "Error", false))).code, Some(4));
    let both = json!({ "berth.suspended": "then", "berth.stop": "5" });
    let now = exit(&standing(Some(&suspended(both)), None, None));
    assert_eq!((now.code, now.signal, now.before_stop), (None, Some(SIGTERM), false));
    let never_ran = exit(&standing(Some(&suspended(stopped())), None, None));
    assert_eq!((never_ran.code, never_ran.signal), (None, None));
}

#[test]
fn an_end_that_was_noted_outlives_the_pod() {
    let stopped_job = job(json!({}), json!({}), stopped());
    let before = of(&stopped_job, &ended(42, "Error", true));
    let noted = Noted::of(&before).unwrap().write();
    let job = job(failed("BackoffLimitExceeded", ""), json!({}), json!({ annotation::EXIT: noted }));
    let after = standing(Some(&job), None, None);
    assert_eq!((exit(&after), after.node.as_deref()), (exit(&before), Some("node-1")));
}

#[test]
fn a_pod_that_went_unseen_leaves_what_its_job_says() {
    let lost = |reason: &str, message: &str, annotations| {
        standing(Some(&job(failed(reason, message), json!({}), annotations)), None, None)
    };
    assert!(exit(&lost("DeadlineExceeded", "", json!({}))).time_limit);
    assert_eq!(exit(&lost("BackoffLimitExceeded", "", json!({}))).signal, Some(SIGKILL));
    assert!(!exit(&lost("BackoffLimitExceeded", "", stopped())).before_stop);
    let evicted =
        lost("PodFailurePolicy", "Pod x has condition DisruptionTarget matching FailJob rule", json!({}));
    assert_eq!(evicted.state, State::NodeGone);
    let complete = json!({ "conditions": [{ "type": "Complete", "status": "True", "lastTransitionTime": "2026-11-21T07:19:51Z" }] });
    let done = standing(Some(&job(complete, json!({}), json!({}))), None, None);
    assert_eq!(exit(&done).code, Some(0));
    // What comes first is not final.
    let target = json!({ "conditions": [{ "type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded" }] });
    let going = standing(Some(&job(target, json!({}), json!({}))), None, Some(&ended(137, "Error", true)));
    assert_eq!(going.state, State::Running);
}

#[test]
fn the_newest_pod_speaks_for_the_attempt() {
    let old = ended(143, "Error", true);
    let mut new = waiting("ContainerCreating", "");
    new.metadata.uid = Some("v".into());
    new.metadata.creation_timestamp = Some(Time("2026-11-21T08:00:00Z".parse().unwrap()));
    let speaks = speaker([&new, &old].into_iter()).unwrap();
    assert_eq!(speaks.metadata.uid.as_deref(), Some("v"));
}

/// What a real server said.
fn recorded(name: &str) -> Value {
    let path =
        format!("{}/../../../tests/testbed-kubernetes/recorded/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let sample: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut body = sample["response"]["body"].clone();
    if let Some(item) = body.get("items").map(|items| items[0].clone()) {
        body = item;
    }
    // The container had a name of its own there, which is ours, too.
    assert!(body["spec"].to_string().contains("\"name\":\"main\""));
    body
}

#[test]
fn what_a_real_server_said_is_understood() {
    let pod = |name: &str| serde_json::from_value::<Pod>(recorded(name)).unwrap();
    let job = |name: &str| serde_json::from_value::<Job>(recorded(name)).unwrap();
    let done = standing(Some(&job("10-job-complete-200")), Some(&pod("11-pod-succeeded-list-200")), None);
    assert_eq!(
        (exit(&done).code, done.node.as_deref(), &done.addresses[..]),
        (Some(0), Some("lab-node"), &["10.244.0.14".to_owned()][..])
    );
    let killed = standing(Some(&plain()), Some(&pod("24-pod-oomkilled-list")), None);
    assert_eq!((exit(&killed).code, exit(&killed).out_of_memory), (Some(137), true));
    let waits = standing(Some(&plain()), Some(&pod("25-pod-unschedulable-list")), None);
    assert_eq!(waits.trouble, Some(Trouble::NoRoom));
    assert!(waits.message.unwrap().contains("1 Insufficient cpu"));
    assert!(exit(&standing(Some(&job("19-job-failed-deadline-200")), None, None)).time_limit);
    assert_eq!(standing(Some(&job("20-job-failed-pod-disrupted")), None, None).state, State::NodeGone);
}
