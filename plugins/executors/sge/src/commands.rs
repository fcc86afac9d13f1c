//! Running Grid Engine's programs: without a shell, bounded in time, each as whom it concerns, and never for
//! longer than Berth itself lives.

use std::{
    io,
    process::Stdio,
    sync::{Arc, mpsc},
    time::Duration,
};

use berth_executor_api::{ExecutorError, files::Person};
use rustix::process::geteuid;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    runtime::Handle,
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::{BACKEND, SgeConfig};

/// What the kernel ends a program with when Berth goes, and the program that sees to it.
const GUARD: &str = "setpriv";
/// The most that an answer may have. A list of a million jobs has about half of it.
const MOST_BYTES: usize = 1 << 30;

/// What a program answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub ok: bool,
    pub out: String,
    /// What it complained of, on one line.
    pub words: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// It cannot be run at all.
    #[error("{program} cannot be run: {source}")]
    NotRun {
        program: String,
        #[source]
        source: io::Error,
    },
    /// It took too long and was ended. What it was to do may have been done.
    #[error("{program} gave no answer within {within:?} and was ended")]
    Silent { program: String, within: Duration },
    /// The master does not answer.
    #[error("SGE's master is away: {words}")]
    Away { words: String },
    /// Its answer makes no sense.
    #[error("{program}: {words}")]
    Odd { program: String, words: String },
}

impl CommandError {
    pub fn for_executor(self, waited: Duration) -> ExecutorError {
        ExecutorError::Unreachable { backend: BACKEND.into(), waited, source: Box::new(self) }
    }
}

type Start = (Command, oneshot::Sender<io::Result<Child>>);

/// Runs the programs of one cell.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    config: Arc<SgeConfig>,
    starter: mpsc::Sender<Start>,
    places: Arc<Semaphore>,
}

impl Commands {
    /// To be called within a tokio runtime.
    pub fn new(config: Arc<SgeConfig>) -> io::Result<Self> {
        let (starter, starts) = mpsc::channel::<Start>();
        let runtime = Handle::current();
        // Programs are ended with the thread that started them, so that thread lives as long as they may.
        std::thread::Builder::new().name("sge-starter".into()).spawn(move || {
            let _inside = runtime.enter();
            for (mut command, reply) in starts {
                // Whoever asked may have given up; the child then goes with the answer.
                let _ = reply.send(command.spawn());
            }
        })?;
        let places = Arc::new(Semaphore::new(config.commands_at_once.max(1)));
        Ok(Self { config, starter, places })
    }

    /// Runs a program of the cell as Berth itself.
    pub async fn run(&self, program: &str, arguments: &[String]) -> Result<Answer, CommandError> {
        self.run_as(None, program, arguments, "").await
    }

    /// Runs a program as somebody, who must be Berth itself where Berth is not root.
    pub async fn run_as(
        &self,
        person: Option<&Person>,
        program: &str,
        arguments: &[String],
        input: &str,
    ) -> Result<Answer, CommandError> {
        let not_run = |source| CommandError::NotRun { program: program.to_owned(), source };
        let command = self.command(person, program, arguments).map_err(not_run)?;
        // Not before there is a place: time spent waiting for one is not the program's.
        let _place = self.places.acquire().await.map_err(|gone| not_run(io::Error::other(gone)))?;
        let (reply, started) = oneshot::channel();
        let gone = || not_run(io::Error::other("nobody starts programs any more"));
        self.starter.send((command, reply)).map_err(|_| gone())?;
        let child = started.await.map_err(|_| gone())?.map_err(not_run)?;
        let within = self.config.answer_within;
        let output = timeout(within, finish(child, input.to_owned())).await;
        let silent = |_| CommandError::Silent { program: program.to_owned(), within };
        let output = output.map_err(silent)?.map_err(not_run)?;
        if output.stdout.len() > MOST_BYTES {
            return Err(CommandError::Odd {
                program: program.to_owned(),
                words: "its answer is too long".into(),
            });
        }
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let words = one_line(&String::from_utf8_lossy(&output.stderr));
        match is_away(&words) {
            true if !output.status.success() || out.is_empty() => Err(CommandError::Away { words }),
            _ => Ok(Answer { ok: output.status.success(), out, words }),
        }
    }

