//! `berth plugin`.

use std::{fmt::Write, path::PathBuf};

use berth_api::{PluginCheck, PluginRow};
use clap::{Args, Subcommand};

use super::{Failure, Session};
use crate::{
    exit_code::Status,
    output::{
        escape::one_line,
        table::{Column, Table},
    },
};

/// A policy is some hundred kilobytes; this is a file named by mistake.
const MOST_COMPONENT_BYTES: u64 = 256 << 20;

/// Policies and executors.
#[derive(Subcommand, Clone, Debug)]
pub enum PluginCommand {
    /// List plugins: policies and executors
    List,
    /// Show everything about plugins
    Inspect(NamesArgs),
    /// Have the server look at a policy's component without using it
    Check(CheckArgs),
    /// Load policies anew from their files
    Reload(NamesArgs),
}

/// Plugins.
#[derive(Args, Clone, Debug)]
pub struct NamesArgs {
    /// Names, as `berth plugin list` gives them
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// A component.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Component (.wasm)
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl PluginCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        match self {
            Self::List => list(session).await,
            Self::Inspect(args) => inspect(args, session).await,
            Self::Check(args) => check(args, session).await,
            Self::Reload(args) => reload(args, session).await,
        }
    }
}

async fn list(session: &Session) -> anyhow::Result<Status> {
    let plugins = session.client().await?.plugins().await?;
    match session.output.json {
        true => session.output.document(&plugins)?,
        false => session.output.table(table(&plugins))?,
    }
    Ok(Status::OK)
}

fn table(plugins: &[PluginRow]) -> Table {
    let mut table = Table::new(&[
        Column::text("NAME", 8),
        Column::fixed("KIND"),
        Column::text("VERSION", 8).leaving(3),
        Column::fixed("STATE"),
        Column::number("STRIKES"),
        Column::number("CALLS").leaving(4),
        Column::number("MEAN").leaving(5),
        Column::text("SOURCE", 8).leaving(6),
        Column::text("NOTE", 24).leaving(1),
    ]);
    for plugin in plugins {
        table.row([
            plugin.name.clone(),
            plugin.kind.clone(),
            plugin.version.clone(),
            plugin.state.clone(),
            plugin.strikes.to_string(),
            plugin.calls.to_string(),
            micros(plugin.mean_call_micros),
            plugin.source.clone(),
            plugin.notes.last().cloned().unwrap_or_default(),
        ]);
    }
    table.drop_if_all("NOTE", "");
    table
}

async fn inspect(args: NamesArgs, session: &Session) -> anyhow::Result<Status> {
    let plugins = session.client().await?.plugins().await?;
    let mut found = Vec::new();
    for name in &args.names {
        let plugin = plugins.iter().find(|plugin| plugin.name == *name).ok_or_else(|| {
            let names: Vec<_> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
            Failure::new(Status::NOT_FOUND, format!("there is no plugin {name:?}"))
                .help(format!("there are: {}", names.join(", ")))
        })?;
        found.push(plugin);
    }
    if session.output.json {
        session.output.document(&found)?;
        return Ok(Status::OK);
    }
    let pages: Vec<_> = found.into_iter().map(page).collect();
    session.output.text(&pages.join("\n"))?;
    Ok(Status::OK)
}

fn page(plugin: &PluginRow) -> String {
    let mut text = String::new();
    let calls = format!(
        "{}, {} on average, {} at most",
        plugin.calls,
        micros(plugin.mean_call_micros),
        micros(plugin.longest_call_micros)
    );
    let lines = [
        ("name", plugin.name.clone()),
        ("kind", plugin.kind.clone()),
        ("version", plugin.version.clone()),
        ("source", plugin.source.clone()),
        ("sha256", plugin.sha256.clone().unwrap_or_default()),
        ("state", plugin.state.clone()),
        ("strikes", plugin.strikes.to_string()),
        ("calls", calls),
        ("can", plugin.capabilities.join(", ")),
    ];
    for (title, line) in lines.iter().filter(|(_, line)| !line.is_empty()) {
        let _ = writeln!(text, "{title:<8} {}", one_line(line));
    }
    for note in &plugin.notes {
        let _ = writeln!(text, "note     {}", one_line(note));
    }
    text
}

