//! The Swarm's nodes in Berth's words.

use std::collections::{BTreeMap, HashMap};

use berth_docker_engine::{
    bollard::models::{
        GenericResources, Node as SwarmNode, NodeSpecAvailabilityEnum, NodeSpecRoleEnum,
        NodeState as SwarmNodeState, ResourceObject, Task, TaskState,
    },
    engine_time,
};
use berth_executor_api::{Node, NodeState, Resources, UtcMs};

use crate::{Managers, SwarmConfig};

/// What is known of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub id: String,
    /// Its name in Berth.
    pub name: String,
    /// By which it can be reached.
    pub address: String,
    /// All that it has, whoever uses it.
    pub resources: Resources,
    /// Since when it does not answer its manager, by the manager's clock.
    pub down_since: Option<UtcMs>,
    /// As Berth is told of it; `None` where no jobs go.
    pub told: Option<Node>,
}

/// All nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nodes(Vec<Known>);

impl Nodes {
    pub fn by_id(&self, id: &str) -> Option<&Known> {
        self.0.iter().find(|node| node.id == id)
    }

    pub fn by_name(&self, name: &str) -> Option<&Known> {
        self.0.iter().find(|node| node.name == name)
    }

    /// Those that jobs go to.
    pub fn told(&self) -> Vec<Node> {
        self.0.iter().filter_map(|node| node.told.clone()).collect()
    }

    /// What the node is called, its number in the Swarm where it is not known.
    pub fn name_of(&self, id: &str) -> String {
        self.by_id(id).map_or_else(|| id.to_owned(), |node| node.name.clone())
    }
}

/// What is reserved on nodes by others than Berth, by the nodes' numbers.
pub(crate) type Reserved = HashMap<String, Resources>;

/// Adds up what tasks of others reserve where they are. `ours` knows Berth's own by their labels: those are
/// in its books already.
pub(crate) fn reserved(
    tasks: Vec<Task>,
    ours: impl Fn(&HashMap<String, String>) -> bool,
    config: &SwarmConfig,
) -> Reserved {
    let mut all = Reserved::new();
    for task in tasks {
        let state = task.status.as_ref().and_then(|status| status.state);
        let spec = task.spec.unwrap_or_default();
        let labels = spec.container_spec.and_then(|container| container.labels).unwrap_or_default();
        let reservations = spec.resources.and_then(|resources| resources.reservations);
        let (Some(node), Some(reservations)) = (task.node_id, reservations) else { continue };
        if !node.is_empty() && holds(state) && !ours(&labels) {
            let sum = all.entry(node).or_default();
            *sum = sum.plus(&resources(&reservations, &config.gpu_resource));
        }
    }
    all
}

/// Whether a task in this state has what it reserves.
fn holds(state: Option<TaskState>) -> bool {
    use TaskState as S;
    !matches!(state, Some(S::COMPLETE | S::FAILED | S::REJECTED | S::SHUTDOWN | S::ORPHANED | S::REMOVE))
}

/// Takes over a manager's list of nodes, less what others have reserved there.
pub(crate) fn convert(nodes: Vec<SwarmNode>, reserved: &Reserved, config: &SwarmConfig) -> Nodes {
    let mut hostnames: HashMap<String, u32> = HashMap::new();
    for node in &nodes {
        *hostnames.entry(hostname(node)).or_default() += 1;
    }
    let workers = nodes.iter().any(|node| !is_manager(node));
    let managers = match config.managers {
        Managers::Always => true,
        Managers::Never => false,
        Managers::WhenAlone => !workers,
    };
    let known = nodes.into_iter().filter_map(|node| {
        let id = node.id.clone()?;
        let hostname = hostname(&node);
        // Host names need not differ from node to node.
        let name = match hostnames.get(&hostname) {
            Some(1) => hostname,
            _ => format!("{hostname}-{}", id.chars().take(8).collect::<String>()),
        };
        let has = node.description.as_ref().and_then(|description| description.resources.as_ref());
        let resources = has.map(|has| resources(has, &config.gpu_resource)).unwrap_or_default();
        let left = reserved.get(&id).map_or(resources, |others| resources.saturating_sub(others));
        let state = state(&node);
        let told = (managers || !is_manager(&node)).then(|| Node {
            name: name.clone(),
            total: with_backlog(left, config.backlog_percent),
            labels: labels(&node),
            named: BTreeMap::new(),
            state,
        });
        let down_since = (state == NodeState::Down)
            .then(|| node.updated_at.as_deref().and_then(engine_time).unwrap_or_default());
        let address = node.status.and_then(|status| status.addr).unwrap_or_default();
        Some(Known { id, name, address, resources, down_since, told })
    });
    let mut known: Vec<Known> = known.collect();
    known.sort_by(|one, other| one.name.cmp(&other.name));
    Nodes(known)
}

