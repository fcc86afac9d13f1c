//! Jobs: sent, waited for, looked at.

use std::{fmt::Display, time::Duration};

use berth_api::{
    ApiStream, ClientError, CommandText, ControlRequest, ControlResult, Controls, ErrorBody, EventRow,
    JobDetail, JobQuery, JobRow, LogPart, Submit, Why,
};
use futures::TryStreamExt;

use super::{Berth, DEADLINE};

/// A job that runs this in a shell.
pub fn sh(script: &str) -> Submit {
    argv(&["/bin/sh", "-c", script])
}

/// A job that runs this program.
pub fn argv(argv: &[&str]) -> Submit {
    let argv = argv.iter().map(|arg| (*arg).to_owned()).collect();
    Submit { command: Some(CommandText::Argv(argv)), ..Submit::default() }
}

/// Whether a job in this state is over.
pub fn is_over(state: &str) -> bool {
    matches!(state, "succeeded" | "failed" | "killed" | "rejected" | "lost")
}

impl Berth {
    /// Has this run in a shell; the job's number.
    pub async fn submit(&self, script: &str) -> u64 {
        self.submit_job(sh(script)).await
    }

    /// Has a job run; its number.
    pub async fn submit_job(&self, job: Submit) -> u64 {
        self.client().submit(&job).await.unwrap().id
    }

    /// Has a job refused; the server's words.
    pub async fn refusal(&self, job: Submit) -> ErrorBody {
        match self.client().submit(&job).await {
            Err(ClientError::Refused(body)) => body,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Everything about a job, or a task such as `12.7`.
    pub async fn job(&self, job: impl Display) -> JobDetail {
        self.client().job(&job.to_string()).await.unwrap()
    }

    /// Why it waits.
    pub async fn why(&self, job: impl Display) -> Why {
        self.client().why(&job.to_string()).await.unwrap()
    }

    /// Waits until the job is in this state.
    ///
    /// # Panics
    /// When it has ended in another.
    pub async fn wait_for(&self, job: impl Display, state: &str) -> JobDetail {
        let job = job.to_string();
        let wait = async {
            loop {
                let found = self.job(&job).await;
                if found.row.state == state {
                    return found;
                }
                assert!(!is_over(&found.row.state), "job {job} is not {state}: {found:#?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(DEADLINE, wait).await {
            Ok(found) => found,
            Err(_) => {
                panic!("job {job} never is {state}: {:#?}\n{}", self.job(&job).await, self.server_log())
            }
        }
    }

    /// Waits until the job is over.
    pub async fn end_of(&self, job: impl Display) -> JobRow {
        let job = job.to_string();
        let wait = async {
            loop {
                let row = self.job(&job).await.row;
                if is_over(&row.state) {
                    return row;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(DEADLINE, wait).await {
            Ok(row) => row,
            Err(_) => panic!("job {job} does not end: {:#?}\n{}", self.job(&job).await, self.server_log()),
        }
    }

    /// Waits until the job has succeeded.
    pub async fn succeeds(&self, job: impl Display) -> JobRow {
        let row = self.end_of(&job).await;
        assert_eq!(row.state, "succeeded", "job {job}: {row:#?}");
        row
    }

    /// What the job has written to standard output.
    pub async fn log(&self, job: impl Display) -> String {
        self.part_of_log(job, LogPart::default()).await
    }

    /// A part of what it has written.
    pub async fn part_of_log(&self, job: impl Display, part: LogPart) -> String {
        let pieces = self.client().logs(&job.to_string(), &part).await.unwrap();
        let pieces: Vec<_> = pieces.try_collect().await.unwrap();
        String::from_utf8(pieces.concat()).unwrap()
    }

    /// Does something with a job.
    pub async fn control(&self, action: Controls, job: impl Display) -> ControlResult {
        let jobs = vec![job.to_string()];
        let request = ControlRequest::of(action, jobs);
        self.client().control(&request).await.unwrap().remove(0)
    }

    /// Does something with a job, for sure.
    pub async fn done(&self, action: Controls, job: impl Display) {
        let result = self.control(action, job).await;
        assert!(result.done, "{result:?}");
    }

    /// All jobs, ended ones too.
    pub async fn all_jobs(&self) -> Vec<JobRow> {
        self.client().all_jobs(all()).try_collect().await.unwrap()
    }

    /// All tasks of an array that are jobs of their own by now.
    pub async fn tasks_of(&self, array: u64) -> Vec<JobRow> {
        let query = JobQuery { array: Some(array), ..all() };
        self.client().all_jobs(query).try_collect().await.unwrap()
    }

    /// Takes events until one fits; all that were taken.
    pub async fn events_until(
        &self,
        events: &mut ApiStream<EventRow>,
        mut fits: impl FnMut(&EventRow) -> bool,
    ) -> Vec<EventRow> {
        let mut taken = Vec::new();
        let wait = async {
            loop {
                let event = events.try_next().await.unwrap().expect("the stream of events has ended");
                taken.push(event);
                if taken.last().is_some_and(&mut fits) {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, wait).await;
        assert!(in_time.is_ok(), "no such event: {taken:#?}");
        taken
    }
}

fn all() -> JobQuery {
    JobQuery { state: Some("all".into()), limit: Some(100_000), ..JobQuery::default() }
}
