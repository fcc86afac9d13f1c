//! What a site sets: nodes, defaults of jobs, faults.

use std::{collections::BTreeMap, path::PathBuf};

use berth_executor_api::{LaunchPromise, Resources};
use serde::{Deserialize, Serialize};

/// The settings of one fake executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FakeConfig {
    /// The simulated nodes.
    pub nodes: Vec<NodeConfig>,
    /// How long a job runs that does not say; 0 ends at once.
    pub run_ms: u64,
    /// How much longer it may run, drawn for each attempt.
    pub run_spread_ms: u64,
    /// How long a job that does not say stays in `starting`.
    pub start_ms: u64,
    /// The exit code of a job that does not say.
    pub exit: i32,
    /// How many attempts one launch call takes; the rest are answered with no room.
    pub accepts_per_call: Option<usize>,
    /// The file that the simulated back end is kept in; in memory only where `None`.
    pub state: Option<PathBuf>,
    /// Counts the runs of each attempt, for tests; always on with `state`.
    pub count_runs: bool,
    /// What all draws are derived from.
    pub seed: u64,
    /// Faults that strike by chance.
    pub faults: Faults,
    /// What this executor claims not to be able to do.
    pub without: Vec<Lack>,
    /// What `describe` promises.
    pub promise: LaunchPromise,
}

/// One simulated node, or several alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Its name; with a `count` above 1 they are called `NAME1`, `NAME2` and so on.
    pub name: String,
    /// How many there are.
    pub count: u32,
    /// What each has.
    pub resources: Resources,
    /// Labels for constraints.
    pub labels: BTreeMap<String, String>,
}

/// The chance of each fault, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The launch is answered with no room.
    pub no_room: u16,
    /// Taken first, given back for want of room when it should start.
    pub give_back: u16,
    /// The launch is refused.
    pub refuse: u16,
    /// It cannot be started.
    pub could_not_launch: u16,
    /// It exits with code 1.
    pub fail: u16,
    /// A signal kills it.
    pub signal: u16,
    /// It runs out of memory.
    pub oom: u16,
    /// Its node is lost with it.
    pub node_lost: u16,
    /// It stays in `starting` for `slow_start_ms`.
    pub slow_start: u16,
    /// The launch is done and its answer lost.
    pub lose_reply: u16,
    /// Its reports are lost; `Back` follows after `late_report_ms`.
    pub lose_report: u16,
    /// Its reports come twice.
    pub double_report: u16,
    /// Its reports come `late_report_ms` too late.
    pub late_report: u16,
    /// See `slow_start`.
    pub slow_start_ms: u64,
    /// See `late_report`; 50 where it is 0.
    pub late_report_ms: u64,
}

/// Something that the executor is to be without, to see how the core copes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// Suspend and resume.
    Suspend,
    /// Signals.
    Signal,
    /// Logs.
    Logs,
    /// Usage.
    Stats,
    /// Ending attempts at their time limit.
    TimeLimit,
    /// Published ports.
    Ports,
}

impl Default for FakeConfig {
    fn default() -> Self {
        Self {
            nodes: vec![NodeConfig::default()],
            run_ms: 0,
            run_spread_ms: 0,
            start_ms: 0,
            exit: 0,
            accepts_per_call: None,
            state: None,
            count_runs: false,
            seed: 0,
            faults: Faults::default(),
            without: Vec::new(),
            promise: LaunchPromise::Exact,
        }
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: "fake".into(),
            count: 1,
            resources: Resources { cpu_millis: 4000, memory_bytes: 8 << 30, gpus: 0 },
            labels: BTreeMap::new(),
        }
    }
}

impl NodeConfig {
    /// The names it stands for.
    pub(crate) fn names(&self) -> Vec<String> {
        match self.count {
            1 => vec![self.name.clone()],
            many => (1..=many).map(|number| format!("{}{number}", self.name)).collect(),
        }
    }
}

impl FakeConfig {
    /// Whether it can do this.
    pub(crate) fn has(&self, what: Lack) -> bool {
        !self.without.contains(&what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_a_wrong_key_is_told() {
        let text = r#"
            run_ms = 20
            without = ["suspend", "time-limit"]
            nodes = [{ name = "n", count = 3, resources = { cpu_millis = 500 }, labels = { disk = "ssd" } }]
            faults = { oom = 10 }
        "#;
        let config: FakeConfig = toml::from_str(text).unwrap();
        assert_eq!(config.nodes[0].names(), ["n1", "n2", "n3"]);
        assert_eq!((config.run_ms, config.faults.oom), (20, 10));
        assert!(!config.has(Lack::Suspend) && config.has(Lack::Logs));
        assert!(toml::from_str::<FakeConfig>("run-ms = 20").unwrap_err().to_string().contains("run-ms"));
    }
}
