//! From what a person asked for to a job that can be accepted: every mistake is named at its place.

use std::{collections::BTreeMap, time::Duration};

use berth_api::{Alteration, CommandText, ErrorBody, ErrorCode, Problem, Submit};
use berth_config::{Class, Config, Jobs};
use berth_executor_api::Capabilities;
use berth_model::{
    Command, Dependency, DependencyKind, JobFile, JobId, JobNotices, JobRef, JobSpec, NamedAmounts, Occasion,
    Resources, UnitError, UtcMs, Volume, VolumeMode,
};

/// The most variables, and the most bytes of them, that a job may bring.
const MOST_ENV_BYTES: usize = 256 * 1024;
/// The most bytes of arguments.
const MOST_ARGV_BYTES: usize = 1024 * 1024;
/// The longest name, tag or label.
const MOST_NAME_BYTES: usize = 200;
/// The most jobs that one may depend on.
const MOST_DEPENDENCIES: usize = 1000;

/// Collects what is wrong.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &str, message: impl ToString) {
        self.0.push(Problem { field: field.to_owned(), message: message.to_string() });
    }

    fn read<T>(
        &mut self,
        field: &str,
        text: Option<&str>,
        read: impl Fn(&str) -> Result<T, UnitError>,
    ) -> Option<T> {
        match read(text?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(field, error);
                None
            }
        }
    }
}

/// Job references that have to be looked up before the job can be accepted.
pub fn references(job: &Submit) -> Result<Vec<(JobRef, DependencyKind, &'static str)>, ErrorBody> {
    let mut problems = Problems::default();
    let mut references = Vec::new();
    let kinds = [
        (&job.after_ok, DependencyKind::AfterOk, "after_ok"),
        (&job.after_any, DependencyKind::AfterAny, "after_any"),
        (&job.after_not_ok, DependencyKind::AfterNotOk, "after_not_ok"),
    ];
    for (texts, kind, field) in kinds {
        for text in texts {
            match text.parse::<JobRef>() {
                Ok(reference) => references.push((reference, kind, field)),
                Err(error) => problems.add(field, error),
            }
        }
    }
    if references.len() > MOST_DEPENDENCIES {
        let many = references.len();
        problems.add("after_ok", format!("{many} dependencies; at most {MOST_DEPENDENCIES} are possible"));
    }
    finish(references, problems)
}

/// The error for dependencies on what is not there.
pub fn unknown_dependency(job: JobRef, field: &str) -> ErrorBody {
    wrong(field, format!("there is no job {job}"))
}

