//! The Kubernetes executor, as berth.toml describes it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context, anyhow, ensure};
use berth_config::{Config, Executor as ExecutorConfig, ExecutorKind, KeyDoc, KeyKind, Own};
use berth_executor_api::{Resources, SharedExecutor};
use berth_executor_kubernetes::{
    Access, Capacity, KubernetesConfig, KubernetesExecutor, Namespace, Pull, Toleration,
};
use serde_json::Value;

use super::{
    docker::whole,
    images::{self, list},
};

/// Of images: nodes pull with the secrets that are named, so that logins have no place here.
const IMAGE_KEYS: [&str; 5] = ["default", "offered", "others", "allow", "registry"];

fn texts() -> KeyKind {
    KeyKind::List(Box::new(KeyKind::Text))
}

/// What may stand in its table.
pub fn keys() -> ExecutorKind {
    let of_images = images::keys().into_iter().filter(|key| IMAGE_KEYS.contains(&key.name.as_str()));
    ExecutorKind {
        name: "kubernetes".into(),
        about: "Runs jobs as Jobs of a Kubernetes cluster.".into(),
        keys: [
            access_keys(),
            node_keys(),
            time_keys(),
            pod_keys(),
            vec![KeyDoc::new(
                "images",
                KeyKind::Table(of_images.collect()),
                "Images: where they come from and which ones jobs may use.",
            )],
        ]
        .concat(),
    }
}

fn access_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new(
            "kubeconfig",
            KeyKind::Path,
            "The file that says where the API server is and who Berth is there; what KUBECONFIG names, or ~/.kube/config, where it is left out. Like all files here it is read anew when what it says is not accepted any more.",
        ),
        KeyDoc::new("context", KeyKind::Text, "The context in it; its current one where it is left out."),
        KeyDoc::new(
            "in-cluster",
            KeyKind::Flag,
            "Whether Berth runs in the cluster and is there what its own Pod's service account is, instead.",
        )
        .or("false"),
        KeyDoc::new("server", KeyKind::Text, "The API server's URL, instead of a kubeconfig."),
        KeyDoc::new("ca-file", KeyKind::Path, "The authorities that `server` is believed by, in PEM."),
        KeyDoc::new("token-file", KeyKind::Path, "The file with the token for `server`."),
        KeyDoc::new(
            "namespace",
            KeyKind::Text,
            "The namespace that jobs run in, which has to be there. With {user} or {project} in it each has one of its own, and Berth needs its rights in all namespaces.",
        )
        .or("\"berth\""),
        KeyDoc::new(
            "answer-within",
            KeyKind::duration(),
            "An API server that takes longer for an answer counts as away.",
        )
        .or("\"30s\""),
    ]
}

fn node_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new(
            "share-cpus",
            KeyKind::Cpus,
            "With it, Berth has this share of the cluster as one node and needs no right to look at nodes; Kubernetes chooses the machine. Otherwise each node of the cluster is one of Berth's, less what others ask for there.",
        ),
        KeyDoc::new("share-memory", KeyKind::size(), "The share's memory.").or("0"),
        KeyDoc::new("share-gpus", KeyKind::count(), "The share's GPUs.").or("0"),
        KeyDoc::new("share-name", KeyKind::Text, "What the share is called as a node.").or("\"cluster\""),
        KeyDoc::new("node-selector", KeyKind::Open, "Labels that a node has to have to be used."),
        KeyDoc::new(
            "tolerations",
            texts(),
            "Taints of nodes that jobs tolerate: key=value:NoSchedule, of which value and effect may be left out.",
        )
        .or("[]"),
        KeyDoc::new("gpu-resource", KeyKind::Text, "The resource of nodes that stands for a GPU.")
            .or("\"nvidia.com/gpu\""),
        KeyDoc::new(
            "backlog",
            KeyKind::Whole(0, 1000),
            "How much more than a node has may be sent to it and wait in the cluster, in percent.",
        )
        .or("0"),
    ]
}

