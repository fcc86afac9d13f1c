//! From a launch to what `qsub` is told. Pure.

use berth_executor_api::Launch;

use crate::SgeConfig;

/// The options that users may give, beside those that Berth makes of what a job asks for.
pub(crate) const RESOURCES: &str = "sge.resources";
pub(crate) const PARALLEL_ENVIRONMENT: &str = "sge.parallel-environment";
pub(crate) const PROJECT: &str = "sge.project";
pub(crate) const RESERVE: &str = "sge.reserve";
pub(crate) const KEYS: [&str; 4] = [RESOURCES, PARALLEL_ENVIRONMENT, PROJECT, RESERVE];

/// A minute after Berth's own limit.
const LATER_SECS: u64 = 60;

/// Why SGE is not even asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotForSge {
    #[error("it asks for {slots} CPUs, and no parallel environment is configured for such jobs")]
    NoParallelEnvironment { slots: u64 },
    #[error("it asks for GPUs, and no resource of SGE is configured that stands for them")]
    NoGpus,
    #[error("{what} is not possible in SGE")]
    Cannot { what: String },
    #[error("option {key}: {words}")]
    Option { key: String, words: String },
}

fn cannot(what: impl Into<String>) -> NotForSge {
    NotForSge::Cannot { what: what.into() }
}

/// What stands in no word of `qsub` with a meaning of its own.
fn is_plain(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && !text.starts_with('-') && text.chars().all(letters)
}

/// Refuses what SGE has no way to give.
pub(crate) fn check(launch: &Launch) -> Result<(), NotForSge> {
    let spec = &launch.spec;
    if spec.image.is_some() {
        return Err(cannot("running in a container image"));
    }
    if spec.as_root {
        return Err(cannot("running as root"));
    }
    // It knows people by their accounts, in its rights and its accounting, and guests have one for all of them.
    if spec.identity.is_guest() {
        return Err(cannot("a job of a guest"));
    }
    if spec.interactive {
        return Err(cannot("a session"));
    }
    if !spec.ports.is_empty() || spec.network.is_some() {
        return Err(cannot("a network or ports of a job's own"));
    }
    if spec.scratch_bytes > 0 {
        return Err(cannot("scratch space of a given size"));
    }
    if let Some(mount) = spec.mounts.iter().find(|mount| mount.source != mount.target) {
        return Err(cannot(format!("showing volume {} at another place than the node's own", mount.name)));
    }
    if let Some(mount) = spec.mounts.iter().find(|mount| mount.read_only) {
        return Err(cannot(format!("keeping a job from writing to volume {}", mount.name)));
    }
    if ![&launch.directory, &launch.stdout, &launch.stderr].iter().all(|path| path.starts_with('/')) {
        return Err(cannot("a directory or output whose path is not absolute"));
    }
    if let Some(key) = spec.extensions.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(NotForSge::Option { key: key.clone(), words: format!("there are {}", KEYS.join(", ")) });
    }
    Ok(())
}

/// How many slots it takes.
pub(crate) fn slots(launch: &Launch) -> u64 {
    launch.spec.resources.cpu_millis.div_ceil(1000).max(1)
}

/// The arguments of `qsub`, of which the script comes on standard input.
pub(crate) fn arguments(
    launch: &Launch,
    name: &str,
    range: Option<(u64, u64, u64)>,
    config: &SgeConfig,
) -> Result<Vec<String>, NotForSge> {
    let spec = &launch.spec;
    // First of all what stands in default files of the site, the user and the directory is undone. Mail is off, no
    // line of the script is an option, SGE never runs it again by itself, and gives notice before it ends it.
    let mut all: Vec<String> = [
        "-clear",
        "-terse",
        "-N",
        name,
        "-m",
        "n",
        "-C",
        "",
        "-r",
        "n",
        "-notify",
        "-S",
        "/bin/sh",
        "-wd",
        "/",
        "-o",
        "/dev/null",
        "-e",
        "/dev/null",
    ]
    .map(str::to_owned)
    .into();
    let mut add = |words: &[&str]| all.extend(words.iter().map(|word| (*word).to_owned()));
    if let Some(queue) = &launch.node {
        add(&["-q", queue]);
    }
    if let Some((first, last, step)) = range {
        add(&["-t", &format!("{first}-{last}:{step}")]);
    }
    let slots = slots(launch);
    if let Some(environment) = parallel(launch, slots, config)? {
        add(&["-pe", &environment, &slots.to_string()]);
    }
    for resource in resources(launch, slots, config)? {
        add(&["-l", &resource]);
    }
    if let Some(project) = project(launch, config)? {
        add(&["-P", &project]);
    }
    match spec.extensions.get(RESERVE).map(String::as_str) {
        None | Some("false") => {}
        Some("true") => add(&["-R", "y"]),
        Some(_) => return Err(option(RESERVE, "say true or false")),
    }
    all.extend(config.submit_options.iter().cloned());
    Ok(all)
}

fn option(key: &str, words: impl Into<String>) -> NotForSge {
    NotForSge::Option { key: key.to_owned(), words: words.into() }
}