    /// No variables but the cell's own, no directory of anybody's: defaults that a user keeps in files have no say.
    fn command(&self, person: Option<&Person>, program: &str, arguments: &[String]) -> io::Result<Command> {
        let mut command = Command::new(GUARD);
        command.args(["--pdeathsig", "KILL"]);
        if let Some(person) = person {
            let own = geteuid();
            if own.is_root() {
                let groups: Vec<String> = person.groups.iter().map(u32::to_string).collect();
                command.args(["--reuid", &person.uid.to_string(), "--regid", &person.gid.to_string()]);
                match groups.is_empty() {
                    true => command.arg("--clear-groups"),
                    false => command.args(["--groups", &groups.join(",")]),
                };
            } else if own.as_raw() != person.uid {
                let words = format!("user {} cannot do this for user {}", own.as_raw(), person.uid);
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
            }
        }
        command.arg("--").arg(self.config.binaries.join(program)).args(arguments);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        for name in ["SGE_ROOT", "SGE_CELL", "SGE_QMASTER_PORT", "SGE_EXECD_PORT", "SGE_CLUSTER_NAME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(&self.config.environment).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }
}

async fn finish(mut child: Child, input: String) -> io::Result<std::process::Output> {
    let stdin = child.stdin.take();
    let write = async move {
        if let Some(mut stdin) = stdin {
            // One that does not want it has its reasons, and says them.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), write);
    output
}

/// Whether a program complains that it cannot talk to its master.
fn is_away(words: &str) -> bool {
    [
        "unable to send message to qmaster",
        "unable to contact qmaster",
        "failed receiving gdi request",
        "got select error",
        "got send error",
        "got read error",
        "got send timeout",
        "commlib error",
        "cell directory",
        "can't resolve",
        "timeout",
    ]
    .iter()
    .any(|sign| words.contains(sign))
}

fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "Exiting.");
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

    use super::*;

    fn commands(folder: &std::path::Path, script: &str) -> Commands {
        let program = folder.join("qstat");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut config = SgeConfig::new("c", folder);
        config.binaries = folder.into();
        config.answer_within = Duration::from_millis(700);
        Commands::new(Arc::new(config)).unwrap()
    }

    #[tokio::test]
    async fn arguments_arrive_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let commands = commands(folder.path(), "printf '%s|' \"$@\"; cat; echo \" $HOME\"");
        let odd = ["a b", "$(touch /tmp/x)", "';\"", "", "-x"].map(str::to_owned);
        let answer = commands.run_as(None, "qstat", &odd, "input").await.unwrap();
        assert_eq!((answer.ok, answer.out.as_str()), (true, "a b|$(touch /tmp/x)|';\"||-x|input \n"));
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_all_that_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let commands = commands(folder.path(), "echo $$ >pid; exec sleep 100");
        let script = folder.path().join("qstat");
        let pid = folder.path().join("pid");
        fs::write(&script, format!("#!/bin/sh\necho $$ >{}\nexec sleep 100\n", pid.display())).unwrap();
        let error = commands.run("qstat", &[]).await.unwrap_err();
        assert!(matches!(error, CommandError::Silent { .. }), "{error}");
        let process = format!("/proc/{}", fs::read_to_string(pid).unwrap().trim());
        let deadline = Instant::now() + Duration::from_secs(20);
        while fs::read_to_string(format!("{process}/stat")).is_ok_and(|stat| !stat.contains(" Z ")) {
            assert!(Instant::now() < deadline, "{process} goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_master_that_is_away_is_told_from_a_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let away = "echo 'error: commlib error: got select error (Connection refused)' >&2; exit 1";
        let error = commands(folder.path(), away).run("qstat", &[]).await.unwrap_err();
        assert!(matches!(error, CommandError::Away { .. }), "{error}");
        let refusal = "echo 'Unable to run job: unknown resource \"nope\"' >&2; echo Exiting. >&2; exit 1";
        let answer = commands(folder.path(), refusal).run("qstat", &[]).await.unwrap();
        assert_eq!(
            (answer.ok, answer.words.as_str()),
            (false, "Unable to run job: unknown resource \"nope\"")
        );
        let error = commands(folder.path(), "").run("qhost", &[]).await;
        assert!(error.is_err() || !error.unwrap().ok);
    }
}
