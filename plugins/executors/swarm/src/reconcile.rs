//! The truth about attempts, as the Swarm knows it now.

use std::{collections::HashMap, sync::Arc};

use berth_docker_engine::{
    bollard::{Docker, query_parameters::InspectContainerOptions},
    engine_time,
};
use berth_executor_api::{AttemptName, ExecutorError, Truth, UtcMs};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    nodes::Nodes,
    swarm::{Carrier, Swarm},
    task::{self, Standing, State},
    watch::written,
};

/// Up to so many are asked for one by one, which costs two questions each; more, all at once.
const ONE_BY_ONE: usize = 4;
/// So many answers are put together at the same time.
const AT_ONCE: usize = 16;

pub(crate) async fn reconcile(
    swarm: &Arc<Swarm>,
    attempts: &[AttemptName],
) -> Result<Vec<Truth>, ExecutorError> {
    swarm.refresh_nodes().await?;
    let carriers = carriers(swarm, attempts).await?;
    let asked = attempts.iter().zip(carriers);
    let truths: Vec<_> = asked.map(|(attempt, carrier)| truth_of(swarm, attempt, carrier)).collect();
    Ok(stream::iter(truths).buffered(AT_ONCE).collect().await)
}

async fn truth_of(swarm: &Arc<Swarm>, attempt: &AttemptName, carrier: Option<Carrier>) -> Truth {
    match carrier {
        Some(carrier) => truth(swarm, attempt, carrier).await,
        None => {
            swarm.book.forget(attempt);
            Truth::Absent
        }
    }
}

async fn carriers(
    swarm: &Arc<Swarm>,
    attempts: &[AttemptName],
) -> Result<Vec<Option<Carrier>>, ExecutorError> {
    if attempts.len() <= ONE_BY_ONE {
        let asked: Vec<_> = attempts.iter().map(|attempt| swarm.carrier(attempt)).collect();
        return stream::iter(asked).buffered(ONE_BY_ONE).try_collect().await;
    }
    let mut all: HashMap<AttemptName, Carrier> = swarm.all_carriers().await?;
    Ok(attempts.iter().map(|attempt| all.remove(attempt)).collect())
}

async fn truth(swarm: &Arc<Swarm>, attempt: &AttemptName, carrier: Carrier) -> Truth {
    let stopped = carrier.stopped();
    if let Some(labels) = carrier.labels() {
        swarm.adopt(attempt, labels, stopped);
    }
    let nodes = swarm.nodes();
    let mut standing = task::standing(task::of_attempt(carrier.tasks).as_ref(), stopped, &nodes);
    if let Some(words) = given_up(swarm, &standing, &nodes) {
        return Truth::Uncertain { words };
    }
    if standing.state.is_end() {
        swarm.book.with(attempt, |entry| entry.note(&standing));
        complete(swarm, attempt, &mut standing).await;
    }
    let at = standing.at.unwrap_or_else(|| swarm.now());
    let at = swarm.book.with(attempt, |entry| entry.time(at)).unwrap_or(at);
    match task::report(attempt, &standing, at, &nodes) {
        Some(report) => Truth::Known(report),
        None => Truth::Uncertain { words: standing.message.unwrap_or_else(|| "its node is gone".into()) },
    }
}

/// Why nobody can say any more what became of the attempt: its node has been away for longer than is set.
pub(crate) fn given_up(swarm: &Swarm, standing: &Standing, nodes: &Nodes) -> Option<String> {
    if standing.state.is_end() {
        return None;
    }
    let node = nodes.by_id(standing.node.as_deref()?)?;
    let since = node.down_since?;
    let away = swarm.now().since(since);
    (away >= swarm.config.lost_after).then(|| {
        format!("its node {} has not answered since {since}; the attempt may go on there", node.name)
    })
}

/// What only the engine of the container's own node knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Details {
    pub started: Option<UtcMs>,
    pub never_started: bool,
    out_of_memory: bool,
}

/// Waits until the output of an attempt that has ended is whole, and adds what else can be known of its end.
pub(crate) async fn complete(swarm: &Swarm, attempt: &AttemptName, standing: &mut Standing) -> Details {
    let done = written(swarm, attempt).await;
    let details = details(swarm, standing).await;
    let State::Exited(exit) = &mut standing.state else { return details };
    // The flag alone is no failure: it is also set when only a child was ended.
    if exit.code != Some(0) && details.out_of_memory {
        exit.out_of_memory = true;
    } else if exit.code == Some(137) && !details.known() && exit.before_stop {
        add(standing, "killed from outside, perhaps for want of memory: a Swarm does not say".into());
    }
    if let Err(words) = done {
        add(standing, words);
    }
    details
}

impl Details {
    fn known(&self) -> bool {
        self.started.is_some()
    }
}

fn add(standing: &mut Standing, words: String) {
    standing.message = Some(match standing.message.take() {
        Some(message) => format!("{message}; {words}"),
        None => words,
    });
}

async fn details(swarm: &Swarm, standing: &Standing) -> Details {
    let here = standing.node.is_some() && standing.node == swarm.own_node();
    let Some(container) = standing.container.as_deref().filter(|_| here) else {
        let failed = |exit: &berth_executor_api::Exit| exit.could_not_launch.is_some();
        let never_started = matches!(&standing.state, State::Exited(exit) if failed(exit));
        return Details { never_started, ..Details::default() };
    };
    let question =
        async |docker: Docker| docker.inspect_container(container, None::<InspectContainerOptions>).await;
    // It may have been removed; then no more is known than its task says.
    let Ok(found) = swarm.ask(question).await else { return Details::default() };
    let state = found.state.unwrap_or_default();
    let started = state.started_at.as_deref().and_then(engine_time);
    Details { never_started: started.is_none(), started, out_of_memory: state.oom_killed.unwrap_or_default() }
}
