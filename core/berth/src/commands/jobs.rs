//! `berth jobs`.

use std::io::{BufWriter, Write};

use berth_api::{JobList, JobQuery, JobRow};
use berth_model::{UtcMs, format_bytes};
use clap::Args;
use futures::TryStreamExt;

use super::{Session, job_id};
use crate::{
    exit_code::{Status, is_over},
    output::{
        self, cpus,
        table::{Column, Table},
        time,
    },
};

/// Jobs in one answer of the server.
const PAGE: u32 = 100_000;
/// Ended jobs without end are of no use to anybody.
const MOST_ENDED: usize = 1_000;

/// Which jobs are to be listed.
#[derive(Args, Clone, Debug)]
pub struct JobsArgs {
    /// Ended ones, too
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// Only those in these states, such as pending,running; all that have not ended otherwise
    #[arg(short, long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<String>,
    /// Only this user's
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Only this project's
    #[arg(short, long, value_name = "NAME")]
    project: Option<String>,
    /// Only those with this text in their name
    #[arg(short, long, value_name = "TEXT")]
    name: Option<String>,
    /// Only those with this tag
    #[arg(long, value_name = "WORD")]
    tag: Option<String>,
    /// The tasks of this array
    #[arg(short, long, value_name = "ID", value_parser = job_id)]
    array: Option<String>,
    /// At most so many, the newest; all live ones, or 1000 with ended ones, otherwise
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl JobsArgs {
    fn most(&self) -> Option<usize> {
        let ended = self.all || self.state.iter().any(|state| state == "all" || is_over(state));
        self.limit.map(|limit| limit as usize).or(ended.then_some(MOST_ENDED))
    }

    fn query(self) -> JobQuery {
        let most = self.most().and_then(|most| u32::try_from(most).ok());
        let state = match (self.all, self.state.is_empty()) {
            (true, _) => Some("all".to_owned()),
            (false, true) => None,
            (false, false) => Some(self.state.join(",")),
        };
        JobQuery {
            state,
            user: self.user,
            project: self.project,
            name: self.name,
            tag: self.tag,
            array: self.array.and_then(|array| array.parse().ok()),
            before: None,
            limit: Some(most.unwrap_or(PAGE).min(PAGE)),
        }
    }

    /// Lists them.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let (most, by_limit) = (self.most(), self.limit.is_some());
        let client = session.client().await?;
        if session.output.json {
            pass_on(&client, self.query(), most).await?;
            return Ok(Status::OK);
        }
        let list = fetch(&client, self.query(), most).await?;
        session.output.table(table(&list.jobs, time::now()))?;
        if list.next_before.is_some() && !by_limit {
            output::note(&format!("these are the newest {}; --limit N shows more", list.jobs.len()));
        }
        Ok(Status::OK)
    }
}

/// Prints the jobs as the server wrote them, one a line: taking apart and writing again a hundred thousand of them
/// would take as long as all the rest.
async fn pass_on(client: &berth_api::Client, mut query: JobQuery, most: Option<usize>) -> anyhow::Result<()> {
    let mut left = most;
    let mut out = BufWriter::new(std::io::stdout());
    out.write_all(b"{\"jobs\":[\n")?;
    let mut is_first = true;
    let next_before = loop {
        let whole = left.map_or(PAGE, |left| u32::try_from(left).unwrap_or(PAGE).min(PAGE));
        query.limit = Some(whole);
        let page = client.jobs_text(&query).await?;
        if !page.rows().is_empty() {
            out.write_all(if is_first { b"" } else { b",\n" })?;
            out.write_all(page.rows())?;
            is_first = false;
        }
        left = left.map(|left| left - whole as usize);
        match page.next_before {
            Some(before) if left != Some(0) => query.before = Some(before),
            next_before => break next_before,
        }
    };
    out.write_all(if is_first { b"]" } else { b"\n]" })?;
    if let Some(before) = next_before {
        write!(out, ",\"next_before\":{before}")?;
    }
    out.write_all(b"}\n")?;
    Ok(out.flush()?)
}

