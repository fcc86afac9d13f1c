//! GO-Docker's own command line.

use std::path::PathBuf;

use crate::script::run;

/// The folder with its programs: `godlogin`, `godjob`, `godfile`, `godproject`, `goduser`, `godimage`.
///
/// # Panics
/// When they cannot be had.
#[must_use]
pub fn godocker_commands() -> PathBuf {
    run("godocker.sh", &["up"]).value("COMMANDS").into()
}
