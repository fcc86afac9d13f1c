//! `berth wait`.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use berth_api::{ApiStream, Cause, Client, ClientError, EventRow, JobRow};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Session, follow::Away, job_id};
use crate::{
    exit_code::{Status, is_over},
    output::{self, progress::Progress},
};

/// Questions under way at once.
const AT_ONCE: usize = 16;

/// Jobs to be waited for.
#[derive(Args, Clone, Debug)]
pub struct WaitArgs {
    /// Jobs: 12, or 12.7 for one task of an array
    #[arg(value_name = "ID", value_parser = job_id, required = true)]
    jobs: Vec<String>,
    /// Give up after so long, with exit code 124; the jobs go on
    #[arg(long, value_name = "DURATION", value_parser = berth_model::parse_duration)]
    timeout: Option<Duration>,
}

impl WaitArgs {
    /// Waits.
    ///
    /// # Errors
    /// When the server cannot be asked, or knows one of the jobs not.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let client = session.client().await?;
        let jobs: BTreeSet<String> = self.jobs.iter().cloned().collect();
        let progress = Progress::bar(session.output.progress(), jobs.len() as u64);
        let all = until_over(&client, &jobs, &progress);
        let ends = match self.timeout {
            None => all.await?,
            Some(timeout) => match tokio::time::timeout(timeout, all).await {
                Ok(ends) => ends?,
                Err(_) => {
                    progress.clear();
                    output::note("the time is over; the jobs go on");
                    return Ok(Status::TIMED_OUT);
                }
            },
        };
        progress.clear();
        if session.output.json {
            let rows = look(&client, jobs.iter().cloned()).await?;
            session.output.document(&rows)?;
        } else {
            report(&ends);
        }
        Ok(ends.iter().map(|(_, end)| end.status()).max().unwrap_or(Status::OK))
    }
}

/// How a job ended.
#[derive(Clone, Debug)]
struct End {
    state: String,
    exit_code: Option<i32>,
    cause: Option<Cause>,
}

impl End {
    fn status(&self) -> Status {
        Status::of_job(&self.state, self.exit_code, self.cause.as_ref())
    }

    /// `failed: exit code 3`, `killed at its time limit (exit code 143)`.
    fn words(&self) -> String {
        let code = self.exit_code.map(|code| format!("exit code {code}"));
        let cause = self.cause.as_ref().map(|cause| cause.words.as_str());
        let said = match (self.state.as_str(), cause) {
            ("killed", Some(words)) => format!("killed {words}"),
            (state, Some(words)) => format!("{state}: {words}"),
            (state, None) => state.to_owned(),
        };
        match code.filter(|code| !said.contains(code.as_str())) {
            Some(code) => format!("{said} ({code})"),
            None => said,
        }
    }
}

/// Says which did not succeed.
fn report(ends: &[(String, End)]) {
    for (job, end) in ends.iter().filter(|(_, end)| end.state != "succeeded") {
        output::note(&format!("job {job} {}", end.words()));
    }
}

/// Waits for events; the jobs are looked at only once, and after the stream of events broke off.
async fn until_over(
    client: &Client,
    jobs: &BTreeSet<String>,
    progress: &Progress,
) -> anyhow::Result<Vec<(String, End)>> {
    let mut ends: HashMap<String, End> = HashMap::new();
    let mut away = Away::default();
    while ends.len() < jobs.len() {
        match watch(client, jobs, &mut ends, progress).await {
            Ok(()) => away = Away::default(),
            Err(error) => away.pause(error).await?,
        }
    }
    let mut ends: Vec<_> = ends.into_iter().collect();
    ends.sort_by_key(|(job, _)| job.parse::<berth_model::JobRef>().ok());
    Ok(ends)
}

async fn watch(
    client: &Client,
    jobs: &BTreeSet<String>,
    ends: &mut HashMap<String, End>,
    progress: &Progress,
) -> Result<(), ClientError> {
    // Listening begins before looking, so that nothing falls in between.
    let mut events: ApiStream<EventRow> = client.events(None).await?;
    let open: Vec<String> = jobs.iter().filter(|job| !ends.contains_key(*job)).cloned().collect();
    for row in look(client, open.into_iter()).await? {
        note_end(ends, &row.label, &row.state, row.exit_code, row.cause);
    }
    show(ends, jobs, progress);
    while ends.len() < jobs.len() {
        let Some(event) = events.try_next().await? else { return Ok(()) };
        if !jobs.contains(&event.label) {
            continue;
        }
        if is_over(&event.state) {
            note_end(ends, &event.label, &event.state, event.exit_code, event.cause);
        } else {
            // Somebody had it run again.
            ends.remove(&event.label);
        }
        show(ends, jobs, progress);
    }
    Ok(())
}

async fn look(client: &Client, jobs: impl Iterator<Item = String>) -> Result<Vec<JobRow>, ClientError> {
    let questions = jobs.map(|job| async move { client.job(&job).await.map(|detail| detail.row) });
    stream::iter(questions).buffered(AT_ONCE).try_collect().await
}

fn note_end(
    ends: &mut HashMap<String, End>,
    job: &str,
    state: &str,
    exit_code: Option<i32>,
    cause: Option<Cause>,
) {
    if is_over(state) {
        ends.insert(job.to_owned(), End { state: state.to_owned(), exit_code, cause });
    }
}

fn show(ends: &HashMap<String, End>, jobs: &BTreeSet<String>, progress: &Progress) {
    progress.done(ends.len() as u64);
    let bad = ends.values().filter(|end| end.state != "succeeded").count();
    let open = jobs.iter().find(|job| !ends.contains_key(*job));
    let waiting = open.map(|job| format!("waiting for {job}")).unwrap_or_default();
    progress.say(&if bad > 0 { format!("{bad} not succeeded, {waiting}") } else { waiting });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_with_its_cause_and_its_code_once() {
        let words = |state: &str, cause: Option<&str>, exit_code| {
            let cause = cause.map(|words| Cause { kind: "x".into(), by: None, words: words.into() });
            End { state: state.into(), exit_code, cause }.words()
        };
        assert_eq!(words("failed", Some("exit code 3"), Some(3)), "failed: exit code 3");
        assert_eq!(
            words("failed", Some("out of memory"), Some(137)),
            "failed: out of memory (exit code 137)"
        );
        let at_limit = words("killed", Some("at its time limit"), Some(143));
        assert_eq!(at_limit, "killed at its time limit (exit code 143)");
        assert_eq!(words("lost", None, None), "lost");
    }
}