/// Checks what was asked for.
///
/// # Errors
/// Everything that is wrong with it, each at its field.
pub fn check(
    job: Submit,
    dependencies: Vec<(JobId, DependencyKind)>,
    Rules { jobs: limits, classes }: Rules<'_>,
    now: UtcMs,
) -> Result<JobSpec, ErrorBody> {
    let mut problems = Problems::default();
    let class = class_of(job.class.as_deref(), classes, &mut problems);
    let command = command(job.command, limits, &mut problems);
    let name =
        job.name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| usual_name(command.as_ref()));
    for (field, text) in [("name", &name)].into_iter().chain(job.tags.iter().map(|tag| ("tags", tag))) {
        check_word(field, text, &mut problems);
    }
    check_env(&job.env, &mut problems);
    let resources = resources(&job.cpus, &job.memory, job.gpus, job.exclusive, limits, &mut problems);
    let time_limit = time_limit(job.time.as_deref(), limits, class, &mut problems);
    let grace =
        problems.read("grace", job.grace.as_deref(), berth_model::parse_duration).unwrap_or(limits.grace);
    let begin = begin(job.begin.as_deref(), now, &mut problems);
    let array = array(job.array.as_deref(), limits, &mut problems);
    let volumes = job.volumes.iter().filter_map(|text| volume(text, &mut problems)).collect();
    let workdir = job.workdir.filter(|path| absolute("workdir", path, &mut problems));
    let scratch = problems.read("scratch", job.scratch.as_deref(), berth_model::parse_bytes).unwrap_or(0);
    let retries = job.retry_on_node_failure.unwrap_or(0);
    if retries > limits.retry_on_node_failure {
        let most = limits.retry_on_node_failure;
        problems.add("retry_on_node_failure", format!("{retries} retries; the site allows {most}"));
    }
    if job.ports.contains(&0) {
        problems.add("ports", "0 is not a port; ports run from 1 to 65535");
    }
    if job.interactive && array.is_some() {
        problems.add("interactive", "an array has no session");
    }
    for (field, path) in [("output", &job.output), ("error", &job.error)] {
        if path.as_ref().is_some_and(|path| path.is_empty() || path.contains('\0')) {
            problems.add(field, "it is not a path");
        }
    }
    let notices = notices(&job.notify, job.mail, &mut problems);
    let files = match job.uris.is_empty() {
        true => Vec::new(),
        false => vec![JobFile {
            name: "uris.txt".into(),
            contents: job.uris.iter().flat_map(|uri| [uri.as_str(), "\n"]).collect(),
            executable: false,
        }],
    };
    let spec = JobSpec {
        name,
        description: job.description.unwrap_or_default(),
        tags: job.tags,
        project: job.project.unwrap_or_else(|| "default".into()),
        class: class.map(|class| class.name.clone()),
        executor: job.executor,
        image: job.image,
        command: command.unwrap_or_else(|| Command::Argv(Vec::new())),
        env: job.env,
        workdir,
        output: job.output,
        error: job.error,
        resources,
        named: named(job.resources, &mut problems),
        asked_cpus: job.cpus.is_some(),
        exclusive_cpus: job.exclusive,
        time_limit,
        grace,
        array,
        dependencies: dependencies.into_iter().map(|(on, kind)| Dependency { on, kind }).collect(),
        hold: job.hold,
        begin,
        priority: job.priority.or(class.and_then(|class| class.priority)).unwrap_or(0),
        volumes,
        ports: job.ports,
        network: job.network,
        constraints: job.constraints,
        labels: job.labels,
        scratch_bytes: scratch,
        files,
        interactive: job.interactive,
        root: job.root,
        retry_on_node_failure: retries,
        avoid_failed_nodes: job.avoid_failed_nodes,
        notices,
        extensions: job.options,
    };
    within_class(class, &spec, &mut problems);
    finish(spec, problems)
}

/// What the site says of jobs.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// `[jobs]`
    pub jobs: &'a Jobs,
    /// `[[classes]]`
    pub classes: &'a [Class],
}

impl<'a> From<&'a Config> for Rules<'a> {
    fn from(config: &'a Config) -> Self {
        Self { jobs: &config.jobs, classes: &config.classes }
    }
}

/// The class that a job names, or that of jobs that name none.
fn class_of<'a>(asked: Option<&str>, classes: &'a [Class], problems: &mut Problems) -> Option<&'a Class> {
    let Some(name) = asked else { return classes.iter().find(|class| class.default) };
    let found = classes.iter().find(|class| class.name == name);
    if found.is_none() {
        let names: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
        problems.add(
            "class",
            match names.as_slice() {
                [] => format!("there is no class {name:?}; this site has none"),
                names => format!("there is no class {name:?}; there are {}", names.join(", ")),
            },
        );
    }
    found
}

fn within_class(class: Option<&Class>, spec: &JobSpec, problems: &mut Problems) {
    if let Some((field, words)) = class.and_then(|class| class.beyond(spec)) {
        problems.add(field, words);
    }
}

/// Whether somebody's job, in a project of this group, may be of the class that it is of.
///
/// # Errors
/// When it may not, with the classes that it may be of.
pub fn check_class(
    spec: &JobSpec,
    owner: &str,
    group: Option<&str>,
    classes: &[Class],
) -> Result<(), ErrorBody> {
    let admits = |class: &&Class| class.admits(owner, &spec.project, group);
    let Some(class) = classes.iter().find(|class| Some(&class.name) == spec.class.as_ref()) else {
        return Ok(());
    };
    if admits(&class) {
        return Ok(());
    }
    let open: Vec<&str> = classes.iter().filter(admits).map(|class| class.name.as_str()).collect();
    let others = match open.as_slice() {
        [] => "none is for it".to_owned(),
        names => format!("it may be of {}", names.join(", ")),
    };
    let (project, class) = (&spec.project, &class.name);
    let words = format!("a job of {owner} in project {project} cannot be of class {class}; {others}");
    Err(ErrorBody::new(ErrorCode::Forbidden, words))
}