fn parallel(launch: &Launch, slots: u64, config: &SgeConfig) -> Result<Option<String>, NotForSge> {
    let asked = launch.spec.extensions.get(PARALLEL_ENVIRONMENT);
    if let Some(asked) = asked.filter(|asked| !is_plain(asked)) {
        return Err(option(PARALLEL_ENVIRONMENT, format!("{asked:?} is no name")));
    }
    match (asked, slots) {
        (Some(asked), _) => Ok(Some(asked.clone())),
        (None, 1) => Ok(None),
        (None, _) => match &config.parallel_environment {
            Some(environment) => Ok(Some(environment.clone())),
            None => Err(NotForSge::NoParallelEnvironment { slots }),
        },
    }
}

fn resources(launch: &Launch, slots: u64, config: &SgeConfig) -> Result<Vec<String>, NotForSge> {
    let spec = &launch.spec;
    let mut all = Vec::new();
    if let (Some(complex), 1..) = (&config.memory_complex, spec.resources.memory_bytes) {
        // For each slot, as SGE counts it.
        all.push(format!("{complex}={}", spec.resources.memory_bytes.div_ceil(slots)));
    }
    match (&config.gpu_complex, spec.resources.gpus) {
        (_, 0) => {}
        (Some(complex), gpus) => all.push(format!("{complex}={gpus}")),
        (None, _) => return Err(NotForSge::NoGpus),
    }
    if let (true, Some(limit)) = (config.wall_time, spec.time_limit) {
        all.push(format!("h_rt={}", limit.as_secs() + spec.grace.as_secs() + LATER_SECS));
    }
    let own: Vec<String> = all.iter().filter_map(|one| Some(one.split_once('=')?.0.to_owned())).collect();
    for one in spec.extensions.get(RESOURCES).into_iter().flat_map(|text| text.split(',')).map(str::trim) {
        let (name, value) = one.split_once('=').unwrap_or((one, "TRUE"));
        let value_is_plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:@*|".contains(c));
        if !is_plain(name) || value.is_empty() || !value_is_plain {
            return Err(option(RESOURCES, format!("{one:?} is no NAME=VALUE")));
        }
        if own.iter().any(|own| own == name) || matches!(name, "q" | "qname" | "s_rt" | "h_rt") {
            return Err(option(RESOURCES, format!("{name} is told SGE by Berth itself")));
        }
        all.push(format!("{name}={value}"));
    }
    Ok(all)
}

fn project(launch: &Launch, config: &SgeConfig) -> Result<Option<String>, NotForSge> {
    let spec = &launch.spec;
    let project = match (spec.extensions.get(PROJECT), config.projects) {
        (Some(project), _) => project,
        // Berth's own that everybody has is none of SGE's.
        (None, true) if spec.project != "default" => &spec.project,
        (None, _) => return Ok(None),
    };
    if is_plain(project) {
        Ok(Some(project.clone()))
    } else {
        Err(option(PROJECT, format!("{project:?} is no name")))
    }
}

/// Attempts that are one job in SGE: a job by itself, or tasks of an array at equal distances.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Together {
    /// Their places in the batch, in the order of their indices.
    pub places: Vec<usize>,
    /// First and last index, and the distance.
    pub range: Option<(u64, u64, u64)>,
}

/// What of a batch can be one job in SGE each.
pub(crate) fn together(batch: &[&Launch]) -> Vec<Together> {
    let alone = |place: usize| Together { places: vec![place], range: None };
    let mut all = Vec::new();
    let mut arrays: std::collections::BTreeMap<_, Vec<(u64, usize)>> = std::collections::BTreeMap::new();
    for (place, launch) in batch.iter().enumerate() {
        let tag = crate::script::tag(launch.attempt.as_str());
        match (launch.task, &launch.array_directory) {
            // SGE counts from 1. Its tasks are told apart by the name of their directory.
            (Some(task), Some(array))
                if task.index > 0 && launch.directory == format!("{array}/{}", task.index) =>
            {
                let key = (
                    task.array,
                    tag.to_owned(),
                    std::sync::Arc::as_ptr(&launch.spec) as usize,
                    launch.node.clone(),
                    task.step.max(1),
                );
                arrays.entry(key).or_default().push((task.index, place));
            }
            _ => all.push(alone(place)),
        }
    }
    for ((_, _, _, _, step), mut tasks) in arrays {
        tasks.sort_unstable();
        let mut run: Vec<(u64, usize)> = Vec::new();
        for task in tasks {
            if run.last().is_some_and(|(last, _)| task.0 != last + step) {
                all.extend(as_job(&std::mem::take(&mut run), step));
            }
            run.push(task);
        }
        all.extend(as_job(&run, step));
    }
    all
}

fn as_job(run: &[(u64, usize)], step: u64) -> Option<Together> {
    let ((first, _), (last, _)) = (run.first()?, run.last()?);
    Some(Together {
        places: run.iter().map(|(_, place)| *place).collect(),
        range: Some((*first, *last, step)),
    })
}
