//! The executor's settings.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use berth_docker_engine::ImageRules;
use berth_executor_api::{LaunchSpec, Resources};

use crate::{names, options::Toleration};

/// How the API server is found and who Berth is there. Files are read anew when what they say does not work any
/// more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// As a kubeconfig says.
    Kubeconfig {
        /// The file; the one that `KUBECONFIG` names, or the usual one, where `None`.
        file: Option<PathBuf>,
        /// The context in it; its current one where `None`.
        context: Option<String>,
    },
    /// As the service account of the Pod that Berth runs in.
    InCluster,
    /// With a token from a file.
    Server {
        /// The server's URL.
        url: String,
        /// The authorities that it is believed by, in PEM.
        ca: Option<PathBuf>,
        /// The file with the token.
        token_file: Option<PathBuf>,
    },
}

/// What there is for jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// The cluster's nodes, each one of Berth's, less what others ask for there. Needs the right to list nodes and
    /// all Pods.
    Nodes,
    /// A share of the cluster, as one node; Kubernetes chooses the machine.
    Share {
        /// The node's name in Berth.
        name: String,
        /// How much it is.
        total: Resources,
    },
}

/// When images are pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// When a node does not have them.
    #[default]
    IfNotPresent,
    /// At each start.
    Always,
    /// Not at all.
    Never,
}

/// The namespace of a job: a text with `{user}` and `{project}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// Reads it.
    ///
    /// # Errors
    /// In words, when what is in braces is not known or the rest cannot stand in a namespace's name.
    pub fn new(text: &str) -> Result<Self, String> {
        let rest = text.replace("{user}", "u").replace("{project}", "p");
        match names::is_dns_label(&rest) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "{text:?} is no namespace; it may have small letters, digits and \"-\", and {{user}} and {{project}}"
            )),
        }
    }

    /// The one namespace, if all jobs have the same.
    pub(crate) fn only(&self) -> Option<&str> {
        (!self.0.contains('{')).then_some(self.0.as_str())
    }

    pub(crate) fn of(&self, spec: &LaunchSpec) -> String {
        let filled = self.0.replace("{user}", &spec.identity.user).replace("{project}", &spec.project);
        names::dns_label(&filled)
    }
}

/// What [`crate::KubernetesExecutor::start`] needs to know.
#[derive(Clone, Debug)]
pub struct KubernetesConfig {
    /// The cluster's name, part of every attempt's name.
    pub cluster: String,
    /// The API server, and who Berth is there.
    pub access: Access,
    /// The namespaces that jobs run in. They have to be there.
    pub namespace: Namespace,
    /// An API server that takes longer for an answer counts as away.
    pub answer_within: Duration,
    /// What there is for jobs.
    pub capacity: Capacity,
    /// Labels that a node has to have to be used.
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that jobs tolerate.
    pub tolerations: Vec<Toleration>,
    /// The resource of nodes that stands for a GPU.
    pub gpu_resource: String,
    /// How much more than a node has may be sent to it and wait in the cluster, in percent.
    pub backlog_percent: u64,
    /// How long a job may wait for room in the cluster before it is taken back.
    pub no_room_after: Duration,
    /// How long a job may fail to start, for want of its image as a rule, before it is ended.
    pub cannot_start_after: Duration,
    /// How long a node may be away before its attempts count as lost.
    pub lost_after: Duration,
    /// How long the cluster keeps an ended Job that Berth does not remove.
    pub keep_for: Duration,
    /// Whether jobs can be suspended, though that ends their Pods.
    pub suspend: bool,
    /// Whether processes may be started in jobs' containers and their ports be connected with.
    pub exec: bool,
    /// Whether a job's ports are published by a Service of type NodePort.
    pub services: bool,
    /// Which images jobs may run in.
    pub images: ImageRules,
    /// When they are pulled.
    pub pull: Pull,
    /// Secrets with logins of registries, by name.
    pub pull_secrets: Vec<String>,
    /// Directories that all nodes have at the same path and whatever is below may be mounted from.
    pub host_paths: Vec<PathBuf>,
    /// Directories that are the contents of a PersistentVolumeClaim.
    pub claims: BTreeMap<PathBuf, String>,
    /// The service account of jobs' Pods, which they get no token of.
    pub service_account: Option<String>,
    /// The runtime class of jobs' Pods.
    pub runtime_class: Option<String>,
    /// The priority class of jobs that do not name one.
    pub priority_class: Option<String>,
    /// Capabilities taken from jobs that do not run as root.
    pub drop_capabilities: Vec<String>,
    /// The site's data area, told to jobs.
    pub data: Option<String>,
}

