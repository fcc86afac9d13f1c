use berth_api::{Cause, StateCount, Submit};

use super::*;

fn ada() -> Identity {
    Identity {
        user: "ada".into(),
        uid: 7,
        gid: 8,
        groups: vec![9],
        home: None,
        email: None,
        roles: Vec::new(),
    }
}

fn job(state: &str) -> JobDetail {
    let row = JobRow {
        id: 12,
        label: "12".into(),
        user: "ada".into(),
        project: "default".into(),
        state: state.into(),
        cpu_millis: 1500,
        memory_bytes: GIB + 1,
        submitted: "2024-05-01T12:00:00Z".into(),
        ..JobRow::default()
    };
    JobDetail {
        row,
        spec: Submit::default(),
        directory: String::new(),
        stdout: String::new(),
        stderr: String::new(),
        note: None,
        history: Vec::new(),
    }
}

fn event(event: &str) -> HistoryRow {
    HistoryRow { at: "2024-05-01T12:00:00Z".into(), event: event.into(), text: String::new() }
}

/// Its primary and secondary status.
fn told(job: &JobDetail) -> (String, Option<String>) {
    let status = status(&job.row, &job.history);
    (status["primary"].as_str().unwrap().into(), status["secondary"].as_str().map(str::to_owned))
}

#[test]
fn states_are_told_in_its_words() {
    let cause = |kind: &str, by: Option<&str>| Cause {
        kind: kind.into(),
        by: by.map(str::to_owned),
        words: String::new(),
    };
    for (state, cause, history, primary, secondary) in [
        ("pending", None, vec![], "pending", None),
        ("pending", None, vec!["running", "requeued"], "pending", Some("rescheduled")),
        ("pending", None, vec!["starting", "given-back"], "pending", Some("rejected by scheduler")),
        ("running", None, vec!["starting", "running"], "running", None),
        ("running", None, vec!["running", "suspended", "resumed"], "running", Some("resumed")),
        ("running", None, vec!["resumed", "requeued", "running"], "running", None),
        ("suspended", None, vec![], "running", Some("suspended")),
        ("stopping", Some(cause("user", None)), vec![], "running", Some("kill requested")),
        ("stopping", Some(cause("rerun", None)), vec![], "running", Some("reschedule requested")),
        ("killed", Some(cause("time-limit", None)), vec![], "over", Some("killed")),
        ("rejected", Some(cause("rejected", Some("quota"))), vec![], "over", Some("quota reached")),
        (
            "rejected",
            Some(cause("rejected", Some("dependency"))),
            vec![],
            "over",
            Some("rejected by scheduler"),
        ),
        ("lost", None, vec![], "over", Some("unknown")),
        ("failed", None, vec![], "over", None),
    ] {
        let mut job = job(state);
        job.row.cause = cause;
        job.history = history.into_iter().map(event).collect();
        assert_eq!(told(&job), (primary.to_owned(), secondary.map(str::to_owned)), "{state}");
    }
}

#[test]
fn a_task_that_has_not_begun_has_no_date_of_it() {
    let waiting = document(&job("pending"), &ada());
    assert!(waiting["status"].get("date_running").is_none() && waiting["status"]["date_over"].is_null());
    assert_eq!(waiting["date"], 1_714_564_800);
    let mut refused = job("rejected");
    refused.row.ended = Some("2024-05-01T12:00:01Z".into());
    let refused = document(&refused, &ada());
    assert_eq!(
        (&refused["status"]["duration"], &refused["status"]["date_running"]),
        (&json!(0), &json!(1_714_564_801))
    );
    let mut over = job("failed");
    over.row.started = Some("2024-05-01T12:00:01Z".into());
    over.row.ended = Some("2024-05-01T12:01:01.9Z".into());
    over.row.exit_code = Some(3);
    let over = document(&over, &ada());
    assert_eq!((&over["status"]["duration"], &over["status"]["exitcode"]), (&json!(60), &json!(3)));
    assert_eq!(over["container"]["meta"]["State"]["ExitCode"], 3);
}

#[test]
fn cores_and_gigabytes_come_whole_and_killed_tasks_have_137() {
    let mut killed = job("killed");
    killed.row.exit_code = Some(143);
    let killed = document(&killed, &ada());
    assert_eq!((&killed["requirements"]["cpu"], &killed["requirements"]["ram"]), (&json!(2), &json!(2)));
    assert_eq!(killed["status"]["exitcode"], 137);
}

#[test]
fn an_array_lists_the_numbers_of_its_tasks_up_to_a_bound() {
    let mut array = job("running");
    array.row.array = Some("2-9:3%1".into());
    array.row.tasks = vec![
        StateCount { state: "succeeded".into(), count: 1 },
        StateCount { state: "pending".into(), count: 2 },
    ];
    let told = document(&array, &ada())["requirements"]["array"].clone();
    let expected = json!({
        "values": "2:9:3", "task_id": null, "nb_tasks": 3, "nb_tasks_over": 1, "tasks": [13, 14, 15],
    });
    assert_eq!(told, expected);
    array.row.array = Some("1-10000000".into());
    let told = document(&array, &ada());
    assert_eq!(told["requirements"]["array"]["tasks"].as_array().unwrap().len(), 10_000);
    let mut task = job("running");
    task.row.label = "11.4".into();
    let told = document(&task, &ada());
    assert_eq!((&told["parent_task_id"], &told["requirements"]["array"]["task_id"]), (&json!(11), &json!(4)));
}

#[test]
fn numbers_of_people_are_told_to_themselves_alone() {
    assert_eq!(document(&job("running"), &ada())["user"]["uid"], 7);
    let eve = Identity { user: "eve".into(), ..ada() };
    assert!(document(&job("running"), &eve)["user"].get("uid").is_none());
}

#[test]
fn lists_have_neither_scripts_nor_all_numbers_of_arrays() {
    let mut array = job("running");
    array.row.array = Some("1-9".into());
    let text = "long".to_owned();
    array.spec.command = Some(CommandText::Script { text, args: Vec::new() });
    assert_eq!(document(&array, &ada())["command"]["cmd"], "long");
    let listed = listed(&array, &ada());
    assert!(listed["command"]["cmd"].is_null() && listed["requirements"]["array"]["tasks"].is_null());
    assert_eq!(listed["requirements"]["array"]["nb_tasks"], 9);
}