async fn fetch(client: &berth_api::Client, query: JobQuery, most: Option<usize>) -> anyhow::Result<JobList> {
    if most.is_some_and(|most| most <= PAGE as usize) {
        return Ok(client.jobs(&query).await?);
    }
    let mut jobs = Vec::new();
    let mut rows = client.all_jobs(query);
    while let Some(row) = rows.try_next().await? {
        jobs.push(row);
        if most.is_some_and(|most| jobs.len() >= most) {
            break;
        }
    }
    let cut = most.is_some_and(|most| jobs.len() >= most);
    let next_before = jobs.last().filter(|_| cut).map(|last| last.id);
    Ok(JobList { jobs, next_before })
}

/// Jobs as a table.
pub fn table(jobs: &[JobRow], now: UtcMs) -> Table {
    let mut table = Table::new(&[
        Column::number("ID"),
        Column::text("NAME", 12),
        Column::text("USER", 6).leaving(3),
        Column::text("PROJECT", 6).leaving(6),
        Column::fixed("STATE"),
        Column::number("CPU").leaving(4),
        Column::number("MEM").leaving(5),
        Column::number("GPU").leaving(5),
        Column::number("AGE").leaving(2),
        Column::number("RUN"),
        Column::text("WHERE OR WHY", 20).leaving(1),
    ]);
    for job in jobs {
        table.row(cells(job, now));
    }
    table.drop_if_all("GPU", "");
    table.drop_if_all("MEM", "");
    table.drop_if_all("PROJECT", "");
    table
}

/// A job in the columns of the table.
pub fn cells(job: &JobRow, now: UtcMs) -> [String; 11] {
    [
        job.label.clone(),
        job.name.clone(),
        job.user.clone(),
        job.project.clone(),
        job.state.clone(),
        cpus(job.cpu_millis),
        if job.memory_bytes == 0 { String::new() } else { format_bytes(job.memory_bytes) },
        if job.gpus == 0 { String::new() } else { job.gpus.to_string() },
        time::ago(&job.submitted, now),
        time::between(job.started.as_deref(), job.ended.as_deref(), now).map(time::short).unwrap_or_default(),
        remark(job),
    ]
}

/// What there is to say about where it stands.
pub fn remark(job: &JobRow) -> String {
    if !job.tasks.is_empty() {
        let counts: Vec<_> = job.tasks.iter().map(|task| format!("{} {}", task.count, task.state)).collect();
        return counts.join(", ");
    }
    let words = words(job);
    let code = job.exit_code.filter(|&code| code != 0).map(|code| format!("exit {code}"));
    let code = code.filter(|_| !words.contains("exit code"));
    let parts: Vec<String> =
        [words, code.unwrap_or_default()].into_iter().filter(|part| !part.is_empty()).collect();
    match (parts.is_empty(), &job.array) {
        (false, _) => parts.join(", "),
        (true, Some(range)) => format!("array {range}"),
        (true, None) => job.node.clone().unwrap_or_default(),
    }
}

/// The server's words without the state, which stands beside them.
fn words(job: &JobRow) -> String {
    let detail = job.detail.as_deref().unwrap_or_default();
    let rest = detail.strip_prefix(job.state.as_str()).unwrap_or(detail);
    rest.trim_start_matches([':', ' ']).to_owned()
}

/// How a job that is over ended, in a sentence: `job 12 failed: exit code 3`.
pub fn sentence(job: &JobRow) -> String {
    let detail = job.detail.as_deref().unwrap_or_default();
    match detail.strip_prefix(job.state.as_str()) {
        Some(_) => format!("job {} {detail}", job.label),
        None if detail.is_empty() => format!("job {} {}", job.label, job.state),
        None => format!("job {} {}: {detail}", job.label, job.state),
    }
}

#[cfg(test)]
mod tests {
    use berth_api::StateCount;
    use clap::Parser;

    use super::*;

