//! What is stored, as it is shown.

use std::path::Path;

use berth_api::{CommandText, HistoryRow, JobDetail, JobRow, StateCount, Submit};
use berth_engine::LiveJob;
use berth_model::{
    ArrayRange, Command, DependencyKind, EventKind, JobId, JobNotices, JobRef, JobSpec, JobState, StateKind,
    Submission, VolumeMode,
};
use berth_store::StoredEvent;

use super::causes;
use crate::daemon::places::{self, Whose};

/// How people write a job.
pub fn label(id: JobId, task_of: Option<(JobId, u64)>, range: Option<ArrayRange>) -> String {
    let index = task_of.and_then(|(_, position)| range?.index_at(position));
    match (task_of, index) {
        (Some((array, _)), Some(index)) => JobRef { job: array, index: Some(index) }.to_string(),
        _ => id.to_string(),
    }
}

/// What there is to say about a state beyond its name.
pub fn detail(state: &JobState, note: Option<&str>) -> Option<String> {
    let words = match state {
        JobState::Ended { end } => Some(end.to_string()),
        JobState::Stopping { cause, .. } => Some(format!("stopping {cause}")),
        _ => None,
    };
    match (words, note) {
        (Some(words), Some(note)) => Some(format!("{words} ({note})")),
        (words, note) => words.or_else(|| note.map(str::to_owned)),
    }
}

/// A line of a listing.
pub fn row(stored: berth_store::JobRow) -> JobRow {
    let is_array = stored.task_of.is_none();
    JobRow {
        id: stored.id.0,
        label: label(stored.id, stored.task_of, stored.array),
        state: stored.state.kind().as_str().to_owned(),
        detail: detail(&stored.state, stored.note.as_deref()),
        name: stored.name,
        user: stored.owner,
        project: stored.project,
        executor: stored.executor,
        cpu_millis: stored.needs.cpu_millis,
        memory_bytes: stored.needs.memory_bytes,
        gpus: stored.needs.gpus,
        time_limit_ms: stored.time_limit_ms,
        priority: stored.priority,
        array: stored.array.filter(|_| is_array).map(|range| range.to_string()),
        tasks: Vec::new(),
        submitted: stored.submitted.to_string(),
        started: stored.started.map(|at| at.to_string()),
        ended: stored.ended.map(|at| at.to_string()),
        exit_code: stored.exit_code,
        cause: causes::of_state(&stored.state),
        node: stored.node,
        attempt: stored.attempt.number,
        cpu_micros: stored.cpu_micros,
        memory_peak_bytes: stored.memory_peak_bytes,
    }
}

/// A line for a job that was read alone.
pub fn row_of(job: &LiveJob) -> JobRow {
    let moving = &job.moving;
    let is_array = job.task_of.is_none();
    JobRow {
        id: job.id.0,
        label: label(job.id, job.task_of, job.array),
        name: job.name.clone(),
        user: job.owner.clone(),
        project: job.project.clone(),
        executor: job.executor.clone(),
        state: moving.state.kind().as_str().to_owned(),
        detail: detail(&moving.state, moving.note.as_deref()),
        cpu_millis: job.needs.cpu_millis,
        memory_bytes: job.needs.memory_bytes,
        gpus: job.needs.gpus,
        time_limit_ms: job.time_limit_ms,
        priority: moving.priority,
        array: job.array.filter(|_| is_array).map(|range| range.to_string()),
        tasks: Vec::new(),
        submitted: job.submitted.to_string(),
        started: moving.started.map(|at| at.to_string()),
        ended: moving.ended.map(|at| at.to_string()),
        exit_code: moving.exit_code,
        cause: causes::of_state(&moving.state),
        node: moving.node.clone(),
        attempt: moving.attempt.number,
        cpu_micros: moving.cpu_micros,
        memory_peak_bytes: moving.memory_peak_bytes,
    }
}

/// How many tasks of an array are in which state; those that are no jobs yet wait with their array, or
/// have ended with it.
pub fn task_counts(range: ArrayRange, array: StateKind, counts: &[(StateKind, u64)]) -> Vec<StateCount> {
    let begun: u64 = counts.iter().map(|(_, count)| count).sum();
    let rest = range.tasks().saturating_sub(begun);
    let rest_is = if array.is_end() { StateKind::Killed } else { StateKind::Pending };
    let count = |kind: StateKind| {
        let begun = counts.iter().find(|(of, _)| *of == kind).map_or(0, |&(_, count)| count);
        begun + if kind == rest_is { rest } else { 0 }
    };
    StateKind::ALL
        .into_iter()
        .map(|kind| StateCount { state: kind.as_str().to_owned(), count: count(kind) })
        .filter(|row| row.count > 0)
        .collect()
}

/// Whose paths these are.
pub fn whose(job: &LiveJob) -> Whose {
    let index = job.task_of.and_then(|(array, position)| Some((array, job.array?.index_at(position)?)));
    Whose { job: job.id, task: index, attempt: job.moving.attempt.number }
}

/// Everything about a job. Values of variables are for its owner.
pub fn job_detail(
    job: &LiveJob,
    submission: &Submission,
    history: &[StoredEvent],
    jobs: &Path,
    is_owner: bool,
) -> JobDetail {
    let whose = whose(job);
    let (stdout, stderr) = places::outputs(jobs, whose, &submission.spec);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    JobDetail {
        row: row_of(job),
        spec: spec(&submission.spec, is_owner),
        directory: text(&places::directory(jobs, whose)),
        stdout: text(&stdout),
        stderr: text(&stderr),
        note: job.moving.note.clone(),
        history: history.iter().map(history_row).collect(),
    }
}

