//! The cluster's nodes: what there is for jobs, and what others have taken of it.

use std::collections::{BTreeMap, HashMap};

use berth_executor_api::{Node, NodeState, Resources, UtcMs};
use k8s_openapi::{
    api::core::v1::{self as core, Pod, Taint},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{
    KubernetesConfig,
    config::Capacity,
    convert::{bytes_of, millis_of},
    standing::{is_live, time},
};

type Amounts = BTreeMap<String, Quantity>;

/// What is known of nodes, and of Pods there that are not this cluster's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes {
    nodes: BTreeMap<String, Known>,
    /// By the Pod's uid: on which node it is, and what it asks for there.
    others: HashMap<String, (String, Resources)>,
    /// What was told last.
    told: Option<Vec<Node>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    allocatable: Resources,
    labels: BTreeMap<String, String>,
    state: NodeState,
    /// Since when it does not answer.
    down_since: Option<UtcMs>,
}

impl Nodes {
    /// Takes over a node; whether it is one for jobs and anything about whether it answers is new.
    pub fn see(&mut self, node: &core::Node, config: &KubernetesConfig) -> bool {
        let Some(name) = node.metadata.name.clone() else { return false };
        let before = self.nodes.get(&name).map(|known| known.down_since);
        let now = known(node, config);
        let after = now.as_ref().map(|known| known.down_since);
        match now {
            Some(known) => self.nodes.insert(name, known),
            None => self.nodes.remove(&name),
        };
        before != after
    }

    pub fn gone(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// Takes over somebody else's Pod.
    pub fn see_other(&mut self, pod: &Pod, config: &KubernetesConfig) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        match node.filter(|_| is_live(pod)) {
            Some(node) => self.others.insert(uid, (node, requested(pod, config))),
            None => self.others.remove(&uid),
        };
    }

    pub fn other_gone(&mut self, uid: &str) {
        self.others.remove(uid);
    }

    /// Keeps only those that a whole list has.
    pub fn only_nodes(&mut self, listed: &[String]) {
        self.nodes.retain(|name, _| listed.contains(name));
    }

    pub fn only_others(&mut self, listed: &std::collections::HashSet<String>) {
        self.others.retain(|uid, _| listed.contains(uid));
    }

    /// Whether a node of this name is known to be none, or none for jobs.
    pub fn lacks(&self, name: &str) -> bool {
        !self.nodes.is_empty() && !self.nodes.contains_key(name)
    }

    /// Since when the node does not answer.
    pub fn down_since(&self, name: &str) -> Option<UtcMs> {
        self.nodes.get(name)?.down_since
    }

    /// What is to be told of nodes, if it was not told before.
    pub fn news(&mut self, config: &KubernetesConfig) -> Option<Vec<Node>> {
        let now = self.all(config);
        let new = self.told.as_ref() != Some(&now);
        self.told = Some(now.clone());
        new.then_some(now)
    }

    pub fn all(&self, config: &KubernetesConfig) -> Vec<Node> {
        if let Capacity::Share { name, total } = &config.capacity {
            return vec![Node {
                name: name.clone(),
                total: with_backlog(*total, config.backlog_percent),
                labels: config.node_selector.clone(),
                named: BTreeMap::new(),
                state: NodeState::Up,
            }];
        }
        let mut taken: HashMap<&str, Resources> = HashMap::new();
        for (node, asked) in self.others.values() {
            let sum = taken.entry(node).or_insert(NOTHING);
            *sum = plus(*sum, *asked);
        }
        let one = |(name, known): (&String, &Known)| {
            let free = minus(known.allocatable, taken.get(name.as_str()).copied().unwrap_or(NOTHING));
            Node {
                name: name.clone(),
                total: with_backlog(free, config.backlog_percent),
                labels: known.labels.clone(),
                named: BTreeMap::new(),
                state: known.state,
            }
        };
        self.nodes.iter().map(one).collect()
    }
}

const NOTHING: Resources = Resources { cpu_millis: 0, memory_bytes: 0, gpus: 0 };

fn plus(one: Resources, other: Resources) -> Resources {
    Resources {
        cpu_millis: one.cpu_millis.saturating_add(other.cpu_millis),
        memory_bytes: one.memory_bytes.saturating_add(other.memory_bytes),
        gpus: one.gpus.saturating_add(other.gpus),
    }
}

