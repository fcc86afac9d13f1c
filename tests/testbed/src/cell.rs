//! A Grid Engine cell of a test's own.

use std::{collections::BTreeMap, path::PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::script::{own_name, run, run_quietly};

/// A cell with one host; `sge.sh` says what is in it. It goes with this value, and its jobs with it.
pub struct Cell {
    /// The variables that tell SGE's programs which cell it is.
    pub environment: BTreeMap<String, String>,
    /// Where those programs are.
    pub binaries: PathBuf,
    name: String,
    master: i32,
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Starts a cell with so many slots.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn cell(slots: u32) -> Cell {
    let name = own_name();
    let (owner, slots) = (std::process::id().to_string(), slots.to_string());
    let answer = run("sge.sh", &["up", &name, "--owner", &owner, "--slots", &slots]);
    let variables = ["SGE_ROOT", "SGE_CELL", "SGE_QMASTER_PORT", "SGE_EXECD_PORT"];
    let master = answer.value("MASTER");
    Cell {
        environment: variables.map(|name| (name.to_owned(), answer.value(name))).into(),
        binaries: answer.value("BINARIES").into(),
        name,
        master: master.parse().unwrap_or_else(|_| panic!("{master:?} is no process")),
    }
}

impl Cell {
    /// Keeps its master from doing anything: questions are taken by the kernel, and nobody answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let sent = Pid::from_raw(self.master).map(|pid| kill_process(pid, signal));
        assert!(matches!(sent, Some(Ok(()))), "process {}: {sent:?}", self.master);
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        run_quietly("sge.sh", &["down", &self.name]);
    }
}
