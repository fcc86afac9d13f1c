//! `berth serve` as a process.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{DEADLINE, said::without_berth_variables};

/// A server. It is killed when it is dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
    /// What was in the log before it.
    skip: usize,
}

impl Daemon {
    /// Starts one, with its log at the end of a file.
    pub fn start(config: &Path, log: &Path, home: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let skip = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
        without_berth_variables(|name| {
            command.env_remove(name);
        });
        command.env("HOME", home).env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
        command.arg("serve").arg("-c").arg(config);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log: log.to_owned(), skip }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it has said.
    pub fn words(&self) -> String {
        let all = fs::read(&self.log).unwrap();
        String::from_utf8_lossy(&all[self.skip..]).into_owned()
    }

    /// Waits until it has ended.
    pub async fn end(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let wait = async {
            loop {
                if let Some(status) = child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("berth serve does not end")
    }

    /// Asks it to end and waits until it has.
    pub async fn terminate(mut self) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), Signal::TERM).unwrap();
        let status = self.end().await;
        assert!(status.success(), "{status}:\n{}", self.words());
    }

    /// Ends it at once.
    pub fn kill_dash_9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
