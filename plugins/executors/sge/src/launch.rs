//! Launching: noted on disk first, then handed to SGE, one `qsub` for all tasks of an array.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use berth_executor_api::{AttemptName, ExecutorError, Launch, Launched};
use futures::{StreamExt, stream};
use tokio::task::spawn_blocking;

use crate::{
    BACKEND,
    convert::{self, Together},
    directory,
    journal::Kept,
    script,
    watch::{Shared, utc_now},
};

/// One `qsub`.
struct Job {
    together: Together,
    name: String,
    arguments: Vec<String>,
    script: String,
}

/// What became of it.
enum Sent {
    Taken(u64),
    Refused(String),
    NoRoom(String),
    /// Nobody knows.
    Unsure(ExecutorError),
}

pub(crate) async fn launch(shared: &Arc<Shared>, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
    let mut answers: Vec<Option<Launched>> = known(shared, batch)?;
    let open = |answers: &[Option<Launched>]| -> Vec<usize> {
        answers.iter().enumerate().filter(|(_, answer)| answer.is_none()).map(|(place, _)| place).collect()
    };
    let at = |place: usize| batch.get(place);
    for place in open(&answers) {
        if let (Some(launch), Some(answer)) = (at(place), answers.get_mut(place)) {
            *answer =
                convert::check(launch).err().map(|error| Launched::Refused { words: error.to_string() });
        }
    }
    prepare(shared, batch, &mut answers).await;

    let places = open(&answers);
    let launches: Vec<&Launch> = places.iter().filter_map(|place| at(*place)).collect();
    let mut jobs = Vec::new();
    for mut together in convert::together(&launches) {
        together.places = together.places.iter().filter_map(|inner| places.get(*inner).copied()).collect();
        match job(shared, batch, together) {
            Ok(job) => jobs.push(job),
            Err((together, words)) => answer(&mut answers, &together, &Launched::Refused { words }),
        }
    }
    intend(shared, batch, &jobs).await?;
    let mut unsure = None;
    let mut sent = stream::iter(jobs.into_iter().map(|job| {
        let launch = job.together.places.first().and_then(|place| batch.get(*place)).cloned();
        async move { (send(shared, launch.as_ref(), &job).await, job) }
    }))
    .buffer_unordered(shared.config.commands_at_once.max(1));
    while let Some((sent, job)) = sent.next().await {
        let attempts: Vec<AttemptName> =
            job.together.places.iter().filter_map(|place| Some(batch.get(*place)?.attempt.clone())).collect();
        match sent {
            Sent::Taken(number) => {
                shared.book.lock().number(attempts, number);
                answer(&mut answers, &job.together, &Launched::Taken);
            }
            Sent::Refused(words) => {
                forget(shared, attempts).await?;
                answer(&mut answers, &job.together, &Launched::Refused { words });
            }
            Sent::NoRoom(words) => {
                forget(shared, attempts).await?;
                answer(&mut answers, &job.together, &Launched::NoRoom { words });
            }
            Sent::Unsure(error) => {
                shared.unsure(&attempts, Instant::now());
                unsure = Some(error);
            }
        }
    }
    drop(sent);
    shared.wake.notify_one();
    match unsure {
        Some(error) => Err(error),
        None => answers
            .into_iter()
            .map(|answer| answer.ok_or_else(|| failed("an attempt was not answered")))
            .collect(),
    }
}

/// What exists is left as it is. Where an earlier submission may still arrive, that is found out first.
fn known(shared: &Shared, batch: &[Launch]) -> Result<Vec<Option<Launched>>, ExecutorError> {
    let book = shared.book.lock();
    batch
        .iter()
        .map(|launch| match book.entries.get(&launch.attempt) {
            None => Ok(None),
            Some(entry) if entry.kept.number.is_some() || entry.is_over() => Ok(Some(Launched::Taken)),
            Some(_) => Err(failed("what became of an earlier submission is not known yet")),
        })
        .collect()
}

fn failed(words: &str) -> ExecutorError {
    ExecutorError::Unreachable {
        backend: BACKEND.into(),
        waited: std::time::Duration::ZERO,
        source: words.into(),
    }
}

fn answer(answers: &mut [Option<Launched>], together: &Together, with: &Launched) {
    for place in &together.places {
        if let Some(answer) = answers.get_mut(*place) {
            *answer = Some(with.clone());
        }
    }
}

/// Makes the files of those that are not answered yet, for all of one person at once.
async fn prepare(shared: &Shared, batch: &[Launch], answers: &mut [Option<Launched>]) {
    let mut people: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, launch) in batch.iter().enumerate() {
        if answers.get(place).is_some_and(Option::is_none) {
            let identity = &launch.spec.identity;
            people.entry((identity.uid, identity.gid, identity.groups.clone())).or_default().push(place);
        }
    }
    for places in people.into_values() {
        let launches: Vec<&Launch> = places.iter().filter_map(|place| batch.get(*place)).collect();
        let made = directory::prepare(&launches, shared.config.data.as_deref()).await;
        for (place, made) in places.iter().zip(made) {
            if let (Some(answer), Err(error)) = (answers.get_mut(*place), made) {
                *answer = Some(Launched::Refused { words: format!("its files cannot be made: {error}") });
            }
        }
    }
}

