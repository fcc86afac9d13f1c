//! What a Pod mounts, and where the job's own directory is in it.

use std::{collections::BTreeMap, path::Path};

use berth_executor_api::{Command, Launch};
use k8s_openapi::{
    api::core::v1::{
        ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource,
        HostPathVolumeSource, ObjectFieldSelector, PersistentVolumeClaimVolumeSource, SecretVolumeSource,
        Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::{ConvertError, SCRATCH, pod::SCRIPT};
use crate::{
    KubernetesConfig,
    config::Place,
    names::annotation,
    options::{Mounted, Options},
};

/// The most that files may be which travel in a Pod's annotations, of which Kubernetes takes 256 KiB.
const MOST_FILES_KIB: usize = 192;

#[derive(Debug, Default)]
pub(super) struct Volumes {
    pub volumes: Vec<Volume>,
    pub mounts: Vec<VolumeMount>,
    /// Annotations of the Pod that files are made of.
    pub annotations: BTreeMap<String, String>,
}

pub(super) fn volumes(
    launch: &Launch,
    options: &Options,
    config: &KubernetesConfig,
) -> Result<Volumes, ConvertError> {
    let mut all = Volumes::default();
    match config.place(Path::new(&launch.directory)) {
        Some(place) => all.bind(&place, &launch.directory, &launch.directory, false)?,
        None => all.own_directory(launch)?,
    }
    for mount in &launch.spec.mounts {
        let Some(place) = config.place(Path::new(&mount.source)) else {
            let reason = "it is below none of the executor's host-paths and claims, which the nodes have";
            return Err(ConvertError::Mount { path: mount.source.clone(), reason });
        };
        all.bind(&place, &mount.source, &mount.target, mount.read_only)?;
    }
    if launch.spec.scratch_bytes > 0 {
        let size_limit = Some(Quantity(launch.spec.scratch_bytes.to_string()));
        let volume = Volume {
            empty_dir: Some(EmptyDirVolumeSource { size_limit, medium: None }),
            ..Volume::default()
        };
        all.add(volume, SCRATCH, None, false)?;
    }
    all.by_name(options)?;
    Ok(all)
}

impl Volumes {
    fn add(
        &mut self,
        volume: Volume,
        target: &str,
        below: Option<String>,
        read_only: bool,
    ) -> Result<(), ConvertError> {
        let name = format!("v{}", self.volumes.len());
        self.volumes.push(Volume { name: name.clone(), ..volume });
        self.mount(&name, target, below, read_only)
    }

    fn mount(
        &mut self,
        volume: &str,
        target: &str,
        below: Option<String>,
        read_only: bool,
    ) -> Result<(), ConvertError> {
        let wrong = |reason| ConvertError::Mount { path: target.to_owned(), reason };
        if !target.starts_with('/') || target.contains(':') || target.split('/').any(|part| part == "..") {
            return Err(wrong("a container has to see it at an absolute path, without \":\" and \"..\""));
        }
        if self.mounts.iter().any(|mount| mount.mount_path == target) {
            return Err(wrong("something else is mounted there"));
        }
        self.mounts.push(VolumeMount {
            name: volume.to_owned(),
            mount_path: target.to_owned(),
            sub_path: below.filter(|below| !below.is_empty()),
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        });
        Ok(())
    }

    /// What Berth's machine has at `source`.
    fn bind(
        &mut self,
        place: &Place<'_>,
        source: &str,
        target: &str,
        read_only: bool,
    ) -> Result<(), ConvertError> {
        // Neither Berth nor a node is to be led out of what the site allows.
        if source.split('/').any(|part| part == "..") {
            let reason = "it may not have \"..\" in it";
            return Err(ConvertError::Mount { path: source.to_owned(), reason });
        }
        match place {
            Place::Host => {
                let host = HostPathVolumeSource { path: source.to_owned(), type_: Some("Directory".into()) };
                self.add(Volume { host_path: Some(host), ..Volume::default() }, target, None, read_only)
            }
            Place::Claim { name, below } => {
                let volume = self.claim(name);
                self.mount(&volume, target, Some(below.clone()), read_only)
            }
        }
    }

    /// The volume of a claim, which a Pod has only once.
    fn claim(&mut self, name: &str) -> String {
        let is_it = |volume: &&Volume| {
            volume.persistent_volume_claim.as_ref().is_some_and(|claim| claim.claim_name == name)
        };
        if let Some(volume) = self.volumes.iter().find(is_it) {
            return volume.name.clone();
        }
        let volume = format!("v{}", self.volumes.len());
        self.volumes.push(Volume {
            name: volume.clone(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: name.to_owned(),
                read_only: None,
            }),
            ..Volume::default()
        });
        volume
    }

    /// A directory that lives and dies with the Pod. Its files travel in annotations, so that nothing but the Job
    /// has to be made, and nothing is left of them without it.
    fn own_directory(&mut self, launch: &Launch) -> Result<(), ConvertError> {
        let empty = Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() };
        self.add(empty, &launch.directory, None, false)?;
        let script = match &launch.spec.command {
            Command::Script { text, .. } => Some((SCRIPT, text.as_str(), true)),
            Command::Argv(_) => None,
        };
        let given = launch.spec.files.iter();
        let given = given.map(|file| (file.name.as_str(), file.contents.as_str(), file.executable));
        let files: Vec<_> = script.into_iter().chain(given).collect();
        if files.iter().map(|(_, text, _)| text.len()).sum::<usize>() > MOST_FILES_KIB << 10 {
            return Err(ConvertError::Files { limit: MOST_FILES_KIB });
        }
        if files.is_empty() {
            return Ok(());
        }
        let volume = format!("v{}", self.volumes.len());
        let mut items = Vec::new();
        for (place, (name, text, executable)) in files.into_iter().enumerate() {
            let key = format!("{}{place}", annotation::FILE);
            items.push(DownwardAPIVolumeFile {
                path: place.to_string(),
                mode: Some(if executable { 0o555 } else { 0o444 }),
                field_ref: Some(ObjectFieldSelector {
                    field_path: format!("metadata.annotations['{key}']"),
                    api_version: None,
                }),
                ..DownwardAPIVolumeFile::default()
            });
            self.annotations.insert(key, text.to_owned());
            let target = format!("{}/{name}", launch.directory.trim_end_matches('/'));
            self.mount(&volume, &target, Some(place.to_string()), true)?;
        }
        self.volumes.push(Volume {
            name: volume,
            downward_api: Some(DownwardAPIVolumeSource { items: Some(items), default_mode: None }),
            ..Volume::default()
        });
        Ok(())
    }

    /// What the job names in its namespace.
    fn by_name(&mut self, options: &Options) -> Result<(), ConvertError> {
        for Mounted { name, path, .. } in &options.secrets {
            // Its user reads it by the group that Kubernetes gives it.
            let secret = SecretVolumeSource {
                secret_name: Some(name.clone()),
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            };
            self.add(Volume { secret: Some(secret), ..Volume::default() }, path, None, true)?;
        }
        for Mounted { name, path, .. } in &options.config_maps {
            let map = ConfigMapVolumeSource { name: name.clone(), ..ConfigMapVolumeSource::default() };
            self.add(Volume { config_map: Some(map), ..Volume::default() }, path, None, true)?;
        }
        for Mounted { name, path, read_only } in &options.claims {
            let volume = self.claim(name);
            self.mount(&volume, path, None, *read_only)?;
        }
        Ok(())
    }
}