/// A job as it could be submitted again. Values of variables are for its owner.
pub fn spec(spec: &JobSpec, is_owner: bool) -> Submit {
    let cpus = match spec.resources.cpu_millis {
        millis if millis % 1000 == 0 => (millis / 1000).to_string(),
        millis => format!("{millis}m"),
    };
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let duration = |span: std::time::Duration| format!("{}ms", span.as_millis());
    let after = |kind: DependencyKind| {
        let of_kind = spec.dependencies.iter().filter(|dependency| dependency.kind == kind);
        of_kind.map(|dependency| dependency.on.to_string()).collect::<Vec<_>>()
    };
    let env = spec
        .env
        .iter()
        .map(|(name, value)| (name.clone(), if is_owner { value.clone() } else { "(hidden)".to_owned() }));
    Submit {
        name: some(&spec.name),
        description: some(&spec.description),
        tags: spec.tags.clone(),
        project: some(&spec.project),
        class: spec.class.clone(),
        executor: spec.executor.clone(),
        image: spec.image.clone(),
        command: Some(command(&spec.command, is_owner)),
        env: env.collect(),
        workdir: spec.workdir.clone(),
        output: spec.output.clone(),
        error: spec.error.clone(),
        cpus: Some(cpus),
        memory: (spec.resources.memory_bytes > 0).then(|| spec.resources.memory_bytes.to_string()),
        gpus: (spec.resources.gpus > 0).then_some(spec.resources.gpus),
        resources: spec.named.clone(),
        exclusive: spec.exclusive_cpus,
        time: spec.time_limit.map(duration),
        grace: Some(duration(spec.grace)),
        array: spec.array.map(|range| range.to_string()),
        after_ok: after(DependencyKind::AfterOk),
        after_any: after(DependencyKind::AfterAny),
        after_not_ok: after(DependencyKind::AfterNotOk),
        hold: spec.hold,
        begin: spec.begin.map(|at| at.to_string()),
        priority: (spec.priority != 0).then_some(spec.priority),
        volumes: spec
            .volumes
            .iter()
            .map(|volume| match volume.mode {
                VolumeMode::ReadOnly => format!("{}:ro", volume.name),
                VolumeMode::ReadWrite => volume.name.clone(),
            })
            .collect(),
        ports: spec.ports.clone(),
        network: spec.network.clone(),
        constraints: spec.constraints.clone(),
        labels: spec.labels.clone(),
        scratch: (spec.scratch_bytes > 0).then(|| spec.scratch_bytes.to_string()),
        uris: spec
            .files
            .iter()
            .filter(|file| file.name == "uris.txt")
            .flat_map(|file| file.contents.lines().map(str::to_owned))
            .collect(),
        interactive: spec.interactive,
        root: spec.root,
        retry_on_node_failure: (spec.retry_on_node_failure > 0).then_some(spec.retry_on_node_failure),
        avoid_failed_nodes: spec.avoid_failed_nodes,
        notify: spec.notices.as_ref().map_or_else(Vec::new, notify),
        mail: spec.notices.as_ref().and_then(|notices| notices.mail.clone()),
        options: spec.extensions.clone(),
    }
}

fn notify(notices: &JobNotices) -> Vec<String> {
    match &notices.on {
        None => Vec::new(),
        Some(on) if on.is_empty() => vec!["none".to_owned()],
        Some(on) => on.iter().map(ToString::to_string).collect(),
    }
}

/// Scripts and arguments may carry secrets, too.
fn command(command: &Command, is_owner: bool) -> CommandText {
    match command {
        Command::Argv(argv) if is_owner => CommandText::Argv(argv.clone()),
        Command::Argv(argv) => CommandText::Argv(argv.iter().take(1).cloned().collect()),
        Command::Script { text, args } if is_owner => {
            CommandText::Script { text: text.clone(), args: args.clone() }
        }
        Command::Script { .. } => CommandText::Script { text: "(hidden)".into(), args: Vec::new() },
    }
}

/// An entry of the history, in words.
pub fn history_row(event: &StoredEvent) -> HistoryRow {
    let (name, text) = match &event.record.kind {
        EventKind::Submitted { by } => ("submitted", format!("by {by}")),
        EventKind::Held { hold, by } => ("held", by_whom(&format!("{hold:?}"), by.as_deref())),
        EventKind::Released { hold, by } => ("released", by_whom(&format!("{hold:?}"), by.as_deref())),
        EventKind::Starting { attempt, node } => {
            ("starting", format!("attempt {} on {node}", attempt.number))
        }
        EventKind::Running { attempt } => ("running", format!("attempt {}", attempt.number)),
        EventKind::Suspended => ("suspended", String::new()),
        EventKind::Resumed => ("resumed", String::new()),
        EventKind::Stopping { cause } => ("stopping", cause.clone()),
        EventKind::GivenBack { reason, .. } => ("given-back", reason.clone()),
        EventKind::Ended { end, .. } => ("ended", end.to_string()),
        EventKind::Requeued { reason } => ("requeued", reason.clone()),
        EventKind::LateNews { exit } => {
            ("late-news", format!("it has come out that it ended: {}", berth_model::End::of_exit(exit)))
        }
        EventKind::Act { by, words } => ("act", format!("by {by}: {words}")),
        EventKind::Message { text } => ("message", text.clone()),
        EventKind::Note { text } => ("note", text.clone()),
    };
    HistoryRow { at: event.record.at.to_string(), event: name.to_owned(), text }
}

fn by_whom(hold: &str, by: Option<&str>) -> String {
    by.map_or_else(|| hold.to_lowercase(), |by| format!("{} hold, by {by}", hold.to_lowercase()))
}
