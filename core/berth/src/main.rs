//! `berth`: the one binary. Daemon and command line.

mod activity;
mod cli;
mod client_config;
mod commands;
mod daemon;
mod embedded;
mod exit_code;
mod output;
mod packs;
mod plugins;
mod script;
mod secret_file;
mod serve;
mod service;
mod shipped;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // The supervisor of local processes stays small: nothing else is set up before it takes over.
    if args.next().is_some_and(|first| first == berth_executor_local::SUPERVISOR_WORD) {
        return berth_executor_local::supervisor_main(args);
    }
    commands::run(cli::Cli::parse())
}
