//! `berth serve`: its arguments. The daemon itself stands in `serve.rs`.

use std::path::PathBuf;

use clap::Args;

/// What SIGHUP does.
const ON_SIGNALS: &str = "\
SIGTERM and SIGINT end the server; jobs go on. SIGHUP has it read its configuration again. These keys hold at once: \
log.level; those of [jobs] but directory, archive-directory, starts-per-plan and placement; those of [quotas], [[classes]], [scheduler], [auth], [network], \
[[watchers]] and [[filters]] but auth.instances, auth.cache, a watcher's name and every, and a filter's name. A policy whose file has changed is loaded anew. All \
others hold after a restart; the log names those that have changed. A configuration with a mistake changes nothing.\n\n\
`berth config check` checks a configuration without starting anything; `berth status` tells whether a server runs.";

/// The daemon.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = ON_SIGNALS)]
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
