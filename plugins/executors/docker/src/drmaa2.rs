//! How a container looks through DRMAA2, the interface of batch systems that came before: what its states,
//! controls, template fields and job information correspond to here. Each row has a test.
//!
//! # States
//!
//! | container | DRMAA2 |
//! | --- | --- |
//! | exited or dead, code 0 | Done, also where the kernel has killed a process that the job could do without |
//! | exited or dead, other code | Failed |
//! | killed for want of memory | Failed |
//! | paused | Suspended |
//! | restarting, created | Queued |
//! | running | Running |
//! | no state at all | Undetermined |
//! | not there | an error of its own: unknown is not the same as not answering |
//!
//! # Controls
//!
//! | DRMAA2 | here |
//! | --- | --- |
//! | suspend, resume | pause and unpause; SIGSTOP and SIGCONT with `docker.suspend = signal` |
//! | terminate | asked, and killed after the grace |
//! | hold, release | unsupported: what is launched runs |
//! | any other word | an error |
//! | reap | [`berth_executor_api::Executor::remove`], which leaves alone what still runs |

use std::time::Duration;

use berth_docker_engine::bollard::models::ContainerState;
use berth_executor_api::{Action, AttemptState, Exit};

use crate::state::{Look, Over, StartFailure, look};

/// A job's state in DRMAA2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody can say.
    Undetermined,
    /// Waits to run.
    Queued,
    /// Runs.
    Running,
    /// Stands still.
    Suspended,
    /// Ended with code 0.
    Done,
    /// Ended otherwise.
    Failed,
}

/// What a container's state is in DRMAA2.
#[must_use]
pub fn state(container: Option<&ContainerState>) -> State {
    let Some(container) = container.filter(|container| container.status.is_some()) else {
        return State::Undetermined;
    };
    match look(container) {
        Look::Made | Look::Between | Look::NotStarted(StartFailure::NoRoom(_)) => State::Queued,
        Look::Running { .. } => State::Running,
        Look::Paused { .. } => State::Suspended,
        Look::NotStarted(_) => State::Failed,
        Look::Over(Over { code: 0, .. }) => State::Done,
        Look::Over(_) => State::Failed,
    }
}

/// What an attempt's state is in DRMAA2.
#[must_use]
pub fn state_of_attempt(state: &AttemptState) -> State {
    match state {
        AttemptState::Starting | AttemptState::NoRoom => State::Queued,
        AttemptState::Running => State::Running,
        AttemptState::Suspended => State::Suspended,
        AttemptState::Exited(Exit { code: Some(0), could_not_launch: None, .. }) => State::Done,
        AttemptState::Exited(_) => State::Failed,
        AttemptState::NodeGone => State::Undetermined,
    }
}

/// Why a control word does nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// DRMAA2 knows it, an engine of containers cannot do it.
    #[error("an engine cannot {0} a job that it was given")]
    Unsupported(String),
    /// No such word.
    #[error("{0:?} is nothing that a job can be asked; there are suspend, resume, hold, release, terminate")]
    Unknown(String),
}

/// What a control word asks for.
///
/// # Errors
/// For hold and release, which are unsupported, and for words that do not exist.
pub fn control(word: &str, grace: Duration) -> Result<Action, ControlError> {
    match word {
        "suspend" => Ok(Action::Suspend),
        "resume" => Ok(Action::Resume),
        "terminate" => Ok(Action::Terminate { grace }),
        "hold" | "release" => Err(ControlError::Unsupported(word.to_owned())),
        _ => Err(ControlError::Unknown(word.to_owned())),
    }
}

