//! The Docker executor, as berth.toml describes it.

use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use berth_config::{Config, Executor as ExecutorConfig, ExecutorKind, KeyDoc, KeyKind, Own};
use berth_executor_api::SharedExecutor;
use berth_executor_docker::{
    DockerConfig, DockerExecutor, Enforce, ImageSettings, Pull, Swap,
    gpu::{Gpus, Vendor},
};
use serde_json::Value;

use super::{
    endpoint,
    images::{self, list},
};

fn texts() -> KeyKind {
    KeyKind::List(Box::new(KeyKind::Text))
}

/// What may stand in its table.
pub fn keys() -> ExecutorKind {
    ExecutorKind {
        name: "docker".into(),
        about: "Runs jobs as containers of a Docker Engine on this machine.".into(),
        keys: [
            endpoint::keys(),
            engine_keys(),
            node_keys(),
            container_keys(),
            vec![KeyDoc::new(
                "images",
                KeyKind::Table(image_keys()),
                "Images: where they come from and which ones jobs may use.",
            )],
        ]
        .concat(),
    }
}

fn engine_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new(
            "state",
            KeyKind::Path,
            "Where attempts without a container are noted; on a disk that is not emptied at boot. In the state directory where it is left out.",
        ),
        KeyDoc::new(
            "answer-within",
            KeyKind::duration(),
            "An engine that takes longer for an answer counts as away.",
        )
        .or("\"20s\""),
        KeyDoc::new(
            "start-within",
            KeyKind::duration(),
            "How long making or starting one container may take.",
        )
        .or("\"2m\""),
        KeyDoc::new(
            "starts-at-once",
            KeyKind::Whole(1, 1000),
            "How many containers are made and started at a time.",
        )
        .or("8"),
    ]
}

fn node_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new(
            "node",
            KeyKind::Text,
            "The engine's name as a node; its host's name where it is left out.",
        ),
        KeyDoc::new(
            "cpus",
            KeyKind::Cpus,
            "CPUs that may be allocated; all of the engine's where it is left out.",
        ),
        KeyDoc::new(
            "memory",
            KeyKind::size(),
            "Memory that may be allocated; all of the engine's where it is left out.",
        ),
        KeyDoc::new("gpu-vendor", KeyKind::one_of(&["nvidia", "amd", "intel"]), "Who made the GPUs."),
        KeyDoc::new(
            "gpus",
            texts(),
            "The GPUs that may be allocated: for NVIDIA indices or UUIDs, for others indices.",
        ),
        KeyDoc::new("labels", KeyKind::Open, "Labels of the node, beside hostname, arch and os."),
        KeyDoc::new("data", KeyKind::Path, "The site's data area, told to jobs as GODOCKER_DATA."),
    ]
}

fn container_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new("enforce", KeyKind::one_of(&["asked", "always", "never"]), "Which limits jobs are held to: those that they asked for, all, or none.").or("\"asked\""),
        KeyDoc::new("swap", KeyKind::one_of(&["none", "same", "unlimited"]), "How much swap a job gets beside its memory.").or("\"none\""),
        KeyDoc::new("processes", KeyKind::count(), "The most processes of a job; 0 for any number.").or("4096"),
        KeyDoc::new("init", KeyKind::Flag, "Whether a small first process hands on signals and collects orphans.").or("true"),
        KeyDoc::new("new-privileges", KeyKind::Flag, "Whether programs can gain rights by set-user-id files.").or("false"),
        KeyDoc::new("drop-capabilities", texts(), "Capabilities taken from jobs that do not run as root.").or("[\"ALL\"]"),
        KeyDoc::new("network", KeyKind::Text, "The network of jobs that get none by a policy: external, internal, none, host, or one of networks.").or("\"external\""),
        KeyDoc::new("networks", texts(), "Networks that are not Berth's and that jobs may be attached to.").or("[]"),
        KeyDoc::new("publish", KeyKind::Text, "The address that ports are published at.").or("\"0.0.0.0\""),
        KeyDoc::new("publish-host", KeyKind::Text, "The host that users are told for published ports; the node's name where it is left out."),
        KeyDoc::new("scratch-unbounded", KeyKind::Flag, "Whether scratch space is given that the engine cannot hold to its size.").or("false"),
    ]
}

