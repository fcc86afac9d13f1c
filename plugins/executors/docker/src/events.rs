//! The engine watched: its events, whether it answers at all, and making good what was missed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use berth_docker_engine::{
    EngineInfo,
    bollard::{Docker, models::EventMessage, query_parameters::EventsOptions},
    label,
};
use berth_executor_api::{ExecutorError, Report, UtcMs};
use futures::StreamExt;
use tokio::time::{interval, sleep, timeout};

use crate::{
    adopt,
    books::{Died, Nudge},
    launching::cores_of,
    networks,
    shared::{Reach, Shared},
};

/// How often an engine that says nothing is asked whether it is there.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// How soon an engine that is away is looked for again, first and at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// An engine ends its containers before it stops answering.
const ENDING: Duration = Duration::from_secs(30);

/// For as long as the executor lives.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut pause = LOOK_AGAIN.0;
    let mut seen_at = shared.now();
    loop {
        match connect(&shared).await {
            Ok((docker, info)) => {
                pause = LOOK_AGAIN.0;
                back(&shared, &info, seen_at);
                let words = listen(&shared, &docker, &info, &mut seen_at).await;
                tracing::warn!(engine = %shared.config.endpoint, error = words, "the engine is lost");
                shared.set_away(&words);
            }
            Err(error) => {
                shared.set_away(&with_cause(&error));
                tokio::select! {
                    () = sleep(pause) => pause = (pause * 2).min(LOOK_AGAIN.1),
                    () = shared.doubt.notified() => sleep(LOOK_AGAIN.0).await,
                }
            }
        }
    }
}

fn with_cause(error: &ExecutorError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Connects, and brings the books to what the engine says.
async fn connect(shared: &Arc<Shared>) -> Result<(Docker, EngineInfo), ExecutorError> {
    let info = shared.engine.connect().await?;
    let docker = shared.engine.docker().await?;
    shared.set_clock(&info);
    let gpus = shared.config.gpus.ids.clone();
    shared.books().shares.set_total(cores_of(&info), gpus);
    adopt::sync(shared, &docker).await.map_err(|error| shared.failed(error))?;
    Ok((docker, info))
}

/// It answers. What was missed meanwhile is looked at by those who tend the attempts.
fn back(shared: &Arc<Shared>, info: &EngineInfo, seen_at: UtcMs) {
    let before = shared.reach.send_replace(Reach::Synced(Arc::new(info.clone())));
    let own = Arc::clone(shared);
    shared.spawn(shared.life.clone(), async move {
        own.networks.missed().await;
        if let Err(error) = own.networks.make_all(&own.engine).await {
            tracing::warn!(error = %error, "Berth's networks cannot be made");
        }
        if let Err(error) = networks::sweep(&own).await {
            tracing::warn!(error = %error, "networks that nobody needs cannot be removed");
        }
    });
    if matches!(before, Reach::Away { .. }) {
        let from = UtcMs(seen_at.0.saturating_sub(u64::try_from(ENDING.as_millis()).unwrap_or(0)));
        *shared.last_away.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some((from, shared.now()));
        for entry in shared.books().entries.values() {
            entry.nudge(Nudge::Look);
        }
        shared.reports.send(Report::Back);
    }
    shared.doubt_cores();
}

/// Listens until the engine is lost, and gives the reason.
async fn listen(shared: &Arc<Shared>, docker: &Docker, info: &EngineInfo, seen_at: &mut UtcMs) -> String {
    let cluster = format!("{}={}", label::CLUSTER, shared.config.cluster);
    let options = EventsOptions {
        // What happened since it was asked about itself is told once more.
        since: info.info.system_time.as_deref().and_then(seconds),
        until: None,
        filters: Some(HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), vec![cluster]),
            ("event".to_owned(), EVENTS.map(str::to_owned).to_vec()),
        ])),
    };
    let docker = docker.clone();
    let mut events = Box::pin(docker.events(Some(options)));
    let mut every = interval(ASK_EVERY);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => {
                    *seen_at = shared.now();
                    on_event(shared, &event);
                }
                Some(Err(error)) => return format!("its events have broken off: {error}"),
                None => return "its events have ended".into(),
            },
            _ = every.tick() => {
                keep_house(shared);
                if let Some(words) = silent(shared, &docker).await {
                    return words;
                }
                *seen_at = shared.now();
            }
            () = shared.doubt.notified() => {
                if let Some(words) = silent(shared, &docker).await {
                    return words;
                }
            }
        }
    }
}

/// Seconds since 1970, as the engine wants them.
fn seconds(time: &str) -> Option<String> {
    let at = berth_docker_engine::nanoseconds(time)?;
    Some(format!("{}.{:09}", at / 1_000_000_000, at % 1_000_000_000))
}

async fn silent(shared: &Shared, docker: &Docker) -> Option<String> {
    match timeout(shared.config.answer_within, docker.ping()).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("it does not answer".into()),
    }
}

fn keep_house(shared: &Arc<Shared>) {
    let own = Arc::clone(shared);
    shared.spawn(shared.life.clone(), async move {
        if let Err(error) = own.images.make_room(&own.engine).await {
            tracing::warn!(error = %error, "no room can be made among images");
        }
        if let Err(error) = own.images.save().await {
            tracing::warn!(error = %error, "the record of images cannot be written");
        }
    });
}

/// Those that matter.
const EVENTS: [&str; 6] = ["pause", "unpause", "kill", "die", "destroy", "start"];

fn on_event(shared: &Shared, event: &EventMessage) {
    let Some(attributes) = event.actor.as_ref().and_then(|actor| actor.attributes.as_ref()) else { return };
    let attribute = |name: &str| attributes.get(name).map(String::as_str);
    let Some(attempt) =
        attribute(label::ATTEMPT).and_then(|name| adopt::attempt(&shared.config.cluster, name))
    else {
        return;
    };
    let at = event
        .time_nano
        .and_then(|nanos| u64::try_from(nanos / 1_000_000).ok())
        .map_or_else(|| shared.now(), UtcMs);
    shared.with(&attempt, |entry| match event.action.as_deref() {
        Some("pause") => entry.nudge(Nudge::Paused(at)),
        Some("unpause") => entry.nudge(Nudge::Unpaused(at)),
        Some("die") => {
            let code = attribute("exitCode").and_then(|code| code.parse().ok()).unwrap_or(-1);
            entry.nudge(Nudge::Died(Died { code, at }));
        }
        Some("destroy") => entry.nudge(Nudge::Destroyed),
        Some("kill") => {
            entry.signals.extend(attribute("signal").and_then(|signal| signal.parse::<i32>().ok()))
        }
        _ => {}
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_the_engine_reads_it() {
        assert_eq!(seconds("1970-01-01T00:00:01.5Z").unwrap(), "1.500000000");
        assert_eq!(seconds("today"), None);
    }
}
