//! The options of a job: on the command line and, by the same definition, in `#BERTH` lines.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use berth_api::Submit;
use berth_model::{ArrayRange, JobRef, UtcMs, parse_bytes, parse_cpus, parse_duration, resource_name_fault};
use clap::Args;

/// A name and a value, as in `K=V`.
type Pair = (String, String);

/// What a job asks for.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Job options")]
pub struct JobOptions {
    /// Name for people; the program's or script's name otherwise
    #[arg(short, long, value_name = "TEXT")]
    name: Option<String>,
    /// A sentence for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Word to find the job by; may be repeated
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    tag: Vec<String>,
    /// Project that the job counts for
    #[arg(short, long, value_name = "NAME")]
    project: Option<String>,
    /// Class, of those that the site has
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Executor, by its name in berth.toml
    #[arg(long, value_name = "NAME")]
    executor: Option<String>,
    /// Container image
    #[arg(short, long, value_name = "IMAGE")]
    image: Option<String>,
    /// CPUs: 2, 0.5, 500m
    #[arg(short, long, value_name = "N", value_parser = cpus)]
    cpus: Option<String>,
    /// Memory: 512M, 4G
    #[arg(short, long, value_name = "SIZE", value_parser = size)]
    memory: Option<String>,
    /// Whole GPUs
    #[arg(short, long, value_name = "N")]
    gpus: Option<u32>,
    /// Resource that the site has given a name, and how much of it; may be repeated
    #[arg(long, value_name = "NAME[=N]", value_parser = resource)]
    resource: Vec<(String, u64)>,
    /// Whole CPUs for this job alone
    #[arg(long)]
    exclusive: bool,
    /// Longest time it may run: 90s, 2h, 1-12:00:00
    #[arg(short, long, value_name = "DURATION", value_parser = duration)]
    time: Option<String>,
    /// Time between asking it to end and killing it
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    grace: Option<String>,
    /// Indices of an array: 1-100, 1-100:2, with %10 for at most 10 at once
    #[arg(short, long, value_name = "RANGE", value_parser = array)]
    array: Option<String>,
    /// Start when these jobs have succeeded; may be repeated
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = job)]
    after_ok: Vec<String>,
    /// Start when these jobs have ended; may be repeated
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = job)]
    after_any: Vec<String>,
    /// Start when these jobs have failed; may be repeated
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = job)]
    after_not_ok: Vec<String>,
    /// Submit it held, until `berth release`
    #[arg(long)]
    hold: bool,
    /// Start no sooner: a duration from now, or 2030-01-31T09:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = begin)]
    begin: Option<String>,
    /// Higher is sooner among your own jobs; 0 is usual
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Volume, to read and write or with :ro to read only; may be repeated
    #[arg(short, long, value_name = "NAME[:ro]")]
    volume: Vec<String>,
    /// Variable for the job; K alone takes the value it has here; may be repeated
    #[arg(short, long, value_name = "K[=V]", value_parser = variable)]
    env: Vec<Pair>,
    /// Working directory; the job's own directory otherwise
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// File for standard output, in the job's directory if relative; %j is the job, %a the array, %t the task
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// File for standard error, likewise
    #[arg(long, value_name = "FILE")]
    error: Option<String>,
    /// Port to publish; may be repeated
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    port: Vec<u16>,
    /// Network
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Label that the node must have; may be repeated
    #[arg(long, value_name = "K=V", value_parser = pair)]
    constraint: Vec<Pair>,
    /// Label of the job's own; may be repeated
    #[arg(short, long, value_name = "K=V", value_parser = pair)]
    label: Vec<Pair>,
    /// Local scratch space: 10G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    scratch: Option<String>,
    /// Address for uris.txt in the job's directory; may be repeated
    #[arg(long, value_name = "URI")]
    uri: Vec<String>,
    /// A session to log in to instead of a batch run
    #[arg(long)]
    interactive: bool,
    /// Run as root, where that is allowed
    #[arg(long)]
    root: bool,
    /// Start it anew at most N times after its node failed
    #[arg(long, value_name = "N")]
    retry_on_node_failure: Option<u32>,
    /// Do not run again on nodes where it failed before
    #[arg(long)]
    avoid_failed_nodes: bool,
    /// Be told when it starts, ends, fails and so on: start, end, fail, kill, suspend, resume, message, all, none
    #[arg(long, value_name = "WHEN", value_delimiter = ',', value_parser = occasion)]
    notify: Vec<String>,
    /// Mail about it goes to this address
    #[arg(long, value_name = "ADDRESS")]
    mail: Option<String>,
    /// Option of one executor, such as docker.shm-size=1G; may be repeated
    #[arg(long, value_name = "NAME=V", value_parser = pair)]
    option: Vec<Pair>,
}

impl JobOptions {
    /// As it is sent, without what the job runs. Relative working directories start at `here`.
    ///
    /// # Errors
    /// When the working directory cannot be written as text.
    pub fn into_submit(self, here: &Path) -> Result<Submit, String> {
        let map = |pairs: Vec<Pair>| pairs.into_iter().collect::<BTreeMap<_, _>>();
        Ok(Submit {
            name: self.name,
            description: self.description,
            tags: self.tag,
            project: self.project,
            class: self.class,
            executor: self.executor,
            image: self.image,
            command: None,
            env: map(self.env),
            workdir: self.workdir.map(|dir| absolute(&dir, here)).transpose()?,
            output: self.output,
            error: self.error,
            cpus: self.cpus,
            memory: self.memory,
            gpus: self.gpus,
            resources: summed(self.resource),
            exclusive: self.exclusive,
            time: self.time,
            grace: self.grace,
            array: self.array,
            after_ok: self.after_ok,
            after_any: self.after_any,
            after_not_ok: self.after_not_ok,
            hold: self.hold,
            begin: self.begin,
            priority: self.priority,
            volumes: self.volume,
            ports: self.port,
            network: self.network,
            constraints: map(self.constraint),
            labels: map(self.label),
            scratch: self.scratch,
            uris: self.uri,
            interactive: self.interactive,
            root: self.root,
            retry_on_node_failure: self.retry_on_node_failure,
            avoid_failed_nodes: self.avoid_failed_nodes,
            notify: self.notify,
            mail: self.mail,
            options: map(self.option),
        })
    }
}

