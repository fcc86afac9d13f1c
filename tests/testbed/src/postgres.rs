//! PostgreSQL for tests.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::script::{Answer, own_name, run, run_quietly};

/// The server that tests share which do not harm it.
const SHARED: &str = "shared";

/// A PostgreSQL server; one of a test's own goes with this value.
#[derive(Debug)]
pub struct Postgres {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// The file with the password of the role `berth`.
    pub password_file: PathBuf,
    /// The authority of its certificate.
    pub ca: PathBuf,
    /// An authority that has nothing to do with it.
    pub other_ca: PathBuf,
    name: String,
    pid: i32,
}

/// An empty database of a test's own; it goes with this value.
#[derive(Debug)]
pub struct Database {
    /// How the role `berth` gets there.
    pub url: String,
    /// The file with its password.
    pub password_file: PathBuf,
    /// Where its server listens on 127.0.0.1.
    pub port: u16,
    server: String,
    name: String,
    socket: PathBuf,
}

/// A server of a test's own, which it may stop.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn own_postgres() -> Postgres {
    let name = own_name();
    let owner = std::process::id().to_string();
    let answer = run("postgres.sh", &["up", &name, "--owner", &owner]);
    Postgres::of(name, &answer)
}

/// A database in the server that tests share.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn database() -> Database {
    let answer = run("postgres.sh", &["up", SHARED, "--quick"]);
    Postgres::of(SHARED.to_owned(), &answer).database()
}

fn number(answer: &Answer, key: &str) -> i32 {
    let text = answer.value(key);
    text.parse().unwrap_or_else(|_| panic!("{key} is {text:?}"))
}

impl Postgres {
    fn of(name: String, answer: &Answer) -> Self {
        Self {
            port: u16::try_from(number(answer, "PORT")).unwrap_or_default(),
            password_file: answer.value("PASSWORD_FILE").into(),
            ca: answer.value("CA").into(),
            other_ca: answer.value("OTHER_CA").into(),
            pid: number(answer, "PID"),
            name,
        }
    }

    /// An empty database in it.
    #[must_use]
    pub fn database(&self) -> Database {
        let name = own_name();
        run("postgres.sh", &["database", &self.name, &name]);
        Database {
            url: format!("postgres://berth@127.0.0.1:{}/{name}", self.port),
            password_file: self.password_file.clone(),
            server: self.name.clone(),
            name,
            socket: self.password_file.parent().unwrap_or(Path::new("/")).join("run"),
            port: self.port,
        }
    }

    /// Ends the server as a crash does; nobody answers then.
    pub fn stop(&self) {
        run("postgres.sh", &["stop", &self.name]);
    }

    /// Starts it again with what it knew.
    pub fn start_again(&mut self) {
        self.pid = number(&run("postgres.sh", &["up", &self.name]), "PID");
    }

    /// Ends the server's own process, without a word to those whom it serves.
    pub fn kill(&self) {
        let sent = Pid::from_raw(self.pid).map(|pid| kill_process(pid, Signal::KILL));
        assert!(matches!(sent, Some(Ok(()))), "process {}: {sent:?}", self.pid);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.name != SHARED {
            run_quietly("postgres.sh", &["down", &self.name]);
        }
    }
}

impl Database {
    /// What one query says, as its administrator sees it: one line for each row.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn ask(&self, sql: &str) -> String {
        let mut command = std::process::Command::new("psql");
        command.args(["-qAt", "-X", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", &self.name, "-c", sql]);
        command.arg("-h").arg(&self.socket).arg("-p").arg(self.port.to_string());
        let output = command.output().unwrap_or_else(|error| panic!("psql: {error}"));
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Ends all connections to it, as a cut line does, but for those that are made again.
    pub fn cut(&self) {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let _ = self.ask(sql);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        run_quietly("postgres.sh", &["drop", &self.server, &self.name]);
    }
}