    const NOW: UtcMs = UtcMs(1_763_715_600_000);

    fn sample() -> Vec<JobRow> {
        let base = JobRow {
            user: "ann".into(),
            project: "default".into(),
            executor: "local".into(),
            cpu_millis: 1000,
            submitted: "2025-11-21T08:57:00Z".into(),
            ..JobRow::default()
        };
        let job = |id: u64, name: &str, state: &str| JobRow {
            id,
            label: id.to_string(),
            name: name.into(),
            state: state.into(),
            ..base.clone()
        };
        let started = Some("2025-11-21T08:58:30Z".to_owned());
        vec![
            JobRow {
                node: Some("local/this-machine".into()),
                memory_bytes: 3 << 29,
                started: started.clone(),
                ..job(12, "train the model", "running")
            },
            JobRow {
                cpu_millis: 500,
                detail: Some("1 CPU wanted, none of 2 free".into()),
                ..job(11, "a\x1b[2Jb\nc\u{202e}d", "pending")
            },
            JobRow {
                array: Some("1-10000".into()),
                tasks: vec![
                    StateCount { state: "running".into(), count: 2 },
                    StateCount { state: "pending".into(), count: 9998 },
                ],
                ..job(10, "sweep", "running")
            },
            JobRow {
                exit_code: Some(3),
                started,
                ended: Some("2025-11-21T08:58:40Z".into()),
                ..job(9, "名前が長いジョブです", "failed")
            },
        ]
    }

    #[test]
    fn jobs_fit_the_terminal() {
        let at = |width| table(&sample(), NOW).render(Some(width), false);
        insta::assert_snapshot!("jobs-60", at(60));
        insta::assert_snapshot!("jobs-80", at(80));
        insta::assert_snapshot!("jobs-120", at(120));
    }

    #[test]
    fn in_a_pipe_jobs_are_whole_and_hostile_names_harmless() {
        let text = table(&sample(), NOW).render(None, false);
        insta::assert_snapshot!("jobs-pipe", text);
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'));
        assert_eq!(text.lines().count(), 5, "a line break in a name makes no row");
    }

    #[test]
    fn what_the_state_says_is_not_said_again() {
        let job = |state: &str, detail: &str, exit_code| JobRow {
            label: "12".into(),
            state: state.into(),
            detail: Some(detail.into()),
            exit_code,
            ..JobRow::default()
        };
        for (job, remarked, said) in [
            (job("succeeded", "succeeded", Some(0)), "", "job 12 succeeded"),
            (job("failed", "failed: exit code 3", Some(3)), "exit code 3", "job 12 failed: exit code 3"),
            (job("killed", "killed by ann", Some(143)), "by ann, exit 143", "job 12 killed by ann"),
            (job("rejected", "no quota left", None), "no quota left", "job 12 rejected: no quota left"),
        ] {
            assert_eq!((remark(&job).as_str(), sentence(&job).as_str()), (remarked, said));
        }
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        jobs: JobsArgs,
    }

    fn query(words: &[&str]) -> serde_json::Value {
        let words = std::iter::once("jobs").chain(words.iter().copied());
        serde_json::to_value(Line::try_parse_from(words).unwrap().jobs.query()).unwrap()
    }

    #[test]
    fn filters_reach_the_query() {
        use serde_json::json;
        assert_eq!(query(&[]), json!({"limit": 100_000}));
        assert_eq!(query(&["--all"]), json!({"state": "all", "limit": 1000}));
        assert_eq!(query(&["-s", "pending,held"]), json!({"state": "pending,held", "limit": 100_000}));
        assert_eq!(query(&["-s", "failed", "--limit", "5"]), json!({"state": "failed", "limit": 5}));
        assert_eq!(
            query(&["--user", "ann", "--project", "p", "--name", "n", "--tag", "t", "--array", "12"]),
            json!({"user": "ann", "project": "p", "name": "n", "tag": "t", "array": 12, "limit": 100_000})
        );
    }
}