fn time_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new(
            "no-room-after",
            KeyKind::duration(),
            "How long a job may wait for room in the cluster before it is taken back and is pending again.",
        )
        .or("\"5m\""),
        KeyDoc::new(
            "cannot-start-after",
            KeyKind::duration(),
            "How long a job may fail to start, for want of its image as a rule, before it ends with the reason.",
        )
        .or("\"5m\""),
        KeyDoc::new(
            "lost-after",
            KeyKind::duration(),
            "How long a node may be away before its jobs count as lost. They are never started again by themselves.",
        )
        .or("\"10m\""),
        KeyDoc::new(
            "keep-for",
            KeyKind::duration(),
            "How long the cluster keeps an ended job that Berth does not remove, as when Berth is away; after that nobody knows how it ended.",
        )
        .or("\"7d\""),
    ]
}

fn pod_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new(
            "suspend",
            KeyKind::Flag,
            "Whether jobs can be suspended. Their Pods are deleted then, and resumed they begin anew.",
        )
        .or("true"),
        KeyDoc::new(
            "exec",
            KeyKind::Flag,
            "Whether berth exec and berth netcat reach into jobs; Berth needs the rights for it.",
        )
        .or("true"),
        KeyDoc::new(
            "services",
            KeyKind::Flag,
            "Whether a job's ports are published by a Service of type NodePort; Berth needs the right to create one.",
        )
        .or("false"),
        KeyDoc::new(
            "host-paths",
            texts(),
            "Directories that all nodes have at the same path as this machine. What lies below, jobs' directories and granted volumes, is mounted from the node.",
        )
        .or("[]"),
        KeyDoc::new(
            "claims",
            KeyKind::Open,
            "Directories of this machine that are the contents of a PersistentVolumeClaim: the claim's name by the directory's path. What lies below is mounted from it.",
        ),
        KeyDoc::new("pull", KeyKind::one_of(&["if-not-present", "always", "never"]), "When nodes pull images.")
            .or("\"if-not-present\""),
        KeyDoc::new("pull-secrets", texts(), "Secrets of the namespace with logins of registries, by name.")
            .or("[]"),
        KeyDoc::new(
            "service-account",
            KeyKind::Text,
            "The service account of jobs' Pods, of which they get no token.",
        ),
        KeyDoc::new("runtime-class", KeyKind::Text, "The runtime class of jobs' Pods."),
        KeyDoc::new("priority-class", KeyKind::Text, "The priority class of jobs that name none."),
        KeyDoc::new(
            "drop-capabilities",
            texts(),
            "Capabilities taken from jobs that do not run as root.",
        )
        .or("[\"ALL\"]"),
        KeyDoc::new("data", KeyKind::Path, "The site's data area, told to jobs as GODOCKER_DATA."),
    ]
}

/// Makes it.
///
/// # Errors
/// When it cannot be used as it is configured.
pub fn executor(config: &Config, executor: &ExecutorConfig) -> anyhow::Result<SharedExecutor> {
    let settings =
        settings(config, executor).with_context(|| format!("executor {:?} cannot be used", executor.name))?;
    Ok(Arc::new(KubernetesExecutor::start(settings)))
}

fn settings(config: &Config, executor: &ExecutorConfig) -> anyhow::Result<KubernetesConfig> {
    let own = &executor.own;
    let all = own.to_json();
    let namespace =
        Namespace::new(own.text("namespace").unwrap_or("berth")).map_err(|words| anyhow!(words))?;
    let mut kubernetes = KubernetesConfig::new(config.cluster.name.clone(), namespace);
    let text = |key: &str| own.text(key).map(str::to_owned);
    kubernetes.access = access(own)?;
    kubernetes.answer_within = own.duration("answer-within").unwrap_or(kubernetes.answer_within);
    kubernetes.capacity = capacity(own);
    kubernetes.node_selector = own.texts("node-selector");
    kubernetes.tolerations = tolerations(&all)?;
    kubernetes.gpu_resource = text("gpu-resource").unwrap_or(kubernetes.gpu_resource);
    kubernetes.backlog_percent = whole(own, "backlog").unwrap_or(0);
    kubernetes.no_room_after = own.duration("no-room-after").unwrap_or(kubernetes.no_room_after);
    kubernetes.cannot_start_after =
        own.duration("cannot-start-after").unwrap_or(kubernetes.cannot_start_after);
    kubernetes.lost_after = own.duration("lost-after").unwrap_or(kubernetes.lost_after);
    kubernetes.keep_for = own.duration("keep-for").unwrap_or(kubernetes.keep_for);
    kubernetes.suspend = own.flag("suspend").unwrap_or(kubernetes.suspend);
    kubernetes.exec = own.flag("exec").unwrap_or(kubernetes.exec);
    kubernetes.services = own.flag("services").unwrap_or(kubernetes.services);
    kubernetes.images = images::rules(all.get("images").unwrap_or(&Value::Null))?;
    kubernetes.pull = match own.text("pull") {
        Some("always") => Pull::Always,
        Some("never") => Pull::Never,
        _ => Pull::IfNotPresent,
    };
    kubernetes.pull_secrets = list(&all, "pull-secrets").unwrap_or_default();
    kubernetes.host_paths = host_paths(&all)?;
    kubernetes.claims = claims(own)?;
    kubernetes.service_account = text("service-account");
    kubernetes.runtime_class = text("runtime-class");
    kubernetes.priority_class = text("priority-class");
    kubernetes.drop_capabilities = list(&all, "drop-capabilities").unwrap_or(kubernetes.drop_capabilities);
    kubernetes.data = text("data");
    Ok(kubernetes)
}

