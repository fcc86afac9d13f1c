//! From a task document to a job as Berth takes it. What cannot be kept is refused at its place, never left out.

use std::collections::{BTreeMap, btree_map::Entry};

use berth_api::{Alteration, CommandText, ErrorBody, ErrorCode, Problem, Submit};
use berth_model::ArrayRange;

use super::documents::{Change, Container, Loose, Requirements, Task, Volume};

/// GO-Docker's own word for tasks without a project.
const DEFAULT_PROJECT: &str = "default";

/// What can be changed while a task waits.
pub(super) const CHANGEABLE: [&str; 4] = ["cpu", "ram", "gpus", "maxlifespan"];

/// When a task's owner gets mail.
const MAILED: [&str; 4] = ["start", "end", "suspend", "resume"];

/// The label of jobs whose end a workflow waits for: the site's webhook for it is called then.
pub(super) const WORKFLOW: &str = "godflow";

/// Collects what is wrong.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(Problem { field: field.to_owned(), message: message.into() });
    }

    fn add_if(&mut self, wrong: bool, field: &str, message: &str) {
        if wrong {
            self.add(field, message);
        }
    }
}

/// The job that a task asks for. `user` is who sends it.
///
/// # Errors
/// Everything that cannot be read, or that Berth does not do, each at its field.
pub(super) fn submit(task: Task, user: &str) -> Result<Submit, ErrorBody> {
    let Task { user: owner, meta, notify, requirements, container, command } = task;
    if let Some(other) = owner.id.filter(|other| other != user && !other.is_empty()) {
        let words = format!("user.id: you are {user}; nobody submits for {other} but {other}");
        return Err(ErrorBody::new(ErrorCode::Forbidden, words));
    }
    let mut problems = Problems::default();
    problems.add_if(
        command.interactive,
        "command.interactive",
        "there are no sessions over ssh here; `berth exec` reaches into a job that runs",
    );
    let (executor, native) = executor(requirements.executor.as_deref(), &mut problems);
    let (constraints, mut resources) = labels(&requirements.label, &mut problems);
    // What it calls so itself; other kinds of GPUs are named by the site.
    let units = resources.remove("gpu").unwrap_or(0);
    let gpus = requirements.gpus.saturating_add(u32::try_from(units).unwrap_or(u32::MAX));
    let text = filled(command.cmd);
    problems.add_if(text.is_none() && !command.interactive, "command.cmd", "there is nothing to run");
    let job = Submit {
        name: filled(meta.name),
        description: filled(meta.description),
        // Splitting no tags at the commas gives its command line an empty one.
        tags: meta.tags.into_iter().filter(|tag| !tag.is_empty()).collect(),
        project: filled(owner.project).filter(|project| project != DEFAULT_PROJECT),
        executor,
        image: filled(container.image.clone()).filter(|_| !native),
        command: text.map(|text| CommandText::Script { text, args: Vec::new() }),
        cpus: (requirements.cpu > 0).then(|| requirements.cpu.to_string()),
        memory: (requirements.ram > 0).then(|| format!("{}G", requirements.ram)),
        gpus: (gpus > 0).then_some(gpus),
        resources,
        time: life_span(requirements.maxlifespan.as_ref(), &mut problems),
        array: array(requirements.array.values.as_ref(), &mut problems),
        // It waits until they are over, however they ended.
        after_any: requirements.tasks.iter().map(|task| parent(task, &mut problems)).collect(),
        volumes: volumes(&container.volumes, &mut problems),
        network: network(&requirements, &container, &mut problems),
        scratch: scratch(&requirements, &mut problems),
        ports: requirements.ports,
        constraints,
        uris: requirements.uris,
        // Mail on each change of its state.
        notify: match notify.email {
            true => MAILED.map(str::to_owned).to_vec(),
            false => Vec::new(),
        },
        labels: requirements.godflow.then(|| (WORKFLOW.to_owned(), "true".to_owned())).into_iter().collect(),
        root: container.root,
        retry_on_node_failure: (requirements.failure_policy > 0).then_some(requirements.failure_policy),
        ..Submit::default()
    };
    if problems.0.is_empty() {
        return Ok(job);
    }
    let message = "the task cannot be accepted as it is written".to_owned();
    Err(ErrorBody { code: ErrorCode::Invalid, message, problems: problems.0 })
}