/// Checks the priority of a job that had another one before, if it is not new. Who has a job with a higher one than
/// they may give keeps it, as an administrator gave it.
///
/// # Errors
/// When only administrators may give it.
pub fn check_priority(
    priority: i32,
    before: Option<i32>,
    limits: &Jobs,
    administers: bool,
) -> Result<(), ErrorBody> {
    let Some(most) = limits.most_priority.filter(|&most| priority > most && !administers) else {
        return Ok(());
    };
    if before.is_some_and(|before| priority <= before) {
        return Ok(());
    }
    let mut problems = Problems::default();
    problems.add("priority", format!("{priority}; only administrators give more than {most} here"));
    Err(invalid(problems))
}

/// What was asked for, with something changed.
///
/// # Errors
/// Everything that is wrong with the change, each at its field.
pub fn altered(
    spec: &JobSpec,
    alteration: &Alteration,
    Rules { jobs: limits, classes }: Rules<'_>,
) -> Result<JobSpec, ErrorBody> {
    let mut problems = Problems::default();
    // A class that the site no longer has bounds nothing.
    let class = classes.iter().find(|class| Some(&class.name) == spec.class.as_ref());
    let Alteration { priority, project, cpus, memory, gpus, time } = alteration;
    let mut spec = spec.clone();
    if cpus.is_some() || memory.is_some() || gpus.is_some() {
        let now = spec.resources;
        let asked = resources(cpus, memory, *gpus, spec.exclusive_cpus, limits, &mut problems);
        spec.resources = Resources {
            cpu_millis: if cpus.is_some() { asked.cpu_millis } else { now.cpu_millis },
            memory_bytes: if memory.is_some() { asked.memory_bytes } else { now.memory_bytes },
            gpus: gpus.unwrap_or(now.gpus),
        };
        spec.asked_cpus |= cpus.is_some();
    }
    if time.is_some() {
        spec.time_limit = time_limit(time.as_deref(), limits, class, &mut problems);
    }
    if let Some(project) = project {
        check_word("project", project, &mut problems);
        spec.project.clone_from(project);
    }
    spec.priority = priority.unwrap_or(spec.priority);
    if cpus.is_some() || memory.is_some() || gpus.is_some() {
        within_class(class, &spec, &mut problems);
    }
    finish(spec, problems)
}

fn finish<T>(value: T, problems: Problems) -> Result<T, ErrorBody> {
    if problems.0.is_empty() { Ok(value) } else { Err(invalid(problems)) }
}

fn invalid(problems: Problems) -> ErrorBody {
    let mut body = ErrorBody::new(ErrorCode::Invalid, "the job cannot be accepted as it is written");
    body.problems = problems.0;
    body
}

fn command(command: Option<CommandText>, limits: &Jobs, problems: &mut Problems) -> Option<Command> {
    match command {
        None => {
            problems.add("command", "there is nothing to run; give a program or a script");
            None
        }
        Some(CommandText::Argv(argv)) => {
            check_argv(&argv, problems);
            if argv.first().is_none_or(String::is_empty) {
                problems.add("command", "there is no program to run");
            }
            Some(Command::Argv(argv))
        }
        Some(CommandText::Script { text, args }) => {
            check_argv(&args, problems);
            let (size, most) = (text.len() as u64, limits.script_limit_bytes);
            if size > most {
                let (size, most) = (berth_model::format_bytes(size), berth_model::format_bytes(most));
                problems.add(
                    "command",
                    format!("the script has {size}; the site allows {most} (jobs.script-limit)"),
                );
            }
            if text.trim().is_empty() {
                problems.add("command", "the script is empty");
            }
            if text.contains('\0') {
                problems.add("command", "the script is not text: it has a zero byte");
            }
            Some(Command::Script { text, args })
        }
    }
}

