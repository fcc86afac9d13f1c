//! etcd for tests.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

use crate::script::{Answer, own_name, run, run_quietly};

/// A server of a test's own; it goes with this value.
#[derive(Debug)]
pub struct Etcd {
    /// Where it answers.
    pub endpoint: String,
    /// The file with the password of the user `berth`, for one that is secure.
    pub password_file: PathBuf,
    /// The authority of its certificate, likewise.
    pub ca: PathBuf,
    /// An authority that has nothing to do with it.
    pub other_ca: PathBuf,
    name: String,
    pid: i32,
}

/// Starts one that takes everybody.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn etcd() -> Etcd {
    start(&[])
}

/// Starts one that speaks TLS only, and takes only the user `berth`, who may do everything below `berth/`.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn secure_etcd() -> Etcd {
    start(&["--secure"])
}

fn start(more: &[&str]) -> Etcd {
    let name = own_name();
    let owner = std::process::id().to_string();
    let mut arguments = vec!["up", &name, "--owner", &owner];
    arguments.extend(more);
    let answer = run("etcd.sh", &arguments);
    Etcd {
        endpoint: answer.value("ENDPOINT"),
        password_file: answer.value("PASSWORD_FILE").into(),
        ca: answer.value("CA").into(),
        other_ca: answer.value("OTHER_CA").into(),
        pid: pid(&answer),
        name,
    }
}

fn pid(answer: &Answer) -> i32 {
    answer.value("PID").parse().unwrap_or_else(|_| panic!("PID is no number"))
}

impl Etcd {
    /// Ends it; nobody answers then.
    pub fn stop(&self) {
        run("etcd.sh", &["stop", &self.name]);
    }

    /// Starts it again, with what it knew.
    pub fn start_again(&mut self) {
        self.pid = pid(&run("etcd.sh", &["up", &self.name]));
    }

    /// Keeps it from doing anything: connections are taken by the kernel, and nothing is ever said on them.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let sent = Pid::from_raw(self.pid).map(|pid| kill_process(pid, signal));
        assert!(matches!(sent, Some(Ok(()))), "process {}: {sent:?}", self.pid);
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        run_quietly("etcd.sh", &["down", &self.name]);
    }
}
