//! What a container sees of the host.

use berth_docker_engine::bollard::models::{Mount, MountType};
use berth_executor_api::Launch;

use super::{SCRATCH, scratch_volume};

/// The job's directory under its own name, what auth has granted, and scratch space. Never the engine's older
/// form for such things, which makes what is missing, as root.
pub(super) fn mounts(launch: &Launch) -> Vec<Mount> {
    let bind = |source: &str, target: &str, read_only: bool| Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    };
    let mut all = vec![bind(&launch.directory, &launch.directory, false)];
    all.extend(launch.spec.mounts.iter().map(|mount| bind(&mount.source, &mount.target, mount.read_only)));
    if launch.spec.scratch_bytes > 0 {
        all.push(Mount {
            typ: Some(MountType::VOLUME),
            source: Some(scratch_volume(&launch.attempt)),
            target: Some(SCRATCH.to_owned()),
            ..Mount::default()
        });
    }
    all
}

/// Where the user's home is seen, if it is mounted.
pub(super) fn home(launch: &Launch) -> Option<&str> {
    let home = launch.spec.identity.home.as_ref().filter(|_| !launch.spec.as_root)?;
    let mount = launch.spec.mounts.iter().find(|mount| mount.source == *home)?;
    Some(mount.target.as_str())
}
