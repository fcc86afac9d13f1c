//! Scratch space: a volume of the attempt's own.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use berth_docker_engine::{
    EngineError, Labels,
    bollard::{Docker, models::VolumeCreateRequest, query_parameters::RemoveVolumeOptions},
    label,
};
use berth_executor_api::{AttemptName, Launch};
use berth_model::format_bytes;

use crate::{convert::scratch_volume, facts::person, shared::Shared};

pub(crate) enum ScratchError {
    Refused(String),
    Engine(EngineError),
}

/// Makes it, if there is to be any. What should be said about it comes back.
pub(crate) async fn make(
    shared: &Shared,
    docker: &Docker,
    launch: &Launch,
) -> Result<Option<String>, ScratchError> {
    let bytes = launch.spec.scratch_bytes;
    if bytes == 0 {
        return Ok(None);
    }
    let held = shared.engine.answer(docker.create_volume(request(launch, Some(bytes)))).await;
    let (volume, note) = match held {
        Ok(volume) => (volume, None),
        Err(error) if error.is_unreachable() => return Err(ScratchError::Engine(error)),
        Err(error) if !shared.config.scratch_unbounded => {
            let words = format!(
                "scratch space of {} cannot be held to its size by this engine: {error}",
                format_bytes(bytes)
            );
            return Err(ScratchError::Refused(words));
        }
        Err(_) => {
            let made = shared.engine.answer(docker.create_volume(request(launch, None))).await;
            let volume = made.map_err(ScratchError::Engine)?;
            (volume, Some(format!("scratch space is not held to its {}", format_bytes(bytes))))
        }
    };
    hand_over(launch, volume.mountpoint.into()).await?;
    Ok(note)
}

fn request(launch: &Launch, bytes: Option<u64>) -> VolumeCreateRequest {
    let labels = Labels::from([
        (label::CLUSTER.to_owned(), launch.spec.cluster.clone()),
        (label::ATTEMPT.to_owned(), launch.attempt.to_string()),
        (label::ROLE.to_owned(), "scratch".to_owned()),
    ]);
    VolumeCreateRequest {
        name: Some(scratch_volume(&launch.attempt)),
        driver: Some("local".into()),
        driver_opts: bytes.map(|bytes| [("size".to_owned(), bytes.to_string())].into()),
        labels: Some(labels),
        ..VolumeCreateRequest::default()
    }
}

/// The engine makes volumes for root.
async fn hand_over(launch: &Launch, place: PathBuf) -> Result<(), ScratchError> {
    let whom = person(launch);
    let handed = tokio::task::spawn_blocking(move || {
        std::os::unix::fs::lchown(&place, Some(whom.uid), Some(whom.gid))?;
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o700))
    });
    let handed = handed.await.map_err(std::io::Error::other).and_then(|handed| handed);
    handed
        .map_err(|error| ScratchError::Refused(format!("scratch space cannot be given to its user: {error}")))
}

/// Removes it. What cannot be removed now goes with the next clean-up.
pub(crate) async fn remove(shared: &Shared, docker: &Docker, attempt: &AttemptName) {
    let name = scratch_volume(attempt);
    let removed = shared.engine.answer(docker.remove_volume(&name, None::<RemoveVolumeOptions>)).await;
    match removed {
        Err(error) if !error.is_missing() => {
            tracing::warn!(volume = name, error = %error, "scratch space cannot be removed");
        }
        _ => {}
    }
}
