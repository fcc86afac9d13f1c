use serde_json::{Value, json};

use super::*;

fn read(task: Value) -> Result<Submit, ErrorBody> {
    let task =
        serde_json::from_value(task).map_err(|error| ErrorBody::new(ErrorCode::Invalid, error.to_string()));
    submit(task?, "ada")
}

/// As GO-Docker's command line sends it.
fn sent() -> Value {
    json!({
        "user": {"id": "ada", "uid": 1, "gid": 2, "project": "default"},
        "date": 1_700_000_000.0,
        "meta": {"name": "n", "description": "", "tags": [""]},
        "requirements": {
            "cpu": 2, "ram": 3, "gpus": 0, "array": {"values": null}, "label": [], "failure_policy": 0,
            "tasks": [], "tmpstorage": null, "executor": null,
        },
        "container": {
            "image": "plain:1", "volumes": [], "network": true, "id": null, "meta": null, "stats": null,
            "ports": [], "root": false,
        },
        "command": {"interactive": false, "cmd": "echo hi"},
        "status": {"primary": null, "secondary": null},
    })
}

/// The same with one place changed.
fn with(place: &str, value: Value) -> Value {
    let mut task = sent();
    let (above, last) = place.rsplit_once('/').unwrap();
    task.pointer_mut(above).unwrap().as_object_mut().unwrap().insert(last.to_owned(), value);
    task
}

#[test]
fn what_its_command_line_sends_is_a_job() {
    let job = read(sent()).unwrap();
    let text = "echo hi".to_owned();
    let expected = Submit {
        name: Some("n".into()),
        image: Some("plain:1".into()),
        command: Some(CommandText::Script { text, args: Vec::new() }),
        cpus: Some("2".into()),
        memory: Some("3G".into()),
        ..Submit::default()
    };
    assert_eq!(job, expected);
}

#[test]
fn everything_that_a_task_can_ask_for_has_its_place() {
    let job = |place, value| read(with(place, value)).unwrap();
    assert_eq!(job("/user/project", json!("p")).project.as_deref(), Some("p"));
    assert_eq!(job("/meta/tags", json!(["a", "batch:b"])).tags, ["a", "batch:b"]);
    for (values, range) in [(json!("5"), "5"), (json!(5), "5"), (json!("2:9:3"), "2:9:3")] {
        assert_eq!(job("/requirements/array", json!({ "values": values })).array.as_deref(), Some(range));
    }
    let labelled = job("/requirements/label", json!(["disk==ssd", "resource==gpu", "resource==gpu"]));
    assert_eq!((labelled.constraints["disk"].as_str(), labelled.gpus), ("ssd", Some(2)));
    let named = job("/requirements/label", json!(["resource==gpu_10.5", "resource==gpu_10.5"]));
    assert_eq!((named.resources["gpu_10.5"], named.gpus), (2, None));
    assert_eq!(job("/requirements/tasks", json!([7, "8"])).after_any, ["7", "8"]);
    assert_eq!(
        job("/requirements/tmpstorage", json!({"size": "2g", "path": null})).scratch.unwrap(),
        "2000000000"
    );
    assert_eq!(job("/requirements/maxlifespan", json!(90)).time.as_deref(), Some("90"));
    assert_eq!(job("/requirements/failure_policy", json!(2)).retry_on_node_failure, Some(2));
    assert_eq!(job("/requirements/network", json!("user")).network.as_deref(), Some("user"));
    assert_eq!(job("/requirements/ports", json!([80])).ports, [80]);
    let volumes = json!([{"name": "home", "acl": "rw"}, {"name": "data", "path": "/etc", "mount": "/x"}]);
    assert_eq!(job("/container/volumes", volumes).volumes, ["home:rw", "data:ro"]);
    assert!(job("/container/root", json!(true)).root);
    let native = job("/requirements/executor", json!("cluster::native"));
    assert_eq!((native.executor.as_deref(), native.image), (Some("cluster"), None));
    assert!(job("/requirements/executor", json!("swarm::docker")).image.is_some());
}

#[test]
fn what_berth_cannot_keep_is_refused_at_its_place() {
    for (place, value) in [
        ("/requirements/executor", json!("sge:long.q")),
        ("/requirements/label", json!(["disk=ssd"])),
        ("/requirements/label", json!(["disk==ssd", "disk==hdd"])),
        ("/requirements/label", json!(["resource=fpga"])),
        ("/requirements/array", json!({"values": "9:1"})),
        ("/requirements/array", json!({"values": "1:18446744073709551615"})),
        ("/requirements/tasks", json!(["1.2"])),
        ("/requirements/tasks", json!(["../1"])),
        ("/requirements/tmpstorage", json!({"size": "1x"})),
        ("/requirements/tmpstorage", json!({"size": "99999999999999999999t"})),
        ("/requirements/tmpstorage", json!({"size": "1ä"})),
        ("/requirements/maxlifespan", json!("soon")),
        ("/container/volumes", json!([{"name": "home", "acl": "rwx"}])),
        ("/container/volumes", json!([{"name": "../etc"}])),
        ("/container/volumes", json!([{"name": "home:rw"}])),
        ("/container/network", json!(false)),
        ("/command/interactive", json!(true)),
        ("/command/cmd", json!(" ")),
        ("/command/cmd", json!(null)),
    ] {
        let no = read(with(place, value.clone())).expect_err(&format!("{place} = {value}"));
        let field = place[1..].replace('/', ".");
        assert!(no.problems.iter().any(|problem| problem.field.starts_with(&field)), "{place}: {no:?}");
    }
}

#[test]
fn mail_and_the_call_of_a_workflow_become_notices() {
    let mut asks = sent();
    asks["notify"] = json!({"email": true});
    asks["requirements"]["godflow"] = json!(true);
    let job = read(asks).unwrap();
    assert_eq!(job.notify, ["start", "end", "suspend", "resume"]);
    assert_eq!(job.labels.get("godflow").map(String::as_str), Some("true"));
    let job = read(sent()).unwrap();
    assert!(job.notify.is_empty() && job.labels.is_empty());
}

#[test]
fn nobody_submits_for_somebody_else() {
    assert_eq!(read(with("/user/id", json!("eve"))).unwrap_err().code, ErrorCode::Forbidden);
    assert!(read(with("/user/id", json!(null))).is_ok());
}

#[test]
fn wrong_types_and_negative_numbers_are_mistakes() {
    for (place, value) in [
        ("/requirements/cpu", json!(-1)),
        ("/requirements/cpu", json!("two")),
        ("/requirements/cpu", json!(1.5)),
        ("/requirements/ram", json!(1e300)),
        ("/requirements/gpus", json!(4_294_967_296_u64)),
        ("/requirements/failure_policy", json!(-3)),
        ("/requirements/ports", json!([65_536])),
        ("/requirements/ports", json!(["80"])),
        ("/requirements/tasks", json!([-1])),
        ("/requirements/tasks", json!([{"id": 1}])),
        ("/requirements/array", json!({"values": -5})),
        ("/requirements/label", json!("disk==ssd")),
        ("/meta/tags", json!("a,b")),
        ("/meta/name", json!(7)),
        ("/container/volumes", json!(["home"])),
        ("/container/root", json!("yes")),
        ("/command/cmd", json!(["echo"])),
    ] {
        assert!(read(with(place, value.clone())).is_err(), "{place} = {value}");
    }
    for (place, value) in
        [("/requirements", json!(null)), ("/container", json!(null)), ("/meta", json!(null))]
    {
        let mut task = sent();
        *task.pointer_mut(place).unwrap() = value;
        assert!(read(task).is_ok(), "{place}");
    }
}
