//! The process that has the jobs started and waits for their ends.
//!
//! One thread, no runtime, one loop around `poll`: requests of executors, ends of children, notes from
//! children on their way, and deadlines. With nothing to do it sleeps without ever waking.

mod answers;
mod attempt;
pub(crate) mod cgroup;
mod clients;
mod clock;
mod control;
mod ending;
mod environment;
mod journal;
mod launcher;
mod launching;
mod limits;
mod note;
mod procfs;
pub(crate) mod protocol;
mod run;
pub(crate) mod setup;
mod spawn;
mod sys;

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    ffi::OsString,
    fs::File,
    os::fd::OwnedFd,
    os::unix::net::UnixListener,
    path::PathBuf,
    process::ExitCode,
};

use berth_executor_api::{AttemptName, AttemptReport, Resources};

use self::{
    attempt::Attempt, cgroup::Cgroups, clients::Client, journal::Journal, launcher::Launcher, limits::Pins,
    note::Notes, procfs::Children, protocol::Settings, spawn::Ready, sys::Signals,
};

/// The first argument that makes a program call [`supervisor_main`].
pub const SUPERVISOR_WORD: &str = "__local-supervisor";

/// The socket's name in the spool folder.
pub(crate) const SOCKET: &str = "supervisor.sock";
/// The log's name there.
pub(crate) const LOG: &str = "supervisor.log";

/// The supervisor's `main`, with the arguments that come after [`SUPERVISOR_WORD`].
///
/// To be called at the very start of a program, before it has threads, open files or much memory: the
/// processes that make the jobs begin as copies of this one. Returns once the supervisor listens (which then goes on in a process of its
/// own), or when it cannot, having said why on standard error.
#[must_use]
pub fn supervisor_main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let result = setup::arguments(args).and_then(|(spool, settings)| setup::start(&spool, settings));
    match result {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(mut supervisor)) => {
            supervisor.run();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything the supervisor knows.
pub(super) struct Supervisor {
    spool: PathBuf,
    settings: Settings,
    /// Held for as long as this supervisor, or a child that may still write the journal, lives.
    _lock: File,
    listener: UnixListener,
    signals: Signals,
    notes: Notes,
    /// The end of the pipe for notes that children write to.
    note_writer: File,
    journal: Journal,
    as_root: bool,
    boot: String,
    /// The machine was started anew since anybody asked what had become of the attempts.
    rebooted: bool,
    attempts: HashMap<AttemptName, Attempt>,
    /// Whose main process this is, of all that live.
    by_pid: HashMap<i32, AttemptName>,
    /// Processes that are no children of this supervisor, but of one before it.
    adopted: Vec<(AttemptName, OwnedFd)>,
    queue: VecDeque<Ready>,
    /// What those have that were given to launchers and have not ended.
    holding: HashMap<AttemptName, Resources>,
    /// They make the children. None until one is needed.
    launchers: Vec<Launcher>,
    live: usize,
    /// Milliseconds since boot, and whom it is about.
    deadlines: BTreeSet<(u64, AttemptName)>,
    pins: Pins,
    cgroups: Cgroups,
    /// Control groups to be removed as soon as their processes are gone.
    old_groups: Vec<String>,
    children: Children,
    /// When to look for what ended jobs have left behind, in milliseconds since boot.
    strays_at: Option<u64>,
    /// Directories of arrays, with their users, where a task has started.
    ready_arrays: HashSet<(String, u32)>,
    /// When children that were not jobs yet were swept away, in milliseconds since boot.
    swept_at: Option<u64>,
    /// To be forgotten when they have ended.
    doomed: HashSet<AttemptName>,
    clients: Vec<Client>,
    reports: Vec<AttemptReport>,
    /// When the oldest of them is to be told at the latest.
    tell_at: Option<u64>,
    /// Since when nobody needs this supervisor, in milliseconds since boot.
    idle_since: Option<u64>,
}

/// A line in the supervisor's log.
fn log(words: std::fmt::Arguments<'_>) {
    eprintln!("{} {words}", clock::now());
}
