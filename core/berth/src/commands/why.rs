//! `berth why`.

use std::fmt::Write;

use berth_api::Why;
use berth_model::UtcMs;
use clap::Args;

use super::{Session, job_id};
use crate::{
    exit_code::Status,
    output::{escape::one_line, time},
};

/// Jobs that have not started.
#[derive(Args, Clone, Debug)]
pub struct WhyArgs {
    /// Jobs: 12, or 12.7 for one task of an array
    #[arg(value_name = "ID", value_parser = job_id, required = true)]
    jobs: Vec<String>,
}

impl WhyArgs {
    /// Gives all reasons.
    ///
    /// # Errors
    /// When the server cannot be asked, or knows no such job.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let client = session.client().await?;
        let several = self.jobs.len() > 1;
        for job in &self.jobs {
            let why = client.why(job).await?;
            match (session.output.json, several) {
                (true, false) => session.output.document(&why)?,
                (true, true) => session.output.json_line(&why)?,
                (false, _) => session.output.text(&render(&why, time::now()))?,
            }
        }
        Ok(Status::OK)
    }
}

/// The reasons as text.
pub fn render(why: &Why, now: UtcMs) -> String {
    let mut text = format!("{}\n", one_line(&why.summary));
    for reason in &why.reasons {
        let _ = writeln!(text, "  - {}", one_line(&reason.text));
        if let Some(remedy) = &reason.remedy {
            let _ = writeln!(text, "    {}", one_line(remedy));
        }
    }
    if let Some(at) = &why.expected_start {
        let _ = writeln!(text, "  expected to start: {}", time::both(at, now));
    }
    if let Some(scheduler) = &why.scheduler {
        let _ = writeln!(text, "  scheduler: {}", one_line(scheduler));
    }
    text
}

#[cfg(test)]
mod tests {
    use berth_api::Reason;

    use super::*;

    #[test]
    fn all_reasons_are_given_with_what_would_help() {
        let why = Why {
            id: 12,
            label: "12".into(),
            state: "pending".into(),
            summary: "job 12 waits: no node has room for it now".into(),
            reasons: vec![
                Reason {
                    kind: "no-room".into(),
                    text: "2 CPU wanted; the most that is free is 1, on local/here".into(),
                    remedy: Some("ask for less, or wait for job 7".into()),
                },
                Reason { kind: "scheduler".into(), text: "evil\x1b]0;title\x07".into(), remedy: None },
            ],
            expected_start: Some("2025-11-21T10:00:00Z".into()),
            scheduler: Some("fifo: behind 3 others".into()),
        };
        insta::assert_snapshot!(render(&why, UtcMs(1_763_715_600_000)));
    }
}
