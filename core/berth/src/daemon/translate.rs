//! What executors say, in the engine's words.

use std::collections::BTreeSet;

use berth_config::NamedResource;
use berth_engine::{Abilities, Input, LaunchAnswer, NodeInfo, Reconciled, Reported, ReportedState};
use berth_executor_api::{AttemptReport, AttemptState, Capabilities, Launched, Node, NodeState, Truth};
use berth_executor_host::{CallError, HostEvent};
use berth_model::{Attempt, AttemptName, JobId};

/// The engine's inputs for an event of the executor host. Names that are not of this cluster are left
/// out: they belong to others.
pub fn inputs(
    cluster: &str,
    abilities: impl Fn(&str) -> Abilities,
    resources: &[NamedResource],
    event: HostEvent,
) -> Vec<Input> {
    let known = |name: &AttemptName| AttemptName::parse(cluster, name.as_str()).ok();
    match event {
        HostEvent::LaunchAnswered { attempts, answer, .. } => launched(&attempts, answer, known),
        HostEvent::Reconciled { executor, attempts, answer } => {
            reconciled(&executor, &attempts, answer, known)
        }
        HostEvent::Reports { executor, reports } => reports
            .into_iter()
            .filter_map(|report| {
                let (job, attempt) = known(&report.attempt)?;
                Some(Input::Reported(reported(&executor, job, attempt, report)))
            })
            .collect(),
        HostEvent::Capacity { executor, nodes } => {
            let nodes = nodes.into_iter().map(|told| node(&executor, told, resources)).collect();
            vec![Input::Capacity { abilities: abilities(&executor), executor: executor.to_string(), nodes }]
        }
        HostEvent::Away { executor, words, .. } => {
            vec![Input::Away { executor: executor.to_string(), words }]
        }
        HostEvent::Back { executor } | HostEvent::ReconcileNeeded { executor, .. } => {
            vec![Input::Back { executor: executor.to_string() }]
        }
        HostEvent::Listed { executor, answer } => {
            let attempts = answer.unwrap_or_default().iter().filter_map(known).collect();
            vec![Input::Listed { executor: executor.to_string(), attempts }]
        }
        HostEvent::ControlAnswered { .. } | HostEvent::Removed { .. } => Vec::new(),
    }
}

/// What the engine has to know of an executor's capabilities.
pub fn abilities(capabilities: &Capabilities) -> Abilities {
    Abilities {
        suspend: capabilities.suspend,
        signal: capabilities.signal,
        time_limit: capabilities.time_limit,
        new_time_limit: capabilities.new_time_limit,
        queues: capabilities.queues,
    }
}

/// What the site has named counts for more than what the back end says by itself.
fn node(executor: &str, node: Node, resources: &[NamedResource]) -> NodeInfo {
    let usable = node.state == NodeState::Up;
    let Node { name, total, labels, mut named, state: _ } = node;
    let whole = format!("{executor}/{name}");
    let mut set = BTreeSet::new();
    for resource in resources.iter().filter(|resource| resource.is_on(&whole, &labels)) {
        // Of several entries that mean a node, the first one does.
        if set.insert(&resource.name) {
            named.insert(resource.name.clone(), resource.stock.clone());
        }
    }
    NodeInfo { name, total, labels, named, usable }
}

fn launched(
    attempts: &[AttemptName],
    answer: Result<Vec<Launched>, CallError>,
    known: impl Fn(&AttemptName) -> Option<(JobId, Attempt)>,
) -> Vec<Input> {
    let each: Vec<LaunchAnswer> = match answer {
        Ok(answers) => answers.into_iter().map(launch_answer).collect(),
        Err(error) => {
            let answer = match error.may_be_done() {
                true => LaunchAnswer::Unknown(error.words()),
                // Nothing of it exists; that is what no room means, too.
                false => LaunchAnswer::NoRoom(error.words()),
            };
            vec![answer; attempts.len()]
        }
    };
    attempts
        .iter()
        .zip(each)
        .filter_map(|(name, answer)| {
            let (job, attempt) = known(name)?;
            Some(Input::LaunchAnswered { job, attempt, answer })
        })
        .collect()
}

fn launch_answer(answer: Launched) -> LaunchAnswer {
    match answer {
        Launched::Taken => LaunchAnswer::Taken,
        Launched::NoRoom { words } => LaunchAnswer::NoRoom(words),
        Launched::Refused { words } => LaunchAnswer::Refused(words),
    }
}

fn reconciled(
    executor: &str,
    attempts: &[AttemptName],
    answer: Result<Vec<Truth>, CallError>,
    known: impl Fn(&AttemptName) -> Option<(JobId, Attempt)>,
) -> Vec<Input> {
    // A back end that is away is asked again by the host; other errors are the plugin's, and what it
    // cannot say stays unknown until it is asked again.
    let Ok(truths) = answer else { return Vec::new() };
    attempts
        .iter()
        .zip(truths)
        .filter_map(|(name, truth)| {
            let (job, attempt) = known(name)?;
            let truth = match truth {
                Truth::Known(report) => Reconciled::Known(reported(executor, job, attempt, report)),
                Truth::Absent => Reconciled::Absent,
                Truth::Uncertain { words } => Reconciled::Uncertain(words),
            };
            Some(Input::Reconciled { job, attempt, truth })
        })
        .collect()
}

fn reported(executor: &str, job: JobId, attempt: Attempt, report: AttemptReport) -> Reported {
    Reported {
        executor: executor.to_owned(),
        job,
        attempt,
        state: match report.state {
            AttemptState::Starting => ReportedState::Starting,
            AttemptState::Running => ReportedState::Running,
            AttemptState::Suspended => ReportedState::Suspended,
            AttemptState::Exited(exit) => ReportedState::Exited(exit),
            AttemptState::NoRoom => ReportedState::NoRoom,
            AttemptState::NodeGone => ReportedState::NodeGone,
        },
        at: report.at,
        cpu_micros: report.usage.map(|usage| usage.cpu_micros),
        memory_peak_bytes: report.usage.map(|usage| usage.memory_peak_bytes),
        message: report.message,
    }
}
