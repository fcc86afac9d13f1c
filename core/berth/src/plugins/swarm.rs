//! The Swarm executor, as berth.toml describes it.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, anyhow};
use berth_config::{Config, Executor as ExecutorConfig, ExecutorKind, KeyDoc, KeyKind};
use berth_executor_api::SharedExecutor;
use berth_executor_swarm::{Managers, SwarmConfig, SwarmExecutor};
use serde_json::Value;

use super::{
    docker::whole,
    endpoint,
    images::{self, list},
};

/// What may stand in its table.
pub fn keys() -> ExecutorKind {
    ExecutorKind {
        name: "swarm".into(),
        about: "Runs jobs as one-shot services of a Docker Swarm.".into(),
        keys: [
            endpoint::keys(),
            manager_keys(),
            node_keys(),
            service_keys(),
            vec![KeyDoc::new(
                "images",
                KeyKind::Table(images::keys()),
                "Images: where they come from and which ones jobs may use.",
            )],
        ]
        .concat(),
    }
}

fn manager_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new(
            "answer-within",
            KeyKind::duration(),
            "A manager that takes longer for an answer counts as away.",
        )
        .or("\"30s\""),
        KeyDoc::new(
            "look-at-least-every",
            KeyKind::duration(),
            "The longest time between two looks at jobs on other nodes, of which the manager's engine does not tell; only while there are any. Nodes are looked at ten times less often, and once a minute at least.",
        )
        .or("\"2s\""),
    ]
}

fn node_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new(
            "managers",
            KeyKind::one_of(&["when-alone", "always", "never"]),
            "Whether managers run jobs, too: only in a Swarm without workers, like workers, or never.",
        )
        .or("\"when-alone\""),
        KeyDoc::new(
            "backlog",
            KeyKind::Whole(0, 1000),
            "How much more than a node has may be sent to it and wait in the Swarm's own queue, in percent.",
        )
        .or("0"),
        KeyDoc::new(
            "lost-after",
            KeyKind::duration(),
            "How long a node may be away before its jobs count as lost. They are never started again by themselves.",
        )
        .or("\"5m\""),
        KeyDoc::new("gpu-resource", KeyKind::Text, "The generic resource of nodes that stands for a GPU.")
            .or("\"gpu\""),
    ]
}

fn service_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new(
            "networks",
            KeyKind::Open,
            "Overlay networks that are made when a job wants them: by name, \"internal\" for one without a way out, or \"external\".",
        ),
        KeyDoc::new("processes", KeyKind::count(), "The most processes of a job; 0 for any number.").or("0"),
        KeyDoc::new(
            "init",
            KeyKind::Flag,
            "Whether a small first process hands on signals and collects orphans.",
        )
        .or("true"),
        KeyDoc::new(
            "drop-capabilities",
            KeyKind::List(Box::new(KeyKind::Text)),
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
    let name = || format!("executor {:?} cannot be used", executor.name);
    let settings = settings(config, executor).with_context(name)?;
    endpoint::check(&settings.engine.endpoint).with_context(name)?;
    Ok(Arc::new(SwarmExecutor::start(settings)))
}

fn settings(config: &Config, executor: &ExecutorConfig) -> anyhow::Result<SwarmConfig> {
    let own = &executor.own;
    let all = own.to_json();
    let mut swarm = SwarmConfig::new(config.cluster.name.clone());
    swarm.engine.endpoint = endpoint::endpoint(own)?;
    swarm.engine.answer_within = own.duration("answer-within").unwrap_or(swarm.engine.answer_within);
    swarm.look_at_least_every = own.duration("look-at-least-every").unwrap_or(swarm.look_at_least_every);
    swarm.managers = match own.text("managers") {
        Some("always") => Managers::Always,
        Some("never") => Managers::Never,
        _ => Managers::WhenAlone,
    };
    swarm.backlog_percent = whole(own, "backlog").unwrap_or(0);
    swarm.lost_after = own.duration("lost-after").unwrap_or(swarm.lost_after);
    swarm.gpu_resource = own.text("gpu-resource").map_or(swarm.gpu_resource, str::to_owned);
    swarm.networks = networks(all.get("networks"))?;
    swarm.pids = whole(own, "processes").filter(|&processes| processes > 0);
    swarm.init = own.flag("init").unwrap_or(swarm.init);
    swarm.drop_capabilities = list(&all, "drop-capabilities").unwrap_or(swarm.drop_capabilities);
    swarm.data = own.text("data").map(str::to_owned);
    let table = all.get("images").unwrap_or(&Value::Null);
    swarm.images = images::rules(table)?;
    swarm.registries = images::registries(table)?;
    Ok(swarm)
}

