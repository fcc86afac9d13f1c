//! From this machine's words to Berth's and back.

use std::{collections::BTreeMap, error::Error, fs};

use berth_executor_api::{
    Action, AttemptState, Capabilities, Description, ExecutorError, LaunchPromise, Node, NodeState,
    Resources,
    files::{FileError, Phase},
};
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::{
    Enforce, LocalConfig,
    supervisor::{
        cgroup,
        protocol::{Found, Order},
    },
};

/// How errors name this executor.
pub(crate) const BACKEND: &str = "local";

pub(crate) fn describe(enforce: Enforce, mut notes: Vec<String>) -> Description {
    match enforce {
        Enforce::Asked => notes.push("limits: held to memory that is asked for, and to CPU likewise".into()),
        Enforce::Always => notes.push("limits: held to all that a job has".into()),
        Enforce::Never => notes = vec!["limits: none, use is only counted".into()],
    }
    notes.push("suspended jobs: their time limit goes on counting".into());
    notes.push("after a power failure, attempts that ran or were about to are lost, never run again".into());
    Description {
        name: BACKEND.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        promise: LaunchPromise::Exact,
        capabilities: Capabilities {
            suspend: true,
            signal: true,
            logs: true,
            stats: true,
            time_limit: true,
            new_time_limit: true,
            exclusive_cpus: true,
            queues: true,
            ..Capabilities::default()
        },
        notes,
    }
}

/// This machine as the one node.
pub(crate) fn node(config: &LocalConfig) -> Node {
    let hostname = hostname();
    let own =
        [("hostname", hostname.as_str()), ("arch", std::env::consts::ARCH), ("os", std::env::consts::OS)];
    let mut labels: BTreeMap<String, String> =
        own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    labels.extend(config.labels.iter().cloned());
    Node {
        name: node_name(config),
        total: Resources {
            cpu_millis: config.cpu_millis.unwrap_or_else(usable_cpu_millis),
            memory_bytes: config.memory_bytes.unwrap_or_else(usable_memory_bytes),
            gpus: 0,
        },
        labels,
        named: BTreeMap::new(),
        state: NodeState::Up,
    }
}

pub(crate) fn node_name(config: &LocalConfig) -> String {
    config.node.clone().unwrap_or_else(hostname)
}

fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".into() } else { name.trim().to_owned() }
}

fn usable_cpu_millis() -> u64 {
    let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    u64::from(set.count().max(1)) * 1000
}

fn usable_memory_bytes() -> u64 {
    let total = memory_total(&fs::read_to_string("/proc/meminfo").unwrap_or_default()).unwrap_or(0);
    cgroup::memory_limit().map_or(total, |limit| limit.min(total))
}

fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

pub(crate) fn order(action: Action) -> Order {
    match action {
        Action::Suspend => Order::Suspend,
        Action::Resume => Order::Resume,
        Action::Signal(signal) => Order::Signal(signal),
        Action::Terminate { grace } => {
            Order::Terminate { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) }
        }
        Action::TimeLimit { limit } => {
            Order::TimeLimit { limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
        }
    }
}

/// What a state means for those who read the attempt's output.
pub(crate) fn phase(state: &AttemptState) -> Phase {
    match state {
        AttemptState::Starting => Phase::Waiting,
        AttemptState::Running | AttemptState::Suspended => Phase::Writing,
        AttemptState::Exited(_) | AttemptState::NoRoom | AttemptState::NodeGone => Phase::Ended,
    }
}

pub(crate) fn phase_found(found: &Found) -> Phase {
    match (found.started, found.ended) {
        (_, true) => Phase::Ended,
        (true, false) => Phase::Writing,
        (false, false) => Phase::Waiting,
    }
}

pub(crate) fn file_error(error: &FileError) -> ExecutorError {
    ExecutorError::Refused { backend: BACKEND.into(), reason: with_causes(error) }
}

/// An error with what caused it, for places that take only text.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn this_machine_is_one_node() {
        let mut config = LocalConfig::new("c", "/none");
        config.labels = vec![("disk".into(), "ssd".into())];
        let found = node(&config);
        assert!(found.total.cpu_millis >= 1000 && found.total.memory_bytes > 1 << 20);
        assert_eq!(found.labels["os"], "linux");
        assert_eq!(found.labels["disk"], "ssd");
        assert_eq!(found.name, found.labels["hostname"]);
        config.node = Some("one".into());
        config.cpu_millis = Some(500);
        config.memory_bytes = Some(1 << 30);
        let told = node(&config);
        assert_eq!(
            (told.name.as_str(), told.total.cpu_millis, told.total.memory_bytes),
            ("one", 500, 1 << 30)
        );
    }

    #[test]
    fn memory_is_read_from_the_kernels_table() {
        assert_eq!(memory_total("MemTotal:        4046280 kB\nMemFree: 1 kB\n"), Some(4_046_280 * 1024));
        assert_eq!(memory_total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn a_grace_keeps_its_length() {
        let action = Action::Terminate { grace: Duration::from_millis(1500) };
        assert!(matches!(order(action), Order::Terminate { grace_ms: 1500 }));
    }
}
