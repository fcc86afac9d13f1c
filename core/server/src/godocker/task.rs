//! From what Berth knows of a job to a task document.

use berth_api::{CommandText, HistoryRow, JobDetail, JobRow};
use berth_model::{
    ArrayRange, Attempt, End, FailCause, Hold, Holds, Identity, JobRef, JobState, StopCause, UtcMs,
    view::godocker::{self, Past},
};
use serde_json::{Map, Value, json};

/// An array's tasks are listed one by one up to so many; beyond it they are the numbers behind its own all the same.
pub(super) const MOST_TASKS_LISTED: u64 = 10_000;
/// The exit code of a task that was killed.
const KILLED: i32 = 137;
const GIB: u64 = 1 << 30;

/// The whole document. `who` is who looks at it.
pub(super) fn document(job: &JobDetail, who: &Identity) -> Value {
    let JobDetail { row, spec, history, .. } = job;
    json!({
        "id": row.id,
        "parent_task_id": place(row).map(|(array, _)| array),
        "date": seconds(&row.submitted),
        "user": user(row, who),
        "meta": {
            "name": row.name,
            "description": spec.description.as_deref().unwrap_or_default(),
            "tags": spec.tags,
        },
        "notify": { "email": !spec.notify.is_empty() },
        "requirements": requirements(job),
        "container": container(job),
        "command": {
            "interactive": spec.interactive,
            "cmd": spec.command.as_ref().map(words).unwrap_or_default(),
        },
        "status": status(row, history),
    })
}

/// The document as lists have it: without the script and the numbers of an array's tasks, either of which may be long.
pub(super) fn listed(job: &JobDetail, who: &Identity) -> Value {
    let mut whole = document(job, who);
    for place in ["/command/cmd", "/requirements/array/tasks"] {
        if let Some(long) = whole.pointer_mut(place) {
            *long = Value::Null;
        }
    }
    whole
}

/// What stands under `status`, which can be asked for alone.
pub(super) fn status(row: &JobRow, history: &[HistoryRow]) -> Value {
    let state = state(row);
    let told = godocker::status(&state, past(&state, history));
    let (began, over) = (row.started.as_deref().and_then(seconds), row.ended.as_deref().and_then(seconds));
    let mut status = Map::new();
    status.insert("primary".into(), told.primary.into());
    // Its clients take nothing at all for "as usual", and an empty text for a state.
    let secondary = Some(told.secondary).filter(|secondary| !secondary.is_empty());
    status.insert("secondary".into(), secondary.into());
    status.insert("reason".into(), row.detail.clone().into());
    status.insert("exitcode".into(), exit_code(row).into());
    status.insert("date_over".into(), over.into());
    // Its clients take its presence for a sign that the task has begun, and wait for ever for the end of one that has
    // not, such as one that was killed before its turn.
    if let Some(began) = began.or(over) {
        status.insert("date_running".into(), began.into());
        if let Some(over) = over {
            status.insert("duration".into(), over.saturating_sub(began).into());
        }
    }
    Value::Object(status)
}

fn seconds(instant: &str) -> Option<u64> {
    instant.parse::<UtcMs>().ok().map(|at| at.0 / 1000)
}

/// The array that a task belongs to, and its index there.
fn place(row: &JobRow) -> Option<(u64, u64)> {
    let label: JobRef = row.label.parse().ok()?;
    label.index.map(|index| (label.job.0, index))
}

fn user(row: &JobRow, who: &Identity) -> Value {
    let mut user = json!({ "id": row.user, "project": row.project });
    if let (true, Some(user)) = (row.user == who.user, user.as_object_mut()) {
        user.insert("uid".into(), who.uid.into());
        user.insert("gid".into(), who.gid.into());
        user.insert("sgids".into(), who.groups.clone().into());
        user.insert("email".into(), who.email.clone().into());
    }
    user
}

fn requirements(job: &JobDetail) -> Value {
    let JobDetail { row, spec, .. } = job;
    let labels: Vec<String> =
        spec.constraints.iter().map(|(name, value)| format!("{name}=={value}")).collect();
    let parents: Vec<u64> = [&spec.after_ok, &spec.after_any, &spec.after_not_ok]
        .into_iter()
        .flatten()
        .filter_map(|id| id.parse().ok())
        .collect();
    let scratch = spec.scratch.as_ref().map(|size| json!({ "size": size, "path": null }));
    json!({
        "cpu": row.cpu_millis.div_ceil(1000),
        "ram": row.memory_bytes.div_ceil(GIB),
        "gpus": row.gpus,
        "array": array(row),
        "label": labels,
        "tasks": parents,
        "tmpstorage": scratch,
        "ports": spec.ports,
        "network": spec.network,
        "executor": row.executor,
        "failure_policy": spec.retry_on_node_failure.unwrap_or(0),
        "maxlifespan": row.time_limit_ms.map(|limit| format!("{}s", limit.div_ceil(1000))),
        "godflow": spec.labels.contains_key(super::submission::WORKFLOW),
        "uris": spec.uris,
    })
}

