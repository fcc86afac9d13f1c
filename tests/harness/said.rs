//! The command line, as a person uses it.

use std::{ffi::OsStr, process::Stdio};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use super::{Berth, DEADLINE};

/// What a command has answered.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// Its standard output, when it has succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Its standard output as JSON, when it has succeeded.
    #[track_caller]
    pub fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Its standard error, when it has failed with this code.
    #[track_caller]
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.err
    }
}

/// Names all variables by which the test's own surroundings could reach into it.
pub fn without_berth_variables(mut remove: impl FnMut(&str)) {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.starts_with("BERTH")).for_each(|name| remove(&name));
}

impl Berth {
    /// A command of this program, for this site's server.
    pub fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = self.lone_command(args);
        command.env("BERTH_SERVER", format!("unix:{}", self.path("s").display()));
        command
    }

    /// A command of this program with no server named, in a home folder of this site.
    pub fn lone_command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
        without_berth_variables(|name| {
            command.env_remove(name);
        });
        command.args(args).env("HOME", self.path("home"));
        command.env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
        command.current_dir(self.path("."));
        command
    }

    /// Runs `berth` with these arguments.
    pub async fn cli<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Said {
        said(self.command(args)).await
    }

    /// Runs `berth --json` with these arguments, and reads what it says.
    pub async fn json<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Value {
        self.cli(std::iter::once("--json").chain(args)).await.json()
    }
}

/// Runs a command to its end.
pub async fn said(command: Command) -> Said {
    said_with(command, b"").await
}

/// Runs a command with this on its standard input.
pub async fn said_with(mut command: Command, input: &[u8]) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    tokio::spawn(async move {
        // It may end without having read it.
        stdin.write_all(&input).await.ok();
    });
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} does not end")).unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
