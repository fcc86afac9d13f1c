//! Ending, forgetting and cleaning up.

use std::{io, sync::Arc, time::Duration};

use berth_executor_api::{AttemptName, ExecutorError, files::as_user};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    BACKEND,
    journal::Kept,
    launch::not_noted,
    reconcile::{look, settle},
    script,
    watch::{Shared, target, utc_now},
};

/// How often a clean-up looks whether everything has ended.
const TRIES: u32 = 120;
const PAUSE: Duration = Duration::from_millis(500);

fn refused(reason: String) -> ExecutorError {
    ExecutorError::Refused { backend: BACKEND.into(), reason }
}

/// What is kept of an attempt that SGE has; `None` when it is over or was never there.
async fn alive(shared: &Arc<Shared>, attempt: &AttemptName) -> Result<Option<Kept>, ExecutorError> {
    if let Some(kept) = shared.book.kept(attempt)
        && kept.number.is_none()
        && kept.ended.is_none()
    {
        look(shared).await?;
        settle(shared, std::slice::from_ref(attempt)).await?;
    }
    Ok(shared.book.kept(attempt).filter(|kept| kept.ended.is_none()))
}

pub(crate) async fn terminate(
    shared: &Arc<Shared>,
    attempt: &AttemptName,
    grace: Duration,
) -> Result<(), ExecutorError> {
    let Some(kept) = alive(shared, attempt).await? else { return Ok(()) };
    let (noted, name) = (Arc::clone(shared), attempt.clone());
    let noted = spawn_blocking(move || noted.book.lock().stop(&name, utc_now())).await;
    noted.map_err(io::Error::other).flatten().map_err(not_noted)?;
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    if grace_ms != kept.grace_ms {
        tell_grace(&kept, grace_ms).await;
    }
    let answer = ask(shared, &kept, "qdel").await?;
    shared.wake.notify_one();
    // Over already, or being ended.
    let is_done = ["does not exist", "already in deletion", "registered the job"];
    match answer {
        Some(words) if !is_done.iter().any(|sign| words.contains(sign)) => Err(refused(words)),
        _ => Ok(()),
    }
}

/// The grace of this very request, for the script that SGE runs. Only a job that has begun can read it.
async fn tell_grace(kept: &Kept, grace_ms: u64) {
    let path = script::mark(&kept.directory, script::tag(kept.attempt.as_str())).join("grace");
    let words = match grace_ms {
        0 => "0".to_owned(),
        _ => format!("{}.{:03}", grace_ms / 1000, grace_ms % 1000),
    };
    if let Err(error) = as_user(&kept.person(), move || std::fs::write(path, words)).await
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(attempt = %kept.attempt, %error, "grace not told");
    }
}

/// Asks as the job's own user; SGE's words where it says no.
async fn ask(shared: &Shared, kept: &Kept, program: &str) -> Result<Option<String>, ExecutorError> {
    let answer = shared.commands.run_as(Some(&kept.person()), program, &[target(kept)], "").await;
    let answer = answer.map_err(|error| error.for_executor(shared.config.answer_within))?;
    let words = if answer.words.is_empty() { answer.out.trim().to_owned() } else { answer.words };
    Ok((!answer.ok).then_some(words))
}

/// Forgets what is over. The marks stay in the jobs' directories, against what may still arrive.
pub(crate) async fn remove(shared: &Arc<Shared>, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
    let over: Vec<AttemptName> = {
        let book = shared.book.lock();
        let is_over =
            |attempt: &&AttemptName| book.entries.get(*attempt).is_some_and(crate::book::Entry::is_over);
        attempts.iter().filter(is_over).cloned().collect()
    };
    if over.is_empty() {
        return Ok(());
    }
    let shared = Arc::clone(shared);
    let noted = spawn_blocking(move || shared.book.lock().forget(over)).await;
    noted.map_err(io::Error::other).flatten().map_err(not_noted)
}

pub(crate) async fn cleanup(shared: &Arc<Shared>, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
    look(shared).await?;
    let all: Vec<Kept> = shared.book.lock().entries.values().map(|entry| entry.kept.clone()).collect();
    let mut lines: Vec<String> = all.iter().map(|kept| format!("job {}", kept.attempt)).collect();
    // Those of which nothing is noted here any more.
    let noted: std::collections::HashSet<&str> = all.iter().map(|kept| kept.name.as_str()).collect();
    let cluster = &shared.config.cluster;
    let is_stray = |name: &String| {
        let attempt = name.split('.').next().unwrap_or_default();
        AttemptName::parse(cluster, attempt).is_ok() && !noted.contains(name.as_str())
    };
    let strays: Vec<String> = shared.all_names().into_iter().filter(is_stray).collect();
    lines.extend(strays.iter().map(|name| format!("job {name}, of which nothing was noted")));
    if dry_run {
        return Ok(lines);
    }
    for stray in strays {
        let answer = shared.commands.run("qdel", &[stray]).await;
        answer.map_err(|error| error.for_executor(shared.config.answer_within))?;
    }
    for kept in &all {
        terminate(shared, &kept.attempt, Duration::ZERO).await?;
    }
    let attempts: Vec<AttemptName> = all.into_iter().map(|kept| kept.attempt).collect();
    for _ in 0..TRIES {
        look(shared).await?;
        remove(shared, &attempts).await?;
        if !attempts.iter().any(|attempt| shared.book.kept(attempt).is_some()) {
            return Ok(lines);
        }
        sleep(PAUSE).await;
    }
    Err(ExecutorError::Unreachable {
        backend: BACKEND.into(),
        waited: PAUSE * TRIES,
        source: "jobs do not end".into(),
    })
}
