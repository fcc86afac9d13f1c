//! Finding attempts again: those that the engine has, and those that have a note only.

use std::{collections::HashMap, sync::Arc, time::Duration};

use berth_docker_engine::{
    EngineError,
    bollard::{
        Docker,
        models::{ContainerSummary, ContainerSummaryStateEnum},
        query_parameters::ListContainersOptions,
    },
    filter, label,
};
use berth_executor_api::{AttemptName, AttemptState};
use tokio::time::sleep;

use crate::{
    books::New,
    facts::Facts,
    launching::{give_back, resume},
    notes::Note,
    shared::Shared,
    tend::{self, Ready, Tended},
};

/// How often a container that was listed is looked for that the engine does not find, and how soon again.
const MOST_LOOKS: u32 = 50;
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A name as the engine has it, if it can be one of this cluster's.
pub(crate) fn attempt(cluster: &str, name: &str) -> Option<AttemptName> {
    let (job, attempt) = AttemptName::parse(cluster, name).ok()?;
    Some(AttemptName::new(cluster, job, attempt))
}

/// All containers of this cluster, by attempt.
pub(crate) async fn containers(
    shared: &Shared,
    docker: &Docker,
) -> Result<HashMap<AttemptName, ContainerSummary>, EngineError> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(filter(label::CLUSTER, &shared.config.cluster)),
        ..ListContainersOptions::default()
    };
    let all = shared.engine.answer(docker.list_containers(Some(options))).await?;
    let named = |container: ContainerSummary| {
        let name = container.labels.as_ref()?.get(label::ATTEMPT)?;
        Some((attempt(&shared.config.cluster, name)?, container))
    };
    Ok(all.into_iter().filter_map(named).collect())
}

/// Brings the books to what the engine and the notes say. What is in the books already is left to those who
/// tend it.
pub(crate) async fn sync(shared: &Arc<Shared>, docker: &Docker) -> Result<(), EngineError> {
    // Notes first: one that is written meanwhile belongs to an attempt that is in the books.
    let notes = shared.notes.read().await.unwrap_or_else(|error| {
        tracing::warn!(error = %error, "the notes of attempts cannot be read");
        Vec::new()
    });
    let mut notes: HashMap<AttemptName, Note> = notes
        .into_iter()
        .filter_map(|(name, note)| Some((attempt(&shared.config.cluster, &name)?, note)))
        .collect();
    let containers = containers(shared, docker).await?;
    for (attempt, container) in containers {
        let note = notes.remove(&attempt).unwrap_or_default();
        if !shared.books().entries.contains_key(&attempt) {
            adopt(shared, attempt, &container, note);
        }
    }
    for (attempt, note) in notes {
        if !shared.books().entries.contains_key(&attempt) {
            without_container(shared, &attempt, note).await;
        }
    }
    Ok(())
}

fn adopt(shared: &Arc<Shared>, attempt: AttemptName, container: &ContainerSummary, note: Note) {
    let Some(facts) = container.labels.as_ref().and_then(Facts::read) else {
        tracing::warn!(attempt = %attempt, "a container with this name is not of this executor's making");
        return;
    };
    let facts = Arc::new(facts);
    // One that was stopped before its container was started has its end on record, and must not start now.
    let ended = note.ended.clone();
    let over = ended.is_some();
    let first = ended.map_or_else(|| shared.report(&attempt, AttemptState::Starting), |ended| *ended);
    let note = Note { launch: None, ..note };
    let new = New { first, facts: Arc::clone(&facts), note, made: true };
    let mut reins = shared.books().enter(&attempt, new, shared.life.child_token());
    if over {
        return;
    }
    let may_have_run = container.state != Some(ContainerSummaryStateEnum::CREATED);
    let (own, life) = (Arc::clone(shared), reins.life.clone());
    shared.spawn(life, async move {
        for _ in 0..MOST_LOOKS {
            let ready =
                Ready { facts: Arc::clone(&facts), outputs: None, permit: None, may_have_run, note: None };
            if tend::tend(Arc::clone(&own), attempt.clone(), &mut reins, ready).await == Tended::Over {
                return;
            }
            // An engine lists what it is still making for an earlier Berth, and does not find it yet.
            sleep(LOOK_AGAIN).await;
        }
        give_back(&own, &attempt, "its container was gone before it had run".into());
    });
}

async fn without_container(shared: &Arc<Shared>, attempt: &AttemptName, note: Note) {
    if let Some(ended) = note.ended.clone() {
        let nobody = Facts::nobody();
        let new = New { first: *ended, facts: Arc::new(nobody), note, made: false };
        // It is over; nobody need tend it.
        let _ = shared.books().enter(attempt, new, shared.life.child_token());
        return;
    }
    if let Some(launch) = note.launch.clone() {
        return resume(shared, launch, note);
    }
    // It was removed while nobody looked; there is nothing left that the note could be about.
    if let Err(error) = shared.notes.remove(vec![attempt.clone()]).await {
        tracing::warn!(attempt = %attempt, error = %error, "a note cannot be removed");
    }
}
