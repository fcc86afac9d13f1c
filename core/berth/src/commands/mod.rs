//! One file for each command.

pub mod account;
pub mod attach;
pub mod audit;
pub mod closure;
pub mod completions;
pub mod config;
pub mod control;
pub mod exit_codes;
mod failure;
pub mod files;
mod follow;
pub mod guest;
pub mod job;
pub mod jobs;
pub mod login;
pub mod logs;
pub mod nodes;
pub mod notify;
pub mod options;
pub mod password;
pub mod plugin;
pub mod run;
pub mod serve;
mod session;
mod sink;
pub mod status;
pub mod submission;
pub mod submit;
pub mod token;
pub mod top;
pub mod usage;
pub mod wait;
pub mod why;

use std::{future::Future, process::ExitCode};

use anyhow::Context;
use berth_api::Controls;

pub use failure::Failure;
pub use session::Session;

use crate::{
    cli::{Cli, Command},
    exit_code::Status,
};

/// Does what the command line says. Every error ends here.
pub fn run(cli: Cli) -> ExitCode {
    let session = Session::new(cli.global);
    match dispatch(cli.command, &session) {
        Ok(code) => code,
        Err(error) => failure::report(&error, session.output.json).into(),
    }
}

fn dispatch(command: Command, session: &Session) -> anyhow::Result<ExitCode> {
    let status = match command {
        Command::Serve(args) => return Ok(crate::serve::run(args)),
        Command::Config(command) => command.run(session),
        Command::Completions(args) => args.run(),
        Command::ExitCodes(args) => args.run(session),
        Command::Run(args) => on_runtime(args.run(session)),
        Command::Submit(args) => on_runtime(args.run(session)),
        Command::Jobs(args) => on_runtime(args.run(session)),
        Command::Job(args) => on_runtime(args.run(session)),
        Command::Why(args) => on_runtime(args.run(session)),
        Command::Logs(args) => on_runtime(args.run(session)),
        Command::Wait(args) => on_runtime(args.run(session)),
        Command::Top(args) => on_runtime(args.run(session)),
        Command::Kill(args) => on_runtime(args.run(session, Controls::Kill)),
        Command::Suspend(args) => on_runtime(args.run(session, Controls::Suspend)),
        Command::Resume(args) => on_runtime(args.run(session, Controls::Resume)),
        Command::Hold(args) => on_runtime(args.run(session, Controls::Hold)),
        Command::Release(args) => on_runtime(args.run(session, Controls::Release)),
        Command::Rerun(args) => on_runtime(args.run(session, Controls::Rerun)),
        Command::Archive(args) => on_runtime(args.run(session)),
        Command::Alter(args) => on_runtime(args.run(session, Controls::Alter)),
        Command::Signal(args) => on_runtime(args.run(session)),
        Command::Exec(args) => on_runtime(args.run(session)),
        Command::Netcat(args) => on_runtime(args.run(session)),
        Command::Stats(args) => on_runtime(args.run(session)),
        Command::Files(args) => on_runtime(args.run(session)),
        Command::Download(args) => on_runtime(args.run(session)),
        Command::Nodes(args) => on_runtime(args.run(session)),
        Command::Node(command) => on_runtime(command.run(session)),
        Command::Maintenance(command) => on_runtime(command.run(session)),
        Command::Reservation(command) => on_runtime(command.run(session)),
        Command::Usage(args) => on_runtime(args.run(session)),
        Command::Project(command) => on_runtime(command.run(session)),
        Command::User(command) => on_runtime(command.run("user", session)),
        Command::Group(command) => on_runtime(command.run("group", session)),
        Command::Quota(command) => on_runtime(command.run(session)),
        Command::Audit(args) => on_runtime(args.run(session)),
        Command::Login(args) => on_runtime(args.run(session)),
        Command::Logout(args) => on_runtime(args.run(session)),
        Command::Password(command) => on_runtime(command.run(session)),
        Command::Guest(command) => on_runtime(command.run(session)),
        Command::Token(command) => on_runtime(command.run(session)),
        Command::Notify(command) => on_runtime(command.run(session)),
        Command::Plugin(command) => on_runtime(command.run(session)),
        Command::Status(args) => on_runtime(args.run(session)),
    };
    status.map(ExitCode::from)
}

/// One thread is enough for a client, and starts quickest.
fn on_runtime(work: impl Future<Output = anyhow::Result<Status>>) -> anyhow::Result<Status> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot start")?;
    let result = runtime.block_on(work);
    // A thread may still wait in a write or for a key that never comes.
    runtime.shutdown_background();
    result
}

/// A job as people write it, for clap.
///
/// # Errors
/// When it is none.
fn job_id(text: &str) -> Result<String, berth_model::JobRefError> {
    text.parse::<berth_model::JobRef>().map(|job| job.to_string())
}
