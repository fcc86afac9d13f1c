//! A mail server of a test's own.

use std::{fs, path::PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::script::{own_name, run, run_quietly};

/// How a mail server is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailWish {
    /// Encrypted after a first word in clear, and not without.
    StartTls,
    /// Encrypted from the beginning.
    Tls,
    /// Only for those who log in.
    Login,
}

/// A server that takes mail and brings it nowhere; it goes with this value.
pub struct MailServer {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Who may log in.
    pub user: String,
    /// The file with the password for that.
    pub password_file: PathBuf,
    /// The authority of its certificate.
    pub ca: PathBuf,
    /// An authority that has nothing to do with it.
    pub other_ca: PathBuf,
    mails: PathBuf,
    answer: PathBuf,
    name: String,
    pid: i32,
}

impl std::fmt::Debug for MailServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailServer").field("port", &self.port).finish_non_exhaustive()
    }
}

/// Starts a mail server.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn mail_server(wishes: &[MailWish]) -> MailServer {
    let name = own_name();
    let owner = std::process::id().to_string();
    let mut arguments = vec!["up", &name, "--owner", &owner];
    for wish in wishes {
        match wish {
            MailWish::StartTls => arguments.extend(["--tls", "start-tls"]),
            MailWish::Tls => arguments.extend(["--tls", "tls"]),
            MailWish::Login => arguments.push("--login"),
        }
    }
    let answer = run("smtp.sh", &arguments);
    let number = |key: &str| answer.value(key).parse().unwrap_or_else(|_| panic!("{key} is no number"));
    MailServer {
        port: u16::try_from(number("PORT")).unwrap_or_else(|_| panic!("PORT is no port")),
        pid: number("PID"),
        user: answer.value("USER"),
        password_file: answer.value("PASSWORD_FILE").into(),
        ca: answer.value("CA").into(),
        other_ca: answer.value("OTHER_CA").into(),
        mails: answer.value("MAILS").into(),
        answer: answer.value("ANSWER").into(),
        name,
    }
}

impl MailServer {
    /// What it has taken, oldest first: JSON with `from`, `to`, `tls`, `user` and `text`.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn mails(&self) -> Vec<String> {
        let found =
            fs::read_dir(&self.mails).unwrap_or_else(|error| panic!("{}: {error}", self.mails.display()));
        let mut paths: Vec<PathBuf> = found.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
        paths.sort();
        let read = |path: &PathBuf| {
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        paths.iter().map(read).collect()
    }

    /// Has it answer like this, such as `451 later`, instead of taking recipients.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn refuse(&self, answer: &str) {
        fs::write(&self.answer, format!("rcpt {answer}\n")).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Has it take mail again.
    pub fn accept(&self) {
        fs::remove_file(&self.answer).ok();
    }

    /// Ends the server; nobody answers then.
    pub fn stop(&self) {
        run("smtp.sh", &["stop", &self.name]);
    }

    /// Starts it again on the same port.
    pub fn start_again(&mut self) {
        let pid = run("smtp.sh", &["up", &self.name]).value("PID");
        self.pid = pid.parse().unwrap_or_else(|_| panic!("{pid:?} is no process"));
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

impl Drop for MailServer {
    fn drop(&mut self) {
        run_quietly("smtp.sh", &["down", &self.name]);
    }
}
