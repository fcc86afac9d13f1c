//! What a container's state means: pure, and careful with what looks clearer than it is.

use std::collections::BTreeSet;

use berth_docker_engine::{
    EngineError,
    bollard::models::{ContainerState, ContainerStateStatusEnum as Status},
    engine_time,
};
use berth_executor_api::{Exit, UtcMs};

/// Where a container stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Made, and nobody has tried to start it.
    Made,
    /// It could not be started.
    NotStarted(StartFailure),
    /// Its processes run.
    Running { since: Option<UtcMs> },
    /// They are frozen.
    Paused { since: Option<UtcMs> },
    /// The engine is about to start it again, or cannot say.
    Between,
    /// It is over.
    Over(Over),
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Over {
    pub code: i32,
    /// The kernel has killed some process in it for want of memory; not for certain the first one.
    pub memory: bool,
    pub at: Option<UtcMs>,
    /// What went wrong in the engine's words; mostly empty.
    pub error: String,
}

/// Why a container did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartFailure {
    /// The program is not there (127) or is none (126): the job's own failure, as a shell would tell it.
    Program { code: i32, words: String },
    /// Something is missing that others have at the moment.
    NoRoom(String),
    /// It cannot be started as it is.
    Never(String),
}

pub(crate) fn look(state: &ContainerState) -> Look {
    let status = state.status.unwrap_or(Status::EMPTY);
    let since = state.started_at.as_deref().and_then(engine_time);
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1);
    let error = state.error.clone().unwrap_or_default();
    match status {
        Status::CREATED if !error.is_empty() => Look::NotStarted(start_failure(&error)),
        Status::CREATED => Look::Made,
        Status::RUNNING if state.paused == Some(true) => Look::Paused { since },
        Status::RUNNING | Status::STOPPING => Look::Running { since },
        Status::PAUSED => Look::Paused { since },
        Status::RESTARTING | Status::EMPTY => Look::Between,
        // The engine keeps a failed start as an end where an earlier one is on record.
        Status::EXITED if since.is_none() && !error.is_empty() => Look::NotStarted(start_failure(&error)),
        Status::EXITED | Status::DEAD | Status::REMOVING => Look::Over(Over {
            code,
            memory: state.oom_killed == Some(true),
            at: state.finished_at.as_deref().and_then(engine_time),
            error,
        }),
    }
}

/// Sorts the engine's words about a container that it did not make or start.
pub(crate) fn start_failure(words: &str) -> StartFailure {
    let lower = words.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let text = words.trim().to_owned();
    if has(&["no space left on device", "disk quota exceeded"]) {
        return StartFailure::NoRoom(format!("the engine's disk is full: {text}"));
    }
    if has(&["port is already allocated", "address already in use", "bind for "]) {
        return StartFailure::NoRoom(format!("a port is taken: {text}"));
    }
    if has(&[
        "all predefined address pools have been fully subnetted",
        "non-overlapping ipv4 address pool",
        "no available ipv4 addresses",
    ]) {
        return StartFailure::NoRoom(format!("the engine has no network addresses left: {text}"));
    }
    if lower.contains("network") && lower.contains("not found") {
        return StartFailure::NoRoom(format!("its network is gone: {text}"));
    }
    if lower.contains("docker-init") {
        let more = "; install tini, or set init = false for this executor";
        return StartFailure::Never(format!("{text}{more}"));
    }
    let of_program = has(&["exec:", "exec user process", "executable file"]);
    if of_program && has(&["no such file or directory", "not found", "not a directory"]) {
        return StartFailure::Program { code: 127, words: text };
    }
    if of_program && has(&["permission denied", "is a directory", "exec format error"]) {
        return StartFailure::Program { code: 126, words: text };
    }
    StartFailure::Never(text)
}

/// The same for an answer of the engine's; `None` where it did not answer.
pub(crate) fn refusal(error: &EngineError) -> Option<StartFailure> {
    match error {
        EngineError::Refused { message, .. } => Some(start_failure(message)),
        EngineError::Unsendable(words) => Some(StartFailure::Never(words.clone())),
        EngineError::Unreachable { .. } => None,
    }
}

/// What else is known about an end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// Berth has asked it to end.
    pub stopped: bool,
    /// Signals that are known to have been sent to its first process, by whomever.
    pub signals: BTreeSet<i32>,
    /// The engine was away, or stopped, when it ended.
    pub engine_away: bool,
    /// Somebody else has removed the container.
    pub removed: bool,
}

const SIGKILL: i32 = 9;

/// The end, and words for people where the code alone would mislead.
///
/// The engine gives one number for both: 137 is what SIGKILL leaves, and what a program may exit with that saw
/// one of its own killed. It counts as a signal only where one is known to have been sent.
pub(crate) fn exit(over: &Over, evidence: &Evidence, now: UtcMs) -> (Exit, Option<String>) {
    let signal = over.code.checked_sub(128).filter(|signal| (1..=64).contains(signal));
    let sent = signal.filter(|signal| evidence.signals.contains(signal));
    // The flag alone may be about a process that the job could do without.
    let out_of_memory = over.memory && over.code == 128 + SIGKILL && !evidence.stopped;
    let exit = Exit {
        code: if sent.is_some() { None } else { Some(over.code) },
        signal: sent,
        out_of_memory,
        time_limit: false,
        could_not_launch: None,
        before_stop: !evidence.stopped,
        at: over.at.unwrap_or(now),
    };
    (exit, words(over, evidence, signal, sent, out_of_memory))
}

