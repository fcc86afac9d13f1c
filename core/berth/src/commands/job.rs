//! `berth job`.

use std::fmt::Write;

use berth_api::{CommandText, JobDetail, JobRow, Submit};
use berth_model::{UtcMs, format_bytes};
use clap::Args;

use super::{Session, job_id, jobs::remark};
use crate::{
    exit_code::Status,
    output::{cpus, escape::one_line, time},
};

/// Jobs to be shown.
#[derive(Args, Clone, Debug)]
pub struct JobShowArgs {
    /// Jobs: 12, or 12.7 for one task of an array
    #[arg(value_name = "ID", value_parser = job_id, required = true)]
    jobs: Vec<String>,
}

impl JobShowArgs {
    /// Shows them.
    ///
    /// # Errors
    /// When the server cannot be asked, or knows no such job.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let client = session.client().await?;
        let several = self.jobs.len() > 1;
        for (at, job) in self.jobs.iter().enumerate() {
            let detail = client.job(job).await?;
            match (session.output.json, several) {
                (true, false) => session.output.document(&detail)?,
                (true, true) => session.output.json_line(&detail)?,
                (false, _) => {
                    let gap = if at > 0 { "\n" } else { "" };
                    session.output.text(&format!("{gap}{}", render(&detail, time::now())))?;
                }
            }
        }
        Ok(Status::OK)
    }
}

/// A page about a job.
struct Page(String);

impl Page {
    fn line(&mut self, title: &str, text: &str) {
        if !text.is_empty() {
            let _ = writeln!(self.0, "{title:<11} {}", one_line(text));
        }
    }

    fn maybe(&mut self, title: &str, text: Option<&str>) {
        self.line(title, text.unwrap_or_default());
    }
}

/// A job as text.
pub fn render(job: &JobDetail, now: UtcMs) -> String {
    let (row, spec) = (&job.row, &job.spec);
    let mut page = Page(String::new());
    let what = if row.array.is_some() { "array" } else { "job" };
    page.line(what, &format!("{}  {}", row.label, row.name));
    page.maybe("about", spec.description.as_deref());
    page.line("state", &state(job));
    page.line("cause", &cause(row));
    page.line("owner", &owner(job));
    page.line("runs", &command(spec));
    page.line("asks for", &resources(job));
    page.maybe("indices", row.array.as_deref());
    page.maybe("image", spec.image.as_deref());
    page.line("waits for", &dependencies(spec));
    page.maybe("begin", spec.begin.as_deref());
    page.line("tags", &spec.tags.join(", "));
    page.line("submitted", &time::both(&row.submitted, now));
    page.line("started", &row.started.as_deref().map(|at| time::both(at, now)).unwrap_or_default());
    page.line("ended", &row.ended.as_deref().map(|at| time::both(at, now)).unwrap_or_default());
    page.line("ran", &ran(job, now));
    page.maybe("node", row.node.as_deref());
    page.line("directory", &job.directory);
    page.line("stdout", &job.stdout);
    page.line("stderr", &job.stderr);
    page.maybe("note", job.note.as_deref());
    if !job.history.is_empty() {
        page.0.push_str("history\n");
    }
    for entry in &job.history {
        let at = time::both(&entry.at, now);
        let at = at.split(" UTC").next().unwrap_or_default();
        let _ = writeln!(page.0, "  {at}  {:<10} {}", one_line(&entry.event), one_line(&entry.text));
    }
    page.0
}

fn state(job: &JobDetail) -> String {
    let remark = remark(&job.row);
    let again = if job.row.attempt > 1 { format!(" (attempt {})", job.row.attempt) } else { String::new() };
    match remark.is_empty() || Some(&remark) == job.row.node.as_ref() {
        true => format!("{}{again}", job.row.state),
        false => format!("{}{again}: {remark}", job.row.state),
    }
}

/// What programs are told of an end: its kind, and who or what wanted it.
fn cause(row: &JobRow) -> String {
    let Some(cause) = &row.cause else { return String::new() };
    match &cause.by {
        Some(by) => format!("{}, by {by}", cause.kind),
        None => cause.kind.clone(),
    }
}

fn owner(job: &JobDetail) -> String {
    let row = &job.row;
    let project = if row.project.is_empty() { String::new() } else { format!(", project {}", row.project) };
    let class = job.spec.class.as_ref().map(|class| format!(", class {class}")).unwrap_or_default();
    format!("{}{project}{class}, executor {}", row.user, row.executor)
}

