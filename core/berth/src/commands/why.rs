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
        let since = reason.since.as_deref().map(|at| format!(", since {}", time::both(at, now)));
        let _ = writeln!(text, "  - {}{}", one_line(&reason.text), since.unwrap_or_default());
        if let Some(remedy) = &reason.remedy {
            let _ = writeln!(text, "    {}", one_line(remedy));
        }
    }
    let earlier: Vec<_> = why.waited.iter().filter_map(|one| Some((one, one.until.as_deref()?))).collect();
    if !earlier.is_empty() {
        text.push_str("  before that:\n");
    }
    for (one, until) in earlier {
        let _ = writeln!(text, "    until {}: {}", time::both(until, now), one_line(&one.text));
    }
    if !why.suggestions.is_empty() {
        text.push_str("  there would be room for it:\n");
    }
    for one in &why.suggestions {
        let by = one.at.as_deref().map(|at| format!(": by {} at the latest", time::both(at, now)));
        let _ = writeln!(text, "    {}{}", one_line(&one.text), by.unwrap_or_default());
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
    use berth_api::{Reason, Suggestion, Waited};

    use super::*;

    fn waited(kind: &str, text: &str, since: &str, until: Option<&str>) -> Waited {
        let at = |time: &str| format!("2025-11-21T{time}Z");
        Waited { kind: kind.into(), text: text.into(), since: at(since), until: until.map(at) }
    }

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
                    since: Some("2025-11-21T08:57:00Z".into()),
                    remedy: Some("ask for less, or wait for job 7".into()),
                },
                Reason {
                    kind: "scheduler".into(),
                    text: "evil\x1b]0;title\x07".into(),
                    since: None,
                    remedy: None,
                },
            ],
            waited: vec![
                waited("held", "held by its owner", "08:50:00", Some("08:55:00")),
                waited("unreachable", "its executor could not be reached", "08:55:00", Some("08:57:00")),
                waited("no-room", "no node had room", "08:57:00", None),
            ],
            suggestions: vec![
                Suggestion {
                    kind: "less".into(),
                    text: "if it asked for 1 CPU instead of 2, it would fit on local/here now".into(),
                    jobs: Vec::new(),
                    at: None,
                },
                Suggestion {
                    kind: "ends".into(),
                    text: "when job 7 has ended, it fits on local/here".into(),
                    jobs: vec![7],
                    at: Some("2025-11-21T09:12:00Z".into()),
                },
            ],
            expected_start: Some("2025-11-21T10:00:00Z".into()),
            scheduler: Some("fifo: behind 3 others".into()),
        };
        insta::assert_snapshot!(render(&why, UtcMs(1_763_715_600_000)));
    }
}
