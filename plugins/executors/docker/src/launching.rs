//! From a launch to a container.
//!
//! An attempt is taken when its note is on the disk. Everything that takes its time comes after that, in a task
//! of its own: the image, the container, the start. Whatever is interrupted in between is found again, by the
//! note or by the container's name, which can exist once only.

use std::sync::Arc;

use berth_docker_engine::{
    EngineError, EngineInfo, ImageRef,
    bollard::{
        Docker,
        query_parameters::{CreateContainerOptions, RemoveContainerOptions},
    },
};
use berth_executor_api::{AttemptName, AttemptState, ExecutorError, Exit, Launch, Launched};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    books::{New, Reins},
    convert::{self, Making, checked},
    extensions::Extensions,
    facts::Facts,
    gpu::Wanted,
    images::{Failure, Got},
    notes::Note,
    outputs::Outputs,
    places, scratch,
    shared::Shared,
    shares::Lack,
    state::{self, StartFailure},
    tend::{self, Ready, Tended},
};

/// How often making one container is begun anew because something was missing that should have been there.
const MOST_TRIES: u32 = 5;

/// An attempt that was taken and whose container is yet to be made.
pub(crate) struct Taken {
    pub launch: Box<Launch>,
    pub options: Extensions,
    pub image: ImageRef,
    pub facts: Arc<Facts>,
    pub reins: Reins,
}

/// Takes a batch.
pub(crate) async fn launch(shared: &Arc<Shared>, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
    let (docker, _) = shared.synced().await?;
    // What is taken while nobody can be asked would be one more thing in doubt.
    shared.engine.answer(docker.ping()).await.map_err(|error| shared.failed(error))?;
    let mut answers = Vec::with_capacity(batch.len());
    let mut taken = Vec::new();
    for launch in batch {
        match take(shared, launch) {
            Ok(Some(new)) => {
                taken.push((answers.len(), new));
                answers.push(Launched::Taken);
            }
            Ok(None) => answers.push(Launched::Taken),
            Err(answer) => answers.push(answer),
        }
    }
    let new: Vec<AttemptName> = taken.iter().map(|(_, new)| new.launch.attempt.clone()).collect();
    if let Err(error) = shared.save_notes(&new).await {
        let words = format!("the executor's notes cannot be written: {error}");
        for (index, new) in &taken {
            shared.forget(&new.launch.attempt);
            if let Some(answer) = answers.get_mut(*index) {
                *answer = Launched::NoRoom { words: words.clone() };
            }
        }
        return Ok(answers);
    }
    for (_, new) in taken {
        begin(shared, new);
    }
    Ok(answers)
}

fn note_of(launch: &Launch) -> Note {
    Note { launch: Some(Box::new(launch.clone())), ..Note::default() }
}

/// Enters a launch into the books; `None` for one that is there already.
fn take(shared: &Arc<Shared>, launch: &Launch) -> Result<Option<Taken>, Launched> {
    if shared.books().entries.contains_key(&launch.attempt) {
        return Ok(None);
    }
    let own_uid = rustix::process::geteuid().as_raw();
    let refused = |words: String| Launched::Refused { words };
    let (options, image) = checked(launch, &shared.config, own_uid).map_err(refused)?;
    let cores = match launch.spec.exclusive_cpus {
        true => usize::try_from(launch.spec.resources.cpu_millis.div_ceil(1000).max(1)).unwrap_or(usize::MAX),
        false => 0,
    };
    let gpus = match launch.spec.resources.gpus {
        0 => options.gpus.clone(),
        count => Some(Wanted::Count(usize::try_from(count).unwrap_or(usize::MAX))),
    };
    let share =
        shared.books().shares.take(&launch.attempt, cores, gpus.as_ref()).map_err(|lack| match lack {
            Lack::Now(words) => Launched::NoRoom { words },
            Lack::Ever(words) => Launched::Refused { words },
        })?;
    if cores > 0 {
        shared.doubt_cores();
    }
    let facts = Arc::new(Facts::new(launch, &options, &image, &share));
    Ok(Some(enter(shared, Box::new(launch.clone()), options, image, facts, note_of(launch))))
}

