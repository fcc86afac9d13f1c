//! From a launch to the Job that carries it. Pure.

mod pod;
mod resources;
mod volumes;

use std::collections::BTreeMap;

use berth_docker_engine::{ImageError, ImageRefused, label};
use berth_executor_api::{Identity, Launch};
use k8s_openapi::{
    api::{
        batch::v1::{
            Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
        },
        core::v1::{PodTemplateSpec, Service, ServicePort, ServiceSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};

pub(crate) use self::{
    pod::SCRIPT,
    resources::{bytes_of, millis_of},
};
use crate::{
    KubernetesConfig,
    names::{self, annotation},
    options::{Options, OptionsError},
};

/// Where scratch space is seen in a container.
pub(crate) const SCRATCH: &str = "/scratch";

/// Why a launch can never become a Job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConvertError {
    #[error(transparent)]
    Choice(#[from] ImageRefused),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error("this cluster cannot {0}")]
    Unsupported(&'static str),
    #[error("{path:?} cannot be mounted: {reason}")]
    Mount { path: String, reason: &'static str },
    #[error(
        "its script and files are larger than the {limit} KiB that a Pod can carry; put its directory on a volume that the nodes have"
    )]
    Files { limit: usize },
    #[error("{0} has user 0, and only jobs that were granted to run as root do")]
    Root(String),
}

/// What can be refused without a look at anything else.
fn check(launch: &Launch, config: &KubernetesConfig) -> Result<(), ConvertError> {
    let spec = &launch.spec;
    let network = spec.network.as_ref();
    for (wanted, what) in [
        (spec.exclusive_cpus, "give a job CPUs for itself alone"),
        (spec.interactive, "run interactive sessions"),
        (launch.granted.iter().any(|grant| !grant.devices.is_empty()), "give a job device files"),
        (
            network.is_some_and(|network| network.on_demand || !network.network.is_empty()),
            "attach a job to a network of Berth's",
        ),
        (!spec.ports.is_empty() && !config.services, "publish ports, as `services` is not set"),
    ] {
        if wanted {
            return Err(ConvertError::Unsupported(what));
        }
    }
    match spec.as_root || spec.identity.uid != 0 {
        true => Ok(()),
        false => Err(ConvertError::Root(spec.identity.user.clone())),
    }
}

/// The Job for one attempt.
pub(crate) fn job(
    launch: &Launch,
    options: &Options,
    config: &KubernetesConfig,
) -> Result<Job, ConvertError> {
    check(launch, config)?;
    let labels = names::labels(launch);
    let volumes = volumes::volumes(launch, options, config)?;
    let attempt = (annotation::ATTEMPT.to_owned(), launch.attempt.to_string());
    let mut of_pod: BTreeMap<String, String> = volumes.annotations.clone();
    of_pod.extend([attempt.clone()]);
    let mut of_job = annotations(launch);
    of_job.extend([attempt]);
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(names::object_name(&launch.attempt)),
            namespace: Some(config.namespace.of(&launch.spec)),
            labels: Some(labels.clone()),
            annotations: Some(of_job),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            // Once, whatever happens: to run again is for Berth to decide.
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            pod_replacement_policy: Some("Failed".into()),
            pod_failure_policy: Some(tell_disruptions()),
            ttl_seconds_after_finished: Some(seconds(config.keep_for)),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(of_pod),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod::pod(launch, options, config, volumes)?),
            },
            ..JobSpec::default()
        }),
        status: None,
    })
}

fn seconds(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

/// Says in the Job that its Pod was evicted, which it otherwise would not.
fn tell_disruptions() -> PodFailurePolicy {
    let disrupted =
        PodFailurePolicyOnPodConditionsPattern { type_: "DisruptionTarget".into(), status: "True".into() };
    PodFailurePolicy {
        rules: vec![PodFailurePolicyRule {
            action: "FailJob".into(),
            on_pod_conditions: Some(vec![disrupted]),
            ..PodFailurePolicyRule::default()
        }],
    }
}

/// What a restarted Berth has to know of it.
fn annotations(launch: &Launch) -> BTreeMap<String, String> {
    let spec = &launch.spec;
    let mut all = BTreeMap::from([
        (annotation::STDOUT.to_owned(), launch.stdout.clone()),
        (annotation::STDERR.to_owned(), launch.stderr.clone()),
        (annotation::OWNER.to_owned(), owner(&spec.identity)),
    ]);
    if !spec.ports.is_empty() {
        let ports: Vec<String> = spec.ports.iter().map(u16::to_string).collect();
        all.insert(annotation::PORTS.to_owned(), ports.join(","));
    }
    if !spec.labels.is_empty() {
        let labels = serde_json::to_value(&spec.labels).unwrap_or_default();
        all.insert(annotation::LABELS.to_owned(), labels.to_string());
    }
    all
}

fn owner(identity: &Identity) -> String {
    let groups = identity.groups.iter();
    let numbers: Vec<String> =
        [identity.uid, identity.gid].iter().chain(groups).map(u32::to_string).collect();
    numbers.join(",")
}

/// The Service that publishes a Job's ports; it goes with the Job.
pub(crate) fn service(job: &Job, ports: &[u16]) -> Service {
    let labels = job.metadata.labels.clone().unwrap_or_default();
    let ours = |key: &&str| labels.get(*key).map(|value| ((*key).to_owned(), value.clone()));
    let selector = [label::CLUSTER, label::ATTEMPT].iter().filter_map(ours).collect();
    let name = job.metadata.name.clone().unwrap_or_default();
    let one = |port: &u16| ServicePort {
        name: Some(format!("p{port}")),
        port: i32::from(*port),
        target_port: Some(IntOrString::Int(i32::from(*port))),
        protocol: Some("TCP".into()),
        ..ServicePort::default()
    };
    Service {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: job.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            owner_references: Some(vec![OwnerReference {
                api_version: "batch/v1".into(),
                kind: "Job".into(),
                name,
                uid: job.metadata.uid.clone().unwrap_or_default(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            type_: Some("NodePort".into()),
            // Only on the node that has the job, so that the port is where its report says.
            external_traffic_policy: Some("Local".into()),
            selector: Some(selector),
            ports: Some(ports.iter().map(one).collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The ports that a Job's annotation tells.
pub(crate) fn ports_of(job: &Job) -> Vec<u16> {
    let annotations = job.metadata.annotations.as_ref();
    let text = annotations.and_then(|all| all.get(annotation::PORTS)).map_or("", String::as_str);
    text.split(',').filter_map(|port| port.parse().ok()).collect()
}

#[cfg(test)]
#[path = "../convert_tests.rs"]
mod tests;
