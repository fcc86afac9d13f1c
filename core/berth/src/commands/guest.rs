//! `berth guest`.

use berth_api::{GuestRow, SetGuest};
use berth_model::format_bytes;
use clap::{Args, Subcommand};

use super::Session;
use crate::{
    exit_code::Status,
    output::{
        self,
        table::{Column, Table},
        time,
    },
};

/// Guests: people who come by the word of an outside issuer, for administrators.
#[derive(Subcommand, Clone, Debug)]
pub enum GuestCommand {
    /// List those who have come, with their homes and what these take
    List,
    /// Let guests in
    Activate(WhomArgs),
    /// Let guests in no longer: their tokens and sessions end, what waits of theirs is held, what runs goes on
    Deactivate(WhomArgs),
    /// Forget guests: who comes again waits again; their jobs and their homes stay
    Remove(WhomArgs),
}

/// Which of them.
#[derive(Args, Clone, Debug)]
pub struct WhomArgs {
    /// Their names, as `berth guest list` has them
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl GuestCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        match self {
            Self::List => list(session).await,
            Self::Activate(args) => set(args, true, session).await,
            Self::Deactivate(args) => set(args, false, session).await,
            Self::Remove(args) => remove(args, session).await,
        }
    }
}

async fn list(session: &Session) -> anyhow::Result<Status> {
    let rows = session.client().await?.guests().await?;
    if session.output.json {
        session.output.document(&rows)?;
        return Ok(Status::OK);
    }
    let now = time::now();
    let mut table = Table::new(&[
        Column::text("NAME", 26),
        Column::text("STANDING", 8),
        Column::text("SUBJECT", 12),
        Column::text("ADDRESS", 12).leaving(2),
        Column::text("ISSUER", 12).leaving(4),
        Column::text("SINCE", 10).leaving(3),
        Column::text("SEEN", 10).leaving(1),
        Column::number("HOME"),
    ]);
    for row in rows {
        table.row([
            row.name,
            row.standing,
            row.subject,
            row.email.unwrap_or_default(),
            row.issuer,
            time::both(&row.since, now),
            time::both(&row.seen, now),
            row.home_bytes.map(format_bytes).unwrap_or_default(),
        ]);
    }
    session.output.table(table)?;
    Ok(Status::OK)
}

async fn set(args: WhomArgs, active: bool, session: &Session) -> anyhow::Result<Status> {
    let client = session.client().await?;
    let mut rows: Vec<GuestRow> = Vec::with_capacity(args.names.len());
    for name in args.names {
        let row = client.set_guest(&name, &SetGuest { active }).await?;
        if !session.output.json {
            let does = if active { "is let in" } else { "is let in no longer" };
            output::note(&format!("{} ({} of {}) {does}", row.name, row.subject, row.issuer));
        }
        rows.push(row);
    }
    if session.output.json {
        session.output.document(&rows)?;
    }
    Ok(Status::OK)
}

async fn remove(args: WhomArgs, session: &Session) -> anyhow::Result<Status> {
    let client = session.client().await?;
    for name in &args.names {
        client.drop_guest(name).await?;
    }
    if session.output.json {
        session.output.document(&serde_json::json!({ "removed": args.names }))?;
    }
    Ok(Status::OK)
}