/// Enters an attempt whose container is yet to be made.
fn enter(
    shared: &Arc<Shared>,
    launch: Box<Launch>,
    options: Extensions,
    image: ImageRef,
    facts: Arc<Facts>,
    note: Note,
) -> Taken {
    let first = shared.report(&launch.attempt, AttemptState::Starting);
    let new = New { first, facts: Arc::clone(&facts), note, made: false };
    let reins = shared.books().enter(&launch.attempt, new, shared.life.child_token());
    Taken { launch, options, image, facts, reins }
}

/// Takes up an attempt again that Berth had noted before it died.
pub(crate) fn resume(shared: &Arc<Shared>, launch: Box<Launch>, note: Note) {
    let own_uid = rustix::process::geteuid().as_raw();
    match checked(&launch, &shared.config, own_uid) {
        Ok((options, image)) => {
            let cores = launch.spec.exclusive_cpus;
            let gpus = match launch.spec.resources.gpus {
                0 => options.gpus.clone(),
                count => Some(Wanted::Count(usize::try_from(count).unwrap_or(usize::MAX))),
            };
            let count = if cores { launch.spec.resources.cpu_millis.div_ceil(1000).max(1) } else { 0 };
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let share = shared.books().shares.take(&launch.attempt, count, gpus.as_ref());
            match share {
                Ok(share) => {
                    let facts = Arc::new(Facts::new(&launch, &options, &image, &share));
                    let taken = enter(shared, launch, options, image, facts, note);
                    begin(shared, taken);
                }
                Err(Lack::Now(words) | Lack::Ever(words)) => give_back(shared, &launch.attempt, words),
            }
        }
        // The settings have changed meanwhile.
        Err(words) => {
            let facts =
                Facts { stdout: launch.stdout.clone(), stderr: launch.stderr.clone(), ..Facts::nobody() };
            let attempt = launch.attempt.clone();
            let first = shared.report(&attempt, AttemptState::Starting);
            let new = New { first, facts: Arc::new(facts), note, made: false };
            let reins = shared.books().enter(&attempt, new, shared.life.child_token());
            let own = Arc::clone(shared);
            shared.spawn(reins.life, async move { never_ran(&own, &attempt, words).await });
        }
    }
}

fn begin(shared: &Arc<Shared>, taken: Taken) {
    let (own, life) = (Arc::clone(shared), taken.reins.life.clone());
    shared.spawn(life, async move { run(own, taken).await });
}

/// From a note to the end.
async fn run(shared: Arc<Shared>, mut taken: Taken) {
    let attempt = taken.launch.attempt.clone();
    shared.reports.tell(shared.report(&attempt, AttemptState::Starting));
    let mut tries = 0;
    loop {
        tries += 1;
        match make(&shared, &mut taken, tries).await {
            Made::Ready(ready) => {
                let own = Arc::clone(&shared);
                if tend::tend(own, attempt.clone(), &mut taken.reins, *ready).await == Tended::Over {
                    return;
                }
                // There is no container any more that could tell of it; or not yet, where an earlier Berth's
                // request for it is still under way.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                let launch = taken.launch.clone();
                shared.with(&attempt, |entry| entry.made = false);
                if let Err(error) = shared.note(&attempt, |note| note.launch = Some(launch)).await {
                    return give_back(
                        &shared,
                        &attempt,
                        format!("the executor's notes cannot be written: {error}"),
                    );
                }
            }
            Made::Again => {}
            Made::Stopped => {
                return never_ran(&shared, &attempt, "it was stopped before it had started".into()).await;
            }
            Made::Never(words) => return never_ran(&shared, &attempt, words).await,
            Made::NoRoom(words) => return give_back(&shared, &attempt, words),
        }
    }
}

/// What became of trying to make a container.
enum Made {
    Ready(Box<Ready>),
    Again,
    Stopped,
    Never(String),
    NoRoom(String),
}

fn is_stopped(shared: &Shared, attempt: &AttemptName) -> bool {
    shared.with(attempt, |entry| entry.note.stop.is_some()).unwrap_or(true)
}

