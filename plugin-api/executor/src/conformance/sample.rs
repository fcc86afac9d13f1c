//! What the kit's jobs do.

use std::collections::BTreeMap;

use crate::Command;

/// The file in a job's directory that gets a line for each run.
pub(super) const TRACE: &str = "trace";

/// A job of the kit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Runs for a time and exits with a code.
    Run {
        /// How long.
        millis: u64,
        /// The code.
        code: i32,
    },
    /// Ends itself by a signal.
    Killed {
        /// Which.
        signal: i32,
    },
    /// A program that does not exist.
    NotFound,
    /// Ignores SIGTERM and goes on for minutes.
    Deaf,
    /// Goes on for minutes, but exits with a code when a signal comes.
    Trap {
        /// The signal.
        signal: i32,
        /// The code.
        code: i32,
    },
    /// Writes these texts and exits with 0.
    Print {
        /// To standard output.
        stdout: String,
        /// To standard error.
        stderr: String,
    },
    /// Writes to standard output, waits, writes again, and exits with 0.
    PrintTwice {
        /// First.
        first: String,
        /// The time between.
        millis: u64,
        /// Last.
        last: String,
    },
    /// Writes its environment to standard output, one variable per line.
    Environment,
}

/// What a back end is given to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The command.
    pub command: Command,
    /// Options of the executor.
    pub extensions: BTreeMap<String, String>,
}

impl Sample {
    /// The sample as a command for a plain `sh`, as in the smallest images. It leaves a line in
    /// `$BERTH_JOB_DIR/trace` when it is set up.
    #[must_use]
    pub fn in_shell(&self) -> Work {
        let trace = format!("echo run >> \"$BERTH_JOB_DIR/{TRACE}\"");
        // Bounded, so that a job that is left behind does not stay for ever.
        let wait = "n=0; while [ $n -lt 3000 ]; do sleep 0.1; n=$((n+1)); done";
        let mut arguments = Vec::new();
        let script = match self {
            Self::NotFound => {
                let command = Command::Argv(vec!["/no/such/program".into()]);
                return Work { command, extensions: BTreeMap::new() };
            }
            Self::Run { millis, code } => format!("{trace}; sleep {}; exit {code}", seconds(*millis)),
            // The first process of a container does not hear its own signals.
            Self::Killed { signal } => format!("{trace}; kill -{signal} $$; exit {}", 128 + signal),
            Self::Deaf => format!("trap '' TERM; {trace}; {wait}"),
            Self::Trap { signal, code } => format!("trap 'exit {code}' {signal}; {trace}; {wait}"),
            Self::Print { stdout, stderr } => {
                arguments = vec![stdout.clone(), stderr.clone()];
                format!("{trace}; printf %s \"$1\"; printf %s \"$2\" >&2")
            }
            Self::PrintTwice { first, millis, last } => {
                arguments = vec![first.clone(), last.clone()];
                format!("{trace}; printf %s \"$1\"; sleep {}; printf %s \"$2\"", seconds(*millis))
            }
            Self::Environment => format!("{trace}; env"),
        };
        let mut argv: Vec<String> = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned).into();
        argv.extend(arguments);
        Work { command: Command::Argv(argv), extensions: BTreeMap::new() }
    }
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::ExitStatusExt,
        process::{Child, Command as Process, Output, Stdio},
    };

    use super::*;

    /// The sample under this machine's shell, and its directory.
    fn begin(sample: &Sample) -> (Child, tempfile::TempDir) {
        let Command::Argv(argv) = sample.in_shell().command else { panic!("a script") };
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::new(&argv[0]);
        process.args(&argv[1..]).env("BERTH_JOB_DIR", folder.path());
        (process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), folder)
    }

    fn runs(folder: &tempfile::TempDir) -> usize {
        std::fs::read_to_string(folder.path().join(TRACE)).map_or(0, |text| text.lines().count())
    }

    fn output(sample: &Sample) -> Output {
        let (child, folder) = begin(sample);
        let output = child.wait_with_output().unwrap();
        assert_eq!(runs(&folder), 1, "{sample:?}");
        output
    }

    fn send(child: &Child, signal: &str) {
        let sent = Process::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    #[test]
    fn samples_do_in_a_shell_what_they_say() {
        assert_eq!(output(&Sample::Run { millis: 10, code: 3 }).status.code(), Some(3));
        assert_eq!(output(&Sample::Killed { signal: 9 }).status.signal(), Some(9));
        let print = output(&Sample::Print { stdout: "it's $1\n".into(), stderr: "%s".into() });
        assert_eq!((&print.stdout[..], &print.stderr[..]), (&b"it's $1\n"[..], &b"%s"[..]));
        let twice = output(&Sample::PrintTwice { first: "a ".into(), millis: 10, last: "b".into() });
        assert_eq!(twice.stdout, b"a b");
        let environment = output(&Sample::Environment).stdout;
        assert!(String::from_utf8(environment).unwrap().contains("BERTH_JOB_DIR="));
    }

    #[test]
    fn samples_listen_to_signals_once_they_have_left_their_trace() {
        let samples =
            [(Sample::Trap { signal: 10, code: 42 }, "-USR1", Some(42)), (Sample::Deaf, "-TERM", None)];
        for (sample, signal, code) in samples {
            let (mut child, folder) = begin(&sample);
            while runs(&folder) == 0 {
                assert!(child.try_wait().unwrap().is_none(), "{sample:?} is over");
                std::thread::yield_now();
            }
            send(&child, signal);
            if code.is_none() {
                // It is still there to be killed.
                send(&child, "-KILL");
            }
            let status = child.wait().unwrap();
            assert_eq!((status.code(), status.signal()), (code, code.is_none().then_some(9)), "{sample:?}");
        }
    }
}
