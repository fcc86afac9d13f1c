//! Stopping and removing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use berth_docker_engine::{
    EngineError,
    bollard::{
        Docker,
        models::ServiceSpec,
        query_parameters::{
            InspectNetworkOptionsBuilder, KillContainerOptionsBuilder, ListNetworksOptionsBuilder,
            UpdateServiceOptionsBuilder,
        },
    },
    filter, label,
};
use berth_executor_api::{AttemptName, ExecutorError};
use tokio::time::sleep;

use crate::{
    BACKEND,
    service::{NOWHERE, own_label},
    swarm::{Carrier, Swarm},
    task::{self, Standing},
    watch::written,
};

/// How often a change is tried again that another one came before.
const TRIES: u32 = 8;
/// How long networks of ended attempts are waited for to be let go.
const LETTING_GO: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(300);

/// Asks an attempt to end, and kills it `grace` later where its node is this engine's; elsewhere the grace
/// that it was launched with holds.
pub(crate) async fn terminate(
    swarm: &Arc<Swarm>,
    attempt: &AttemptName,
    grace: Duration,
) -> Result<(), ExecutorError> {
    for _ in 0..TRIES {
        let Some(carrier) = swarm.carrier(attempt).await? else { return Ok(()) };
        let stopped = carrier.stopped();
        if let Some(labels) = carrier.labels() {
            swarm.adopt(attempt, labels, stopped);
        }
        let standing = standing(swarm, &carrier);
        if standing.state.is_end() {
            return Ok(());
        }
        if !stopped && !stop(swarm, attempt, carrier).await? {
            continue;
        }
        swarm.wake.notify_one();
        kill_later(swarm, attempt, &standing, grace);
        return Ok(());
    }
    Err(swarm.engine.away("the service is changed all the time"))
}

fn standing(swarm: &Swarm, carrier: &Carrier) -> Standing {
    let task = task::of_attempt(carrier.tasks.clone());
    task::standing(task.as_ref(), carrier.stopped(), &swarm.nodes())
}

/// Asks, for good, for a node that does not exist. `false` when someone else changed the service meanwhile.
async fn stop(swarm: &Swarm, attempt: &AttemptName, carrier: Carrier) -> Result<bool, ExecutorError> {
    let version = carrier.service.version.and_then(|version| version.index).unwrap_or_default();
    let options = UpdateServiceOptionsBuilder::new()
        .version(i32::try_from(version).unwrap_or(i32::MAX))
        .registry_auth_from("spec")
        .build();
    let spec = stopped(carrier.service.spec.unwrap_or_default(), swarm.now().to_string());
    let name = attempt.to_string();
    // Before it can take effect: what ends from here on may have ended for this.
    let was = swarm.book.with(attempt, |entry| std::mem::replace(&mut entry.stopped, true));
    let answer =
        swarm.ask(async |docker: Docker| docker.update_service(&name, spec, options, None).await).await;
    let undo = || swarm.book.with(attempt, |entry| entry.stopped = was.unwrap_or_default());
    match answer {
        Ok(_) => Ok(true),
        Err(EngineError::Refused { message, .. }) if message.contains("out of sequence") => {
            undo();
            Ok(false)
        }
        Err(error) if error.is_missing() => Ok(true),
        Err(error) => Err(error.for_executor(BACKEND)),
    }
}

/// The service with its end asked for.
fn stopped(mut spec: ServiceSpec, at: String) -> ServiceSpec {
    spec.labels.get_or_insert_default().insert(own_label::STOP.into(), at);
    let template = spec.task_template.get_or_insert_default();
    let placement = template.placement.get_or_insert_default();
    placement.constraints.get_or_insert_default().push(NOWHERE.into());
    spec
}

/// The grace that Swarm gives is the one of the launch. A shorter one can be had on this engine's node.
fn kill_later(swarm: &Arc<Swarm>, attempt: &AttemptName, standing: &Standing, grace: Duration) {
    let here = standing.node.is_some() && standing.node == swarm.own_node();
    let Some(container) = standing.container.clone().filter(|_| here) else { return };
    let Some(mut progress) = swarm.book.with(attempt, |entry| entry.progress.subscribe()) else { return };
    let (swarm, attempt) = (Arc::downgrade(swarm), attempt.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = sleep(grace) => {}
            _ = progress.wait_for(|now| now.phase == berth_executor_api::files::Phase::Ended) => return,
        }
        let Some(swarm) = swarm.upgrade() else { return };
        let options = KillContainerOptionsBuilder::new().signal("KILL").build();
        let killed =
            swarm.ask(async |docker: Docker| docker.kill_container(&container, Some(options)).await).await;
        // It may have ended in this moment.
        if let Err(error) = killed {
            tracing::debug!(%attempt, %error, "container was not killed");
        }
    });
}