/// Which of them have no way out.
fn networks(table: Option<&Value>) -> anyhow::Result<BTreeMap<String, bool>> {
    let one = |(name, kind): (&String, &Value)| match kind.as_str() {
        Some("internal") => Ok((name.clone(), true)),
        Some("external") => Ok((name.clone(), false)),
        _ => Err(anyhow!("networks.{name:?} is {kind}; write \"internal\" or \"external\"")),
    };
    table.and_then(Value::as_object).into_iter().flatten().map(one).collect()
}

#[cfg(test)]
mod tests {
    use berth_config::Loader;
    use berth_docker_engine::{Endpoint, OwnCertificate, TlsFiles};

    use super::*;

    /// As berth.toml gives it.
    fn read(text: &str) -> anyhow::Result<SwarmConfig> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("berth.toml");
        std::fs::write(&file, format!("[executors.swarm]\n{text}"))?;
        let loaded = Loader::new(&super::super::known()).file(&file).load();
        let config = loaded.map_err(|problems| anyhow!("{problems:?}"))?.config;
        let executor = config.executors.first().ok_or_else(|| anyhow!("no executor"))?;
        settings(&config, executor)
    }

    #[test]
    fn every_key_reaches_the_executor() {
        let swarm = read(
            r#"
            engine = "tcp://boss:2376"
            tls-ca = "/etc/ca.pem"
            tls-cert = "/etc/own.pem"
            tls-key = "/etc/own-key.pem"
            answer-within = "5s"
            look-at-least-every = "4s"
            managers = "never"
            backlog = 50
            lost-after = "1h"
            gpu-resource = "NVIDIA-GPU"
            networks = { inside = "internal", outside = "external" }
            processes = 100
            init = false
            drop-capabilities = ["NET_RAW"]
            data = "/data"
            [executors.swarm.images]
            default = "site/usual:1"
            others = false
            auth-file = "/etc/hostname"
            "#,
        )
        .unwrap();
        let own = OwnCertificate { cert: "/etc/own.pem".into(), key: "/etc/own-key.pem".into() };
        let files = TlsFiles { ca: "/etc/ca.pem".into(), own: Some(own) };
        assert_eq!(swarm.engine.endpoint, Endpoint::Tls { host: "boss:2376".into(), files });
        assert_eq!((swarm.engine.answer_within.as_secs(), swarm.look_at_least_every.as_secs()), (5, 4));
        assert_eq!((swarm.managers, swarm.backlog_percent), (Managers::Never, 50));
        assert_eq!((swarm.lost_after.as_secs(), swarm.gpu_resource.as_str()), (3600, "NVIDIA-GPU"));
        assert_eq!((swarm.networks["inside"], swarm.networks["outside"]), (true, false));
        assert_eq!((swarm.pids, swarm.init), (Some(100), false));
        assert_eq!(swarm.drop_capabilities, ["NET_RAW"]);
        assert_eq!(
            (swarm.data.as_deref(), swarm.images.default.map(|image| image.full())),
            (Some("/data"), Some("site/usual:1".to_owned()))
        );
        assert!(!swarm.images.others && swarm.registries.auth_file.is_some());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, part) in [
            ("engine = \"ssh://host\"", "TLS"),
            ("networks = { inside = \"closed\" }", "internal"),
            ("images = { registry = \"nohost\" }", "images.registry"),
            ("managers = \"sometimes\"", "sometimes"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