fn minus(one: Resources, other: Resources) -> Resources {
    Resources {
        cpu_millis: one.cpu_millis.saturating_sub(other.cpu_millis),
        memory_bytes: one.memory_bytes.saturating_sub(other.memory_bytes),
        gpus: one.gpus.saturating_sub(other.gpus),
    }
}

fn most(one: Resources, other: Resources) -> Resources {
    Resources {
        cpu_millis: one.cpu_millis.max(other.cpu_millis),
        memory_bytes: one.memory_bytes.max(other.memory_bytes),
        gpus: one.gpus.max(other.gpus),
    }
}

fn with_backlog(total: Resources, percent: u64) -> Resources {
    let more = |amount: u64| amount.saturating_add(amount / 100 * percent);
    let gpus = u64::from(total.gpus) * (100 + percent) / 100;
    Resources {
        cpu_millis: more(total.cpu_millis),
        memory_bytes: more(total.memory_bytes),
        gpus: u32::try_from(gpus).unwrap_or(u32::MAX),
    }
}

fn amounts(amounts: Option<&Amounts>, config: &KubernetesConfig) -> Resources {
    let get = |name: &str| amounts.and_then(|amounts| amounts.get(name));
    Resources {
        cpu_millis: get("cpu").map_or(0, millis_of),
        memory_bytes: get("memory").map_or(0, bytes_of),
        gpus: get(&config.gpu_resource).map_or(0, |count| u32::try_from(bytes_of(count)).unwrap_or(u32::MAX)),
    }
}

/// What a Pod asks for, as the scheduler counts it: its containers together, or the largest of those that run
/// before them if that is more.
fn requested(pod: &Pod, config: &KubernetesConfig) -> Resources {
    let Some(spec) = pod.spec.as_ref() else { return NOTHING };
    let of = |container: &core::Container| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        amounts(requests, config)
    };
    let beside = |container: &&core::Container| container.restart_policy.as_deref() == Some("Always");
    let before = spec.init_containers.as_ref();
    let together = spec.containers.iter().chain(before.into_iter().flatten().filter(beside));
    let together = together.map(of).fold(NOTHING, plus);
    let first = before.into_iter().flatten().map(of).fold(NOTHING, most);
    plus(most(together, first), amounts(spec.overhead.as_ref(), config))
}

/// The node, if jobs may be placed there.
fn known(node: &core::Node, config: &KubernetesConfig) -> Option<Known> {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let wanted = config.node_selector.iter().all(|(label, value)| labels.get(label) == Some(value));
    let spec = node.spec.clone().unwrap_or_default();
    let taints = spec.taints.unwrap_or_default();
    if !wanted || taints.iter().any(|taint| keeps_off(taint, config)) {
        return None;
    }
    let status = node.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|one| one.type_ == "Ready");
    let is_ready = ready.is_some_and(|ready| ready.status == "True");
    let since = ready.and_then(|ready| ready.last_transition_time.as_ref()).map(time);
    Some(Known {
        allocatable: amounts(status.and_then(|status| status.allocatable.as_ref()), config),
        labels,
        state: match (is_ready, spec.unschedulable) {
            (false, _) => NodeState::Down,
            (true, Some(true)) => NodeState::Draining,
            (true, _) => NodeState::Up,
        },
        down_since: (!is_ready).then(|| since.unwrap_or_default()),
    })
}

/// Whether a taint keeps jobs off. What Kubernetes itself marks nodes with that are away or cordoned is known
/// otherwise.
fn keeps_off(taint: &Taint, config: &KubernetesConfig) -> bool {
    let of_kubernetes = ["unschedulable", "not-ready", "unreachable"];
    let own = taint.key.strip_prefix("node.kubernetes.io/").is_some_and(|name| of_kubernetes.contains(&name));
    let tolerated = config.tolerations.iter().any(|toleration| {
        toleration.key == taint.key
            && toleration.value.as_ref().is_none_or(|value| Some(value) == taint.value.as_ref())
            && toleration.effect.as_ref().is_none_or(|effect| *effect == taint.effect)
    });
    !own && !tolerated && taint.effect != "PreferNoSchedule"
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;
