//! Watching the Swarm.
//!
//! An engine tells of services and nodes of the whole Swarm, and of containers on its own node, but not of
//! tasks. So every such event leads to a look at the tasks, and looks follow it at growing distances, until
//! nothing changes any more; only while there are attempts that the events do not cover do they go on, at
//! the longest distance that is set. Without attempts there are none.
//!
//! Engines drop events under load, and say nothing when their own source of them dries up. Nodes are therefore
//! also looked at without one, only more seldom; and so is what other services reserve on them, which has no
//! events of its own.

use std::{sync::Arc, time::Duration};

use berth_docker_engine::bollard::{
    models::{EventMessage, EventMessageTypeEnum},
    query_parameters::EventsOptionsBuilder,
};
use berth_executor_api::{AttemptName, ExecutorError};
use futures::{StreamExt, stream::BoxStream};
use tokio::time::{sleep, sleep_until, timeout};

use crate::{
    BACKEND,
    pace::Pace,
    reconcile::given_up,
    swarm::Swarm,
    task::{self, State},
};

/// How soon an engine that is away is asked for again, the first time and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// What is only looked at to be sure.
const TO_BE_SURE: Duration = Duration::from_secs(60);
/// So many times more seldom than at tasks is looked at nodes.
const NODES_MORE_SELDOM: u32 = 10;

/// What may change where an attempt stands.
const ACTIONS: [&str; 6] = ["create", "update", "remove", "start", "die", "oom"];

type Events = BoxStream<'static, Result<EventMessage, berth_docker_engine::bollard::errors::Error>>;

/// For as long as the executor lives.
pub(crate) async fn watch(swarm: Arc<Swarm>) {
    let (mut pause, longest) = RETRY;
    let mut away = false;
    loop {
        match begin(&swarm).await {
            Ok(events) => {
                pause = RETRY.0;
                if std::mem::take(&mut away) {
                    swarm.reports.back();
                }
                let error = follow(&swarm, events).await;
                tracing::warn!(error = words(&error), "connection to the Swarm's manager lost");
                swarm.engine.lost();
                swarm.reports.away(words(&error));
                away = true;
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    swarm.reports.away(words(&error));
                }
                sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        }
    }
}

fn words(error: &ExecutorError) -> String {
    match error {
        ExecutorError::Unreachable { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    }
}

/// Connects, listens, and then takes stock, so that nothing is missed in between.
async fn begin(swarm: &Arc<Swarm>) -> Result<Events, ExecutorError> {
    swarm.connect().await?;
    let docker = swarm.engine.docker().await?;
    let types = ["node", "service", "container"].map(str::to_owned).to_vec();
    let filters = std::collections::HashMap::from([("type".to_owned(), types)]);
    let events = docker.events(Some(EventsOptionsBuilder::new().filters(&filters).build())).boxed();
    swarm.refresh_nodes().await?;
    for (attempt, carrier) in swarm.all_carriers().await? {
        if let Some(labels) = carrier.labels() {
            swarm.adopt(&attempt, labels, carrier.stopped());
        }
        note(swarm, &attempt, task::of_attempt(carrier.tasks).as_ref());
    }
    Ok(events)
}

/// Until something breaks.
async fn follow(swarm: &Arc<Swarm>, mut events: Events) -> ExecutorError {
    let (mut tasks, mut nodes) = (Pace::new(), Pace::new());
    loop {
        let looks = !swarm.book.live().is_empty();
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => {
                    on_event(swarm, &event);
                    if is_about_nodes(swarm, &event) {
                        nodes.hurry();
                    }
                    if is_news(&event) {
                        tasks.hurry();
                    }
                }
                Some(Err(error)) => {
                    return berth_docker_engine::EngineError::from(error).for_executor(BACKEND);
                }
                None => return swarm.engine.away("its stream of events has ended"),
            },
            () = swarm.wake.notified() => tasks.hurry(),
            () = sleep_until(nodes.next()) => match swarm.refresh_nodes().await {
                Ok(news) => {
                    if news {
                        tasks.hurry();
                    }
                    let longest = swarm.config.look_at_least_every.saturating_mul(NODES_MORE_SELDOM);
                    nodes.looked(news, longest.min(TO_BE_SURE));
                }
                Err(error) => return error,
            },
            () = sleep_until(tasks.next()), if looks => match look(swarm).await {
                Ok(news) => tasks.looked(news, longest(swarm)),
                Err(error) => return error,
            },
        }
    }
}

/// The longest time between two looks at tasks.
fn longest(swarm: &Swarm) -> Duration {
    let own_node = swarm.own_node();
    match swarm.book.needs_looking(own_node.as_deref()) {
        true => swarm.config.look_at_least_every,
        false => TO_BE_SURE,
    }
}

fn is_news(event: &EventMessage) -> bool {
    let action = event.action.as_deref().unwrap_or_default();
    let of_a_task = |name: &String| name == "com.docker.swarm.task.id";
    let attributes = event.actor.as_ref().and_then(|actor| actor.attributes.as_ref());
    ACTIONS.contains(&action)
        && (event.typ != Some(EventMessageTypeEnum::CONTAINER)
            || attributes.is_some_and(|attributes| attributes.keys().any(of_a_task)))
}

