//! From a launch to the service that carries it. Pure.

use std::collections::HashMap;

use berth_docker_engine::{
    ImageError, ImageRef, ImageRefused,
    bollard::models::{
        EndpointPortConfig, EndpointPortConfigProtocolEnum, EndpointPortConfigPublishModeEnum, EndpointSpec,
        EndpointSpecModeEnum, GenericResourcesInner, GenericResourcesInnerDiscreteResourceSpec, Limit, Mount,
        MountType, NetworkAttachmentConfig, ResourceObject, ServiceSpec, ServiceSpecMode,
        ServiceSpecModeReplicated, TaskSpec, TaskSpecContainerSpec, TaskSpecContainerSpecConfigs,
        TaskSpecContainerSpecFile, TaskSpecContainerSpecFile1, TaskSpecContainerSpecSecrets,
        TaskSpecLogDriver, TaskSpecPlacement, TaskSpecResources, TaskSpecRestartPolicy,
        TaskSpecRestartPolicyConditionEnum,
    },
    label, labels_of,
};
use berth_executor_api::{Command, Launch, LaunchSpec, Places};

use crate::{
    SwarmConfig,
    nodes::{self, Known},
    options::{Options, OptionsError},
};

/// Labels of the service and its task that only this executor reads.
pub(crate) mod own_label {
    pub const STDOUT: &str = "berth.stdout";
    pub const STDERR: &str = "berth.stderr";
    /// User, group and further groups, with commas.
    pub const OWNER: &str = "berth.owner";
    /// On the service alone: a stop was asked for.
    pub const STOP: &str = "berth.stop";
}

/// No node fulfils it: whatever has it among its constraints never runs.
pub(crate) const NOWHERE: &str = "node.id==stopped-by-berth";

/// The least CPU that an engine can limit to, in milli-cores.
const LEAST_CPU_MILLIS: u64 = 10;

/// The script's name in the job's directory.
pub(crate) const SCRIPT: &str = "cmd.sh";

/// Prefers bash without knowing what is in the image.
const ANY_SHELL: &str = r#"command -v bash >/dev/null 2>&1 && exec bash "$@"; exec sh "$@""#;

/// Why a launch can never become a service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error(transparent)]
    Choice(#[from] ImageRefused),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error("a Swarm cannot {0}")]
    Unsupported(&'static str),
    #[error("{path:?} is no absolute path")]
    Path { path: String },
    #[error("node {node} has {has} and the job asks for {asks}")]
    TooBig { node: String, has: String, asks: String },
}

/// A secret or config that exists: its number and name.
pub(crate) type Named = (String, String);

/// What was found out before about things that the job names.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    pub node: Option<&'a Known>,
    pub secrets: Vec<Named>,
    pub configs: Vec<Named>,
}

/// What the image is called in the engine.
pub(crate) fn image(spec: &LaunchSpec, config: &SwarmConfig) -> Result<ImageRef, ServiceError> {
    let chosen = config.images.choose(spec.image.as_deref())?;
    Ok(config.images.in_registry(&chosen)?)
}

/// What can be refused without asking the Swarm.
pub(crate) fn check(launch: &Launch, node: Option<&Known>) -> Result<(), ServiceError> {
    let spec = &launch.spec;
    for path in [&launch.directory, &launch.stdout, &launch.stderr] {
        if !path.starts_with('/') {
            return Err(ServiceError::Path { path: path.clone() });
        }
    }
    for (wanted, what) in [
        (spec.exclusive_cpus, "give a job CPUs for itself alone"),
        (spec.scratch_bytes > 0, "give a job scratch space of a given size"),
        (spec.interactive, "run interactive sessions"),
        (launch.granted.iter().any(|grant| !grant.devices.is_empty()), "give a job device files"),
    ] {
        if wanted {
            return Err(ServiceError::Unsupported(what));
        }
    }
    // With a backlog the books have more than the node: what can never fit must not wait there for ever.
    match node {
        Some(node) if !spec.resources.fits_in(&node.resources) => Err(ServiceError::TooBig {
            node: node.name.clone(),
            has: node.resources.to_string(),
            asks: spec.resources.to_string(),
        }),
        _ => Ok(()),
    }
}

/// The service for one attempt.
pub(crate) fn service(
    launch: &Launch,
    options: &Options,
    found: &Found<'_>,
    config: &SwarmConfig,
) -> Result<ServiceSpec, ServiceError> {
    let labels = with_own_labels(launch);
    Ok(ServiceSpec {
        name: Some(launch.attempt.to_string()),
        labels: Some(labels.clone()),
        task_template: Some(TaskSpec {
            container_spec: Some(container(launch, labels, found, config)?),
            resources: Some(resources(&launch.spec, options, config)),
            restart_policy: Some(never_again()),
            placement: Some(placement(launch, options, found)),
            networks: networks(&launch.spec),
            log_driver: Some(log_driver()),
            ..TaskSpec::default()
        }),
        mode: Some(ServiceSpecMode {
            replicated: Some(ServiceSpecModeReplicated { replicas: Some(1) }),
            ..ServiceSpecMode::default()
        }),
        endpoint_spec: Some(EndpointSpec {
            // No virtual address: a job has one task, and not every kernel can do the other.
            mode: Some(EndpointSpecModeEnum::DNSRR),
            ports: ports(&launch.spec),
        }),
        ..ServiceSpec::default()
    })
}