/// Removes the service of an attempt that has ended; one that still runs is left alone.
pub(crate) async fn remove(swarm: &Arc<Swarm>, attempt: &AttemptName) -> Result<(), ExecutorError> {
    let Some(carrier) = swarm.carrier(attempt).await? else {
        swarm.book.forget(attempt);
        return Ok(());
    };
    let standing = standing(swarm, &carrier);
    if !standing.state.is_end() {
        return Ok(());
    }
    // After a crash nobody knows whether its output is in its files; its log goes with the service.
    if let Some(labels) = carrier.labels() {
        swarm.adopt(attempt, labels, carrier.stopped());
    }
    swarm.book.with(attempt, |entry| entry.note(&standing));
    if let Err(words) = written(swarm, attempt).await {
        tracing::warn!(%attempt, words, "service is removed without its output");
    }
    delete(swarm, attempt).await
}

async fn delete(swarm: &Swarm, attempt: &AttemptName) -> Result<(), ExecutorError> {
    let name = attempt.to_string();
    // First from the book, so that the event of its removal is no news.
    swarm.book.forget(attempt);
    match swarm.ask(async |docker: Docker| docker.delete_service(&name).await).await {
        Ok(()) => Ok(()),
        Err(error) if error.is_missing() => Ok(()),
        Err(error) => Err(error.for_executor(BACKEND)),
    }
}

/// Removes all services and networks of this cluster, and says which.
pub(crate) async fn cleanup(swarm: &Arc<Swarm>, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
    let mut attempts: Vec<AttemptName> = swarm.all_services().await?.into_keys().collect();
    attempts.sort();
    let networks = networks(swarm).await?;
    let mut lines: Vec<String> = attempts.iter().map(|attempt| format!("service {attempt}")).collect();
    lines.extend(networks.iter().map(|network| format!("network {network}")));
    if dry_run {
        return Ok(lines);
    }
    for attempt in &attempts {
        delete(swarm, attempt).await?;
    }
    if !networks.is_empty() {
        wait_for_tasks(swarm).await?;
    }
    for network in &networks {
        remove_network(swarm, network).await?;
    }
    Ok(lines)
}

/// A network that is removed while a task still ends stays with the task's engine for ever.
async fn wait_for_tasks(swarm: &Swarm) -> Result<(), ExecutorError> {
    let mut waited = Duration::ZERO;
    while swarm.has_tasks().await? && waited < LETTING_GO {
        sleep(PAUSE).await;
        waited += PAUSE;
    }
    Ok(())
}

async fn networks(swarm: &Swarm) -> Result<Vec<String>, ExecutorError> {
    let filters: HashMap<String, Vec<String>> = filter(label::CLUSTER, &swarm.config.cluster);
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let found = swarm.ask(async |docker: Docker| docker.list_networks(Some(options)).await).await;
    let found = found.map_err(|error| error.for_executor(BACKEND))?;
    let mut there = Vec::new();
    for name in found.into_iter().filter_map(|network| network.name) {
        // An engine also lists its own part of one that the Swarm does not have any more.
        let options = InspectNetworkOptionsBuilder::new().scope("swarm").build();
        match swarm.ask(async |docker: Docker| docker.inspect_network(&name, Some(options)).await).await {
            Ok(_) => there.push(name),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.for_executor(BACKEND)),
        }
    }
    Ok(there)
}

/// Tasks that are being shut down hold their network for a while.
async fn remove_network(swarm: &Swarm, name: &str) -> Result<(), ExecutorError> {
    let mut waited = Duration::ZERO;
    loop {
        match swarm.ask(async |docker: Docker| docker.remove_network(name).await).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) if error.is_unreachable() || waited >= LETTING_GO => {
                return Err(error.for_executor(BACKEND));
            }
            Err(_) => {}
        }
        sleep(PAUSE).await;
        waited += PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use berth_docker_engine::bollard::models::{TaskSpec, TaskSpecPlacement};

    use super::*;

    #[test]
    fn a_stopped_service_keeps_what_it_had_and_fits_nowhere() {
        let spec = ServiceSpec {
            labels: Some(HashMap::from([("a".into(), "b".into())])),
            task_template: Some(TaskSpec {
                placement: Some(TaskSpecPlacement {
                    constraints: Some(vec!["node.id==x".into()]),
                    ..TaskSpecPlacement::default()
                }),
                ..TaskSpec::default()
            }),
            ..ServiceSpec::default()
        };
        let spec = stopped(spec, "now".into());
        let labels = spec.labels.unwrap();
        assert_eq!((labels["a"].as_str(), labels[own_label::STOP].as_str()), ("b", "now"));
        let constraints = spec.task_template.unwrap().placement.unwrap().constraints.unwrap();
        assert_eq!(constraints, ["node.id==x", NOWHERE]);
        let bare = stopped(ServiceSpec::default(), "now".into());
        assert_eq!(bare.task_template.unwrap().placement.unwrap().constraints.unwrap(), [NOWHERE]);
    }
}
