use berth_docker_engine::bollard::models::{TaskSpec, TaskSpecPlacement, TaskStatus};

use super::*;

const AT: &str = "2026-11-21T12:00:01Z";

fn task(state: TaskState, err: Option<&str>, container: Option<i64>) -> Task {
    let container_status = container.map(|code| ContainerStatus {
        container_id: Some("c0".into()),
        exit_code: Some(code),
        ..ContainerStatus::default()
    });
    Task {
        id: Some("t1".into()),
        node_id: Some("n1".into()),
        created_at: Some("2026-11-21T12:00:00Z".into()),
        status: Some(TaskStatus {
            state: Some(state),
            timestamp: Some(AT.into()),
            err: err.map(str::to_owned),
            message: Some("started".into()),
            container_status,
            ..TaskStatus::default()
        }),
        ..Task::default()
    }
}

fn nowhere(mut task: Task) -> Task {
    let constraints = Some(vec!["node.role==worker".to_owned(), NOWHERE.to_owned()]);
    let placement = Some(TaskSpecPlacement { constraints, ..TaskSpecPlacement::default() });
    task.spec = Some(TaskSpec { placement, ..TaskSpec::default() });
    task.created_at = Some("2026-11-21T11:59:59Z".into());
    task
}

fn of(task: &Task, stopped: bool) -> Standing {
    standing(Some(task), stopped, &Nodes::default())
}

fn end(standing: Standing) -> Exit {
    match standing.state {
        State::Exited(exit) => exit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn before_it_runs_the_reason_is_told() {
    let unsuitable = "no suitable node (insufficient resources on 1 node)";
    for (state, err, words) in [
        (TaskState::NEW, None, "pending in the Swarm: started"),
        (TaskState::PENDING, Some(unsuitable), unsuitable),
        (TaskState::ASSIGNED, None, "a node has it"),
        (TaskState::PREPARING, None, "prepares"),
        (TaskState::STARTING, None, "starts"),
    ] {
        let standing = of(&task(state, err, None), false);
        assert_eq!(standing.state, State::Starting);
        assert!(standing.message.clone().unwrap().contains(words), "{standing:?}");
    }
    assert_eq!(standing(None, false, &Nodes::default()).state, State::Starting);
}

#[test]
fn the_code_counts_in_final_states_only() {
    let running = of(&task(TaskState::RUNNING, None, Some(0)), false);
    assert_eq!((running.state, running.container), (State::Running, Some("c0".into())));
    assert_eq!(end(of(&task(TaskState::COMPLETE, None, Some(0)), false)).code, Some(0));
    let failed = end(of(&task(TaskState::FAILED, Some("task: non-zero exit (7)"), Some(7)), false));
    assert_eq!((failed.code, failed.could_not_launch, failed.before_stop), (Some(7), None, true));
    assert_eq!(failed.at, AT.parse().unwrap());
}

#[test]
fn what_never_started_says_why() {
    let words = "starting container failed: exec: no such file";
    let failed = end(of(&task(TaskState::FAILED, Some(words), Some(127)), false));
    assert_eq!((failed.code, failed.could_not_launch.as_deref()), (Some(127), Some(words)));
    let by_init = of(&task(TaskState::FAILED, Some("task: non-zero exit (127)"), Some(127)), false);
    assert!(by_init.message.unwrap().contains("not found"));
    let rejected = end(of(&task(TaskState::REJECTED, Some("No such image: x"), None), false));
    assert_eq!((rejected.code, rejected.could_not_launch.as_deref()), (None, Some("No such image: x")));
}

#[test]
fn a_shut_down_is_ours_or_the_nodes() {
    let stopped = end(of(&task(TaskState::SHUTDOWN, None, Some(42)), true));
    assert_eq!((stopped.code, stopped.before_stop), (Some(42), false));
    let drained = of(&task(TaskState::SHUTDOWN, None, Some(137)), false);
    assert_eq!(drained.state, State::NodeGone);
    assert!(drained.message.unwrap().contains("n1"));
    let orphaned = of(&task(TaskState::ORPHANED, None, None), false);
    assert_eq!(orphaned.state, State::Lost);
    let attempt = AttemptName::new(
        "c",
        berth_executor_api::JobId(1),
        berth_executor_api::Attempt { number: 1, returned: 0 },
    );
    assert_eq!(
        report(&attempt, &of(&task(TaskState::ORPHANED, None, None), false), UtcMs(1), &Nodes::default()),
        None
    );
}

#[test]
fn the_task_that_replaces_a_stopped_one_is_not_the_attempt() {
    let first = task(TaskState::SHUTDOWN, None, Some(42));
    let replacement = nowhere(task(TaskState::PENDING, None, None));
    let chosen = of_attempt(vec![replacement.clone(), first.clone()]).unwrap();
    assert_eq!(chosen, first);
    // Stopped before its own task was made.
    let only = of_attempt(vec![replacement]).unwrap();
    assert_eq!(end(of(&only, true)).code, None);
    assert_eq!(of(&only, false).state, State::Starting);
}