fn words(
    over: &Over,
    evidence: &Evidence,
    signal: Option<i32>,
    sent: Option<i32>,
    out_of_memory: bool,
) -> Option<String> {
    let mut words = Vec::new();
    if evidence.removed {
        words.push("its container was removed by someone other than Berth".to_owned());
    }
    if over.memory && !out_of_memory {
        words.push("one of its processes was killed for want of memory".into());
    }
    if evidence.engine_away && !evidence.stopped && over.code != 0 {
        words.push("it ended while the engine was away or stopping, perhaps with it".into());
    }
    if let (Some(signal), None, false, true) = (signal, sent, out_of_memory, words.is_empty()) {
        words.push(format!(
            "exit code {} is what signal {signal} leaves, or a program that saw it happen to another",
            over.code
        ));
    }
    if !over.error.is_empty() {
        words.push(over.error.clone());
    }
    (!words.is_empty()).then(|| words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMs = UtcMs(5);

    fn over(code: i32, memory: bool) -> Over {
        Over { code, memory, at: Some(UtcMs(3)), error: String::new() }
    }

    fn known(signals: &[i32], stopped: bool) -> Evidence {
        Evidence { stopped, signals: signals.iter().copied().collect(), ..Evidence::default() }
    }

    #[test]
    fn a_code_is_a_signal_only_where_one_was_sent() {
        let (by_itself, words) = exit(&over(137, false), &known(&[], false), NOW);
        assert_eq!((by_itself.code, by_itself.signal), (Some(137), None));
        assert!(words.unwrap().contains("what signal 9 leaves"));
        let (killed, words) = exit(&over(137, false), &known(&[9], false), NOW);
        assert_eq!((killed.code, killed.signal, words), (None, Some(9), None));
        let (other, _) = exit(&over(42, false), &known(&[15], true), NOW);
        assert_eq!((other.code, other.signal, other.before_stop), (Some(42), None, false));
    }

    #[test]
    fn the_flag_for_memory_is_believed_only_with_the_code_that_it_leaves() {
        let (harmless, words) = exit(&over(0, true), &known(&[], false), NOW);
        assert_eq!((harmless.code, harmless.out_of_memory), (Some(0), false));
        assert!(words.unwrap().contains("want of memory"));
        assert!(exit(&over(137, true), &known(&[], false), NOW).0.out_of_memory);
        assert!(!exit(&over(1, true), &known(&[], false), NOW).0.out_of_memory);
        assert!(!exit(&over(137, true), &known(&[9], true), NOW).0.out_of_memory, "Berth has killed it");
        assert!(!exit(&over(137, false), &known(&[], false), NOW).0.out_of_memory);
    }

    #[test]
    fn an_end_is_when_the_engine_says() {
        assert_eq!(exit(&over(0, false), &known(&[], false), NOW).0.at, UtcMs(3));
        let unsaid = Over { at: None, ..over(0, false) };
        assert_eq!(exit(&unsaid, &known(&[], false), NOW).0.at, NOW);
    }

    #[test]
    fn starts_that_failed_are_sorted_by_what_can_be_done() {
        let program = |code| move |failure: &StartFailure| matches!(failure, StartFailure::Program { code: is, .. } if *is == code);
        type Wanted<'a> = &'a dyn Fn(&StartFailure) -> bool;
        let cases: &[(&str, Wanted<'_>)] = &[
            (
                "OCI runtime create failed: container_linux.go:380: starting container process caused: exec: \
                 \"/no\": stat /no: no such file or directory: unknown",
                &program(127),
            ),
            (
                "failed to create shim task: runc create failed: exec: \"x\": executable file not found in $PATH",
                &program(127),
            ),
            ("starting container process caused: exec: \"/etc/passwd\": permission denied", &program(126)),
            (
                "driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port is already allocated",
                &|failure| matches!(failure, StartFailure::NoRoom(_)),
            ),
            (
                "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
                &|failure| matches!(failure, StartFailure::NoRoom(words) if words.contains("addresses")),
            ),
            ("write /var/lib/x: no space left on device", &|failure| {
                matches!(failure, StartFailure::NoRoom(_))
            }),
            ("bind source path does not exist: /nope", &|failure| matches!(failure, StartFailure::Never(_))),
            (
                "exec: \"docker-init\": executable file not found in $PATH",
                &|failure| matches!(failure, StartFailure::Never(words) if words.contains("init = false")),
            ),
        ];
        for (words, wanted) in cases {
            let failure = start_failure(words);
            assert!(wanted(&failure), "{words}: {failure:?}");
        }
    }

    #[test]
    fn a_container_that_was_never_started_is_not_over() {
        let state = |status, error: &str, started: &str| ContainerState {
            status: Some(status),
            error: Some(error.into()),
            started_at: Some(started.into()),
            exit_code: Some(127),
            ..ContainerState::default()
        };
        let never = "0001-01-01T00:00:00Z";
        assert_eq!(look(&state(Status::CREATED, "", never)), Look::Made);
        assert!(matches!(look(&state(Status::CREATED, "exec: x: not found", never)), Look::NotStarted(_)));
        assert!(matches!(look(&state(Status::EXITED, "", "2025-11-21T09:00:00Z")), Look::Over(_)));
    }
}