fn check_argv(argv: &[String], problems: &mut Problems) {
    let bytes: usize = argv.iter().map(|arg| arg.len() + 1).sum();
    if bytes > MOST_ARGV_BYTES {
        problems
            .add("command", format!("{bytes} bytes of arguments; at most {MOST_ARGV_BYTES} are possible"));
    }
    if argv.iter().any(|arg| arg.contains('\0')) {
        problems.add("command", "an argument has a zero byte");
    }
}

fn check_env(env: &BTreeMap<String, String>, problems: &mut Problems) {
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if bytes > MOST_ENV_BYTES {
        problems.add("env", format!("{bytes} bytes of variables; at most {MOST_ENV_BYTES} are possible"));
    }
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) {
            problems.add("env", format!("{name:?} is not a name of a variable"));
        }
        // The value may be a secret, and is not repeated.
        if value.contains('\0') {
            problems.add("env", format!("the value of {name:?} has a zero byte"));
        }
    }
}

fn check_word(field: &str, text: &str, problems: &mut Problems) {
    if text.len() > MOST_NAME_BYTES {
        problems.add(field, format!("{} bytes; at most {MOST_NAME_BYTES} are possible", text.len()));
    }
    if text.chars().any(char::is_control) {
        problems.add(field, "it has a control character");
    }
}

fn resources(
    cpus: &Option<String>,
    memory: &Option<String>,
    gpus: Option<u32>,
    exclusive: bool,
    limits: &Jobs,
    problems: &mut Problems,
) -> Resources {
    let cpu_millis = problems.read("cpus", cpus.as_deref(), berth_model::parse_cpus);
    let memory_bytes = problems.read("memory", memory.as_deref(), berth_model::parse_bytes);
    let cpu_millis = cpu_millis.unwrap_or(limits.default_cpu_millis);
    if exclusive && !cpu_millis.is_multiple_of(1000) {
        problems.add("cpus", "CPUs for a job alone come whole");
    }
    Resources {
        cpu_millis,
        memory_bytes: memory_bytes.unwrap_or(limits.default_memory_bytes),
        gpus: gpus.unwrap_or(0),
    }
}

fn time_limit(
    text: Option<&str>,
    limits: &Jobs,
    class: Option<&Class>,
    problems: &mut Problems,
) -> Option<Duration> {
    let given = problems.read("time", text, berth_model::parse_duration);
    if given.is_some_and(|time| time.is_zero()) {
        problems.add("time", "a job that may run no time at all never runs");
    }
    let of_class = class.and_then(|class| class.longest_time.map(|longest| (longest, class.name.as_str())));
    let longest = of_class.map(|(longest, _)| longest).or(limits.longest_time);
    if let (Some(given), Some(longest)) = (given, longest)
        && given > longest
    {
        let longest = berth_model::format_duration(longest);
        problems.add(
            "time",
            match of_class {
                Some((_, class)) => format!("jobs of class {class} may have at most {longest}"),
                None => format!("the site allows at most {longest} (jobs.longest-time)"),
            },
        );
    }
    let usual = class.and_then(|class| class.default_time).or(limits.default_time);
    // A usual limit of the site may be longer than what the class allows.
    let usual = usual.map_or(longest, |usual| Some(longest.map_or(usual, |longest| usual.min(longest))));
    given.or(usual)
}

fn begin(text: Option<&str>, now: UtcMs, problems: &mut Problems) -> Option<UtcMs> {
    let text = text?;
    let at = text.parse::<UtcMs>().ok();
    let begin = at.or_else(|| berth_model::parse_duration(text).ok().map(|span| now.after(span)));
    if begin.is_none() {
        problems.add(
            "begin",
            format!("{text:?} is not an instant; write 2030-01-31T18:00:00Z, or a time from now such as 2h"),
        );
    }
    begin
}

