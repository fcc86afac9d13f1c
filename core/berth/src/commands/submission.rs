//! From a command line to the job that is sent: options over a job file over the script's own lines.

use std::{
    ffi::OsString,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use berth_api::{CommandText, Submit};
use clap::Args;

use super::{
    Failure,
    options::{JobOptions, absolute, overlay},
};
use crate::script::{self, Script};

/// A job file is a page, not a data set; scripts in it are bounded like scripts.
const MOST_FILE_BYTES: u64 = 80 << 20;

/// A job: options, and what it runs.
#[derive(Args, Clone, Debug, Default)]
pub struct JobArgs {
    /// Job file in TOML or JSON, with the fields of POST /v1/jobs; options override it
    #[arg(short, long = "file", value_name = "JOB.toml|JOB.json")]
    file: Option<PathBuf>,
    /// Script, whose #BERTH lines are options, too; `-` reads it from standard input. All that follows is for
    /// it. Behind two dashes, a program with its arguments
    #[arg(value_name = "SCRIPT|-- CMD", num_args = 0.., trailing_var_arg = true)]
    words: Vec<String>,
    #[command(flatten)]
    options: JobOptions,
}

/// What a job runs, as it was typed.
enum Typed {
    Nothing,
    Script { path: String, args: Vec<String> },
    Program(Vec<String>),
}

/// What the words are. Clap takes two dashes in front of them away, so that only the whole command line tells a
/// script from a program: the words are its end.
fn typed(words: Vec<String>, line: &[OsString]) -> Typed {
    let before = line.len().checked_sub(words.len() + 1).and_then(|at| line.get(at));
    let mut rest = words.iter().cloned();
    match rest.next() {
        None => Typed::Nothing,
        Some(_) if before.is_some_and(|word| word == "--") => Typed::Program(words),
        Some(path) => {
            let args: Vec<String> = rest.collect();
            // Two dashes right behind the script only part it from its arguments.
            let args = match args.split_first() {
                Some((first, args)) if first == "--" => args.to_vec(),
                _ => args,
            };
            Typed::Script { path, args }
        }
    }
}

/// Reads everything that belongs to the job, for this process's command line. Warnings are for standard error.
///
/// # Errors
/// When it makes no sense, with the place.
pub fn assemble(args: JobArgs, warn: &mut dyn FnMut(String)) -> anyhow::Result<Submit> {
    let line: Vec<OsString> = std::env::args_os().collect();
    assemble_from(args, &line, warn)
}

fn assemble_from(args: JobArgs, line: &[OsString], warn: &mut dyn FnMut(String)) -> anyhow::Result<Submit> {
    let here = std::env::current_dir().context("the working directory is gone")?;
    let over = args.options.into_submit(&here).map_err(Failure::usage)?;
    let mut file = match &args.file {
        Some(path) => read_job_file(path, &here)?,
        None => Submit::default(),
    };
    let mut script_lines = Submit::default();
    match typed(args.words, line) {
        Typed::Script { path, args } => {
            let script = Script::read(Path::new(&path)).map_err(Failure::caused_by_usage)?;
            script_lines = read_header(&script.text, &script.place, &here, warn)?;
            script_lines.name = script_lines.name.or(script.name);
            file.command = Some(CommandText::Script { text: script.text, args });
        }
        Typed::Program(argv) => file.command = Some(CommandText::Argv(argv)),
        Typed::Nothing => {
            if let Some(CommandText::Script { text, .. }) = &file.command {
                script_lines = read_header(text, "the job file's script", &here, warn)?;
            }
        }
    }
    if file.command.is_none() {
        let help = "name a script, or write a program behind two dashes: -- PROGRAM ARGUMENT…";
        return Err(Failure::usage("there is nothing to run").help(help).into());
    }
    Ok(overlay(overlay(script_lines, file), over))
}

fn read_header(
    text: &str,
    place: &str,
    here: &Path,
    warn: &mut dyn FnMut(String),
) -> Result<Submit, Failure> {
    let job = script::header(text, place, here).map_err(|error| Failure::usage(error.to_string()))?;
    if let Some(line) = script::late_header(text) {
        warn(format!(
            "{place}:{line}: #BERTH below the first command does not count; move it to the top of the script"
        ));
    }
    Ok(job)
}

fn read_job_file(path: &Path, here: &Path) -> Result<Submit, Failure> {
    let place = path.display();
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MOST_FILE_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MOST_FILE_BYTES).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::usage(format!("job file {place} cannot be read: {error}")))?;
    let mut job = parse_job_file(path, &text)?;
    if let Some(dir) = &job.workdir {
        job.workdir = Some(absolute(Path::new(dir), here).map_err(Failure::usage)?);
    }
    Ok(job)
}

