//! `berth config`.

use std::path::PathBuf;

use berth_config::{Loaded, Problems, load, reference, schema, usual_file};
use clap::{Args, Subcommand};
use serde_json::json;

use super::Session;
use crate::{exit_code::Status, output::to_stderr};

/// berth.toml.
#[derive(Subcommand, Clone, Debug)]
pub enum ConfigCommand {
    /// Check a configuration as `berth serve` would, and list all that is wrong
    Check(FileArgs),
    /// Show every key with its value and where that comes from
    Show(FileArgs),
    /// Describe every key: as JSON Schema, or as a commented berth.toml
    Schema(SchemaArgs),
}

/// A configuration.
#[derive(Args, Clone, Debug)]
pub struct FileArgs {
    /// Configuration; /etc/berth/berth.toml or ~/.config/berth/berth.toml otherwise, or none
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How to describe it.
#[derive(Args, Clone, Debug)]
pub struct SchemaArgs {
    /// A commented berth.toml with all defaults, to start from
    #[arg(long)]
    toml: bool,
}

impl ConfigCommand {
    /// Does it.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn run(self, session: &Session) -> anyhow::Result<Status> {
        match self {
            Self::Check(args) => check(args, session),
            Self::Show(args) => show(args, session),
            Self::Schema(args) => describe(args, session),
        }
    }
}

/// Variables that can be read as text; others are nobody's configuration.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
}

fn loaded(args: &FileArgs) -> (Option<PathBuf>, Result<Loaded, Problems>) {
    let path = args.config.clone().or_else(|| usual_file(environment()));
    let loaded = load(path.as_deref(), environment(), &crate::plugins::known());
    (path, loaded)
}

fn check(args: FileArgs, session: &Session) -> anyhow::Result<Status> {
    let (path, loaded) = loaded(&args);
    let (problems, status) = match loaded {
        Ok(loaded) => (loaded.warnings, Status::OK),
        Err(problems) => (problems, Status::FAILED),
    };
    if session.output.json {
        let ok = status == Status::OK;
        session.output.document(&json!({ "ok": ok, "file": path, "problems": problems.to_json() }))?;
        return Ok(status);
    }
    if !problems.is_empty() {
        to_stderr(&problems.render(session.output.stderr_coloured()));
    }
    if status == Status::OK {
        let what = path.map_or_else(|| "the defaults".to_owned(), |path| path.display().to_string());
        session.output.text(&format!("{what}: nothing is wrong"))?;
    }
    Ok(status)
}

fn show(args: FileArgs, session: &Session) -> anyhow::Result<Status> {
    let (_, loaded) = loaded(&args);
    match loaded {
        Ok(loaded) => {
            match session.output.json {
                true => session.output.document(&loaded.effective.to_json())?,
                false => session.output.text(&loaded.effective.to_toml())?,
            }
            Ok(Status::OK)
        }
        Err(problems) => {
            match session.output.json {
                true => session.output.document(&json!({ "problems": problems.to_json() }))?,
                false => to_stderr(&problems.render(session.output.stderr_coloured())),
            }
            Ok(Status::FAILED)
        }
    }
}

fn describe(args: SchemaArgs, session: &Session) -> anyhow::Result<Status> {
    let known = crate::plugins::known();
    match args.toml && !session.output.json {
        true => session.output.text(&reference(&known))?,
        false => session.output.document(&schema(&known))?,
    }
    Ok(Status::OK)
}