async fn make(shared: &Arc<Shared>, taken: &mut Taken, tries: u32) -> Made {
    let attempt = taken.launch.attempt.clone();
    let name = match shared.images.name_of(&taken.image) {
        Ok(name) => name,
        Err(Failure::Never(words) | Failure::NotNow(words) | Failure::Away(words)) => {
            return Made::Never(words);
        }
    };
    let _wanted = shared.images.want(&name);
    let got = tokio::select! {
        got = image(shared, taken, &name) => got,
        () = stopped(shared, &attempt) => return Made::Stopped,
    };
    let got = match got {
        Ok(got) => got,
        Err(Failure::Never(words)) => return Made::Never(words),
        Err(Failure::NotNow(words)) => return Made::NoRoom(words),
        Err(Failure::Away(_)) => {
            shared.doubt.notify_one();
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            return Made::Again;
        }
    };
    let Ok(permit) = Arc::clone(&shared.starts).acquire_owned().await else { return Made::Again };
    if is_stopped(shared, &attempt) {
        return Made::Stopped;
    }
    let outputs = match places::prepare(&taken.launch).await {
        Ok(outputs) => outputs,
        Err(words) => return Made::Never(words),
    };
    create(shared, taken, &name, got, outputs, permit, tries).await
}

/// The image, however long that takes; an engine that is away is waited for.
async fn image(shared: &Arc<Shared>, taken: &Taken, name: &ImageRef) -> Result<Got, Failure> {
    let attempt = &taken.launch.attempt;
    let tell = |words: &str| {
        let mut report = shared.report(attempt, AttemptState::Starting);
        report.message = Some(words.to_owned());
        shared.tell(report);
    };
    let _there = shared.docker_when_there().await;
    let owner = &taken.launch.spec.identity;
    shared.images.get(&shared.engine, name, taken.options.pull, owner, tell).await
}

/// Waits until somebody wants it to end.
async fn stopped(shared: &Shared, attempt: &AttemptName) {
    let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
    while !is_stopped(shared, attempt) {
        every.tick().await;
    }
}

async fn create(
    shared: &Arc<Shared>,
    taken: &mut Taken,
    name: &ImageRef,
    got: Got,
    outputs: Outputs,
    permit: OwnedSemaphorePermit,
    tries: u32,
) -> Made {
    let docker = shared.docker_when_there().await;
    let Ok((_, info)) = shared.synced().await else { return Made::Again };
    let attempt = taken.launch.attempt.clone();
    let network = match convert::attached_to(&taken.launch, &taken.options, &shared.config) {
        Ok(network) => network,
        Err(words) => return Made::Never(words),
    };
    let there = match &taken.facts.network {
        Some(wanted) => shared.networks.ensure_on_demand(&shared.engine, wanted).await,
        None => shared.networks.ensure(&shared.engine, &network).await,
    };
    if let Err(error) = there {
        return after(shared, &error, tries, &format!("network {network}")).await;
    }
    let mut facts = Facts { digest: Some(got.digest.clone()), ..(*taken.facts).clone() };
    let note = match scratch::make(shared, &docker, &taken.launch).await {
        Ok(note) => note.or(got.note),
        Err(scratch::ScratchError::Refused(words)) => return Made::Never(words),
        Err(scratch::ScratchError::Engine(error)) => {
            return after(shared, &error, tries, "scratch space").await;
        }
    };
    let cgroup_parent = shared.counters.parent(&attempt, &info);
    facts.counted = cgroup_parent.is_some();
    taken.facts = Arc::new(facts);
    let image = if shared.images.by_contents() { got.id } else { name.full() };
    let body = body(shared, taken, &info, image, network, cgroup_parent);
    let options =
        CreateContainerOptions { name: Some(attempt.to_string()), ..CreateContainerOptions::default() };
    let patient = docker.with_timeout(shared.config.start_within);
    let made = shared
        .engine
        .answer_within(shared.config.start_within, patient.create_container(Some(options), body));
    match made.await {
        // Under this name there can be no other than this very attempt.
        Err(error) if !error.is_conflict() => return not_made(shared, name, &error, tries).await,
        _ => {}
    }
    shared.with(&attempt, |entry| {
        entry.made = true;
        entry.facts = Arc::clone(&taken.facts);
        entry.note.launch = None;
    });
    // From here on the container tells that it exists. A note that stays would be taken for one without.
    if let Err(error) = shared.note(&attempt, |_| ()).await {
        let _ = remove_container(shared, &patient, &attempt).await;
        return Made::NoRoom(format!("the executor's notes cannot be written: {error}"));
    }
    let facts = Arc::clone(&taken.facts);
    Made::Ready(Box::new(Ready {
        facts,
        outputs: Some(outputs),
        permit: Some(permit),
        may_have_run: false,
        note,
    }))
}

