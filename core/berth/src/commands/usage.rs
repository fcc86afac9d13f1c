//! `berth usage`.

use std::time::Duration;

use berth_model::{UtcMs, format_duration, parse_duration};
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
    /// For each user, or for each project
    #[arg(long, value_name = "WHAT", default_value = "user")]
    by: By,
    /// Only since then: a duration back from now such as 7d, or 2030-01-31T09:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// Each user
    User,
    /// Each project
    Project,
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
        };
        let rows = session.client().await?.usage(by, self.since.as_deref()).await?;
        if session.output.json {
            session.output.document(&rows)?;
            return Ok(Status::OK);
        }
        let mut table = Table::new(&[
            Column::text(title, 8),
            Column::number("JOBS"),
            Column::number("SUCCEEDED").leaving(3),
            Column::number("CPU TIME"),
            Column::number("WALL TIME").leaving(1),
            Column::number("CPU HELD").leaving(2),
        ]);
        for row in rows {
            table.row([
                row.name,
                row.jobs.to_string(),
                row.succeeded.to_string(),
                format_duration(Duration::from_micros(row.cpu_micros)),
                format_duration(Duration::from_millis(row.wall_ms)),
                format_duration(Duration::from_secs(row.cpu_millis_seconds / 1000)),
            ]);
        }
        session.output.table(table)?;
        Ok(Status::OK)
    }
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