fn image_keys() -> Vec<KeyDoc> {
    let pull =
        KeyDoc::new("pull", KeyKind::one_of(&["always", "missing", "never"]), "When registries are asked.")
            .or("\"missing\"");
    let kept = vec![
        KeyDoc::new(
            "cache",
            KeyKind::size(),
            "The most that images may take which Berth has pulled; the least recently used go first. Any amount where it is left out.",
        ),
        KeyDoc::new(
            "cool-down",
            KeyKind::duration(),
            "How long a registry's no is believed before it is asked for the same image again.",
        )
        .or("\"1m\""),
        KeyDoc::new("pull-within", KeyKind::duration(), "How long pulling one image may take.").or("\"1h\""),
    ];
    [vec![pull], images::keys(), kept].concat()
}

/// Makes it.
///
/// # Errors
/// When it cannot be used as it is configured.
pub async fn executor(config: &Config, executor: &ExecutorConfig) -> anyhow::Result<SharedExecutor> {
    let name = || format!("executor {:?} cannot be used", executor.name);
    let settings = settings(config, executor).with_context(name)?;
    endpoint::check(&settings.endpoint).with_context(name)?;
    Ok(Arc::new(DockerExecutor::start(settings).await.with_context(name)?))
}

fn settings(config: &Config, executor: &ExecutorConfig) -> anyhow::Result<DockerConfig> {
    let own = &executor.own;
    let all = own.to_json();
    let state = own.path("state").unwrap_or_else(|| config.cluster.state.join("docker").join(&executor.name));
    let mut docker = DockerConfig::new(config.cluster.name.clone(), state);
    docker.endpoint = endpoint::endpoint(own)?;
    docker.answer_within = own.duration("answer-within").unwrap_or(docker.answer_within);
    docker.start_within = own.duration("start-within").unwrap_or(docker.start_within);
    docker.starts_at_once = whole(own, "starts-at-once").unwrap_or(docker.starts_at_once);
    docker.node = own.text("node").map(str::to_owned);
    docker.cpu_millis = own.cpu_millis("cpus");
    docker.memory_bytes = own.bytes("memory");
    docker.gpus = gpus(own, &all)?;
    docker.labels = own.texts("labels").into_iter().collect();
    docker.data = own.text("data").map(str::to_owned);
    docker.enforce = match own.text("enforce") {
        Some("always") => Enforce::Always,
        Some("never") => Enforce::Never,
        _ => Enforce::Asked,
    };
    docker.swap = match own.text("swap") {
        Some("same") => Swap::Same,
        Some("unlimited") => Swap::Unlimited,
        _ => Swap::None,
    };
    if let Some(processes) = whole::<u64>(own, "processes") {
        docker.pids = (processes > 0).then_some(processes);
    }
    docker.init = own.flag("init").unwrap_or(docker.init);
    docker.new_privileges = own.flag("new-privileges").unwrap_or(docker.new_privileges);
    docker.drop_capabilities = list(&all, "drop-capabilities").unwrap_or(docker.drop_capabilities);
    docker.network = own.text("network").map_or(docker.network, str::to_owned);
    docker.networks = list(&all, "networks").unwrap_or_default();
    docker.publish = own.text("publish").map_or(docker.publish, str::to_owned);
    docker.publish_host = own.text("publish-host").map(str::to_owned);
    docker.scratch_unbounded = own.flag("scratch-unbounded").unwrap_or(false);
    docker.images = image_settings(all.get("images").unwrap_or(&Value::Null))?;
    Ok(docker)
}

pub(super) fn whole<T: TryFrom<i64>>(own: &Own, key: &str) -> Option<T> {
    own.whole(key).and_then(|number| T::try_from(number).ok())
}

fn gpus(own: &Own, all: &Value) -> anyhow::Result<Gpus> {
    let vendor =
        own.text("gpu-vendor").map(str::parse::<Vendor>).transpose().map_err(|words| anyhow!(words))?;
    let ids = list(all, "gpus").unwrap_or_default();
    ensure!(vendor.is_some() != ids.is_empty(), "gpu-vendor and gpus belong together");
    Ok(Gpus { vendor, ids })
}