async fn check(args: CheckArgs, session: &Session) -> anyhow::Result<Status> {
    let place = args.file.display().to_string();
    let unreadable = |error| Failure::usage(format!("{place} cannot be read: {error}"));
    let found = std::fs::metadata(&args.file).map_err(unreadable)?;
    if found.len() > MOST_COMPONENT_BYTES {
        return Err(Failure::usage(format!("{place} is far too large for a policy")).into());
    }
    let component = std::fs::read(&args.file).map_err(unreadable)?;
    let check = session.client().await?.check(component).await?;
    match session.output.json {
        true => session.output.document(&check)?,
        false => session.output.text(&findings(&check))?,
    }
    Ok(if check.ok { Status::OK } else { Status::FAILED })
}

fn findings(check: &PluginCheck) -> String {
    let verdict = if check.ok { "can be used" } else { "cannot be used" };
    let mut text = String::new();
    for finding in &check.findings {
        let mark = if finding.ok { "ok   " } else { "WRONG" };
        let _ = writeln!(text, "{mark}  {}", one_line(&finding.text));
    }
    let what = if matches!(check.kind.as_str(), "" | "none") { "file" } else { check.kind.as_str() };
    let _ = writeln!(text, "this {} {verdict}", one_line(what));
    text
}

async fn reload(args: NamesArgs, session: &Session) -> anyhow::Result<Status> {
    let client = session.client().await?;
    for name in &args.names {
        let plugin = client.reload(name).await?;
        match session.output.json {
            true => session.output.json_line(&plugin)?,
            false => {
                let line = format!("{}: {}, {}", plugin.name, plugin.version, plugin.state);
                session.output.text(&one_line(&line))?;
            }
        }
    }
    Ok(Status::OK)
}

fn micros(micros: u64) -> String {
    match micros {
        0..=999 => format!("{micros}µs"),
        1_000..=999_999 => format!("{}.{}ms", micros / 1000, micros / 100 % 10),
        _ => format!("{}.{}s", micros / 1_000_000, micros / 100_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use berth_api::Finding;

    use super::*;

    fn sample() -> Vec<PluginRow> {
        let plugin = |name: &str, kind: &str, state: &str| PluginRow {
            name: name.into(),
            kind: kind.into(),
            version: format!("{name} 0.1.0"),
            source: "shipped".into(),
            sha256: None,
            state: state.into(),
            strikes: 0,
            calls: 12_345,
            mean_call_micros: 87,
            longest_call_micros: 2_340,
            capabilities: vec!["log".into()],
            notes: Vec::new(),
        };
        let benched = PluginRow {
            strikes: 3,
            notes: vec!["loaded".into(), "trap in plan: \x1b[31mout of bounds".into()],
            ..plugin("mine", "scheduler", "benched")
        };
        vec![plugin("local", "auth", "active"), benched]
    }

    #[test]
    fn plugins_fit_the_terminal() {
        insta::assert_snapshot!("plugins-60", table(&sample()).render(Some(60), false));
        insta::assert_snapshot!("plugins-80", table(&sample()).render(Some(80), false));
        insta::assert_snapshot!("plugins-120", table(&sample()).render(Some(120), false));
    }

    #[test]
    fn a_plugin_is_told_on_a_page() {
        insta::assert_snapshot!(page(&sample()[1]));
    }

    #[test]
    fn findings_say_what_is_wrong() {
        let finding = |ok, text: &str| Finding { ok, text: text.into() };
        let check = PluginCheck {
            ok: false,
            kind: "scheduler".into(),
            findings: vec![
                finding(true, "exports plan"),
                finding(false, "imports wasi:clocks, which is not granted"),
            ],
        };
        insta::assert_snapshot!(findings(&check));
    }

    #[test]
    fn times_of_calls_are_short() {
        assert_eq!([micros(87), micros(2_340), micros(1_250_000)], ["87µs", "2.3ms", "1.2s"]);
    }
}