fn command(spec: &Submit) -> String {
    match &spec.command {
        Some(CommandText::Argv(words)) => {
            let quoted = words.iter().map(|word| shlex::try_quote(word).unwrap_or_else(|_| word.into()));
            quoted.collect::<Vec<_>>().join(" ")
        }
        Some(CommandText::Script { text, args }) => {
            let args = if args.is_empty() { String::new() } else { format!(" with {}", args.join(" ")) };
            format!("a script of {} lines{args}", text.lines().count())
        }
        None => String::new(),
    }
}

fn resources(job: &JobDetail) -> String {
    let row = &job.row;
    let mut parts = vec![format!("{} CPU", cpus(row.cpu_millis))];
    if row.memory_bytes > 0 {
        parts.push(format!("{} memory", format_bytes(row.memory_bytes)));
    }
    if row.gpus > 0 {
        parts.push(format!("{} GPU", row.gpus));
    }
    if let Some(limit) = row.time_limit_ms {
        parts.push(format!("at most {}", time::span(std::time::Duration::from_millis(limit))));
    }
    if row.priority != 0 {
        parts.push(format!("priority {}", row.priority));
    }
    parts.join(", ")
}

fn dependencies(spec: &Submit) -> String {
    let kinds =
        [("success of", &spec.after_ok), ("end of", &spec.after_any), ("failure of", &spec.after_not_ok)];
    let said = kinds.iter().filter(|(_, jobs)| !jobs.is_empty());
    said.map(|(kind, jobs)| format!("{kind} {}", jobs.join(", "))).collect::<Vec<_>>().join("; ")
}

fn ran(job: &JobDetail, now: UtcMs) -> String {
    let row = &job.row;
    let Some(wall) = time::between(row.started.as_deref(), row.ended.as_deref(), now) else {
        return String::new();
    };
    let mut parts = vec![time::span(wall)];
    if let Some(micros) = row.cpu_micros {
        parts.push(format!("{} of CPU time", time::span(std::time::Duration::from_micros(micros))));
    }
    if let Some(peak) = row.memory_peak_bytes {
        parts.push(format!("{} memory at most", format_bytes(peak)));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use berth_api::{Cause, HistoryRow};

    use super::*;

    #[test]
    fn a_job_is_told_on_a_page() {
        let entry = |at: &str, event: &str, text: &str| HistoryRow {
            at: format!("2025-11-21T{at}Z"),
            event: event.into(),
            text: text.into(),
        };
        let job = JobDetail {
            row: JobRow {
                id: 12,
                label: "12".into(),
                name: "evil\x1b[31m".into(),
                user: "ann".into(),
                project: "default".into(),
                executor: "local".into(),
                state: "failed".into(),
                detail: Some("out of memory".into()),
                cpu_millis: 1500,
                memory_bytes: 4 << 30,
                time_limit_ms: Some(7_200_000),
                submitted: "2025-11-21T08:57:00Z".into(),
                started: Some("2025-11-21T08:58:00Z".into()),
                ended: Some("2025-11-21T08:59:30Z".into()),
                exit_code: Some(137),
                cause: Some(Cause { kind: "out-of-memory".into(), by: None, words: "out of memory".into() }),
                node: Some("local/here".into()),
                attempt: 2,
                cpu_micros: Some(95_000_000),
                memory_peak_bytes: Some(4 << 30),
                ..JobRow::default()
            },
            spec: Submit {
                command: Some(CommandText::Argv(vec!["sh".into(), "-c".into(), "echo 'x y'".into()])),
                after_ok: vec!["3".into(), "4.7".into()],
                ..Submit::default()
            },
            directory: "/var/lib/berth/jobs/12".into(),
            stdout: "/var/lib/berth/jobs/12/stdout".into(),
            stderr: "/var/lib/berth/jobs/12/stderr".into(),
            note: None,
            history: vec![
                entry("08:57:00", "submitted", "by ann"),
                entry("08:58:00", "running", "on local/here"),
                entry("08:59:30", "ended", "exit code 137,\nout of memory"),
            ],
        };
        insta::assert_snapshot!(render(&job, UtcMs(1_763_715_600_000)));
    }
}
