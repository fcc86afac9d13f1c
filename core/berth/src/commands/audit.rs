//! `berth audit`.

use clap::Args;

use super::Session;
use crate::{
    exit_code::Status,
    output::{
        table::{Column, Table},
        time,
    },
};

/// How much is to be shown.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// At most so many, the latest ones
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u32,
}

impl AuditArgs {
    /// Shows what administrators did.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let acts = session.client().await?.acts(self.limit).await?;
        if session.output.json {
            session.output.document(&acts)?;
            return Ok(Status::OK);
        }
        let now = time::now();
        let mut table =
            Table::new(&[Column::text("WHEN", 10), Column::text("WHO", 6), Column::text("WHAT", 20)]);
        for act in acts {
            table.row([time::both(&act.at, now), act.by, act.what]);
        }
        session.output.table(table)?;
        Ok(Status::OK)
    }
}
