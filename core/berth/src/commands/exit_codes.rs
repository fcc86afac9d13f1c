//! `berth exit-codes`, and `berth help exit-codes`.

use clap::Args;

use super::Session;
use crate::exit_code::{self, Status};

/// The exit codes.
#[derive(Args, Clone, Debug)]
#[command(after_help = exit_code::help())]
pub struct ExitCodesArgs {}

impl ExitCodesArgs {
    /// Prints them.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn run(self, session: &Session) -> anyhow::Result<Status> {
        match session.output.json {
            true => session.output.document(&exit_code::ALL)?,
            false => session.output.text(&exit_code::help())?,
        }
        Ok(Status::OK)
    }
}