fn hostname(node: &SwarmNode) -> String {
    let named = node.description.as_ref().and_then(|description| description.hostname.clone());
    named.unwrap_or_default()
}

fn is_manager(node: &SwarmNode) -> bool {
    node.spec.as_ref().and_then(|spec| spec.role) == Some(NodeSpecRoleEnum::MANAGER)
}

fn state(node: &SwarmNode) -> NodeState {
    let state = node.status.as_ref().and_then(|status| status.state);
    let availability = node.spec.as_ref().and_then(|spec| spec.availability);
    match (state, availability) {
        (Some(SwarmNodeState::READY), Some(NodeSpecAvailabilityEnum::ACTIVE)) => NodeState::Up,
        (Some(SwarmNodeState::READY), _) => NodeState::Draining,
        _ => NodeState::Down,
    }
}

fn labels(node: &SwarmNode) -> BTreeMap<String, String> {
    let spec = node.spec.clone().unwrap_or_default();
    let mut labels: BTreeMap<String, String> = spec.labels.unwrap_or_default().into_iter().collect();
    labels.insert("hostname".into(), hostname(node));
    labels.insert("role".into(), if is_manager(node) { "manager" } else { "worker" }.into());
    if let Some(platform) = node.description.as_ref().and_then(|description| description.platform.as_ref()) {
        labels.extend(platform.architecture.clone().map(|arch| ("arch".into(), arch)));
        labels.extend(platform.os.clone().map(|os| ("os".into(), os)));
    }
    labels
}

/// A label of a node as a constraint of the Swarm's: what [`labels`] adds of its own has names there.
pub(crate) fn constraint(label: &str, value: &str) -> String {
    let name = match label {
        "hostname" => "node.hostname",
        "role" => "node.role",
        "arch" => "node.platform.arch",
        "os" => "node.platform.os",
        _ => return format!("node.labels.{label}=={value}"),
    };
    format!("{name}=={value}")
}

fn resources(has: &ResourceObject, gpu: &str) -> Resources {
    let whole = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    Resources {
        cpu_millis: whole(has.nano_cpus) / 1_000_000,
        memory_bytes: whole(has.memory_bytes),
        gpus: has.generic_resources.as_ref().map_or(0, |generic| count_of(generic, gpu)),
    }
}

/// How many there are of a kind: counted ones, or those with names of their own.
fn count_of(generic: &GenericResources, kind: &str) -> u32 {
    let of = |entry: &berth_docker_engine::bollard::models::GenericResourcesInner| {
        if let Some(counted) = &entry.discrete_resource_spec {
            let is_it = counted.kind.as_deref() == Some(kind);
            return counted.value.filter(|_| is_it).and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        }
        let named = entry.named_resource_spec.as_ref().and_then(|named| named.kind.as_deref());
        u32::from(named == Some(kind))
    };
    generic.iter().map(of).sum()
}

