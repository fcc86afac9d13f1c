//! The plugins that are built in: the only place that names them.

mod docker;
mod endpoint;
mod images;
mod kubernetes;
mod library;
mod sge;
pub mod status;
mod swarm;

use std::sync::Arc;

use anyhow::{Context, anyhow};
use berth_config::{
    Config, Executor as ExecutorConfig, ExecutorKind, KeyDoc, KeyKind, KnownPlugins, PolicyKind as Kind,
};
use berth_executor_api::SharedExecutor;
use berth_executor_fake::{FakeConfig, FakeExecutor};
use berth_executor_local::{Enforce, LocalConfig, LocalExecutor};
use berth_policy_host::{Capability, PolicyKind};

use crate::shipped;

/// What berth.toml may choose from.
pub fn known() -> KnownPlugins {
    let policies = |kind: PolicyKind| {
        let capabilities: Vec<&str> = Capability::ALL
            .into_iter()
            .filter(|&capability| kind.may_have(capability))
            .map(Capability::as_str)
            .collect();
        Kind::new(&shipped::names(kind), &capabilities)
    };
    KnownPlugins {
        executors: vec![
            local_keys(),
            docker::keys(),
            swarm::keys(),
            kubernetes::keys(),
            sge::keys(),
            fake_keys(),
            library::keys(),
        ],
        scheduler: policies(PolicyKind::Scheduler),
        auth: policies(PolicyKind::Auth),
        watcher: policies(PolicyKind::Watcher),
        network: policies(PolicyKind::Network),
        admit: policies(PolicyKind::Admit),
    }
}

fn local_keys() -> ExecutorKind {
    let choice = |names: &[&str]| KeyKind::Choice(names.iter().map(|name| (*name).to_owned()).collect());
    ExecutorKind {
        name: "local".into(),
        about: "Runs jobs as processes of this machine.".into(),
        keys: vec![
            KeyDoc::new(
                "spool",
                KeyKind::Path,
                "Where the supervisor of the processes keeps its journal; on a disk that is not emptied at boot. In the state directory where it is left out.",
            ),
            KeyDoc::new(
                "node",
                KeyKind::Text,
                "This machine's name as a node; its host name where it is left out.",
            ),
            KeyDoc::new(
                "cpus",
                KeyKind::Cpus,
                "CPUs that may be allocated; all that this process may use where it is left out.",
            ),
            KeyDoc::new(
                "memory",
                KeyKind::size(),
                "Memory that may be allocated; this machine's where it is left out.",
            ),
            KeyDoc::new(
                "enforce",
                choice(&["asked", "always", "never"]),
                "Which limits jobs are held to: those that they asked for, all, or none.",
            )
            .or("\"asked\""),
            KeyDoc::new("labels", KeyKind::Open, "Labels of the node, beside hostname, arch and os."),
            KeyDoc::new("data", KeyKind::Path, "The site's data area, told to jobs as GODOCKER_DATA."),
        ],
    }
}

fn fake_keys() -> ExecutorKind {
    ExecutorKind {
        name: "fake".into(),
        about: "Simulates nodes and jobs, for trying policies out.".into(),
        keys: vec![
            KeyDoc::new("nodes", KeyKind::count(), "How many nodes there are.").or("1"),
            KeyDoc::new("cpus", KeyKind::Cpus, "CPUs of each node.").or("4"),
            KeyDoc::new("memory", KeyKind::size(), "Memory of each node.").or("\"16G\""),
            KeyDoc::new("run", KeyKind::duration(), "How long a job runs that does not say; 0 ends at once.")
                .or("0"),
            KeyDoc::new("seed", KeyKind::count(), "What chances are drawn from.").or("0"),
            KeyDoc::new(
                "accepts-per-call",
                KeyKind::count(),
                "How many attempts one launch takes; 0 for all.",
            )
            .or("0"),
            KeyDoc::new(
                "state",
                KeyKind::File,
                "The file that the simulated back end is kept in; in memory only where it is left out.",
            ),
            KeyDoc::new("faults", KeyKind::Open, "The chance of each fault, in thousandths."),
        ],
    }
}

/// Makes an executor as berth.toml describes it.
///
/// # Errors
/// When it cannot be used as it is configured.
pub async fn executor(config: &Config, executor: &ExecutorConfig) -> anyhow::Result<SharedExecutor> {
    match executor.kind.as_str() {
        "local" => {
            let settings = local(config, executor);
            let local = LocalExecutor::start(settings).await;
            Ok(Arc::new(local.with_context(|| format!("executor {:?} cannot be used", executor.name))?))
        }
        "docker" => docker::executor(config, executor).await,
        "swarm" => swarm::executor(config, executor),
        "kubernetes" => kubernetes::executor(config, executor),
        "sge" => sge::executor(config, executor),
        "library" => library::executor(config, executor).await,
        "fake" => {
            let fake = FakeExecutor::new(fake(executor)?);
            Ok(Arc::new(fake.with_context(|| format!("executor {:?} cannot be used", executor.name))?))
        }
        kind => Err(anyhow!("executor {:?} is of kind {kind:?}, which is not built in", executor.name)),
    }
}

fn local(config: &Config, executor: &ExecutorConfig) -> LocalConfig {
    let own = &executor.own;
    let spool = own.path("spool").unwrap_or_else(|| config.cluster.state.join("spool").join(&executor.name));
    let mut local = LocalConfig::new(config.cluster.name.clone(), spool);
    local.node = own.text("node").map(str::to_owned);
    local.cpu_millis = own.cpu_millis("cpus");
    local.memory_bytes = own.bytes("memory");
    local.labels = own.texts("labels").into_iter().collect();
    local.data = own.text("data").map(str::to_owned);
    local.enforce = match own.text("enforce") {
        Some("always") => Enforce::Always,
        Some("never") => Enforce::Never,
        _ => Enforce::Asked,
    };
    local
}

fn fake(executor: &ExecutorConfig) -> anyhow::Result<FakeConfig> {
    let own = &executor.own;
    let mut fake = FakeConfig::default();
    if let Some(node) = fake.nodes.first_mut() {
        node.count = own.whole("nodes").and_then(|count| u32::try_from(count).ok()).unwrap_or(1).max(1);
        node.resources.cpu_millis = own.cpu_millis("cpus").unwrap_or(4000);
        node.resources.memory_bytes = own.bytes("memory").unwrap_or(16 << 30);
    }
    fake.run_ms = own.duration("run").map_or(0, |run| u64::try_from(run.as_millis()).unwrap_or(u64::MAX));
    fake.seed = own.whole("seed").and_then(|seed| u64::try_from(seed).ok()).unwrap_or(0);
    let accepts = own.whole("accepts-per-call").and_then(|count| usize::try_from(count).ok());
    fake.accepts_per_call = accepts.filter(|&count| count > 0);
    fake.state = own.path("state");
    if let Some(faults) = own.to_json().get("faults") {
        fake.faults = serde_json::from_value(faults.clone())
            .with_context(|| format!("the faults of executor {:?} cannot be read", executor.name))?;
    }
    Ok(fake)
}
