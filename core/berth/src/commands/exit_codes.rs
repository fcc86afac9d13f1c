//! `berth exit-codes`, and `berth help exit-codes`.

use clap::Args;

use super::Session;
use crate::exit_code::{HELP, Status};

/// The exit codes.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct ExitCodesArgs {}

impl ExitCodesArgs {
    /// Prints them.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn run(self, session: &Session) -> anyhow::Result<Status> {
        session.output.text(HELP)?;
        Ok(Status::OK)
    }
}