fn with_backlog(resources: Resources, percent: u64) -> Resources {
    let more = |amount: u64| amount.saturating_add(amount.saturating_mul(percent) / 100);
    Resources {
        cpu_millis: more(resources.cpu_millis),
        memory_bytes: more(resources.memory_bytes),
        gpus: u32::try_from(more(u64::from(resources.gpus))).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use berth_docker_engine::bollard::models::{
        GenericResourcesInner, GenericResourcesInnerDiscreteResourceSpec,
        GenericResourcesInnerNamedResourceSpec, NodeDescription, NodeSpec, NodeStatus, Platform, TaskSpec,
        TaskSpecContainerSpec, TaskSpecResources, TaskStatus,
    };

    use super::*;

    fn node(id: &str, hostname: &str, role: NodeSpecRoleEnum) -> SwarmNode {
        SwarmNode {
            id: Some(id.into()),
            updated_at: Some("2026-11-21T12:00:00Z".into()),
            spec: Some(NodeSpec {
                role: Some(role),
                availability: Some(NodeSpecAvailabilityEnum::ACTIVE),
                labels: Some(HashMap::from([("disk".into(), "ssd".into())])),
                ..NodeSpec::default()
            }),
            description: Some(NodeDescription {
                hostname: Some(hostname.into()),
                platform: Some(Platform { architecture: Some("x86_64".into()), os: Some("linux".into()) }),
                resources: Some(ResourceObject {
                    nano_cpus: Some(2_000_000_000),
                    memory_bytes: Some(1 << 30),
                    generic_resources: None,
                }),
                ..NodeDescription::default()
            }),
            status: Some(NodeStatus {
                state: Some(SwarmNodeState::READY),
                addr: Some("10.0.0.2".into()),
                ..NodeStatus::default()
            }),
            ..SwarmNode::default()
        }
    }

    /// Without others.
    fn convert(nodes: Vec<SwarmNode>, config: &SwarmConfig) -> Nodes {
        super::convert(nodes, &Reserved::new(), config)
    }

    const WORKER: NodeSpecRoleEnum = NodeSpecRoleEnum::WORKER;
    const MANAGER: NodeSpecRoleEnum = NodeSpecRoleEnum::MANAGER;

    fn config() -> SwarmConfig {
        SwarmConfig::new("c")
    }

    #[test]
    fn a_node_is_told_with_what_it_has() {
        let mut config = config();
        config.backlog_percent = 50;
        let nodes = convert(vec![node("id1", "one", WORKER)], &config);
        let told = &nodes.told()[0];
        assert_eq!((told.name.as_str(), told.state), ("one", NodeState::Up));
        assert_eq!((told.total.cpu_millis, told.total.memory_bytes), (3000, 3 << 29));
        assert_eq!(nodes.by_id("id1").unwrap().resources.cpu_millis, 2000);
        assert_eq!((told.labels["disk"].as_str(), told.labels["role"].as_str()), ("ssd", "worker"));
        assert_eq!(constraint("disk", "ssd"), "node.labels.disk==ssd");
        assert_eq!(constraint("arch", "x86_64"), "node.platform.arch==x86_64");
    }

    fn task(node: &str, state: TaskState, cpus: i64, labels: &[(&str, &str)]) -> Task {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let reservations =
            ResourceObject { nano_cpus: Some(cpus * 1_000_000_000), ..ResourceObject::default() };
        Task {
            node_id: Some(node.into()),
            status: Some(TaskStatus { state: Some(state), ..TaskStatus::default() }),
            spec: Some(TaskSpec {
                container_spec: Some(TaskSpecContainerSpec {
                    labels: Some(labels.collect()),
                    ..TaskSpecContainerSpec::default()
                }),
                resources: Some(TaskSpecResources {
                    reservations: Some(reservations),
                    ..TaskSpecResources::default()
                }),
                ..TaskSpec::default()
            }),
            ..Task::default()
        }
    }

    #[test]
    fn what_others_reserve_on_a_node_is_not_told_as_free() {
        let tasks = vec![
            task("1", TaskState::RUNNING, 1, &[]),
            task("1", TaskState::ASSIGNED, 2, &[("of", "someone")]),
            task("1", TaskState::COMPLETE, 4, &[]),
            task("1", TaskState::RUNNING, 8, &[("of", "berth")]),
            task("", TaskState::PENDING, 16, &[]),
            task("2", TaskState::PREPARING, 32, &[]),
        ];
        let ours = |labels: &HashMap<String, String>| labels.get("of").is_some_and(|of| of == "berth");
        let reserved = reserved(tasks, ours, &config());
        let cpus = |node: &str| reserved[node].cpu_millis;
        assert_eq!((reserved.len(), cpus("1"), cpus("2")), (2, 3000, 32_000));

        let mut config = config();
        config.backlog_percent = 100;
        let mut big = node("1", "big", WORKER);
        let has = big.description.as_mut().and_then(|description| description.resources.as_mut()).unwrap();
        has.nano_cpus = Some(4_000_000_000);
        let nodes = super::convert(vec![big, node("2", "full", WORKER)], &reserved, &config);
        let left = |name: &str| nodes.by_name(name).unwrap().told.as_ref().unwrap().total.cpu_millis;
        assert_eq!((left("big"), left("full")), (2000, 0));
        assert_eq!(nodes.by_name("big").unwrap().resources.cpu_millis, 4000);
    }

    #[test]
    fn nodes_of_the_same_name_are_told_apart() {
        let nodes = vec![node("aaaaaaaaaaaa", "one", WORKER), node("bbbbbbbbbbbb", "one", WORKER)];
        let names: Vec<_> = convert(nodes, &config()).told().into_iter().map(|node| node.name).collect();
        assert_eq!(names, ["one-aaaaaaaa", "one-bbbbbbbb"]);
    }

    #[test]
    fn managers_run_jobs_as_far_as_is_set() {
        let names = |managers, nodes: &[SwarmNode]| -> Vec<String> {
            let config = SwarmConfig { managers, ..config() };
            convert(nodes.to_vec(), &config).told().into_iter().map(|node| node.name).collect()
        };
        let both = [node("1", "boss", MANAGER), node("2", "hand", WORKER)];
        assert_eq!(names(Managers::WhenAlone, &both), ["hand"]);
        assert_eq!(names(Managers::WhenAlone, &both[..1]), ["boss"]);
        assert_eq!(names(Managers::Always, &both), ["boss", "hand"]);
        assert_eq!(names(Managers::Never, &both[..1]), [""; 0]);
    }

    #[test]
    fn a_node_that_is_drained_or_away_takes_nothing() {
        let mut drained = node("1", "drained", WORKER);
        drained.spec.as_mut().unwrap().availability = Some(NodeSpecAvailabilityEnum::DRAIN);
        let mut away = node("2", "away", WORKER);
        away.status.as_mut().unwrap().state = Some(SwarmNodeState::DOWN);
        let nodes = convert(vec![drained, away], &config());
        assert_eq!(nodes.by_name("drained").unwrap().told.as_ref().unwrap().state, NodeState::Draining);
        assert_eq!(nodes.by_name("drained").unwrap().down_since, None);
        assert_eq!(nodes.by_name("away").unwrap().told.as_ref().unwrap().state, NodeState::Down);
        assert_eq!(nodes.by_name("away").unwrap().down_since, engine_time("2026-11-21T12:00:00Z"));
    }

    #[test]
    fn gpus_are_counted_whether_they_have_names_or_not() {
        let mut with = node("1", "one", WORKER);
        let counted = |kind: &str, value| GenericResourcesInner {
            discrete_resource_spec: Some(GenericResourcesInnerDiscreteResourceSpec {
                kind: Some(kind.into()),
                value: Some(value),
            }),
            ..GenericResourcesInner::default()
        };
        let named = GenericResourcesInner {
            named_resource_spec: Some(GenericResourcesInnerNamedResourceSpec {
                kind: Some("gpu".into()),
                value: Some("GPU-0".into()),
            }),
            ..GenericResourcesInner::default()
        };
        let generic = vec![counted("gpu", 2), counted("ssd", 5), named];
        with.description.as_mut().unwrap().resources.as_mut().unwrap().generic_resources = Some(generic);
        assert_eq!(convert(vec![with], &config()).told()[0].total.gpus, 3);
    }
}
