//! `berth completions`.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{cli::Cli, exit_code::Status};

/// A completion script.
#[derive(Args, Clone, Debug)]
#[command(after_help = "For bash: berth completions bash > ~/.local/share/bash-completion/completions/berth")]
pub struct CompletionsArgs {
    /// Shell
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints it.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn run(self) -> anyhow::Result<Status> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "berth", &mut script);
        std::io::stdout().lock().write_all(&script)?;
        Ok(Status::OK)
    }
}
