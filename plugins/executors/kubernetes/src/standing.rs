//! Where an attempt stands, by its Job and its Pod. Pure.

use berth_executor_api::{AttemptName, AttemptReport, AttemptState, Exit, PortMapping, UtcMs};
use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::{
    facts::{Facts, Noted, Withdrawn},
    names::CONTAINER,
};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub state: State,
    /// Since when, by the clock of whoever said so.
    pub at: Option<UtcMs>,
    /// When its container was started.
    pub started: Option<UtcMs>,
    /// The name of its Pod.
    pub pod: Option<String>,
    pub node: Option<String>,
    /// The address of its node.
    pub host: Option<String>,
    pub addresses: Vec<String>,
    /// For people.
    pub message: Option<String>,
    /// Why it may never get any further.
    pub trouble: Option<Trouble>,
    /// Its Pod is on the way out, and what it says has to be noted.
    pub leaving: bool,
    /// It has ended by its Job, and how its Pod ended is not known. News of the Pod may still be on the way.
    pub unseen: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Running,
    Suspended,
    Exited(Exit),
    /// It was taken back before it ran, for want of room.
    NoRoom,
    /// The cluster ended it for reasons of its own.
    NodeGone,
}

impl State {
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Exited(_) | Self::NoRoom | Self::NodeGone)
    }
}

/// What only time can tell from a bad start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No node has room for it.
    NoRoom,
    /// Its node had no room after all; nothing will change that.
    NoRoomForGood,
    /// There is no Pod, and nobody has said why.
    NoPod,
    /// Its container cannot be started yet.
    CannotStart,
    /// Nor ever.
    NeverStarts,
}

pub(crate) fn time(time: &Time) -> UtcMs {
    UtcMs(u64::try_from(time.0.as_millisecond()).unwrap_or(0))
}

/// The Pod that speaks for the attempt: the newest. Before it there may be one that a suspension ends.
pub(crate) fn speaker<'a>(pods: impl Iterator<Item = &'a Pod>) -> Option<&'a Pod> {
    pods.max_by_key(|pod| {
        let meta = &pod.metadata;
        (meta.creation_timestamp.as_ref().map(time), meta.deletion_timestamp.is_none(), meta.uid.clone())
    })
}

/// Whether its Pod can still run or does.
pub(crate) fn is_live(pod: &Pod) -> bool {
    !matches!(phase(pod), "Succeeded" | "Failed") && terminated(pod).is_none()
}

/// Where the attempt stands. `gone` is its Pod as it was last seen, when it is not there any more.
pub(crate) fn standing(job: Option<&Job>, pod: Option<&Pod>, gone: Option<&Pod>) -> Standing {
    let facts = Facts::of(job);
    if let Some(Noted { state, message, node }) = facts.noted.clone() {
        let at = match &state {
            State::Exited(exit) => Some(exit.at),
            _ => None,
        };
        let about = pod.or(gone);
        let started = about.and_then(started);
        return Standing { state, message, node, at, started, ..about.map(frame).unwrap_or_else(empty) };
    }
    match pod {
        Some(pod) => of_pod(&facts, pod, facts.no_job),
        None => without_pod(&facts, gone),
    }
}

fn empty() -> Standing {
    Standing {
        state: State::Starting,
        at: None,
        started: None,
        pod: None,
        node: None,
        host: None,
        addresses: Vec::new(),
        message: None,
        trouble: None,
        leaving: false,
        unseen: false,
    }
}

/// What a Pod says of places.
fn frame(pod: &Pod) -> Standing {
    let status = pod.status.as_ref();
    let addresses = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    Standing {
        pod: pod.metadata.name.clone(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        host: status.and_then(|status| status.host_ip.clone()),
        addresses: addresses.map(|address| address.ip.clone()).collect(),
        leaving: pod.metadata.deletion_timestamp.is_some(),
        ..empty()
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn main_container(pod: &Pod) -> Option<&ContainerStatus> {
    let all = pod.status.as_ref()?.container_statuses.as_ref()?;
    all.iter().find(|one| one.name == CONTAINER)
}

fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    main_container(pod)?.state.as_ref()?.terminated.as_ref()
}

fn started(pod: &Pod) -> Option<UtcMs> {
    let state = main_container(pod)?.state.as_ref()?;
    let running = state.running.as_ref().and_then(|running| running.started_at.as_ref());
    let ended = state.terminated.as_ref().and_then(|ended| ended.started_at.as_ref());
    // One that never started has the zero of Go there, which is long before 1970.
    running.or(ended).map(time).filter(|at| *at > UtcMs(0))
}

fn condition<'a>(pod: &'a Pod, kind: &str, status: &str) -> Option<&'a PodCondition> {
    let all = pod.status.as_ref()?.conditions.as_ref()?;
    all.iter().find(|one| one.type_ == kind && one.status == status)
}