fn access(own: &Own) -> anyhow::Result<Access> {
    let in_cluster = own.flag("in-cluster").unwrap_or(false);
    let kubeconfig = own.path("kubeconfig");
    let server = own.text("server");
    let ways = [in_cluster, kubeconfig.is_some(), server.is_some()];
    ensure!(
        ways.iter().filter(|way| **way).count() <= 1,
        "kubeconfig, server and in-cluster are three ways to one cluster; give one of them"
    );
    let of_server = ["ca-file", "token-file"].into_iter().find(|key| own.text(key).is_some());
    if let (Some(key), None) = (of_server, server) {
        return Err(anyhow!("{key} belongs to `server`, which is not given"));
    }
    Ok(match server {
        Some(url) => {
            ensure!(url.starts_with("https://") || url.starts_with("http://"), "server: {url:?} is no URL");
            Access::Server {
                url: url.to_owned(),
                ca: own.path("ca-file"),
                token_file: own.path("token-file"),
            }
        }
        None if in_cluster => Access::InCluster,
        None => Access::Kubeconfig { file: kubeconfig, context: own.text("context").map(str::to_owned) },
    })
}

fn capacity(own: &Own) -> Capacity {
    let Some(cpu_millis) = own.cpu_millis("share-cpus") else { return Capacity::Nodes };
    let gpus = whole(own, "share-gpus").unwrap_or(0);
    Capacity::Share {
        name: own.text("share-name").unwrap_or("cluster").to_owned(),
        total: Resources { cpu_millis, memory_bytes: own.bytes("share-memory").unwrap_or(0), gpus },
    }
}

fn tolerations(all: &Value) -> anyhow::Result<Vec<Toleration>> {
    let texts = list(all, "tolerations").unwrap_or_default();
    let read: Result<_, _> = texts.iter().map(|text| Toleration::parse(text)).collect();
    read.context("tolerations")
}

fn host_paths(all: &Value) -> anyhow::Result<Vec<PathBuf>> {
    let paths = list(all, "host-paths").unwrap_or_default();
    for path in &paths {
        ensure!(path.starts_with('/'), "host-paths: {path:?} is no absolute path");
    }
    Ok(paths.into_iter().map(PathBuf::from).collect())
}

fn claims(own: &Own) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let claims = own.texts("claims");
    for path in claims.keys() {
        ensure!(path.starts_with('/'), "claims: {path:?} is no absolute path");
    }
    Ok(claims.into_iter().map(|(path, claim)| (PathBuf::from(path), claim)).collect())
}

#[cfg(test)]
mod tests {
    use berth_config::Loader;

    use super::*;

