//! `berth serve`: its arguments. The daemon itself stands in `serve.rs`.

use std::path::PathBuf;

use clap::Args;

/// The daemon.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Configuration; /etc/berth/berth.toml or ~/.config/berth/berth.toml otherwise, or none
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// As the server that `berth run` brings along: ends when no job is left.
    #[arg(long, hide = true)]
    pub embedded: bool,
    /// Folder for the state, instead of what the configuration says.
    #[arg(long, hide = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
}
