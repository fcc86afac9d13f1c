//! Secrets that somebody types.

use std::io::{self, BufRead, IsTerminal, Read};

use anyhow::Context;

use crate::commands::Failure;

/// The longest line that is read.
const MOST_BYTES: u64 = 64 << 10;

/// Whether a person is at the other end of standard input.
pub fn asks_a_person() -> bool {
    io::stdin().is_terminal()
}

/// Asks a person, without showing what they type, or takes the next line of standard input.
///
/// # Errors
/// When there is none.
pub fn ask(prompt: &str) -> anyhow::Result<String> {
    if asks_a_person() {
        return rpassword::prompt_password(prompt).context("the terminal gives no password");
    }
    let mut line = String::new();
    // The lock keeps what is read beyond the line for whoever asks next.
    io::stdin().lock().take(MOST_BYTES).read_line(&mut line).context("standard input gives no password")?;
    let secret = line.trim_end_matches(['\r', '\n']);
    match secret.is_empty() {
        true => Err(Failure::usage("a password is read from standard input, and there is none").into()),
        false => Ok(secret.to_owned()),
    }
}