/// What a change means to Berth.
///
/// # Errors
/// When it cannot be changed, or is no number.
pub(super) fn alteration(change: &Change) -> Result<Alteration, ErrorBody> {
    let text = change.value.to_string();
    let wrong = |words: String| ErrorBody::new(ErrorCode::Invalid, format!("{}: {words}", change.name));
    let number =
        || text.parse::<u32>().map_err(|_| wrong(format!("{text:?} is no whole number that can be")));
    let mut alteration = Alteration::default();
    match change.name.as_str() {
        "cpu" => alteration.cpus = Some(number()?.to_string()),
        "ram" => alteration.memory = Some(format!("{}G", number()?)),
        "gpus" => alteration.gpus = Some(number()?),
        "maxlifespan" => alteration.time = Some(text),
        _ => return Err(wrong(format!("it cannot be changed; there are {}", CHANGEABLE.join(", ")))),
    }
    Ok(alteration)
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// `NAME[:QUEUE][:docker or native]`, and whether it is to run without a container.
fn executor(asked: Option<&str>, problems: &mut Problems) -> (Option<String>, bool) {
    let Some(asked) = asked.map(str::trim).filter(|asked| !asked.is_empty()) else { return (None, false) };
    let mut parts = asked.split(':');
    let name = parts.next().map(str::to_owned).filter(|name| !name.is_empty());
    let mut native = false;
    for part in parts {
        match part {
            "" | "docker" => native = false,
            "native" => native = true,
            queue => problems
                .add("requirements.executor", format!("Berth has no queues, so none called {queue:?}")),
        }
    }
    (name, native)
}

/// `name==value` is a label of the node; `resource==name` asks for one unit of that resource each time.
fn labels(asked: &[String], problems: &mut Problems) -> (BTreeMap<String, String>, BTreeMap<String, u64>) {
    let field = "requirements.label";
    let mut constraints = BTreeMap::new();
    let mut resources: BTreeMap<String, u64> = BTreeMap::new();
    for label in asked.iter().filter(|label| !label.is_empty()) {
        match label.split_once("==").map(|(name, value)| (name.trim(), value.trim())) {
            Some(("resource", name)) => *resources.entry(name.to_owned()).or_default() += 1,
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                match constraints.entry(name.to_owned()) {
                    Entry::Vacant(free) => {
                        free.insert(value.to_owned());
                    }
                    Entry::Occupied(taken) => problems.add_if(
                        taken.get() != value,
                        field,
                        &format!("{name} cannot be both {} and {value}", taken.get()),
                    ),
                }
            }
            _ => problems.add(field, format!("{label:?} is no label; write NAME==VALUE")),
        }
    }
    (constraints, resources)
}

fn array(values: Option<&Loose>, problems: &mut Problems) -> Option<String> {
    let text = values.map(Loose::to_string).filter(|text| !text.is_empty())?;
    if let Err(error) = text.parse::<ArrayRange>() {
        problems.add("requirements.array.values", error.to_string());
    }
    Some(text)
}

fn parent(task: &Loose, problems: &mut Problems) -> String {
    let text = task.to_string();
    problems.add_if(
        text.parse::<u64>().is_err(),
        "requirements.tasks",
        &format!("{text:?} is not the number of a task"),
    );
    text
}

/// `7d`, `5h`, `30s`; a bare number is seconds.
fn life_span(span: Option<&Loose>, problems: &mut Problems) -> Option<String> {
    let text = span.map(Loose::to_string).filter(|text| !text.is_empty())?;
    if let Err(error) = berth_model::parse_duration(&text) {
        problems.add("requirements.maxlifespan", error.to_string());
    }
    Some(text)
}

fn volumes(asked: &[Volume], problems: &mut Problems) -> Vec<String> {
    let mut names = Vec::with_capacity(asked.len());
    for volume in asked {
        let mode = match volume.acl.as_deref() {
            None | Some("" | "ro") => "ro",
            Some("rw") => "rw",
            Some(acl) => {
                problems.add("container.volumes", format!("{acl:?} is neither ro nor rw"));
                continue;
            }
        };
        if volume.name.is_empty() || volume.name.contains([':', '/']) {
            problems.add("container.volumes", format!("{:?} is not the name of a volume", volume.name));
            continue;
        }
        names.push(format!("{}:{mode}", volume.name));
    }
    names
}

fn network(needs: &Requirements, container: &Container, problems: &mut Problems) -> Option<String> {
    let label = needs.network.as_deref().map(str::trim).filter(|label| !label.is_empty());
    problems.add_if(
        container.network == Some(false) && label.is_none(),
        "container.network",
        "jobs get the site's usual network here; name another one in requirements.network",
    );
    label.map(str::to_owned)
}

/// A number of bytes, or with k, m, g or t, which are powers of 1000.
fn scratch(needs: &Requirements, problems: &mut Problems) -> Option<String> {
    let text = needs.tmpstorage.as_ref()?.size.as_ref()?.to_string();
    if text.is_empty() {
        return None;
    }
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" => Some(1_u64),
        "k" => Some(1_000),
        "m" => Some(1_000_000),
        "g" => Some(1_000_000_000),
        "t" => Some(1_000_000_000_000),
        _ => None,
    };
    let bytes = factor.and_then(|factor| number.parse::<u64>().ok()?.checked_mul(factor));
    problems.add_if(
        bytes.is_none(),
        "requirements.tmpstorage.size",
        &format!("{text:?} is not a size; write a number, with k, m, g or t where wanted"),
    );
    bytes.map(|bytes| bytes.to_string())
}

#[cfg(test)]
#[path = "submission_tests.rs"]
mod tests;
