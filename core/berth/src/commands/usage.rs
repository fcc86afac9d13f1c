//! `berth usage`.

use std::time::Duration;

use berth_api::UsageRow;
use berth_model::{UtcMs, format_disk, format_duration, parse_duration};
use clap::{Args, ValueEnum};

use super::Session;
use crate::{
    exit_code::Status,
    output::{
        table::{Column, Table},
        time,
    },
};

/// Whose usage is to be shown.
#[derive(Args, Clone, Debug)]
pub struct UsageArgs {
    /// For each user, project, group of projects, member of a project, class, or user in a class: yours, or all for
    /// an administrator
    #[arg(long, value_name = "WHAT", default_value = "user")]
    by: By,
    /// Count ended jobs only since then: a duration back from now such as 7d, or 2030-01-31T09:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// Each user
    User,
    /// Each project
    Project,
    /// Each group of projects
    Group,
    /// Each member of a project, named PROJECT/USER
    Member,
    /// Each class of jobs
    Class,
    /// Each user in a class, named CLASS/USER
    ClassUser,
}

impl UsageArgs {
    /// Shows it.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let (by, title) = match self.by {
            By::User => ("user", "USER"),
            By::Project => ("project", "PROJECT"),
            By::Group => ("group", "GROUP"),
            By::Member => ("member", "MEMBER"),
            By::Class => ("class", "CLASS"),
            By::ClassUser => ("class-user", "CLASS/USER"),
        };
        let rows = session.client().await?.usage(by, self.since.as_deref()).await?;
        if session.output.json {
            session.output.document(&rows)?;
            return Ok(Status::OK);
        }
        session.output.table(table(title, rows))?;
        Ok(Status::OK)
    }
}

/// What ended jobs took, and behind that how the accounts stand: CPU time that counts within the quotas' period, that is
/// kept for what runs, and that fades.
fn table(title: &'static str, rows: Vec<UsageRow>) -> Table {
    let mut table = Table::new(&[
        Column::text(title, 8),
        Column::number("JOBS"),
        Column::number("SUCCEEDED").leaving(7),
        Column::number("CPU TIME").leaving(1),
        Column::number("WALL TIME").leaving(5),
        Column::number("CPU HELD").leaving(6),
        Column::number("COUNTED"),
        Column::number("KEPT").leaving(2),
        Column::number("FADED").leaving(3),
        Column::number("RUNS").leaving(4),
        Column::number("DISK").leaving(8),
    ]);
    for row in rows {
        table.row([
            row.name,
            row.jobs.to_string(),
            row.succeeded.to_string(),
            format_duration(Duration::from_micros(row.cpu_micros)),
            format_duration(Duration::from_millis(row.wall_ms)),
            format_duration(Duration::from_secs(row.cpu_millis_seconds / 1000)),
            span(row.counted.cpu_ms),
            span(row.kept.cpu_ms),
            span(row.faded.cpu_ms),
            row.running.jobs.to_string(),
            format_disk(row.disk_bytes),
        ]);
    }
    table
}

fn span(millis: f64) -> String {
    format_duration(Duration::try_from_secs_f64((millis / 1000.0).floor()).unwrap_or(Duration::MAX))
}

/// An instant as the server wants it.
fn since(text: &str) -> Result<String, String> {
    if text.parse::<UtcMs>().is_ok() {
        return Ok(text.to_owned());
    }
    let back = parse_duration(text).map_err(|_| {
        format!("{text:?} is neither a time such as 2030-01-31T09:00:00Z nor a duration such as 7d")
    })?;
    let back = u64::try_from(back.as_millis()).unwrap_or(u64::MAX);
    Ok(UtcMs(time::now().0.saturating_sub(back)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_back_from_now() {
        let then: UtcMs = since("1h").unwrap().parse().unwrap();
        let ago = time::now().since(then);
        assert!(ago >= Duration::from_secs(3600) && ago < Duration::from_secs(3700), "{ago:?}");
        assert_eq!(since("2030-01-31T09:00:00Z"), Ok("2030-01-31T09:00:00Z".into()));
        assert!(since("yesterday").is_err());
    }
}