fn of_pod(facts: &Facts, pod: &Pod, is_final: bool) -> Standing {
    if let Some(ended) = terminated(pod) {
        return of_ended(facts, pod, ended, is_final || facts.failed.is_some());
    }
    let frame = frame(pod);
    let state = main_container(pod).and_then(|main| main.state.clone()).unwrap_or_default();
    if let Some(running) = state.running {
        let at = running.started_at.as_ref().map(time);
        let message = frame.leaving.then(|| "its Pod is being ended".to_owned());
        return Standing { state: State::Running, at, started: at, message, ..frame };
    }
    if phase(pod) == "Failed" {
        return never_ran(facts, pod, frame);
    }
    let waiting = state.waiting.unwrap_or_default();
    let (message, trouble) = match waiting.reason.as_deref().filter(|reason| !reason.is_empty()) {
        Some("ContainerCreating" | "PodInitializing") => (Some("its node prepares it".to_owned()), None),
        Some(reason) => (Some(join(reason, waiting.message.as_deref())), Some(cannot_start(reason))),
        None => unplaced(pod),
    };
    let at = pod.metadata.creation_timestamp.as_ref().map(time);
    Standing { state: State::Starting, at, message, trouble, ..frame }
}

/// Whether what keeps a container from starting may pass.
fn cannot_start(reason: &str) -> Trouble {
    match reason {
        "InvalidImageName" => Trouble::NeverStarts,
        _ => Trouble::CannotStart,
    }
}

fn unplaced(pod: &Pod) -> (Option<String>, Option<Trouble>) {
    match condition(pod, "PodScheduled", "False") {
        Some(condition) => {
            let words = condition.message.as_deref().or(condition.reason.as_deref());
            let trouble = (condition.reason.as_deref() == Some("Unschedulable")).then_some(Trouble::NoRoom);
            (Some(join("pending in the cluster", words)), trouble)
        }
        None if condition(pod, "PodScheduled", "True").is_some() => (Some("a node has it".into()), None),
        None => (Some("pending in the cluster".into()), None),
    }
}

fn join(what: &str, words: Option<&str>) -> String {
    match words.filter(|words| !words.is_empty()) {
        Some(words) => format!("{what}: {words}"),
        None => what.to_owned(),
    }
}

/// Its Pod failed without its container.
fn never_ran(facts: &Facts, pod: &Pod, frame: Standing) -> Standing {
    let status = pod.status.clone().unwrap_or_default();
    let reason = status.reason.unwrap_or_default();
    let words = join(if reason.is_empty() { "its Pod failed" } else { &reason }, status.message.as_deref());
    let at = facts.failed.as_ref().and_then(|(at, ..)| *at);
    let at = at.or_else(|| condition(pod, "Ready", "False").and_then(changed));
    let exit = Exit { before_stop: !facts.stopped, at: at.unwrap_or_default(), ..Exit::default() };
    let over = |exit: Exit| Standing {
        state: State::Exited(exit),
        at,
        message: Some(words.clone()),
        ..frame.clone()
    };
    if let Some(withdrawn) = facts.withdrawn.as_ref().filter(|_| !facts.stopped) {
        return taken_back(withdrawn, at, frame);
    }
    if reason == "DeadlineExceeded" {
        return over(Exit { time_limit: true, ..exit });
    }
    if facts.stopped {
        return over(exit);
    }
    if reason.starts_with("OutOf") || matches!(reason.as_str(), "NodeAffinity" | "UnexpectedAdmissionError") {
        return Standing { message: Some(words), trouble: Some(Trouble::NoRoomForGood), ..frame };
    }
    if let Some(words) = disruption(pod) {
        return Standing { state: State::NodeGone, at, message: Some(words), ..frame };
    }
    over(Exit { could_not_launch: Some(words.clone()), ..exit })
}

fn changed(condition: &PodCondition) -> Option<UtcMs> {
    condition.last_transition_time.as_ref().map(time)
}

/// Why the cluster ended it, where that was no doing of the job's.
fn disruption(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let own = status.reason.as_deref();
    let words = |reason: &str, message: Option<&str>| join(&format!("evicted ({reason})"), message);
    if let Some(reason @ ("NodeShutdown" | "NodeLost" | "Terminated" | "Preempting")) = own {
        return Some(words(reason, status.message.as_deref()));
    }
    let target = condition(pod, "DisruptionTarget", "True")?;
    let reason = target.reason.as_deref().unwrap_or("DisruptionTarget");
    // By its node, as a rule since it wrote more than it may: what it did itself.
    (reason != "TerminationByKubelet" || own != Some("Evicted"))
        .then(|| words(reason, target.message.as_deref()))
}

