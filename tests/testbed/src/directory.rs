//! An LDAP directory of a test's own.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::script::{own_name, run, run_quietly};

/// OpenLDAP with people and groups in it; `ldap.sh` says which. It goes with this value.
pub struct Directory {
    /// Its address without encryption, and with StartTLS.
    pub plain: String,
    /// Its address with encryption.
    pub secure: String,
    /// What everything in it is below.
    pub base: String,
    /// An entry that may read.
    pub reader: String,
    /// The file with its password.
    pub reader_password_file: PathBuf,
    /// The authority of its certificate.
    pub ca: PathBuf,
    /// An authority that has nothing to do with it.
    pub other_ca: PathBuf,
    admin: String,
    admin_password_file: PathBuf,
    name: String,
    pid: i32,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("plain", &self.plain).finish_non_exhaustive()
    }
}

/// Starts a directory.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn directory() -> Directory {
    let name = own_name();
    let owner = std::process::id().to_string();
    let answer = run("ldap.sh", &["up", &name, "--owner", &owner]);
    Directory {
        plain: answer.value("PLAIN"),
        secure: answer.value("SECURE"),
        base: answer.value("BASE"),
        reader: answer.value("READER"),
        reader_password_file: answer.value("READER_PASSWORD_FILE").into(),
        ca: answer.value("CA").into(),
        other_ca: answer.value("OTHER_CA").into(),
        admin: answer.value("ADMIN"),
        admin_password_file: answer.value("ADMIN_PASSWORD_FILE").into(),
        pid: pid(&answer.value("PID")),
        name,
    }
}

fn pid(text: &str) -> i32 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no process"))
}

impl Directory {
    /// Ends the server; nobody answers then.
    pub fn stop(&self) {
        run("ldap.sh", &["stop", &self.name]);
    }

    /// Starts it again with what it knew.
    pub fn start_again(&mut self) {
        self.pid = pid(&run("ldap.sh", &["up", &self.name]).value("PID"));
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

    /// Changes what it knows, by a text in LDIF that says how (`changetype`).
    ///
    /// # Panics
    /// When it does not take that.
    pub fn change(&self, ldif: &str) {
        let mut command = Command::new("ldapmodify");
        command.args(["-x", "-M", "-H", &self.plain, "-D", &self.admin, "-y"]).arg(&self.admin_password_file);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("ldapmodify: {error}"));
        let written = child.stdin.take().map(|mut input| input.write_all(ldif.as_bytes()));
        let done = child.wait();
        assert!(
            matches!(written, Some(Ok(()))) && done.as_ref().is_ok_and(|done| done.success()),
            "{ldif}: {done:?}"
        );
    }

    /// Removes a person.
    pub fn remove(&self, user: &str) {
        self.change(&format!("dn: uid={user},ou=people,{}\nchangetype: delete\n", self.base));
    }

    /// Adds so many people: `p0`, `p1` and so on, with numbers from 30000.
    pub fn add_people(&self, count: u32) {
        let one = |number: u32| {
            format!(
                "dn: uid=p{number},ou=people,{}\nchangetype: add\nobjectClass: inetOrgPerson\n\
                 objectClass: posixAccount\nuid: p{number}\ncn: p\nsn: p\nuidNumber: {}\ngidNumber: 21000\n\
                 homeDirectory: /home/p\n\n",
                self.base,
                30_000 + number
            )
        };
        self.change(&(0..count).map(one).collect::<String>());
    }

    /// The password of the entry that may read.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn reader_password(&self) -> String {
        let path: &Path = &self.reader_password_file;
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        run_quietly("ldap.sh", &["down", &self.name]);
    }
}