/// The attempt's labels, with what a restarted Berth has to know of it.
fn with_own_labels(launch: &Launch) -> HashMap<String, String> {
    let mut labels = labels_of(launch);
    labels.insert(own_label::STDOUT.into(), launch.stdout.clone());
    labels.insert(own_label::STDERR.into(), launch.stderr.clone());
    let identity = &launch.spec.identity;
    let groups = identity.groups.iter();
    let owner: Vec<String> = [identity.uid, identity.gid].iter().chain(groups).map(u32::to_string).collect();
    labels.insert(own_label::OWNER.into(), owner.join(","));
    labels
}

fn container(
    launch: &Launch,
    labels: HashMap<String, String>,
    found: &Found<'_>,
    config: &SwarmConfig,
) -> Result<TaskSpecContainerSpec, ServiceError> {
    let spec = &launch.spec;
    let (user, groups) = user(spec);
    Ok(TaskSpecContainerSpec {
        image: Some(image(spec, config)?.full()),
        labels: Some(labels),
        command: Some(command(launch)),
        hostname: Some(launch.attempt.to_string()),
        env: Some(environment(launch, config)),
        dir: Some(spec.workdir.clone().unwrap_or_else(|| launch.directory.clone())),
        user: Some(user),
        groups,
        mounts: Some(mounts(launch)),
        stop_grace_period: Some(i64::try_from(spec.grace.as_nanos()).unwrap_or(i64::MAX)),
        secrets: Some(found.secrets.iter().map(|secret| secret_file(secret, spec)).collect()),
        configs: Some(found.configs.iter().map(|config| config_file(config, spec)).collect()),
        init: Some(config.init),
        capability_drop: (!spec.as_root).then(|| config.drop_capabilities.clone()),
        ..TaskSpecContainerSpec::default()
    })
}

/// User and group by number, so that the image's own accounts do not matter, and further groups.
fn user(spec: &LaunchSpec) -> (String, Option<Vec<String>>) {
    if spec.as_root {
        return ("0:0".into(), None);
    }
    let identity = &spec.identity;
    let groups: Vec<String> = identity.groups.iter().map(u32::to_string).collect();
    (format!("{}:{}", identity.uid, identity.gid), (!groups.is_empty()).then_some(groups))
}

/// As it is, without the image's entry point.
fn command(launch: &Launch) -> Vec<String> {
    match &launch.spec.command {
        Command::Argv(argv) => argv.clone(),
        Command::Script { text, args } => {
            let path = format!("{}/{SCRIPT}", launch.directory.trim_end_matches('/'));
            let mut argv = Vec::new();
            if !text.starts_with("#!") {
                argv.extend(["/bin/sh", "-c", ANY_SHELL, "sh"].map(str::to_owned));
            }
            argv.push(path);
            argv.extend(args.iter().cloned());
            argv
        }
    }
}

/// The job sees its directory under the same path as the host does.
fn environment(launch: &Launch, config: &SwarmConfig) -> Vec<String> {
    let places =
        Places { directory: &launch.directory, home: &launch.directory, data: config.data.as_deref() };
    let mut all = launch.environment(places);
    if !launch.spec.env.contains_key("HOME") {
        all.push(("HOME".into(), launch.directory.clone()));
    }
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn mounts(launch: &Launch) -> Vec<Mount> {
    let bind = |source: &str, target: &str, read_only| Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    };
    let own = bind(&launch.directory, &launch.directory, false);
    let granted = launch.spec.mounts.iter().map(|mount| bind(&mount.source, &mount.target, mount.read_only));
    std::iter::once(own).chain(granted).collect()
}