/// Whether nodes may have changed, or what others reserve on them.
fn is_about_nodes(swarm: &Swarm, event: &EventMessage) -> bool {
    match event.typ {
        Some(EventMessageTypeEnum::NODE) => true,
        Some(EventMessageTypeEnum::SERVICE) => name_of(event).is_none_or(|name| !swarm.names_attempt(name)),
        _ => false,
    }
}

fn name_of(event: &EventMessage) -> Option<&str> {
    event.actor.as_ref()?.attributes.as_ref()?.get("name").map(String::as_str)
}

fn on_event(swarm: &Swarm, event: &EventMessage) {
    if event.typ != Some(EventMessageTypeEnum::SERVICE) || event.action.as_deref() != Some("remove") {
        return;
    }
    let Some(name) = name_of(event) else { return };
    // One that Berth has removed itself is not in the book any more.
    if let Some(attempt) = swarm.book.live().iter().find(|attempt| attempt.as_str() == name) {
        removed(swarm, attempt);
    }
}

/// Someone else removed its service; Berth asks, and hears that it is absent.
fn removed(swarm: &Swarm, attempt: &AttemptName) {
    if swarm.book.forget(attempt) {
        tracing::warn!(%attempt, "service was removed by someone else");
        swarm.reports.back();
    }
}

/// Looks at all tasks once; whether there is news.
async fn look(swarm: &Arc<Swarm>) -> Result<bool, ExecutorError> {
    let live = swarm.book.live();
    let mut tasks = swarm.all_tasks().await?;
    let mut news = false;
    for attempt in live {
        let task = task::of_attempt(tasks.remove(&attempt).unwrap_or_default());
        let had_one = swarm.book.with(&attempt, |entry| entry.progress.borrow().task.is_some());
        if task.is_none() && had_one == Some(true) {
            // Tasks go with their service, and of its end an event may have been lost.
            if swarm.service(&attempt).await?.is_none() {
                removed(swarm, &attempt);
            }
            continue;
        }
        news |= note(swarm, &attempt, task.as_ref());
    }
    Ok(news)
}

/// Takes over where an attempt stands, and tells it if it is news.
fn note(
    swarm: &Arc<Swarm>,
    attempt: &AttemptName,
    task: Option<&berth_docker_engine::bollard::models::Task>,
) -> bool {
    let nodes = swarm.nodes();
    let Some((news, standing)) = swarm.book.with(attempt, |entry| {
        let mut standing = task::standing(task, entry.stopped, &nodes);
        if let Some(words) = down(&standing, &nodes) {
            standing.message = Some(words);
        }
        let given_up = given_up(swarm, &standing, &nodes).is_some();
        if given_up && !std::mem::replace(&mut entry.given_up, given_up) {
            swarm.reports.back();
        }
        entry.given_up = given_up;
        if standing.state.is_end() {
            let first = !std::mem::replace(&mut entry.ending, true);
            entry.note(&standing);
            return (first, standing);
        }
        (!entry.ending && entry.note(&standing), standing)
    }) else {
        return false;
    };
    if !news {
        return false;
    }
    if standing.state == State::Lost {
        // Berth asks, and hears it as the answer.
        swarm.reports.back();
    } else if standing.state.is_end() {
        tokio::spawn(tell_end(Arc::clone(swarm), attempt.clone(), standing));
    } else {
        tell(swarm, attempt, &standing);
    }
    true
}

/// Its node does not answer: what runs there may go on all the same.
fn down(standing: &task::Standing, nodes: &crate::nodes::Nodes) -> Option<String> {
    let node = nodes.by_id(standing.node.as_deref()?)?;
    let since = node.down_since?;
    (!standing.state.is_end()).then(|| format!("unreachable: {} has not answered since {since}", node.name))
}

fn tell(swarm: &Swarm, attempt: &AttemptName, standing: &task::Standing) {
    let nodes = swarm.nodes();
    let at = standing.at.unwrap_or_else(|| swarm.now());
    let at = swarm.book.with(attempt, |entry| entry.time(at)).unwrap_or(at);
    if let Some(report) = task::report(attempt, standing, at, &nodes) {
        swarm.reports.tell(report);
    }
}

/// Tells of an end, once everything that was written is in its files.
async fn tell_end(swarm: Arc<Swarm>, attempt: AttemptName, mut standing: task::Standing) {
    let details = crate::reconcile::complete(&swarm, &attempt, &mut standing).await;
    let told = swarm.book.with(&attempt, |entry| (std::mem::replace(&mut entry.over, true), entry.ran));
    let Some((false, told_running)) = told else { return };
    if !told_running && standing.container.is_some() && !details.never_started {
        // It ran and ended between two looks.
        let mut running = standing.clone();
        running.state = State::Running;
        running.message = None;
        running.at = details.started.or(standing.created);
        tell(&swarm, &attempt, &running);
    }
    tell(&swarm, &attempt, &standing);
}

/// Waits for an attempt's output to be in its files, as long as it takes the writer.
pub(crate) async fn written(swarm: &Swarm, attempt: &AttemptName) -> Result<(), String> {
    let Some(mut written) = swarm.book.with(attempt, |entry| entry.written.clone()) else { return Ok(()) };
    // The writer has a bound on every question; this is for one that breaks down.
    let patience = swarm.config.engine.answer_within.saturating_mul(6);
    match timeout(patience, written.wait_for(Option::is_some)).await {
        Ok(Ok(done)) => done.clone().unwrap_or(Ok(())),
        Ok(Err(_)) => Err("its output was given up".into()),
        Err(_) => Err("its output took too long".into()),
    }
}
