//! What the command line does by itself: usage, help, completions, job files, and no server.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// Runs berth as somebody whose home is an empty folder.
struct Somebody {
    home: TempDir,
}

impl Somebody {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
        command
            .args(words)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null());
        command
    }

    /// With a server named that is not there, so that one that happens to run here plays no part.
    fn berth(&self, words: &[&str]) -> Said {
        let nowhere = format!("unix:{}", self.home.path().join("no.sock").display());
        Said::of(self.command(words).env("BERTH_SERVER", nowhere).output().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert_eq!(self.out, "", "nothing goes to standard output");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {}", self.err);
        }
    }
}

#[test]
fn usage_errors_are_told_with_code_2() {
    let somebody = Somebody::new();
    for (words, hint) in [
        (&["frobnicate"][..], "unrecognized subcommand"),
        (&["submit", "--cpu", "2", "--", "true"], "'--cpus'"),
        (&["submit", "--cpus", "two", "--", "true"], "write 2, 0.5 or 500m"),
        (&["submit", "--array", "5-1", "--", "true"], "ends before it begins"),
        (&["submit"], "there is nothing to run"),
        (&["submit", "x.sh"], "there is no script"),
        (&["job", "abc"], "is not a job; write a number such as 12"),
        (&["kill"], "required"),
        (&["signal", "NOPE", "12"], "is not a signal"),
        (&["--server", "localhost", "nodes"], "is not a server; write unix:"),
    ] {
        somebody.berth(words).refused(2, &[hint]);
    }
}

#[test]
fn a_wrong_header_line_is_shown_with_file_line_and_column() {
    let somebody = Somebody::new();
    let script = somebody.file("job.sh", "#!/bin/sh\n# about\n#BERTH --cpus 2 --memory lots\ntrue\n");
    for command in ["submit", "run"] {
        let said = somebody.berth(&[command, &script]);
        said.refused(
            2,
            &[&format!("{script}:3:26: "), "\"lots\" is not a size", "#BERTH --cpus 2 --memory lots", "^^^^"],
        );
    }
}

#[test]
fn a_wrong_job_file_is_shown_with_its_line() {
    let somebody = Somebody::new();
    let file = somebody.file("job.toml", "name = 'x'\nmemroy = '1G'\n");
    somebody.berth(&["submit", "-f", &file]).refused(2, &[&format!("{file}:2: "), "unknown field `memroy`"]);
    somebody.berth(&["submit", "-f", "absent.toml"]).refused(2, &["absent.toml cannot be read"]);
}

#[test]
fn a_script_that_is_absurdly_long_is_not_even_read() {
    let somebody = Somebody::new();
    let script = somebody.file("long.sh", "");
    std::fs::File::options().write(true).open(&script).unwrap().set_len(65 << 20).unwrap();
    somebody.berth(&["submit", &script]).refused(2, &["is 65M long; 64M are the most"]);
}

#[test]
fn without_a_server_every_command_says_so_with_code_3() {
    let somebody = Somebody::new();
    for words in [
        &["jobs"][..],
        &["job", "1"],
        &["why", "1"],
        &["logs", "1"],
        &["wait", "1"],
        &["kill", "1"],
        &["rerun", "1.2"],
        &["signal", "USR1", "1"],
        &["nodes"],
        &["usage"],
        &["files", "1"],
        &["token", "list"],
        &["plugin", "list"],
        &["status"],
        &["submit", "--", "true"],
    ] {
        somebody.berth(words).refused(3, &["no Berth server answers at", "no.sock"]);
    }
}

#[test]
fn for_programs_an_error_is_one_object() {
    let said = Somebody::new().berth(&["--json", "nodes"]);
    said.refused(3, &[]);
    let error: serde_json::Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!(error["exit_code"], 3);
    assert!(error["error"].as_str().unwrap().contains("no Berth server answers"));
}

#[test]
fn status_tells_programs_that_there_is_no_server() {
    let said = Somebody::new().berth(&["status", "--json"]);
    assert_eq!((said.code, said.err.as_str()), (Some(3), ""));
    let value: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(value["server"], serde_json::Value::Null);
}

#[test]
fn top_refuses_politely_without_a_terminal() {
    Somebody::new().berth(&["top"]).refused(2, &["berth top needs a terminal", "berth jobs and berth nodes"]);
}

#[test]
fn help_tells_about_every_command_and_the_exit_codes() {
    let somebody = Somebody::new();
    let help = somebody.berth(&["--help"]);
    assert_eq!(help.code, Some(0));
    for command in [
        "run",
        "serve",
        "submit",
        "jobs",
        "job",
        "why",
        "logs",
        "wait",
        "top",
        "kill",
        "suspend",
        "resume",
        "hold",
        "release",
        "rerun",
        "signal",
        "files",
        "download",
        "nodes",
        "usage",
        "token",
        "plugin",
        "config",
        "status",
        "completions",
    ] {
        assert!(help.out.lines().any(|line| line.trim().starts_with(command)), "{command}");
        assert_eq!(somebody.berth(&["help", command]).code, Some(0), "{command}");
    }
    for words in [&["help", "exit-codes"][..], &["exit-codes"]] {
        assert!(somebody.berth(words).out.contains("126  the job never ran"));
    }
    let version = somebody.berth(&["--version"]);
    assert_eq!(version.out, concat!("berth ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn shells_accept_the_completions() {
    let somebody = Somebody::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = somebody.berth(&["completions", shell]);
        assert!(said.code == Some(0) && said.out.contains("rerun"), "{shell}");
    }
    let script = somebody.file("complete.bash", &somebody.berth(&["completions", "bash"]).out);
    if Path::new("/bin/bash").exists() {
        let check = Command::new("/bin/bash").args(["-n", &script]).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
}

#[test]
fn a_reader_that_goes_early_is_no_error_to_print() {
    let somebody = Somebody::new();
    let mut command = somebody.command(&["exit-codes"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::piped()).spawn().unwrap();
    // Usually gone before the first byte; where berth was quicker it has ended well.
    drop(child.stdout.take());
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(b""));
    let said = Said::of(child.wait_with_output().unwrap());
    assert!(matches!(said.code, Some(0 | 141)), "{:?}", said.code);
    assert_eq!(said.err, "");
}

#[test]
fn a_configuration_is_checked_without_a_server() {
    let somebody = Somebody::new();
    let wrong = somebody.file("wrong.toml", "[cluster]\nnmae = 'x'\n");
    let said = somebody.berth(&["config", "check", "--config", &wrong]);
    said.refused(1, &["wrong.toml:2", "nmae"]);
    let schema = somebody.berth(&["config", "schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema.out).unwrap();
    assert!(schema["properties"]["cluster"].is_object());
    let reference = somebody.berth(&["config", "schema", "--toml"]);
    assert!(reference.code == Some(0) && reference.out.contains("[cluster]"), "{}", reference.err);
}