/// Its container has ended. Until the Job has, too, it may not be known yet why a Pod was asked to go.
fn of_ended(facts: &Facts, pod: &Pod, ended: &ContainerStateTerminated, is_final: bool) -> Standing {
    let status = pod.status.clone().unwrap_or_default();
    let at = ended.finished_at.as_ref().map(time);
    let frame = Standing { at, started: started(pod), ..frame(pod) };
    let reason = ended.reason.as_deref().unwrap_or_default();
    let code = Some(ended.exit_code);
    let exit = Exit {
        code,
        // What ended though nobody had asked its Pod to go has ended by itself.
        before_stop: !(facts.stopped && frame.leaving),
        out_of_memory: reason == "OOMKilled",
        at: at.unwrap_or_default(),
        ..Exit::default()
    };
    let over = |exit: Exit, message: Option<String>| Standing {
        state: State::Exited(exit),
        message,
        ..frame.clone()
    };
    if facts.suspended && frame.leaving && !facts.stopped && facts.complete.is_none() {
        return Standing { state: State::Suspended, ..frame };
    }
    if matches!(reason, "StartError" | "ContainerCannotRun" | "RunContainerError") {
        let words = join(reason, ended.message.as_deref());
        let exit = Exit { code: None, could_not_launch: Some(words.clone()), ..exit };
        return over(exit, Some(words));
    }
    if code == Some(0) && !facts.is_over_time() {
        return over(exit, None);
    }
    let by_its_deadline = status.reason.as_deref() == Some("DeadlineExceeded");
    if by_its_deadline || frame.leaving && !facts.stopped && facts.is_over_time() {
        let words = status.message.filter(|_| by_its_deadline);
        return over(Exit { time_limit: true, ..exit }, words.or(Some("DeadlineExceeded".into())));
    }
    if facts.stopped && frame.leaving {
        return over(exit, None);
    }
    if let Some(words) = disruption(pod) {
        return Standing { state: State::NodeGone, message: Some(words), ..frame };
    }
    if status.reason.as_deref() == Some("Evicted") {
        return over(exit, Some(join("evicted", status.message.as_deref())));
    }
    if !is_final && may_be_over_time(pod, at) {
        let message =
            Some("its container has ended, and its node has not said yet whether at its time limit".into());
        return Standing { state: State::Running, at: frame.started, message, ..frame };
    }
    if frame.leaving && !is_final {
        let message = Some("its Pod is being ended, and nobody has said why yet".into());
        return Standing { state: State::Running, at: frame.started, message, ..frame };
    }
    let message = match frame.leaving {
        true => Some("its Pod was deleted by someone else".into()),
        false => by_code(&exit),
    };
    over(exit, message)
}

/// Whether it ran as long as it may, so that its Pod, which is not over yet, may say that it was ended for that.
fn may_be_over_time(pod: &Pod, at: Option<UtcMs>) -> bool {
    let deadline = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    let begun = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(time);
    let (Some(deadline), Some(begun), Some(at)) = (deadline, begun, at) else { return false };
    // Times are in whole seconds.
    let ran = at.since(begun).as_secs() + 1;
    phase(pod) == "Running" && ran >= u64::try_from(deadline).unwrap_or(0)
}

/// Shells say it by these codes, and so does the system.
fn by_code(exit: &Exit) -> Option<String> {
    let words = match exit.code? {
        127 => "exit code 127: as a rule, its command was not found in the image",
        126 => "exit code 126: as a rule, its command is there and may not be executed",
        137 if exit.out_of_memory => "ended for using more memory than it asked for",
        137 => "killed from outside, perhaps for want of memory",
        _ => return None,
    };
    Some(words.into())
}

fn taken_back(withdrawn: &Withdrawn, at: Option<UtcMs>, frame: Standing) -> Standing {
    let Withdrawn { no_room, words } = withdrawn.clone();
    let unlaunched = Exit {
        could_not_launch: Some(words.clone()),
        before_stop: true,
        at: at.unwrap_or_default(),
        ..Exit::default()
    };
    let state = if no_room { State::NoRoom } else { State::Exited(unlaunched) };
    Standing { state, at, message: Some(words), trouble: None, ..frame }
}

