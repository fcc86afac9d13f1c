//! What can be said of a launch without asking anybody.

use berth_docker_engine::ImageRef;
use berth_executor_api::{Command, Launch};

use super::{SCRATCH, SCRIPT, attached_to};
use crate::{config::DockerConfig, extensions::Extensions, facts::person};

/// What a launch asks for, if it can be.
pub(crate) fn checked(
    launch: &Launch,
    config: &DockerConfig,
    own_uid: u32,
) -> Result<(Extensions, ImageRef), String> {
    let spec = &launch.spec;
    let options = Extensions::read(&spec.extensions).map_err(|error| error.to_string())?;
    let image = config.images.rules.choose(spec.image.as_deref()).map_err(|error| error.to_string())?;
    attached_to(launch, &options, config)?;
    check_user(launch, own_uid)?;
    check_places(launch)?;
    check_command(launch)?;
    if spec.resources.gpus > 0 && options.gpus.is_some() {
        return Err("GPUs are asked for twice: by the job's resources and by docker.gpus".into());
    }
    if (spec.resources.gpus > 0 || options.gpus.is_some()) && config.gpus.vendor.is_none() {
        return Err("GPUs are asked for, and this executor has none".into());
    }
    let published = !spec.ports.is_empty() || !options.ports.is_empty();
    if published && matches!(attached_to(launch, &options, config).as_deref(), Ok("host" | "none")) {
        return Err("ports can be published on a network of the engine's only, not on host or none".into());
    }
    Ok((options, image))
}

fn check_user(launch: &Launch, own_uid: u32) -> Result<(), String> {
    let whom = person(launch);
    if whom.uid == 0 && !launch.spec.as_root {
        return Err("it would run as root, which was not granted".into());
    }
    // Berth makes the job's files; as a user of no rights it can make its own only.
    match own_uid == 0 || own_uid == whom.uid {
        true => Ok(()),
        false => {
            Err(format!("Berth runs as user {own_uid} and has no right to make files for user {}", whom.uid))
        }
    }
}

fn check_places(launch: &Launch) -> Result<(), String> {
    let paths = [&launch.directory, &launch.stdout, &launch.stderr];
    let workdir = launch.spec.workdir.iter();
    let targets = launch.spec.mounts.iter().flat_map(|mount| [&mount.source, &mount.target]);
    for path in paths.into_iter().chain(workdir).chain(targets) {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(format!("{path:?} is not an absolute path"));
        }
    }
    let mut seen = vec![launch.directory.as_str()];
    if launch.spec.scratch_bytes > 0 {
        seen.push(SCRATCH);
    }
    for mount in &launch.spec.mounts {
        if seen.contains(&mount.target.as_str()) {
            return Err(format!("two things would be mounted at {}", mount.target));
        }
        seen.push(&mount.target);
    }
    let plain = |name: &str| !matches!(name, "" | "." | ".." | SCRIPT) && !name.contains(['/', '\0']);
    match launch.spec.files.iter().find(|file| !plain(&file.name)) {
        Some(file) => Err(format!("{:?} cannot be the name of a file in the job's directory", file.name)),
        None => Ok(()),
    }
}

fn check_command(launch: &Launch) -> Result<(), String> {
    let texts: Vec<&String> = match &launch.spec.command {
        Command::Argv(argv) => argv.iter().collect(),
        Command::Script { args, .. } => args.iter().collect(),
    };
    let zero = texts.iter().any(|text| text.contains('\0'))
        || launch.spec.env.iter().any(|(name, value)| name.contains(['\0', '=']) || value.contains('\0'));
    match zero {
        true => Err("a zero byte in an argument or a variable".into()),
        false => Ok(()),
    }
}