fn resources(spec: &LaunchSpec, options: &Options, config: &SwarmConfig) -> TaskSpecResources {
    let asked = spec.resources;
    let nano = |millis: u64| i64::try_from(millis.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
    let memory = (asked.memory_bytes > 0).then(|| i64::try_from(asked.memory_bytes).unwrap_or(i64::MAX));
    let held_to_cpu = spec.enforce_cpu && asked.cpu_millis > 0;
    let mut generic = options.generic.clone();
    if asked.gpus > 0 {
        *generic.entry(config.gpu_resource.clone()).or_default() += i64::from(asked.gpus);
    }
    let counted = |(kind, count): (String, i64)| GenericResourcesInner {
        discrete_resource_spec: Some(GenericResourcesInnerDiscreteResourceSpec {
            kind: Some(kind),
            value: Some(count),
        }),
        ..GenericResourcesInner::default()
    };
    TaskSpecResources {
        limits: Some(Limit {
            nano_cpus: held_to_cpu.then(|| nano(asked.cpu_millis.max(LEAST_CPU_MILLIS))),
            memory_bytes: memory,
            pids: config.pids.map(i64::from),
        }),
        reservations: Some(ResourceObject {
            nano_cpus: Some(nano(asked.cpu_millis)),
            memory_bytes: memory,
            generic_resources: (!generic.is_empty()).then(|| generic.into_iter().map(counted).collect()),
        }),
        ..TaskSpecResources::default()
    }
}

/// The bound on attempts has no meaning without restarts, but keeps the Swarm from forgetting the task
/// where it is set to forget tasks early.
fn never_again() -> TaskSpecRestartPolicy {
    TaskSpecRestartPolicy {
        condition: Some(TaskSpecRestartPolicyConditionEnum::NONE),
        max_attempts: Some(1),
        ..TaskSpecRestartPolicy::default()
    }
}

fn placement(launch: &Launch, options: &Options, found: &Found<'_>) -> TaskSpecPlacement {
    let node = found.node.map(|node| format!("node.id=={}", node.id));
    let asked = launch.spec.constraints.iter().map(|(label, value)| nodes::constraint(label, value));
    let constraints = node.into_iter().chain(asked).chain(options.constraints.iter().cloned());
    TaskSpecPlacement { constraints: Some(constraints.collect()), ..TaskSpecPlacement::default() }
}

fn networks(spec: &LaunchSpec) -> Option<Vec<NetworkAttachmentConfig>> {
    let network = spec.network.as_ref().filter(|attachment| !attachment.network.is_empty())?;
    let target = Some(network.network.clone());
    Some(vec![NetworkAttachmentConfig { target, ..NetworkAttachmentConfig::default() }])
}

/// Published on the job's node alone, as the mesh would send them to every node.
fn ports(spec: &LaunchSpec) -> Option<Vec<EndpointPortConfig>> {
    let host_port = |job: u16| {
        let chosen = spec.network.as_ref()?.ports.iter().find(|(inside, _)| *inside == job)?.1;
        (chosen > 0).then_some(i64::from(chosen))
    };
    let publish = |&job: &u16| EndpointPortConfig {
        protocol: Some(EndpointPortConfigProtocolEnum::TCP),
        target_port: Some(i64::from(job)),
        published_port: host_port(job),
        publish_mode: Some(EndpointPortConfigPublishModeEnum::HOST),
        ..EndpointPortConfig::default()
    };
    (!spec.ports.is_empty()).then(|| spec.ports.iter().map(publish).collect())
}

/// A log that keeps every byte: the engine's usual one replaces what is not text, and may be cut.
fn log_driver() -> TaskSpecLogDriver {
    let options = [("max-size", "1t"), ("max-file", "1"), ("compress", "false")];
    TaskSpecLogDriver {
        name: Some("local".into()),
        options: Some(options.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
    }
}

/// Only the job's user reads its secrets.
fn secret_file((id, name): &Named, spec: &LaunchSpec) -> TaskSpecContainerSpecSecrets {
    let (uid, gid) = owner(spec);
    let file = TaskSpecContainerSpecFile { name: Some(name.clone()), uid, gid, mode: Some(0o400) };
    TaskSpecContainerSpecSecrets {
        file: Some(file),
        secret_id: Some(id.clone()),
        secret_name: Some(name.clone()),
    }
}

fn config_file((id, name): &Named, spec: &LaunchSpec) -> TaskSpecContainerSpecConfigs {
    let (uid, gid) = owner(spec);
    let file = TaskSpecContainerSpecFile1 { name: Some(format!("/{name}")), uid, gid, mode: Some(0o444) };
    TaskSpecContainerSpecConfigs {
        file: Some(file),
        config_id: Some(id.clone()),
        config_name: Some(name.clone()),
        ..TaskSpecContainerSpecConfigs::default()
    }
}

fn owner(spec: &LaunchSpec) -> (Option<String>, Option<String>) {
    let (uid, gid) = if spec.as_root { (0, 0) } else { (spec.identity.uid, spec.identity.gid) };
    (Some(uid.to_string()), Some(gid.to_string()))
}

/// The attempt that a service's or container's labels name, if it is of this cluster.
pub(crate) fn attempt_of<'a>(labels: &'a HashMap<String, String>, cluster: &str) -> Option<&'a str> {
    let ours = labels.get(label::CLUSTER).is_some_and(|of| of == cluster);
    labels.get(label::ATTEMPT).filter(|_| ours).map(String::as_str)
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