fn without_pod(facts: &Facts, gone: Option<&Pod>) -> Standing {
    let ended = gone.filter(|pod| terminated(pod).is_some());
    let withdrawn = facts.withdrawn.as_ref().filter(|_| !facts.stopped && facts.complete.is_none());
    if let Some(withdrawn) = withdrawn
        && gone.is_none_or(|pod| started(pod).is_none())
    {
        let at = facts.failed.as_ref().and_then(|(at, ..)| *at);
        return taken_back(withdrawn, at, empty());
    }
    if let Some(at) = facts.complete {
        let exit = Exit { code: Some(0), before_stop: true, at: at.unwrap_or_default(), ..Exit::default() };
        let frame = gone.map(|pod| Standing { started: started(pod), ..frame(pod) }).unwrap_or_else(empty);
        let unseen = ended.is_none();
        return Standing { state: State::Exited(exit), at, leaving: false, unseen, ..frame };
    }
    if let Some((at, reason, message)) = &facts.failed {
        if let Some(pod) = ended {
            let mut pod = pod.clone();
            // It is gone, whether anybody has seen it go or not.
            if pod.metadata.deletion_timestamp.is_none() {
                pod.metadata.deletion_timestamp.clone_from(&pod.metadata.creation_timestamp);
            }
            return of_pod(facts, &pod, true);
        }
        return failed_unseen(facts, gone, *at, reason, message);
    }
    if facts.suspended && facts.stopped {
        return stopped_while_suspended(facts, ended);
    }
    let frame = gone.map(|pod| Standing { started: started(pod), ..frame(pod) }).unwrap_or_else(empty);
    if facts.suspended {
        return Standing { state: State::Suspended, leaving: false, at: gone.and_then(finished), ..frame };
    }
    match gone {
        Some(_) if frame.started.is_some() => {
            let message = Some("its Pod is gone, and the cluster has not said why yet".into());
            Standing { state: State::Running, message, ..frame }
        }
        _ => Standing {
            message: Some("the cluster has made no Pod for it yet".into()),
            trouble: Some(Trouble::NoPod),
            ..empty()
        },
    }
}

fn finished(pod: &Pod) -> Option<UtcMs> {
    terminated(pod).and_then(|ended| ended.finished_at.as_ref()).map(time)
}

/// The Job has failed, and how its Pod ended was never seen.
fn failed_unseen(
    facts: &Facts,
    gone: Option<&Pod>,
    at: Option<UtcMs>,
    reason: &str,
    message: &str,
) -> Standing {
    let frame = gone.map(|pod| Standing { started: started(pod), ..frame(pod) }).unwrap_or_else(empty);
    let frame = Standing { at, leaving: false, unseen: true, ..frame };
    let exit = Exit { before_stop: !facts.stopped, at: at.unwrap_or_default(), ..Exit::default() };
    let over = |exit: Exit, words: String| Standing {
        state: State::Exited(exit),
        message: Some(words),
        ..frame.clone()
    };
    if facts.is_over_time() {
        return over(Exit { time_limit: true, ..exit }, join(reason, Some(message)));
    }
    if facts.stopped {
        return over(exit, "stopped; its Pod went before its exit code was seen".into());
    }
    if message.contains("DisruptionTarget") {
        return Standing { state: State::NodeGone, message: Some(join("evicted", Some(message))), ..frame };
    }
    let words = join("its Pod is gone, and with it how it ended", Some(message));
    over(Exit { signal: Some(SIGKILL), ..exit }, words)
}

fn stopped_while_suspended(facts: &Facts, ended: Option<&Pod>) -> Standing {
    let at = ended.and_then(finished);
    let code = ended.and_then(terminated).map(|ended| ended.exit_code);
    let words = match facts.ran {
        true => "stopped while it was suspended, which had ended its processes",
        false => "stopped before it had a Pod",
    };
    let signal = (facts.ran && code.is_none()).then_some(SIGTERM);
    let exit = Exit { code, signal, at: at.unwrap_or_default(), ..Exit::default() };
    Standing { state: State::Exited(exit), at, message: Some(words.into()), ..empty() }
}

/// The report for Berth.
pub(crate) fn report(
    attempt: &AttemptName,
    standing: &Standing,
    at: UtcMs,
    ports: Vec<PortMapping>,
) -> AttemptReport {
    let state = match &standing.state {
        State::Starting => AttemptState::Starting,
        State::Running => AttemptState::Running,
        State::Suspended => AttemptState::Suspended,
        State::Exited(exit) => AttemptState::Exited(Exit { at, ..exit.clone() }),
        State::NoRoom => AttemptState::NoRoom,
        State::NodeGone => AttemptState::NodeGone,
    };
    AttemptReport {
        node: standing.node.clone(),
        addresses: standing.addresses.clone(),
        ports,
        message: standing.message.clone(),
        ..AttemptReport::new(attempt.clone(), state, at)
    }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