fn image_settings(table: &Value) -> anyhow::Result<ImageSettings> {
    let usual = ImageSettings::default();
    let written = |key: &str| {
        let value = table.get(key)?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let duration = |key: &str| written(key).map(|text| berth_model::parse_duration(&text)).transpose();
    Ok(ImageSettings {
        pull: match table.get("pull").and_then(Value::as_str) {
            Some("always") => Pull::Always,
            Some("never") => Pull::Never,
            _ => Pull::Missing,
        },
        rules: images::rules(table)?,
        registries: images::registries(table)?,
        cache_bytes: written("cache").map(|text| berth_model::parse_bytes(&text)).transpose()?,
        cool_down: duration("cool-down")?.unwrap_or(usual.cool_down),
        pull_within: duration("pull-within")?.unwrap_or(usual.pull_within),
    })
}

#[cfg(test)]
mod tests {
    use berth_config::Loader;

    use super::*;

    /// As berth.toml gives it.
    fn read(text: &str) -> anyhow::Result<DockerConfig> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("berth.toml");
        std::fs::write(&file, format!("[executors.docker]\n{text}"))?;
        let loaded = Loader::new(&super::super::known()).file(&file).load();
        let config = loaded.map_err(|problems| anyhow!("{problems:?}"))?.config;
        let executor = config.executors.first().ok_or_else(|| anyhow!("no executor"))?;
        settings(&config, executor)
    }

    #[test]
    fn every_key_reaches_the_executor() {
        let docker = read(
            r#"
            engine = "unix:///run/other.sock"
            state = "/var/lib/berth/docker"
            answer-within = "5s"
            start-within = "1m"
            starts-at-once = 3
            node = "n1"
            cpus = 1.5
            memory = "2G"
            gpu-vendor = "amd"
            gpus = ["0", "1"]
            labels = { disk = "ssd" }
            data = "/data"
            enforce = "always"
            swap = "same"
            processes = 0
            init = false
            new-privileges = true
            drop-capabilities = ["NET_RAW"]
            network = "internal"
            networks = ["theirs"]
            publish = "127.0.0.1"
            publish-host = "gate"
            scratch-unbounded = true
            [executors.docker.images]
            pull = "never"
            default = "site/usual:1"
            offered = ["site/other:2"]
            others = false
            allow = ["hub/*"]
            registry = "hub.site:5000"
            cache = "20G"
            cool-down = "2m"
            pull-within = "10m"
            user-logins = true
            logins = { "hub.site:5000" = { username = "u", password-file = "/secrets/p" } }
            "#,
        )
        .unwrap();
        let usual = format!("{:?}", DockerConfig::new("c", "/none"));
        // What is set differs from what holds otherwise, key by key.
        let set = format!("{docker:?}");
        assert!(set.contains("/run/other.sock") && !usual.contains("/run/other.sock"));
        assert_eq!((docker.answer_within.as_secs(), docker.start_within.as_secs()), (5, 60));
        assert_eq!(
            (docker.starts_at_once, docker.cpu_millis, docker.memory_bytes),
            (3, Some(1500), Some(2 << 30))
        );
        assert_eq!((docker.gpus.vendor, docker.gpus.ids.len()), (Some(Vendor::Amd), 2));
        assert_eq!((docker.enforce, docker.swap, docker.pids), (Enforce::Always, Swap::Same, None));
        assert_eq!((docker.init, docker.new_privileges, docker.scratch_unbounded), (false, true, true));
        assert_eq!(
            (docker.drop_capabilities, docker.networks),
            (vec!["NET_RAW".to_owned()], vec!["theirs".to_owned()])
        );
        assert_eq!((docker.network.as_str(), docker.publish.as_str()), ("internal", "127.0.0.1"));
        assert_eq!((docker.node.as_deref(), docker.publish_host.as_deref()), (Some("n1"), Some("gate")));
        assert_eq!((docker.data.as_deref(), docker.labels.len()), (Some("/data"), 1));
        let images = docker.images;
        assert_eq!(
            (images.pull, images.cache_bytes, images.rules.others),
            (Pull::Never, Some(20 << 30), false)
        );
        assert_eq!((images.cool_down.as_secs(), images.pull_within.as_secs()), (120, 600));
        assert!(images.registries.user_logins);
        assert!(images.rules.prefix.is_some() && images.registries.logins.contains_key("hub.site:5000"));
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        for (text, part) in [
            ("gpus = [\"0\"]", "belong together"),
            ("engine = \"https://host\"", "tls-ca"),
            ("engine = \"tcp://host:2376\"\ntls-cert = \"/c\"", "belong together"),
            ("tls-ca = \"/ca\"", "tcp://"),
            ("images = { registry = \"nohost\" }", "images.registry"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