/// A directory as the server has to be told it.
///
/// # Errors
/// When it cannot be written as text.
pub fn absolute(dir: &Path, here: &Path) -> Result<String, String> {
    let whole = std::path::absolute(here.join(dir)).map_err(|error| format!("{}: {error}", dir.display()))?;
    whole.into_os_string().into_string().map_err(|path| format!("the path {path:?} is not UTF-8"))
}

/// `base` with everything that `over` says laid over it: single values and lists are replaced, variables,
/// labels and options one by one, and what was switched on stays on.
pub fn overlay(base: Submit, over: Submit) -> Submit {
    fn list<T>(base: Vec<T>, over: Vec<T>) -> Vec<T> {
        if over.is_empty() { base } else { over }
    }
    let map = |base: BTreeMap<_, _>, over: BTreeMap<_, _>| base.into_iter().chain(over).collect();
    Submit {
        name: over.name.or(base.name),
        description: over.description.or(base.description),
        tags: list(base.tags, over.tags),
        project: over.project.or(base.project),
        class: over.class.or(base.class),
        executor: over.executor.or(base.executor),
        image: over.image.or(base.image),
        command: over.command.or(base.command),
        env: map(base.env, over.env),
        workdir: over.workdir.or(base.workdir),
        output: over.output.or(base.output),
        error: over.error.or(base.error),
        cpus: over.cpus.or(base.cpus),
        memory: over.memory.or(base.memory),
        gpus: over.gpus.or(base.gpus),
        resources: base.resources.into_iter().chain(over.resources).collect(),
        exclusive: over.exclusive || base.exclusive,
        time: over.time.or(base.time),
        grace: over.grace.or(base.grace),
        array: over.array.or(base.array),
        after_ok: list(base.after_ok, over.after_ok),
        after_any: list(base.after_any, over.after_any),
        after_not_ok: list(base.after_not_ok, over.after_not_ok),
        hold: over.hold || base.hold,
        begin: over.begin.or(base.begin),
        priority: over.priority.or(base.priority),
        volumes: list(base.volumes, over.volumes),
        ports: list(base.ports, over.ports),
        network: over.network.or(base.network),
        constraints: map(base.constraints, over.constraints),
        labels: map(base.labels, over.labels),
        scratch: over.scratch.or(base.scratch),
        uris: list(base.uris, over.uris),
        interactive: over.interactive || base.interactive,
        root: over.root || base.root,
        retry_on_node_failure: over.retry_on_node_failure.or(base.retry_on_node_failure),
        avoid_failed_nodes: over.avoid_failed_nodes || base.avoid_failed_nodes,
        notify: list(base.notify, over.notify),
        mail: over.mail.or(base.mail),
        options: map(base.options, over.options),
    }
}

// Quantities are checked by the server's own parsers and sent as they were typed.

fn kept<T, E: ToString>(text: &str, read: impl Fn(&str) -> Result<T, E>) -> Result<String, String> {
    read(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn cpus(text: &str) -> Result<String, String> {
    kept(text, parse_cpus)
}

fn size(text: &str) -> Result<String, String> {
    kept(text, parse_bytes)
}

fn duration(text: &str) -> Result<String, String> {
    kept(text, parse_duration)
}

fn array(text: &str) -> Result<String, String> {
    kept(text, str::parse::<ArrayRange>)
}

fn job(text: &str) -> Result<String, String> {
    kept(text, str::parse::<JobRef>)
}

/// One word; the list has been taken apart.
pub(super) fn occasion(text: &str) -> Result<String, String> {
    kept(text, |word| berth_model::Occasion::parse_list([word]))
}

fn begin(text: &str) -> Result<String, String> {
    if text.parse::<UtcMs>().is_ok() || parse_duration(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is neither a time such as 2030-01-31T09:00:00Z nor a duration such as 2h"))
}

/// Whoever asks for a resource several times asks for all of it.
fn summed(asked: Vec<(String, u64)>) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (name, amount) in asked {
        let sum: &mut u64 = all.entry(name).or_default();
        *sum = sum.saturating_add(amount);
    }
    all
}

fn resource(text: &str) -> Result<(String, u64), String> {
    let (name, amount) = text.split_once('=').unwrap_or((text, "1"));
    if let Some(fault) = resource_name_fault(name) {
        return Err(fault);
    }
    match amount.parse() {
        Ok(amount) if amount > 0 => Ok((name.to_owned(), amount)),
        _ => Err(format!("{amount:?} is no amount of {name}; write a whole number from 1 on")),
    }
}

fn pair(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not of the form K=V")),
    }
}

fn variable(text: &str) -> Result<Pair, String> {
    if text.contains('=') {
        return pair(text);
    }
    let missing = || format!("{text} is not set here; write {text}=VALUE, or export it first");
    if text.is_empty() || text.contains('\0') {
        return Err(format!("{text:?} is not the name of a variable"));
    }
    let value = std::env::var_os(text).ok_or_else(missing)?;
    let value = value.into_string().map_err(|_| format!("the value of {text} is not UTF-8"))?;
    Ok((text.to_owned(), value))
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
