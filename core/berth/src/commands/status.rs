//! `berth status`.

use std::fmt::Write;

use berth_api::{ClientError, ServerInfo};
use berth_model::UtcMs;
use clap::Args;
use serde_json::json;

use super::Session;
use crate::{
    client_config::NoServer,
    exit_code::Status,
    output::{escape::one_line, time},
};

/// The server.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {}

impl StatusArgs {
    /// Shows it, or says that there is none.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let client = match session.client().await {
            Err(error) if is_absent(&error) && session.output.json => {
                session.output.document(&json!({ "server": null, "error": error.to_string() }))?;
                return Ok(Status::NO_SERVER);
            }
            client => client?,
        };
        let info = client.info().await?;
        match session.output.json {
            true => session.output.document(&json!({ "server": client.target(), "info": info }))?,
            false => session.output.text(&render(client.target(), &info, time::now()))?,
        }
        Ok(Status::OK)
    }
}

fn is_absent(error: &anyhow::Error) -> bool {
    error.is::<NoServer>() || matches!(error.downcast_ref(), Some(ClientError::NoServer { .. }))
}

fn render(target: &str, info: &ServerInfo, now: UtcMs) -> String {
    let mut text = String::new();
    let counts: Vec<_> = info.jobs.iter().map(|jobs| format!("{} {}", jobs.count, jobs.state)).collect();
    let roles = if info.roles.is_empty() { String::new() } else { format!(" ({})", info.roles.join(", ")) };
    let leader = info.leader.as_ref();
    let stands_by = leader.map(|leader| format!("{leader} leads; this one stands by, and takes nothing in"));
    let mut lines = vec![
        ("server", format!("berth {} at {target}", info.version)),
        ("cluster", info.cluster.clone()),
        ("up since", time::both(&info.started, now)),
        ("you are", format!("{}{roles}", info.user)),
        ("executors", info.executors.join(", ")),
        ("jobs", if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }),
    ];
    lines.extend(stands_by.map(|words| ("leader", words)));
    if let Some(words) = &info.barred {
        lines.retain(|(title, _)| !matches!(*title, "executors" | "jobs"));
        lines.push(("you may", format!("do nothing yet: {words}")));
    }
    for (title, line) in &lines {
        let _ = writeln!(text, "{title:<10} {}", one_line(line));
    }
    for sink in &info.notices {
        let mut words = format!("{}: {} wait, {} delivered", sink.name, sink.waiting, sink.delivered);
        if sink.dropped > 0 {
            let _ = write!(words, ", {} given up", sink.dropped);
        }
        if let Some(trouble) = &sink.trouble {
            let _ = write!(words, "; {trouble}");
        }
        let _ = writeln!(text, "{:<10} {}", "notices", one_line(&words));
    }
    text
}

#[cfg(test)]
mod tests {
    use berth_api::{SinkRow, StateCount};

    use super::*;

    #[test]
    fn a_server_is_told_in_some_lines() {
        let info = ServerInfo {
            version: "0.1.0".into(),
            cluster: "berth".into(),
            user: "ann".into(),
            roles: vec!["administrator".into()],
            executors: vec!["local".into(), "docker".into()],
            jobs: vec![StateCount { state: "running".into(), count: 2 }],
            started: "2025-11-21T08:00:00Z".into(),
            notices: vec![SinkRow {
                name: "mail".into(),
                waiting: 3,
                delivered: 20,
                failed: 4,
                dropped: 1,
                trouble: Some("since 2025-11-21T08:30:00Z: no answer within 20s".into()),
            }],
            leader: None,
            barred: None,
        };
        insta::assert_snapshot!(render("/run/berth/berth.sock", &info, UtcMs(1_763_715_600_000)));
    }
}
