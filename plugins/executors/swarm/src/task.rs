//! What a service's task says of its attempt. Pure.

use berth_docker_engine::{
    bollard::models::{ContainerStatus, Task, TaskState},
    engine_time,
};
use berth_executor_api::{AttemptName, AttemptReport, AttemptState, Exit, PortMapping, UtcMs};

use crate::{nodes::Nodes, service::NOWHERE};

/// Where an attempt stands by its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub state: State,
    /// Since when, by the clock of whoever said so; `None` while there is no task.
    pub at: Option<UtcMs>,
    /// When its service's task was made.
    pub created: Option<UtcMs>,
    /// The task's number.
    pub task: Option<String>,
    /// The number of its node.
    pub node: Option<String>,
    /// Its container, once there is one.
    pub container: Option<String>,
    /// For people.
    pub message: Option<String>,
    pub ports: Vec<PortMapping>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Running,
    /// Over, with all that its task says of the end.
    Exited(Exit),
    /// Swarm ended it, because its node was drained or away.
    NodeGone,
    /// Nobody can say what became of it.
    Lost,
}

impl State {
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Exited(_) | Self::NodeGone | Self::Lost)
    }
}

/// The task that is the attempt: the first that was made. When a service is stopped, Swarm makes another
/// that never runs.
pub(crate) fn of_attempt(tasks: Vec<Task>) -> Option<Task> {
    tasks.into_iter().min_by(|one, other| {
        let key = |task: &Task| (is_nowhere(task), task.created_at.clone());
        key(one).cmp(&key(other))
    })
}

fn is_nowhere(task: &Task) -> bool {
    let placement = task.spec.as_ref().and_then(|spec| spec.placement.as_ref());
    let constraints = placement.and_then(|placement| placement.constraints.as_ref());
    constraints.is_some_and(|all| all.iter().any(|constraint| constraint == NOWHERE))
}

/// Where the attempt stands. `stopped` when Berth has asked for its end.
pub(crate) fn standing(task: Option<&Task>, stopped: bool, nodes: &Nodes) -> Standing {
    let Some(task) = task else { return unborn() };
    let status = task.status.clone().unwrap_or_default();
    let container = status.container_status.clone().unwrap_or_default();
    let at = status.timestamp.as_deref().and_then(engine_time);
    let (state, message) = match status.state.unwrap_or(TaskState::NEW) {
        _ if stopped && is_nowhere(task) => (ended_unrun(at), Some("stopped before it had a node".into())),
        TaskState::RUNNING => (State::Running, None),
        TaskState::COMPLETE => (State::Exited(exit(&container, stopped, at)), None),
        TaskState::FAILED => {
            let exit = failed(&container, &status.err, stopped, at);
            let words = by_code(&exit).or(status.err);
            (State::Exited(exit), words)
        }
        TaskState::REJECTED => {
            let words = status.err.unwrap_or_else(|| "its node rejected it".into());
            let exit = Exit { could_not_launch: Some(words.clone()), ..exit(&container, stopped, at) };
            (State::Exited(Exit { code: None, ..exit }), Some(words))
        }
        TaskState::SHUTDOWN | TaskState::REMOVE if stopped => {
            (State::Exited(exit(&container, stopped, at)), None)
        }
        TaskState::SHUTDOWN | TaskState::REMOVE => (State::NodeGone, Some(gone(task, nodes))),
        TaskState::ORPHANED => (State::Lost, Some(orphaned(task, nodes))),
        waits => (State::Starting, Some(waiting(waits, status.err.or(status.message)))),
    };
    Standing {
        state,
        at,
        created: task.created_at.as_deref().and_then(engine_time),
        task: task.id.clone(),
        node: task.node_id.clone(),
        container: container.container_id.filter(|id| !id.is_empty()),
        message,
        ports: ports(task, nodes),
    }
}

/// The service is there, and its task is yet to be made.
fn unborn() -> Standing {
    Standing {
        state: State::Starting,
        at: None,
        created: None,
        task: None,
        node: None,
        container: None,
        message: Some("Swarm has taken it".into()),
        ports: Vec::new(),
    }
}