/// One row of a mapping: DRMAA2's name, where it is in a job spec, and what it is of a container.
pub type Row = (&'static str, &'static str, &'static str);

/// The template. What is not here is Berth's own business before a job is launched (priority, begin, hold,
/// queue, accounting, notices) or has no meaning for one container.
pub const TEMPLATE: &[Row] = &[
    ("jobCategory", "image", "Image; mandatory unless the site has a default one"),
    ("remoteCommand, args", "command", "Cmd, after the image's entry point; a script replaces that"),
    ("jobName", "name", "label berth.name; the container has the attempt's name, which is unique"),
    ("candidateMachines", "docker.hostname", "Hostname"),
    ("workingDirectory", "workdir", "WorkingDir; the job's directory where none is given"),
    ("jobEnvironment", "env", "Env, with Berth's own variables"),
    ("stageInFiles", "volumes", "HostConfig.Mounts of type bind; any number of places for one source"),
    ("outputPath", "output", "a file on the host, written from the engine's log as the user"),
    ("errorPath", "error", "a file on the host; the same one joins both"),
    ("minPhysMemory", "memory", "HostConfig.Memory, with MemorySwap by the site's rule"),
    ("resourceLimits", "docker.ulimits", "HostConfig.Ulimits"),
    ("minSlots", "cpus", "HostConfig.NanoCpus, or CpusetCpus for exclusive ones"),
    ("user", "the job's owner", "User as UID:GID with GroupAdd; root only where that was granted"),
    ("exposedPorts", "ports, docker.ports", "ExposedPorts and HostConfig.PortBindings"),
    ("entrypoint", "docker.entrypoint", "Entrypoint"),
    ("net", "network, docker.net", "HostConfig.NetworkMode"),
    ("privileged", "docker.privileged", "HostConfig.Privileged"),
    ("restart", "docker.restart", "HostConfig.RestartPolicy, always no"),
    ("ipc", "docker.ipc", "HostConfig.IpcMode"),
    ("uts", "docker.uts", "HostConfig.UTSMode"),
    ("pid", "docker.pid", "HostConfig.PidMode"),
    ("rm", "docker.rm", "none: Berth removes it once its end is recorded"),
    ("gpus", "gpus, docker.gpus", "HostConfig.DeviceRequests or Devices, by vendor"),
    ("shm-size", "docker.shm-size", "HostConfig.ShmSize"),
    ("ulimit", "docker.ulimits", "HostConfig.Ulimits"),
];

/// Job information: where it comes from.
pub const INFO: &[Row] = &[
    ("id", "attempt", "Name"),
    ("state", "state", "State.Status, State.Paused"),
    ("exitStatus", "exit code", "State.ExitCode"),
    (
        "terminatingSignal",
        "signal",
        "State.ExitCode less 128, where such a signal is known to have been sent",
    ),
    ("allocatedMachines", "node", "the engine's host"),
    ("dispatchTime", "started", "State.StartedAt, by the engine's clock"),
    ("finishTime", "ended", "State.FinishedAt, by the engine's clock"),
    ("jobOwner", "owner", "label berth.user"),
    ("cpuTime", "usage", "the control group's count"),
    ("subState", "message", "progress of pulls and starts"),
    ("annotation", "message", "what the code alone does not say"),
    ("workingdir, commandline, category", "workdir, command, image", "Config, and the digest of the image"),
];

#[cfg(test)]
mod tests {
    use berth_docker_engine::bollard::models::ContainerStateStatusEnum as Status;

    use super::*;

    fn container(status: Status, code: i64) -> ContainerState {
        ContainerState { status: Some(status), exit_code: Some(code), ..ContainerState::default() }
    }

    fn of(status: Status, code: i64) -> State {
        state(Some(&container(status, code)))
    }

    #[test]
    fn exited_and_dead_go_by_the_code() {
        for status in [Status::EXITED, Status::DEAD] {
            assert_eq!((of(status, 0), of(status, 1)), (State::Done, State::Failed));
        }
    }

    #[test]
    fn killed_for_want_of_memory_is_failed_and_a_harmless_flag_is_not() {
        let flagged = |code| ContainerState { oom_killed: Some(true), ..container(Status::EXITED, code) };
        assert_eq!(state(Some(&flagged(137))), State::Failed);
        assert_eq!(state(Some(&flagged(0))), State::Done);
    }

    #[test]
    fn paused_is_suspended() {
        assert_eq!(of(Status::PAUSED, 0), State::Suspended);
        let running = ContainerState { paused: Some(true), ..container(Status::RUNNING, 0) };
        assert_eq!(state(Some(&running)), State::Suspended);
    }

    #[test]
    fn restarting_and_created_are_queued() {
        assert_eq!((of(Status::RESTARTING, 0), of(Status::CREATED, 0)), (State::Queued, State::Queued));
    }

    #[test]
    fn running_is_running() {
        assert_eq!(of(Status::RUNNING, 0), State::Running);
    }

    #[test]
    fn without_a_state_nobody_can_say() {
        assert_eq!(state(None), State::Undetermined);
        assert_eq!(state(Some(&ContainerState::default())), State::Undetermined);
    }

    #[test]
    fn a_start_that_failed_is_failed() {
        let failed =
            ContainerState { error: Some("exec: x: not found".into()), ..container(Status::CREATED, 127) };
        assert_eq!(state(Some(&failed)), State::Failed);
    }

    #[test]
    fn attempts_look_alike() {
        let exited = |code| AttemptState::Exited(Exit { code: Some(code), ..Exit::default() });
        for (attempt, wanted) in [
            (AttemptState::Starting, State::Queued),
            (AttemptState::NoRoom, State::Queued),
            (AttemptState::Running, State::Running),
            (AttemptState::Suspended, State::Suspended),
            (exited(0), State::Done),
            (exited(7), State::Failed),
            (AttemptState::NodeGone, State::Undetermined),
        ] {
            assert_eq!(state_of_attempt(&attempt), wanted, "{attempt:?}");
        }
    }

    #[test]
    fn words_of_control_are_understood_or_refused_by_kind() {
        let grace = Duration::from_secs(3);
        assert_eq!(control("suspend", grace), Ok(Action::Suspend));
        assert_eq!(control("resume", grace), Ok(Action::Resume));
        assert_eq!(control("terminate", grace), Ok(Action::Terminate { grace }));
        for word in ["hold", "release"] {
            assert_eq!(control(word, grace), Err(ControlError::Unsupported(word.into())));
        }
        assert_eq!(control("explode", grace), Err(ControlError::Unknown("explode".into())));
    }

    #[test]
    fn every_option_of_the_template_is_one_of_this_executor() {
        let keys = TEMPLATE
            .iter()
            .flat_map(|(_, berth, _)| berth.split(", "))
            .filter(|key| key.starts_with("docker."));
        for key in keys {
            assert!(crate::KEYS.iter().any(|(known, _)| *known == key), "{key}");
        }
    }
}