fn array(text: Option<&str>, limits: &Jobs, problems: &mut Problems) -> Option<berth_model::ArrayRange> {
    let range = match text?.parse::<berth_model::ArrayRange>() {
        Ok(range) => range,
        Err(error) => {
            problems.add("array", error);
            return None;
        }
    };
    if range.tasks() > limits.most_array_tasks {
        let (tasks, most) = (range.tasks(), limits.most_array_tasks);
        problems.add("array", format!("{tasks} tasks; the site allows {most} (jobs.most-array-tasks)"));
    }
    Some(range)
}

fn volume(text: &str, problems: &mut Problems) -> Option<Volume> {
    let (name, mode) = match text.split_once(':') {
        None => (text, VolumeMode::ReadWrite),
        Some((name, "ro")) => (name, VolumeMode::ReadOnly),
        Some((name, "rw")) => (name, VolumeMode::ReadWrite),
        Some((_, mode)) => {
            problems.add(
                "volumes",
                format!("{mode:?} is not a way to mount a volume; write NAME, NAME:ro or NAME:rw"),
            );
            return None;
        }
    };
    if name.is_empty() || name.contains('/') {
        problems
            .add("volumes", format!("{name:?} is not the name of a volume; paths are the site's to give"));
        return None;
    }
    Some(Volume { name: name.to_owned(), mode })
}

/// What is to be told of it. Whether the site lets mail go there is asked where the site's settings are known.
fn notices(on: &[String], mail: Option<String>, problems: &mut Problems) -> Option<JobNotices> {
    if on.is_empty() && mail.is_none() {
        return None;
    }
    let list = Occasion::parse_list(on.iter().map(String::as_str));
    let list = list.map_err(|error| problems.add("notify", error)).unwrap_or_default();
    Some(JobNotices { on: (!on.is_empty()).then_some(list), mail })
}

/// Something is wrong with one field of a job, found where more is known than the job.
pub fn wrong(field: &str, message: impl ToString) -> ErrorBody {
    let mut problems = Problems::default();
    problems.add(field, message);
    invalid(problems)
}

fn absolute(field: &str, path: &str, problems: &mut Problems) -> bool {
    let fine = path.starts_with('/') && !path.contains('\0');
    if !fine {
        problems.add(field, format!("{path:?} is not an absolute path"));
    }
    fine
}

/// What the executor would have to be able to do for this job and cannot.
pub fn beyond(spec: &JobSpec, able: &Capabilities) -> Option<&'static str> {
    let asks = [
        (spec.image.is_some(), able.images, "run container images"),
        (!spec.volumes.is_empty(), able.volumes, "mount volumes"),
        (!spec.ports.is_empty(), able.ports, "publish ports"),
        (spec.network.is_some(), able.networks, "attach jobs to networks"),
        (spec.scratch_bytes > 0, able.scratch, "give scratch space of a size"),
        (spec.interactive, able.interactive, "hold sessions"),
        (spec.exclusive_cpus, able.exclusive_cpus, "give CPUs to one job alone"),
    ];
    asks.into_iter().find(|&(asked, able, _)| asked && !able).map(|(_, _, what)| what)
}

/// The most named resources that a job may ask for.
const MOST_NAMED: usize = 32;

fn named(asked: NamedAmounts, problems: &mut Problems) -> NamedAmounts {
    if asked.len() > MOST_NAMED {
        problems.add("resources", format!("{} of them; at most {MOST_NAMED} are possible", asked.len()));
    }
    for fault in asked.keys().filter_map(|name| berth_model::resource_name_fault(name)) {
        problems.add("resources", fault);
    }
    asked.into_iter().filter(|&(_, amount)| amount > 0).collect()
}

fn usual_name(command: Option<&Command>) -> String {
    let program = match command {
        Some(Command::Argv(argv)) => argv.first().map(String::as_str),
        Some(Command::Script { .. }) | None => None,
    };
    let name = program.and_then(|program| program.rsplit('/').next()).unwrap_or("script");
    name.chars().filter(|char| !char.is_control()).take(MOST_NAME_BYTES / 4).collect()
}
