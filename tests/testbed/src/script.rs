//! Running the scripts and reading their answers.

use std::{
    collections::HashMap,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// What a script printed.
pub(crate) struct Answer(HashMap<String, String>);

impl Answer {
    /// The value of a key that it always prints.
    pub fn value(&self, key: &str) -> String {
        self.0.get(key).cloned().unwrap_or_else(|| panic!("the script's answer has no {key}: {:?}", self.0))
    }

    pub fn optional(&self, key: &str) -> Option<String> {
        self.0.get(key).cloned()
    }
}

fn command(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a script to its end and reads its answer. Its words for people go where the test's own go.
pub(crate) fn run(script: &str, arguments: &[&str]) -> Answer {
    let output = command(script, arguments).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("{script} cannot be run: {error}"));
    assert!(output.status.success(), "{script} {arguments:?}: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Answer(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// The same for taking something down, where a failure must not hide what the test says.
pub(crate) fn run_quietly(script: &str, arguments: &[&str]) {
    let done = command(script, arguments).stdout(Stdio::null()).status();
    if !done.as_ref().is_ok_and(std::process::ExitStatus::success) {
        eprintln!("{script} {arguments:?}: {done:?}");
    }
}

/// A name that nobody else uses at the same time.
pub(crate) fn own_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!("t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
