//! The truth about attempts: what SGE's list and accounts say, and the mark where they say nothing.

use std::{sync::Arc, time::Duration};

use berth_executor_api::{AttemptName, ExecutorError, Truth};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    journal::Kept,
    launch::not_noted,
    script,
    watch::{Shared, conclude, ended, find, records},
};

pub(crate) async fn reconcile(
    shared: &Arc<Shared>,
    attempts: &[AttemptName],
) -> Result<Vec<Truth>, ExecutorError> {
    look(shared).await?;
    settle(shared, attempts).await?;
    let book = shared.book.lock();
    let truth = |attempt: &AttemptName| match book.entries.get(attempt) {
        Some(entry) if entry.kept.number.is_some() || entry.is_over() => Truth::Known(entry.report()),
        Some(_) => {
            Truth::Uncertain { words: "its submission was not answered, and it is not found in SGE".into() }
        }
        // Not from here, or what was noted here is lost.
        None if shared.has_name(attempt.as_str()) => {
            let words = "SGE has a job of its name, of which nothing is noted here";
            Truth::Uncertain { words: words.into() }
        }
        None => Truth::Absent,
    };
    Ok(attempts.iter().map(truth).collect())
}

pub(crate) async fn look(shared: &Shared) -> Result<(), ExecutorError> {
    shared.look_now().await.map_err(|error| error.for_executor(shared.config.answer_within))
}

/// Finds out about those of which it is not known whether SGE got them.
pub(crate) async fn settle(shared: &Arc<Shared>, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
    let in_doubt = |shared: &Shared| -> Vec<Kept> {
        let kept = attempts.iter().filter_map(|attempt| shared.book.kept(attempt));
        kept.filter(|kept| kept.number.is_none() && kept.ended.is_none()).collect()
    };
    let wait = in_doubt(shared).iter().map(|kept| shared.unsettled(&kept.attempt)).max();
    let Some(wait) = wait else { return Ok(()) };
    if wait > Duration::ZERO {
        sleep(wait).await;
    }
    // What was on its way has arrived by now, or never will.
    look(shared).await?;
    let rest = in_doubt(shared);
    if rest.is_empty() {
        return Ok(());
    }
    let records =
        records(shared, &rest).await.map_err(|error| error.for_executor(shared.config.answer_within))?;
    let mut absent = Vec::new();
    for kept in rest {
        match (find(&records, &kept), begun_by(&kept).await) {
            (Some(record), _) => {
                shared.book.lock().number(vec![kept.attempt.clone()], record.number);
                let ended = ended(&kept, record).await;
                conclude(shared, &kept.attempt, record.started, ended);
            }
            // It ran, and is not in the accounts yet.
            (None, Some(number)) => shared.book.lock().number(vec![kept.attempt], number),
            (None, None) => absent.push(kept.attempt),
        }
    }
    if absent.is_empty() {
        return Ok(());
    }
    let shared = Arc::clone(shared);
    let noted = spawn_blocking(move || shared.book.lock().forget(absent)).await;
    noted.map_err(std::io::Error::other).flatten().map_err(not_noted)
}

/// The number of the job that left the attempt's mark.
async fn begun_by(kept: &Kept) -> Option<u64> {
    let path = script::mark(&kept.directory, script::tag(kept.attempt.as_str())).join("job");
    let owner = kept.uid;
    let read = move || -> Option<u64> {
        use std::io::Read;
        let mut text = String::new();
        berth_executor_api::files::open_file(&path, owner).ok()?.take(32).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    };
    spawn_blocking(read).await.ok().flatten()
}