fn job(shared: &Shared, batch: &[Launch], together: Together) -> Result<Job, (Together, String)> {
    let Some(first) = together.places.first().and_then(|place| batch.get(*place)) else {
        return Err((together, "there is nothing to be launched".into()));
    };
    let name = match together.range {
        None => first.attempt.to_string(),
        Some((from, to, _)) => format!("{}.{from}-{to}", first.attempt),
    };
    let arguments = match convert::arguments(first, &name, together.range, &shared.config) {
        Ok(arguments) => arguments,
        Err(error) => return Err((together, error.to_string())),
    };
    let base = match (&first.array_directory, together.range) {
        (Some(array), Some(_)) => array,
        _ => &first.directory,
    };
    if base.contains('\0') {
        return Err((together, "its directory's name holds a zero byte".into()));
    }
    let grace = first.spec.grace.as_secs_f64().ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a grace")]
    let script =
        script::submitted(base, script::tag(first.attempt.as_str()), together.range.is_some(), grace as u64);
    Ok(Job { together, name, arguments, script })
}

fn kept(shared: &Shared, launch: &Launch, job: &Job) -> Kept {
    let spec = &launch.spec;
    let identity = &spec.identity;
    Kept {
        attempt: launch.attempt.clone(),
        name: job.name.clone(),
        task: job.together.range.and(launch.task).map(|task| task.index),
        user: identity.user.clone(),
        uid: identity.uid,
        gid: identity.gid,
        groups: identity.groups.clone(),
        directory: launch.directory.clone().into(),
        stdout: launch.stdout.clone().into(),
        stderr: launch.stderr.clone().into(),
        memory_bytes: shared.config.memory_complex.as_ref().map_or(0, |_| spec.resources.memory_bytes),
        grace_ms: u64::try_from(spec.grace.as_millis()).unwrap_or(u64::MAX),
        at: utc_now(),
        number: None,
        stopped: None,
        ended: None,
    }
}

/// On disk before SGE hears of any of it.
async fn intend(shared: &Arc<Shared>, batch: &[Launch], jobs: &[Job]) -> Result<(), ExecutorError> {
    let of = |job: &Job| -> Vec<Kept> {
        job.together.places.iter().filter_map(|place| Some(kept(shared, batch.get(*place)?, job))).collect()
    };
    let all: Vec<Kept> = jobs.iter().flat_map(of).collect();
    if all.is_empty() {
        return Ok(());
    }
    let shared = Arc::clone(shared);
    let noted = spawn_blocking(move || shared.book.lock().intend(all)).await;
    noted.map_err(std::io::Error::other).flatten().map_err(not_noted)
}

async fn forget(shared: &Arc<Shared>, attempts: Vec<AttemptName>) -> Result<(), ExecutorError> {
    let shared = Arc::clone(shared);
    let noted = spawn_blocking(move || shared.book.lock().forget(attempts)).await;
    noted.map_err(std::io::Error::other).flatten().map_err(not_noted)
}

pub(crate) fn not_noted(error: std::io::Error) -> ExecutorError {
    let source = format!("it cannot be noted what SGE is given: {error}").into();
    ExecutorError::Unreachable { backend: BACKEND.into(), waited: std::time::Duration::ZERO, source }
}

async fn send(shared: &Shared, launch: Option<&Launch>, job: &Job) -> Sent {
    let person = launch.map(directory::person);
    let answer = shared.commands.run_as(person.as_ref(), "qsub", &job.arguments, &job.script).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Sent::Unsure(error.for_executor(shared.config.answer_within)),
    };
    // An array's number has its range behind a dot. Before it may stand what SGE has to remark.
    let number = answer.out.lines().rev().find_map(|line| line.split('.').next()?.trim().parse().ok());
    match (answer.ok, number) {
        (true, Some(number)) => Sent::Taken(number),
        (true, None) => Sent::Unsure(failed(&format!("qsub says {:?}, which is no number", answer.out))),
        (false, _) if is_full(&answer.words) => Sent::NoRoom(answer.words),
        (false, _) if answer.words.contains("Unable to run job") || answer.words.contains("qsub: ") => {
            Sent::Refused(answer.words)
        }
        (false, _) => Sent::Unsure(failed(&answer.words)),
    }
}

/// Whether SGE takes no more jobs, of this person or at all, at the moment.
fn is_full(words: &str) -> bool {
    ["jobs are allowed", "active jobs", "exceeds", "too many jobs", "job quota"]
        .iter()
        .any(|sign| words.contains(sign))
}
