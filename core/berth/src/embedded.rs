//! The server that `berth run` brings along when there is none.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{BufRead, BufReader},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use berth_api::Target;

use crate::client_config::{self, Answer, Surroundings};

/// Makes sure that this user's own server runs, and says where it listens.
///
/// It keeps its state in the user's state folder and ends by itself when no job is left. When two come at
/// the same moment, one starts it and the other joins.
///
/// # Errors
/// When it cannot be started; the words are its own.
pub fn ensure(around: &Surroundings) -> anyhow::Result<Target> {
    let folder =
        around.state_folder().context("neither HOME nor XDG_STATE_HOME says where state is to be kept")?;
    let socket = around.user_socket().context("there is no place for a socket")?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    if start(&folder)? || client_config::ask(&socket) == Answer::Listens {
        return Ok(Target::Unix(socket));
    }
    // It did not come up. Another one may be just on its way out, or in: the lock of the store tells, and
    // is free in a moment.
    for _ in 0..RETRIES {
        std::thread::sleep(BETWEEN_TRIES);
        if client_config::ask(&socket) == Answer::Listens || start(&folder)? {
            return Ok(Target::Unix(socket));
        }
    }
    bail!("no server could be started; its words are:\n{}", last_words(&folder))
}

const RETRIES: u32 = 20;
const BETWEEN_TRIES: std::time::Duration = std::time::Duration::from_millis(150);

/// Starts a server and waits until it is ready. False when it ended before that.
fn start(folder: &Path) -> anyhow::Result<bool> {
    let log = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(log_file(folder))
        .context("the server's log cannot be written")?;
    let program = std::env::current_exe().context("the running program cannot be found")?;
    let mut server = Command::new(program)
        .args(["serve", "--embedded", "--state"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("the server cannot be started")?;
    let mut line = String::new();
    if let Some(out) = server.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    if line.trim() == "ready" {
        return Ok(true);
    }
    server.wait().context("the server's end cannot be waited for")?;
    Ok(false)
}

fn log_file(folder: &Path) -> std::path::PathBuf {
    folder.join("serve.log")
}

fn last_words(folder: &Path) -> String {
    let log = std::fs::read_to_string(log_file(folder)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines.iter().rev().take(10).rev().copied().collect::<Vec<_>>().join("\n")
}