fn parse_job_file(path: &Path, text: &str) -> Result<Submit, Failure> {
    let place = path.display();
    let is_json = match path.extension().map(OsString::from) {
        Some(extension) if extension == "json" => true,
        Some(extension) if extension == "toml" => false,
        _ => text.trim_start().starts_with('{'),
    };
    if is_json {
        let wrong =
            |error: serde_json::Error| format!("{place}:{}:{}: {error}", error.line(), error.column());
        return serde_json::from_str(text).map_err(|error| Failure::usage(wrong(error)));
    }
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line =
            before.map_or(1, |before| before.lines().count().max(1) + usize::from(before.ends_with('\n')));
        Failure::usage(format!("{place}:{line}: {}", error.to_string().trim_end()))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        job: JobArgs,
    }

    fn parse(words: &[&str]) -> JobArgs {
        let words = std::iter::once("submit").chain(words.iter().copied());
        Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).job
    }

    fn line(words: &[&str]) -> Vec<OsString> {
        ["berth", "submit"].iter().chain(words).map(OsString::from).collect()
    }

    fn made(words: &[&str]) -> Result<serde_json::Value, String> {
        let job =
            assemble_from(parse(words), &line(words), &mut |_| {}).map_err(|error| error.to_string())?;
        Ok(serde_json::to_value(job).unwrap())
    }

    #[test]
    fn what_stands_behind_the_dashes_is_taken_as_it_is() {
        assert_eq!(
            made(&["--cpus", "2", "--", "sh", "-c", "echo --cpus 3", "--", "x"]),
            Ok(json!({"cpus": "2", "command": {"argv": ["sh", "-c", "echo --cpus 3", "--", "x"]}}))
        );
    }

    #[test]
    fn everything_behind_a_script_is_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("job.sh");
        std::fs::write(&script, "echo\n").unwrap();
        let script = script.to_str().unwrap();
        let args = |words: &[&str]| {
            let job = made(words).unwrap();
            (job["cpus"].clone(), job["command"]["script"]["args"].clone())
        };
        let two = || json!("2");
        assert_eq!(args(&["-c", "2", script, "-x", "--cpus", "9"]), (two(), json!(["-x", "--cpus", "9"])));
        assert_eq!(args(&["-c", "2", script, "--json"]), (two(), json!(["--json"])));
        assert_eq!(args(&["-c", "2", script, "--", "-x"]), (two(), json!(["-x"])));
        assert_eq!(args(&["-c", "2", script, "a", "--", "-x"]), (two(), json!(["a", "--", "-x"])));
        assert_eq!(args(&["-c", "2", script, "-h"]), (two(), json!(["-h"])));
    }

    #[test]
    fn an_option_that_there_is_not_is_no_script() {
        let error = Line::try_parse_from(["submit", "--cpu", "2", "job.sh"]).unwrap_err().to_string();
        assert!(error.contains("unexpected argument '--cpu'") && error.contains("'--cpus'"), "{error}");
    }

    #[test]
    fn options_win_over_the_job_file_and_that_over_the_script() {
        let folder = tempfile::tempdir().unwrap();
        let (script, file) = (folder.path().join("job.sh"), folder.path().join("job.toml"));
        std::fs::write(&script, "#!/bin/sh\n#BERTH -c 1 -m 1G -t 1h -e A=1 -e B=1\necho\n").unwrap();
        std::fs::write(&file, "cpus = '2'\nmemory = '2G'\n[env]\nB = '2'\n").unwrap();
        let (script, file) = (script.to_str().unwrap(), file.to_str().unwrap());
        let job = made(&["--cpus", "3", "-f", file, script, "one", "--two"]).unwrap();
        assert_eq!(job["cpus"], "3");
        assert_eq!(job["memory"], "2G");
        assert_eq!(job["time"], "1h");
        assert_eq!(job["env"], json!({"A": "1", "B": "2"}));
        assert_eq!(job["name"], "job.sh");
        assert_eq!(job["command"]["script"]["args"], json!(["one", "--two"]));
        assert!(job["command"]["script"]["text"].as_str().unwrap().ends_with("echo\n"));
    }

    #[test]
    fn a_job_file_alone_is_a_job() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("job.json");
        std::fs::write(&file, r##"{"command": {"script": {"text": "#BERTH -c 4\ntrue"}}, "name": "n"}"##)
            .unwrap();
        let job = made(&["-f", file.to_str().unwrap()]).unwrap();
        assert_eq!((&job["cpus"], &job["name"]), (&json!("4"), &json!("n")));
    }

    #[test]
    fn a_mistake_in_a_job_file_is_shown_with_its_line() {
        let toml = parse_job_file(Path::new("j.toml"), "name = 'x'\ncpu = '2'\n").unwrap_err().to_string();
        assert!(toml.starts_with("j.toml:2: ") && toml.contains("unknown field `cpu`"), "{toml}");
        let json = parse_job_file(Path::new("j.json"), "{\"name\": 3}").unwrap_err().to_string();
        assert!(json.starts_with("j.json:1:10: ") && json.contains("expected a string"), "{json}");
    }

    #[test]
    fn a_command_line_without_anything_to_run_is_refused() {
        assert_eq!(made(&["--cpus", "1"]), Err("there is nothing to run".into()));
        let absent = made(&["/nowhere/at/all.sh"]).unwrap_err();
        assert!(absent.contains("there is no script"), "{absent}");
    }

    #[test]
    fn a_line_below_the_first_command_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("job.sh");
        std::fs::write(&script, "echo\n#BERTH --cpus 2\n").unwrap();
        let mut warnings = Vec::new();
        let words = [script.to_str().unwrap()];
        let job = assemble_from(parse(&words), &line(&words), &mut |text| warnings.push(text)).unwrap();
        assert_eq!(job.cpus, None);
        assert!(warnings.len() == 1 && warnings[0].contains("job.sh:2: #BERTH below"), "{warnings:?}");
    }
}