impl KubernetesConfig {
    /// The usual settings, with jobs in one namespace.
    #[must_use]
    pub fn new(cluster: impl Into<String>, namespace: Namespace) -> Self {
        Self {
            cluster: cluster.into(),
            access: Access::Kubeconfig { file: None, context: None },
            namespace,
            answer_within: Duration::from_secs(30),
            capacity: Capacity::Nodes,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            gpu_resource: "nvidia.com/gpu".into(),
            backlog_percent: 0,
            no_room_after: Duration::from_mins(5),
            cannot_start_after: Duration::from_mins(5),
            lost_after: Duration::from_mins(10),
            keep_for: Duration::from_hours(7 * 24),
            suspend: true,
            exec: true,
            services: false,
            images: ImageRules::default(),
            pull: Pull::default(),
            pull_secrets: Vec::new(),
            host_paths: Vec::new(),
            claims: BTreeMap::new(),
            service_account: None,
            runtime_class: None,
            priority_class: None,
            drop_capabilities: vec!["ALL".into()],
            data: None,
        }
    }

    /// Where what lies at this path on Berth's machine is for a Pod.
    pub(crate) fn place(&self, path: &Path) -> Option<Place<'_>> {
        let below = |root: &&PathBuf| path.starts_with(root);
        let claim = self.claims.keys().filter(below).max_by_key(|root| root.components().count());
        let host = self.host_paths.iter().filter(below).max_by_key(|root| root.components().count());
        let depth = |root: Option<&PathBuf>| root.map_or(0, |root| root.components().count());
        match claim {
            Some(root) if depth(Some(root)) >= depth(host) => {
                let below = path.strip_prefix(root).ok()?.to_str()?;
                Some(Place::Claim { name: self.claims.get(root)?, below: below.to_owned() })
            }
            _ => host.map(|_| Place::Host),
        }
    }
}

/// Where a directory is for a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// On its node, at the same path.
    Host,
    /// In a claim.
    Claim { name: &'a str, below: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_one_or_made_of_user_and_project() {
        assert_eq!(Namespace::new("jobs").unwrap().only(), Some("jobs"));
        assert_eq!(Namespace::new("berth-{user}-{project}").unwrap().only(), None);
        for wrong in ["", "Jobs", "a_b", "{group}", "-a", "{user}-"] {
            assert!(Namespace::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_deepest_directory_that_is_named_decides_where_a_path_is() {
        let mut config = KubernetesConfig::new("c", Namespace::new("jobs").unwrap());
        config.host_paths = vec!["/data".into(), "/home/scratch".into()];
        config.claims =
            BTreeMap::from([("/home".into(), "homes".into()), ("/data/set".into(), "set".into())]);
        let place = |path: &str| config.place(Path::new(path));
        assert_eq!(place("/data/x"), Some(Place::Host));
        assert_eq!(place("/home/anna/x"), Some(Place::Claim { name: "homes", below: "anna/x".into() }));
        assert_eq!(place("/home/scratch/x"), Some(Place::Host));
        assert_eq!(place("/data/set"), Some(Place::Claim { name: "set", below: String::new() }));
        assert_eq!(place("/database"), None);
    }
}