fn body(
    shared: &Shared,
    taken: &Taken,
    info: &EngineInfo,
    image: String,
    network: String,
    cgroup_parent: Option<String>,
) -> berth_docker_engine::bollard::models::ContainerCreateBody {
    let common_cores = {
        let books = shared.books();
        books.shares.any_pinned().then(|| books.shares.common()).filter(|cores| !cores.is_empty())
    };
    let making = Making {
        config: &shared.config,
        launch: &taken.launch,
        options: &taken.options,
        facts: &taken.facts,
        image,
        network,
        cgroup_parent,
        cores: cores_of(info),
        common_cores,
    };
    making.body()
}

/// The CPUs that an engine has.
pub(crate) fn cores_of(info: &EngineInfo) -> u32 {
    info.info.ncpu.and_then(|cores| u32::try_from(cores).ok()).unwrap_or(1)
}

async fn not_made(shared: &Arc<Shared>, name: &ImageRef, error: &EngineError, tries: u32) -> Made {
    if error.is_missing() && error.says("no such image") {
        shared.images.missed(name);
        return if tries < MOST_TRIES { Made::Again } else { Made::NoRoom(error.to_string()) };
    }
    after(shared, error, tries, "the container").await
}

/// What to do after something could not be made.
async fn after(shared: &Arc<Shared>, error: &EngineError, tries: u32, what: &str) -> Made {
    if error.is_missing() && error.says("network") && tries < MOST_TRIES {
        shared.networks.missed().await;
        return Made::Again;
    }
    match state::refusal(error) {
        None => {
            shared.doubt.notify_one();
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            Made::Again
        }
        Some(StartFailure::NoRoom(words)) => Made::NoRoom(words),
        Some(StartFailure::Never(words) | StartFailure::Program { words, .. }) => {
            Made::Never(format!("{what} cannot be made: {words}"))
        }
    }
}

/// It ends without ever having run. No container will tell that, so it is noted.
pub(crate) async fn never_ran(shared: &Arc<Shared>, attempt: &AttemptName, words: String) {
    let now = shared.now();
    let before_stop = shared.with(attempt, |entry| entry.note.stop.is_none()).unwrap_or(true);
    let exit = Exit { could_not_launch: Some(words), before_stop, at: now, ..Exit::default() };
    let report = shared.report(attempt, AttemptState::Exited(exit));
    let ended = Some(Box::new(report.clone()));
    if let Err(error) = shared.note(attempt, |note| (note.launch, note.ended) = (None, ended)).await {
        tracing::warn!(attempt = %attempt, error = %error, "the end of an attempt cannot be noted");
    }
    shared.tell(report);
}

/// Nothing of it is left here: it can be launched again, under another name.
pub(crate) fn give_back(shared: &Arc<Shared>, attempt: &AttemptName, words: String) {
    let mut report = shared.report(attempt, AttemptState::NoRoom);
    report.message = Some(words);
    let (own, attempt) = (Arc::clone(shared), attempt.clone());
    // Not for the attempt's own life, which ends with this.
    shared.spawn(shared.life.clone(), async move {
        let docker = own.docker_when_there().await;
        scratch::remove(&own, &docker, &attempt).await;
        let counters = own.counters.clone();
        let name = attempt.clone();
        let _ = tokio::task::spawn_blocking(move || counters.remove(&[name])).await;
        if let Err(error) = own.notes.remove(vec![attempt.clone()]).await {
            tracing::warn!(attempt = %attempt, error = %error, "a note cannot be removed");
        }
        own.forget(&attempt);
        own.reports.tell(report);
    });
}

/// Removes a container that does not run, with its unnamed volumes. One that is not there is fine.
pub(crate) async fn remove_container(
    shared: &Shared,
    docker: &Docker,
    attempt: &AttemptName,
) -> Result<(), EngineError> {
    let options = RemoveContainerOptions { v: true, ..RemoveContainerOptions::default() };
    let removed = docker.remove_container(attempt.as_str(), Some(options));
    match shared.engine.answer_within(shared.config.start_within, removed).await {
        Err(error) if !error.is_missing() => Err(error),
        _ => Ok(()),
    }
}
