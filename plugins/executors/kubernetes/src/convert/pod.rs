//! The Pod of a Job.

use berth_executor_api::{Command, Launch, LaunchSpec, Places};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, EnvVar, LocalObjectReference, NodeAffinity, NodeSelector,
    NodeSelectorRequirement, NodeSelectorTerm, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
    Toleration,
};

use super::{ConvertError, SCRATCH, resources::resources, volumes::Volumes};
use crate::{
    KubernetesConfig,
    config::{Capacity, Pull},
    names::CONTAINER,
    options::{self, Options},
};

/// The script's name in the job's directory.
pub(crate) const SCRIPT: &str = "cmd.sh";

/// Prefers bash without knowing what is in the image.
const ANY_SHELL: &str = r#"command -v bash >/dev/null 2>&1 && exec bash "$@"; exec sh "$@""#;

pub(super) fn pod(
    launch: &Launch,
    options: &Options,
    config: &KubernetesConfig,
    volumes: Volumes,
) -> Result<PodSpec, ConvertError> {
    let spec = &launch.spec;
    let secrets = config.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    let tolerations = config.tolerations.iter().chain(&options.tolerations).map(toleration);
    let mut selector = config.node_selector.clone();
    selector.extend(options.node_selector.clone());
    // Where Berth has chosen the node, it has looked at its labels.
    if pinned(launch, config).is_none() {
        selector.extend(spec.constraints.clone());
    }
    Ok(PodSpec {
        restart_policy: Some("Never".into()),
        containers: vec![container(launch, options, config, &volumes)?],
        volumes: (!volumes.volumes.is_empty()).then_some(volumes.volumes),
        security_context: Some(identity(spec)),
        affinity: pinned(launch, config).map(to_node),
        node_selector: (!selector.is_empty()).then_some(selector),
        tolerations: Some(tolerations.collect()),
        image_pull_secrets: Some(secrets.collect()),
        active_deadline_seconds: spec.time_limit.map(|limit| {
            let up = u64::from(limit.subsec_nanos() > 0);
            i64::try_from(limit.as_secs() + up).unwrap_or(i64::MAX).max(1)
        }),
        termination_grace_period_seconds: Some(
            i64::try_from(spec.grace.as_secs()).unwrap_or(i64::MAX).max(1),
        ),
        priority_class_name: options.priority_class.clone().or_else(|| config.priority_class.clone()),
        runtime_class_name: options.runtime_class.clone().or_else(|| config.runtime_class.clone()),
        service_account_name: config.service_account.clone(),
        // A job is nobody in the cluster.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        ..PodSpec::default()
    })
}

fn container(
    launch: &Launch,
    options: &Options,
    config: &KubernetesConfig,
    volumes: &Volumes,
) -> Result<Container, ConvertError> {
    let spec = &launch.spec;
    let chosen = config.images.choose(spec.image.as_deref())?;
    let image = config.images.in_registry(&chosen)?;
    let pull = match config.pull {
        Pull::IfNotPresent => "IfNotPresent",
        Pull::Always => "Always",
        Pull::Never => "Never",
    };
    Ok(Container {
        name: CONTAINER.into(),
        image: Some(image.full()),
        image_pull_policy: Some(pull.into()),
        // As it is, without the image's entry point.
        command: Some(command(launch).iter().map(|word| literal(word)).collect()),
        args: Some(Vec::new()),
        env: Some(environment(launch, config)),
        working_dir: Some(spec.workdir.clone().unwrap_or_else(|| launch.directory.clone())),
        resources: Some(resources(spec, options, config)),
        volume_mounts: Some(volumes.mounts.clone()),
        security_context: Some(confinement(spec, config)),
        ..Container::default()
    })
}

/// As it is meant: Kubernetes puts values in place of `$(NAME)`, and takes `$$` for `$`.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

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

/// The job sees its directory under the same path as Berth does.
fn environment(launch: &Launch, config: &KubernetesConfig) -> Vec<EnvVar> {
    let places =
        Places { directory: &launch.directory, home: &launch.directory, data: config.data.as_deref() };
    let mut all = launch.environment(places);
    if !launch.spec.env.contains_key("HOME") {
        all.push(("HOME".into(), launch.directory.clone()));
    }
    if launch.spec.scratch_bytes > 0 {
        all.push(("BERTH_SCRATCH".into(), SCRATCH.into()));
    }
    let one =
        |(name, value): (String, String)| EnvVar { name, value: Some(literal(&value)), ..EnvVar::default() };
    all.into_iter().map(one).collect()
}

/// User and groups by number, so that the image's own accounts do not matter.
fn identity(spec: &LaunchSpec) -> PodSecurityContext {
    let seccomp_profile =
        Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() });
    if spec.as_root {
        return PodSecurityContext {
            run_as_user: Some(0),
            run_as_group: Some(0),
            seccomp_profile,
            ..PodSecurityContext::default()
        };
    }
    let identity = &spec.identity;
    let groups: Vec<i64> =
        identity.groups.iter().filter(|group| **group != identity.gid).copied().map(i64::from).collect();
    PodSecurityContext {
        run_as_user: Some(identity.uid.into()),
        run_as_group: Some(identity.gid.into()),
        run_as_non_root: Some(true),
        supplemental_groups: (!groups.is_empty()).then_some(groups),
        fs_group: Some(identity.gid.into()),
        // Not each file of a large volume at each start.
        fs_group_change_policy: Some("OnRootMismatch".into()),
        seccomp_profile,
        ..PodSecurityContext::default()
    }
}

fn confinement(spec: &LaunchSpec, config: &KubernetesConfig) -> SecurityContext {
    let drop = (!spec.as_root && !config.drop_capabilities.is_empty())
        .then(|| Capabilities { drop: Some(config.drop_capabilities.clone()), add: None });
    SecurityContext {
        privileged: Some(false),
        allow_privilege_escalation: Some(false),
        capabilities: drop,
        ..SecurityContext::default()
    }
}

/// The node that Berth has chosen.
fn pinned<'a>(launch: &'a Launch, config: &KubernetesConfig) -> Option<&'a str> {
    match config.capacity {
        Capacity::Nodes => launch.node.as_deref(),
        Capacity::Share { .. } => None,
    }
}

/// By its name and through the scheduler, which knows what it has.
fn to_node(name: &str) -> Affinity {
    let requirement = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![name.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![requirement]), match_expressions: None };
    let required = Some(NodeSelector { node_selector_terms: vec![term] });
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: required,
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn toleration(one: &options::Toleration) -> Toleration {
    Toleration {
        key: Some(one.key.clone()),
        operator: Some(if one.value.is_some() { "Equal" } else { "Exists" }.into()),
        value: one.value.clone(),
        effect: one.effect.clone(),
        ..Toleration::default()
    }
}
