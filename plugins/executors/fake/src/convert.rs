//! From a launch spec to what the simulation does.

use std::sync::Arc;

use berth_executor_api::{Command, LaunchSpec};
use serde::{Deserialize, Serialize};

use crate::config::FakeConfig;

/// The extension keys that choose what a job does, each with its meaning. The program `fake` takes
/// the same ones as `KEY=VALUE` without their prefix, as in `fake run-ms=500 exit=3`. The programs
/// `true`, `false`, `sleep`, `echo` and `env` do what one expects.
pub const KEYS: [(&str, &str); 20] = [
    ("fake.run-ms", "how long it runs"),
    ("fake.slow-start-ms", "how long it stays in starting"),
    ("fake.exit", "its exit code"),
    ("fake.signal", "the signal that kills it at the end of its run time"),
    ("fake.oom", "it runs out of memory at the end of its run time"),
    ("fake.node-lost", "its node is lost with it at the end of its run time"),
    ("fake.could-not-launch", "it cannot be started; the value says why"),
    ("fake.refuse", "the launch is refused; the value says why"),
    ("fake.no-room", "how many launches are answered with no room"),
    ("fake.give-back", "how many times it is taken and then given back for want of room"),
    ("fake.lose-reply", "the launch is done and its answer lost"),
    ("fake.lose-report", "its reports are lost"),
    ("fake.double-report", "its reports come twice"),
    ("fake.late-report-ms", "its reports come that much too late"),
    ("fake.ignore-term", "only SIGKILL ends it early"),
    ("fake.on-signal", "SIGNAL:CODE, it exits with this code when it gets this signal"),
    ("fake.output", "standard output, written at the start"),
    ("fake.last-output", "standard output, written at the end"),
    ("fake.error-output", "standard error, written at the start"),
    ("fake.env", "its environment goes to standard output"),
];

/// How a run ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ending {
    Code(i32),
    Signal(i32),
    OutOfMemory,
    NodeLost,
    CouldNotLaunch(String),
}

/// What one attempt does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Behaviour {
    pub start_ms: u64,
    pub run_ms: u64,
    pub ending: Ending,
    pub refuse: Option<String>,
    pub no_room: u32,
    pub give_back: u32,
    pub lose_reply: bool,
    pub lose_report: bool,
    pub double_report: bool,
    pub late_report_ms: u64,
    pub ignore_term: bool,
    pub on_signal: Option<(i32, i32)>,
    pub output: String,
    pub last_output: String,
    pub error_output: String,
    pub prints_env: bool,
}

impl Behaviour {
    /// What jobs do that say nothing.
    pub(crate) fn of_site(config: &FakeConfig) -> Self {
        Self {
            start_ms: config.start_ms,
            run_ms: config.run_ms,
            ending: Ending::Code(config.exit),
            refuse: None,
            no_room: 0,
            give_back: 0,
            lose_reply: false,
            lose_report: false,
            double_report: false,
            late_report_ms: 0,
            ignore_term: false,
            on_signal: None,
            output: String::new(),
            last_output: String::new(),
            error_output: String::new(),
            prints_env: false,
        }
    }

    /// What the job of this spec does. The error is for its user.
    pub(crate) fn of(spec: &LaunchSpec, site: &Arc<Self>) -> Result<Arc<Self>, String> {
        let argv = match &spec.command {
            Command::Argv(argv) => argv.as_slice(),
            Command::Script { .. } => &[],
        };
        let mut own = None;
        if let Some((program, arguments)) = argv.split_first() {
            own = Self::of_program(program, arguments, site)?;
        }
        for (key, value) in &spec.extensions {
            if let Some(key) = key.strip_prefix("fake.") {
                own.get_or_insert_with(|| Self::clone(site)).set(key, value)?;
            }
        }
        Ok(own.map_or_else(|| Arc::clone(site), Arc::new))
    }

    /// `None` when the program is one that says nothing, or asks for what is usual anyway.
    fn of_program(program: &str, arguments: &[String], site: &Self) -> Result<Option<Self>, String> {
        let mut own = site.clone_if_needed(program);
        let Some(behaviour) = &mut own else { return Ok(None) };
        match program.rsplit('/').next().unwrap_or(program) {
            "true" => behaviour.ending = Ending::Code(0),
            "false" => behaviour.ending = Ending::Code(1),
            "env" => behaviour.prints_env = true,
            "echo" => behaviour.output = format!("{}\n", arguments.join(" ")),
            "sleep" => behaviour.run_ms = seconds(arguments)?,
            _ => {
                for argument in arguments {
                    let (key, value) = argument.split_once('=').unwrap_or((argument, "true"));
                    behaviour.set(key, value)?;
                }
            }
        }
        Ok(own)
    }

