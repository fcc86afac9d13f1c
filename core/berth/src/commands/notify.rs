//! `berth notify`.

use std::fmt::Write;

use berth_api::{JobMessage, NoticesRow, SetNotices};
use clap::{Args, Subcommand};

use super::{Failure, Session, job_id, options::occasion};
use crate::{exit_code::Status, output::escape::one_line};

/// What one is told of one's jobs.
#[derive(Subcommand, Clone, Debug)]
pub enum NotifyCommand {
    /// Show what you are told of your jobs, and how
    Show,
    /// Say what you want to be told of all your jobs that do not say it themselves
    Set(SetArgs),
    /// From within a job: write a line into its history and its notices
    Send(SendArgs),
}

/// What is to be different; what is left out stays.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub struct SetArgs {
    /// When: start, end, fail, kill, suspend, resume, message, all, none
    #[arg(long, value_name = "WHEN", value_delimiter = ',', value_parser = occasion)]
    on: Vec<String>,
    /// Where mail goes: usual for the address that the site knows, none, or another one
    #[arg(long, value_name = "ADDRESS")]
    mail: Option<String>,
    /// Address to be called, where the site allows it; none for no more
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
}

/// What the job has to say.
#[derive(Args, Clone, Debug)]
pub struct SendArgs {
    /// One line
    #[arg(value_name = "TEXT")]
    text: String,
    /// Which job; the one that this runs in otherwise
    #[arg(long, value_name = "ID", env = "BERTH_JOB_ID", hide_env_values = true, value_parser = job_id)]
    job: Option<String>,
}

impl NotifyCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        match self {
            Self::Show => show(&session.client().await?.notices().await?, session),
            Self::Set(args) => set(args, session).await,
            Self::Send(args) => send(args, session).await,
        }
    }
}

async fn set(args: SetArgs, session: &Session) -> anyhow::Result<Status> {
    let client = session.client().await?;
    let now = client.notices().await?;
    let wanted = SetNotices {
        on: if args.on.is_empty() { now.on } else { args.on },
        mail: Some(args.mail.unwrap_or(now.mail)),
        webhook: match args.webhook.as_deref() {
            None => now.webhook,
            Some("none" | "") => None,
            Some(url) => Some(url.to_owned()),
        },
    };
    show(&client.set_notices(&wanted).await?, session)
}

async fn send(args: SendArgs, session: &Session) -> anyhow::Result<Status> {
    let outside = || Failure::usage("this does not run in a job").help("name the job with --job");
    let job = args.job.ok_or_else(outside)?;
    session.client().await?.job_message(&job, &JobMessage { text: args.text }).await?;
    Ok(Status::OK)
}

fn show(row: &NoticesRow, session: &Session) -> anyhow::Result<Status> {
    match session.output.json {
        true => session.output.document(row)?,
        false => session.output.text(&render(row))?,
    }
    Ok(Status::OK)
}

fn render(row: &NoticesRow) -> String {
    let mail = match (row.mail.as_str(), &row.address) {
        ("none", _) => "none".to_owned(),
        (_, Some(address)) => address.clone(),
        (_, None) => "none: the site sends no mail, or knows no address of yours".to_owned(),
    };
    let lines = [
        (
            "when",
            Some(if row.on.is_empty() {
                "never, unless a job asks for it".to_owned()
            } else {
                row.on.join(", ")
            }),
        ),
        ("mail", Some(mail)),
        ("webhook", row.webhook.clone()),
        ("signed with", row.key.clone()),
        ("waiting", (row.waiting > 0).then(|| row.waiting.to_string())),
    ];
    let mut text = String::new();
    let troubles = row.troubles.iter().map(|trouble| ("trouble", Some(trouble.clone())));
    for (title, line) in lines.into_iter().chain(troubles) {
        if let Some(line) = line {
            let _ = writeln!(text, "{title:<12} {}", one_line(&line));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_is_told_is_shown_in_some_lines() {
        let row = NoticesRow {
            on: vec!["end".into(), "fail".into()],
            mail: "usual".into(),
            address: Some("ann@example.org".into()),
            webhook: Some("https://hooks.example.org/ann".into()),
            key: Some("0123abcd".into()),
            waiting: 2,
            troubles: vec!["webhook, since 2025-11-21T08:30:00Z: it answered 500".into()],
        };
        insta::assert_snapshot!(render(&row));
    }
}