fn ended_unrun(at: Option<UtcMs>) -> State {
    State::Exited(Exit { at: at.unwrap_or_default(), ..Exit::default() })
}

/// The code means something only in a final state; before that it is 0.
fn exit(container: &ContainerStatus, stopped: bool, at: Option<UtcMs>) -> Exit {
    let code = container.exit_code.and_then(|code| i32::try_from(code).ok()).filter(|code| *code >= 0);
    // A task that never had a container has no code either.
    let code = code.filter(|_| container.container_id.as_ref().is_some_and(|id| !id.is_empty()));
    Exit { code, before_stop: !stopped, at: at.unwrap_or_default(), ..Exit::default() }
}

fn failed(container: &ContainerStatus, err: &Option<String>, stopped: bool, at: Option<UtcMs>) -> Exit {
    let exit = exit(container, stopped, at);
    match err {
        Some(words) if !words.starts_with("task: non-zero exit") => {
            Exit { could_not_launch: Some(words.clone()), ..exit }
        }
        _ => exit,
    }
}

/// Shells, and the init that may be a job's first process, say it by these codes.
fn by_code(exit: &Exit) -> Option<String> {
    let words = match (exit.code, &exit.could_not_launch) {
        (Some(127), None) => "exit code 127: as a rule, its command was not found in the image",
        (Some(126), None) => "exit code 126: as a rule, its command is there and may not be executed",
        _ => return None,
    };
    Some(words.into())
}

fn gone(task: &Task, nodes: &Nodes) -> String {
    let node = task.node_id.as_deref().map_or_else(|| "its node".into(), |id| nodes.name_of(id));
    format!("Swarm has ended it, as {node} was drained or did not answer")
}

fn orphaned(task: &Task, nodes: &Nodes) -> String {
    let node = task.node_id.as_deref().map_or_else(|| "its node".into(), |id| nodes.name_of(id));
    format!("{node} was taken out of the Swarm, and nobody knows what became of what ran there")
}

/// Why it does not run yet.
fn waiting(state: TaskState, words: Option<String>) -> String {
    let words = words.filter(|words| !words.is_empty());
    match state {
        TaskState::NEW | TaskState::ALLOCATED | TaskState::PENDING => words
            .map_or_else(|| "pending in the Swarm".into(), |words| format!("pending in the Swarm: {words}")),
        TaskState::ASSIGNED | TaskState::ACCEPTED => "a node has it".into(),
        TaskState::PREPARING => "its node prepares it, the image among other things".into(),
        _ => "its container starts".into(),
    }
}

fn ports(task: &Task, nodes: &Nodes) -> Vec<PortMapping> {
    let node = task.node_id.as_deref().and_then(|id| nodes.by_id(id));
    let host = node.map(|node| node.address.clone()).unwrap_or_default();
    let published = task.status.as_ref().and_then(|status| status.port_status.as_ref());
    let published = published.and_then(|status| status.ports.as_ref());
    let number = |port: Option<i64>| port.and_then(|port| u16::try_from(port).ok());
    let mapping = |port: &berth_docker_engine::bollard::models::EndpointPortConfig| {
        let (job, host_port) = (number(port.target_port)?, number(port.published_port)?);
        Some(PortMapping { job, host: host.clone(), host_port })
    };
    let mut all: Vec<PortMapping> = published.into_iter().flatten().filter_map(mapping).collect();
    // Once for each version of IP.
    all.dedup();
    all
}

/// The report for Berth; `None` for what is lost, which only a question can be answered with.
pub(crate) fn report(
    attempt: &AttemptName,
    standing: &Standing,
    at: UtcMs,
    nodes: &Nodes,
) -> Option<AttemptReport> {
    let state = match &standing.state {
        State::Starting => AttemptState::Starting,
        State::Running => AttemptState::Running,
        State::Exited(exit) => AttemptState::Exited(Exit { at, ..exit.clone() }),
        State::NodeGone => AttemptState::NodeGone,
        State::Lost => return None,
    };
    Some(AttemptReport {
        node: standing.node.as_deref().map(|id| nodes.name_of(id)),
        ports: standing.ports.clone(),
        message: standing.message.clone(),
        ..AttemptReport::new(attempt.clone(), state, at)
    })
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