    fn clone_if_needed(&self, program: &str) -> Option<Self> {
        match program.rsplit('/').next().unwrap_or(program) {
            "true" if self.ending == Ending::Code(0) => None,
            "true" | "false" | "env" | "echo" | "sleep" | "fake" => Some(self.clone()),
            _ => None,
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "run-ms" => self.run_ms = number(key, value)?,
            "slow-start-ms" => self.start_ms = number(key, value)?,
            "exit" => self.ending = Ending::Code(number(key, value)?),
            "signal" => self.ending = Ending::Signal(number(key, value)?),
            "oom" if flag(key, value)? => self.ending = Ending::OutOfMemory,
            "node-lost" if flag(key, value)? => self.ending = Ending::NodeLost,
            "oom" | "node-lost" => {}
            "could-not-launch" => self.ending = Ending::CouldNotLaunch(value.to_owned()),
            "refuse" => self.refuse = Some(value.to_owned()),
            "no-room" => self.no_room = number(key, value)?,
            "give-back" => self.give_back = number(key, value)?,
            "lose-reply" => self.lose_reply = flag(key, value)?,
            "lose-report" => self.lose_report = flag(key, value)?,
            "double-report" => self.double_report = flag(key, value)?,
            "late-report-ms" => self.late_report_ms = number(key, value)?,
            "ignore-term" => self.ignore_term = flag(key, value)?,
            "on-signal" => self.on_signal = Some(signal_and_code(value)?),
            "output" => self.output = value.to_owned(),
            "last-output" => self.last_output = value.to_owned(),
            "error-output" => self.error_output = value.to_owned(),
            "env" => self.prints_env = flag(key, value)?,
            _ => {
                let known: Vec<_> = KEYS.iter().map(|(name, _)| *name).collect();
                return Err(format!("fake.{key} is not known; there are {}", known.join(", ")));
            }
        }
        Ok(())
    }
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("fake.{key} takes a number, not {value:?}"))
}

fn flag(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "" | "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(format!("fake.{key} takes true or false, not {value:?}")),
    }
}

fn signal_and_code(value: &str) -> Result<(i32, i32), String> {
    let parts =
        value.split_once(':').and_then(|(signal, code)| Some((signal.parse().ok()?, code.parse().ok()?)));
    parts.ok_or_else(|| format!("fake.on-signal takes SIGNAL:CODE such as 10:42, not {value:?}"))
}

/// `sleep` takes decimal seconds.
fn seconds(arguments: &[String]) -> Result<u64, String> {
    let [text] = arguments else { return Err("sleep takes one number of seconds here".into()) };
    let wrong = || format!("sleep takes a number of seconds, not {text:?}");
    let span: f64 = text.parse().map_err(|_| wrong())?;
    let span = std::time::Duration::try_from_secs_f64(span).map_err(|_| wrong())?;
    u64::try_from(span.as_millis()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::spec_of;

    fn site() -> Arc<Behaviour> {
        Arc::new(Behaviour::of_site(&FakeConfig::default()))
    }

    #[test]
    fn well_known_programs_behave_as_their_names_say() {
        let of = |argv: &[&str]| Behaviour::of(&spec_of(argv), &site()).unwrap();
        assert!(Arc::ptr_eq(&of(&["x"]), &of(&["x"])) || of(&["x"]) == site());
        assert_eq!(of(&["/bin/false"]).ending, Ending::Code(1));
        assert_eq!(of(&["sleep", "1.5"]).run_ms, 1500);
        assert_eq!(of(&["echo", "a", "b"]).output, "a b\n");
        let fake = of(&["fake", "run-ms=7", "signal=9", "ignore-term"]);
        assert_eq!((fake.run_ms, &fake.ending, fake.ignore_term), (7, &Ending::Signal(9), true));
    }

    #[test]
    fn every_key_is_taken_and_a_wrong_one_is_told() {
        for (key, _) in KEYS {
            let mut spec = spec_of(&["x"]);
            let value = if key == "fake.on-signal" { "10:42" } else { "1" };
            spec.extensions.insert(key.into(), value.into());
            assert_ne!(Behaviour::of(&spec, &site()).unwrap(), site(), "{key}");
        }
        for (key, value, told) in [
            ("fake.exit", "x", "takes a number"),
            ("fake.oom", "x", "true or false"),
            ("fake.x", "1", "fake.run-ms"),
        ] {
            let mut spec = spec_of(&["x"]);
            spec.extensions.insert(key.into(), value.into());
            let words = Behaviour::of(&spec, &site()).unwrap_err();
            assert!(words.contains(told), "{words}");
        }
    }
}