fn array(row: &JobRow) -> Value {
    let range = row.array.as_deref().and_then(|range| range.parse::<ArrayRange>().ok());
    let Some(range) = range else {
        return json!({ "values": null, "task_id": place(row).map(|(_, index)| index) });
    };
    let over = row.tasks.iter().filter(|tasks| ended(&tasks.state)).map(|tasks| tasks.count).sum::<u64>();
    let first = row.id.saturating_add(1);
    let listed: Vec<u64> = (first..first.saturating_add(range.tasks().min(MOST_TASKS_LISTED))).collect();
    json!({
        "values": format!("{}:{}:{}", range.first(), range.last(), range.step()),
        "task_id": null,
        "nb_tasks": range.tasks(),
        "nb_tasks_over": over,
        "tasks": listed,
    })
}

fn container(job: &JobDetail) -> Value {
    let JobDetail { row, spec, .. } = job;
    let volumes: Vec<Value> = spec
        .volumes
        .iter()
        .map(|volume| {
            let (name, acl) = volume.split_once(':').unwrap_or((volume, "rw"));
            json!({ "name": name, "acl": acl, "path": null, "mount": null })
        })
        .collect();
    let mut meta = Map::new();
    if let Some(node) = &row.node {
        meta.insert("Node".into(), json!({ "Name": node }));
    }
    if let Some(code) = exit_code(row) {
        meta.insert("State".into(), json!({ "ExitCode": code }));
    }
    let mut container = json!({
        "id": null,
        "image": spec.image.as_deref().unwrap_or_default(),
        "volumes": volumes,
        "network": true,
        "root": spec.root,
        "meta": meta,
        "stats": null,
        "ports": [],
        "port_mapping": [],
    });
    if let (true, Some(container)) = (row.state == "starting", container.as_object_mut()) {
        container.insert("status".into(), "initializing".into());
    }
    container
}

fn words(command: &CommandText) -> String {
    match command {
        CommandText::Script { text, .. } => text.clone(),
        CommandText::Argv(argv) => argv.join(" "),
    }
}

fn ended(state: &str) -> bool {
    matches!(state, "succeeded" | "failed" | "killed" | "rejected" | "lost")
}

fn exit_code(row: &JobRow) -> Option<i32> {
    match row.state.as_str() {
        "killed" => Some(KILLED),
        "succeeded" => Some(row.exit_code.unwrap_or(0)),
        state if ended(state) => row.exit_code,
        _ => None,
    }
}

/// The state behind the word that stands in the row, as far as GO-Docker's words depend on it.
fn state(row: &JobRow) -> JobState {
    let attempt = Attempt { number: row.attempt, returned: 0 };
    let over = |end| JobState::Ended { end: Box::new(end) };
    let cause = row.cause.as_ref();
    let by = || cause.and_then(|cause| cause.by.clone()).unwrap_or_default();
    match row.state.as_str() {
        "held" => JobState::Held { holds: Holds::NONE.with(Hold::User) },
        "starting" => JobState::Starting { attempt, taken: true },
        "running" => JobState::Running { attempt },
        "suspended" => JobState::Suspended { attempt },
        "stopping" => {
            let cause = match cause.is_some_and(|cause| cause.kind == "rerun") {
                true => StopCause::Rerun { name: by() },
                false => StopCause::User { name: by() },
            };
            JobState::Stopping { attempt, cause: Box::new(cause), taken: true }
        }
        "succeeded" => over(End::Succeeded),
        "failed" => over(End::Failed { cause: FailCause::Tasks, exit_code: row.exit_code }),
        "killed" => over(End::Killed { cause: StopCause::User { name: by() }, exit_code: row.exit_code }),
        "rejected" => over(End::Rejected { by: by(), reason: String::new() }),
        "lost" => over(End::Lost { reason: String::new() }),
        _ => JobState::Pending,
    }
}

/// What of its history still shows in its present state.
fn past(state: &JobState, history: &[HistoryRow]) -> Past {
    let mut past = Past::default();
    let waits = matches!(state, JobState::Held { .. } | JobState::Pending);
    for row in history.iter().rev() {
        match row.event.as_str() {
            "requeued" if waits => return Past { rescheduled: true, ..past },
            "given-back" if waits => past.no_room = true,
            "resumed" if !waits => return Past { resumed: true, ..past },
            "running" | "starting" | "suspended" if !waits => return past,
            _ => {}
        }
    }
    past
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