    /// As berth.toml gives it.
    fn read(text: &str) -> anyhow::Result<KubernetesConfig> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("berth.toml");
        std::fs::write(&file, format!("[executors.kubernetes]\n{text}"))?;
        let loaded = Loader::new(&super::super::known()).file(&file).load();
        let config = loaded.map_err(|problems| anyhow!("{problems:?}"))?.config;
        let executor = config.executors.first().ok_or_else(|| anyhow!("no executor"))?;
        settings(&config, executor)
    }

    #[test]
    fn every_key_reaches_the_executor() {
        let kubernetes = read(
            r#"
            server = "https://boss:6443"
            ca-file = "/etc/ca.pem"
            token-file = "/etc/token"
            namespace = "jobs-{user}"
            answer-within = "5s"
            share-cpus = 8
            share-memory = "16G"
            share-gpus = 2
            share-name = "ours"
            node-selector = { pool = "batch" }
            tolerations = ["batch=yes:NoSchedule"]
            gpu-resource = "amd.com/gpu"
            backlog = 50
            no-room-after = "1m"
            cannot-start-after = "2m"
            lost-after = "3m"
            keep-for = "1d"
            suspend = false
            exec = false
            services = true
            host-paths = ["/shared"]
            claims = { "/home" = "homes" }
            pull = "always"
            pull-secrets = ["login"]
            service-account = "jobs"
            runtime-class = "kata"
            priority-class = "low"
            drop-capabilities = ["NET_RAW"]
            data = "/data"
            [executors.kubernetes.images]
            default = "site/usual:1"
            others = false
            "#,
        )
        .unwrap();
        let server = Access::Server {
            url: "https://boss:6443".into(),
            ca: Some("/etc/ca.pem".into()),
            token_file: Some("/etc/token".into()),
        };
        assert_eq!(kubernetes.access, server);
        assert_eq!(kubernetes.namespace, Namespace::new("jobs-{user}").unwrap());
        let total = Resources { cpu_millis: 8000, memory_bytes: 16 << 30, gpus: 2 };
        assert_eq!(kubernetes.capacity, Capacity::Share { name: "ours".into(), total });
        assert_eq!(kubernetes.node_selector["pool"], "batch");
        assert_eq!(kubernetes.tolerations, [Toleration::parse("batch=yes:NoSchedule").unwrap()]);
        assert_eq!((kubernetes.gpu_resource.as_str(), kubernetes.backlog_percent), ("amd.com/gpu", 50));
        let times = [
            kubernetes.answer_within,
            kubernetes.no_room_after,
            kubernetes.cannot_start_after,
            kubernetes.lost_after,
            kubernetes.keep_for,
        ];
        assert_eq!(times.map(|time| time.as_secs()), [5, 60, 120, 180, 86400]);
        assert_eq!((kubernetes.suspend, kubernetes.exec, kubernetes.services), (false, false, true));
        assert_eq!(kubernetes.host_paths, [PathBuf::from("/shared")]);
        assert_eq!(kubernetes.claims[&PathBuf::from("/home")], "homes");
        assert_eq!(
            (kubernetes.pull, &kubernetes.pull_secrets[..]),
            (Pull::Always, &["login".to_owned()][..])
        );
        assert_eq!(kubernetes.service_account.as_deref(), Some("jobs"));
        assert_eq!(kubernetes.runtime_class.as_deref(), Some("kata"));
        assert_eq!(kubernetes.priority_class.as_deref(), Some("low"));
        assert_eq!(kubernetes.drop_capabilities, ["NET_RAW"]);
        assert_eq!(kubernetes.data.as_deref(), Some("/data"));
        assert!(!kubernetes.images.others && kubernetes.images.default.is_some());
    }

    #[test]
    fn the_example_is_a_configuration() {
        let file =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/kubernetes/berth.toml");
        let loaded = Loader::new(&super::super::known()).file(&file).load().unwrap();
        let executor = loaded.config.executors.first().unwrap();
        let kubernetes = settings(&loaded.config, executor).unwrap();
        assert!(matches!(kubernetes.capacity, Capacity::Share { .. }));
    }

    #[test]
    fn there_are_three_ways_to_a_cluster() {
        assert_eq!(read("in-cluster = true").unwrap().access, Access::InCluster);
        let usual = Access::Kubeconfig { file: None, context: None };
        assert_eq!(read("").unwrap().access, usual);
        let named = read("kubeconfig = \"/etc/kube\"\ncontext = \"site\"").unwrap().access;
        assert_eq!(
            named,
            Access::Kubeconfig { file: Some("/etc/kube".into()), context: Some("site".into()) }
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, part) in [
            ("namespace = \"{group}\"", "{user}"),
            ("server = \"https://a\"\nin-cluster = true", "three ways"),
            ("token-file = \"/etc/token\"", "`server`"),
            ("server = \"boss\"", "no URL"),
            ("tolerations = [\"a:Never\"]", "a:Never"),
            ("host-paths = [\"data\"]", "absolute"),
            ("claims = { data = \"x\" }", "absolute"),
            ("images = { user-logins = true }", "user-logins"),
            ("pull = \"sometimes\"", "sometimes"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
