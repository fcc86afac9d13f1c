//! The simulated nodes: room and ports.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use berth_executor_api::{Launch, LaunchSpec, Launched, Node, NodeState, PortMapping, Resources};

use crate::config::NodeConfig;

/// The ports that a node publishes jobs' ports on, when nobody says which.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

struct Slot {
    node: Node,
    free: Resources,
    ports: BTreeSet<u16>,
}

/// All nodes.
pub(crate) struct Nodes {
    slots: Vec<Slot>,
    by_name: HashMap<String, usize>,
}

impl Nodes {
    pub(crate) fn new(config: &[NodeConfig]) -> Result<Self, String> {
        let mut nodes = Self { slots: Vec::new(), by_name: HashMap::new() };
        for group in config {
            for name in group.names() {
                if nodes.by_name.insert(name.clone(), nodes.slots.len()).is_some() {
                    return Err(format!("two nodes are called {name:?}; give them different names"));
                }
                let (total, labels) = (group.resources, group.labels.clone());
                let node = Node { name, total, labels, named: BTreeMap::new(), state: NodeState::Up };
                nodes.slots.push(Slot { node, free: total, ports: BTreeSet::new() });
            }
        }
        Ok(nodes)
    }

    pub(crate) fn all(&self) -> Vec<Node> {
        self.slots.iter().map(|slot| slot.node.clone()).collect()
    }

    pub(crate) fn name(&self, index: usize) -> Option<&str> {
        self.slots.get(index).map(|slot| slot.node.name.as_str())
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The error is the name that is not known.
    pub(crate) fn set_state(&mut self, name: &str, state: NodeState) -> Option<usize> {
        let index = self.find(name)?;
        self.slots.get_mut(index)?.node.state = state;
        Some(index)
    }

    /// A node for the launch, with its room taken; or the answer why there is none.
    pub(crate) fn place(&mut self, launch: &Launch) -> Result<usize, Launched> {
        let spec = &launch.spec;
        let chosen = match &launch.node {
            Some(name) => {
                let refused = || Launched::Refused { words: format!("there is no node {name:?}") };
                self.find(name).ok_or_else(refused)?
            }
            None => self.first_fit(spec)?,
        };
        let slot = self.slots.get_mut(chosen).ok_or_else(|| no_room("no node"))?;
        slot.check(&spec.resources)?;
        slot.free = slot.free.saturating_sub(&spec.resources);
        Ok(chosen)
    }

    /// Takes room without asking whether it is there: for what was taken before a restart.
    pub(crate) fn take(&mut self, index: usize, resources: &Resources, ports: &[PortMapping]) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.free = slot.free.saturating_sub(resources);
            slot.ports.extend(ports.iter().map(|port| port.host_port));
        }
    }

    pub(crate) fn give_back(&mut self, index: usize, resources: &Resources, ports: &[PortMapping]) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.free = slot.free.plus(resources);
            for port in ports {
                slot.ports.remove(&port.host_port);
            }
        }
    }

    /// Publishes the ports that the spec asks for, where its network has not settled them already.
    pub(crate) fn publish(&mut self, index: usize, spec: &LaunchSpec) -> Vec<PortMapping> {
        let Some(slot) = self.slots.get_mut(index) else { return Vec::new() };
        let settled: BTreeMap<u16, u16> =
            spec.network.iter().flat_map(|network| network.ports.iter().copied()).collect();
        let mut published = Vec::with_capacity(spec.ports.len());
        for job in &spec.ports {
            let free = || PORTS.clone().find(|port| !slot.ports.contains(port));
            let Some(host_port) = settled.get(job).copied().or_else(free) else { continue };
            slot.ports.insert(host_port);
            published.push(PortMapping { job: *job, host: slot.node.name.clone(), host_port });
        }
        published
    }

    fn first_fit(&self, spec: &LaunchSpec) -> Result<usize, Launched> {
        let suits = |slot: &Slot| {
            let labelled =
                spec.constraints.iter().all(|(key, value)| slot.node.labels.get(key) == Some(value));
            labelled && spec.resources.fits_in(&slot.node.total)
        };
        if !self.slots.iter().any(suits) {
            return Err(Launched::Refused { words: format!("no node could ever hold {}", spec.resources) });
        }
        let found = self.slots.iter().position(|slot| suits(slot) && slot.check(&spec.resources).is_ok());
        found.ok_or_else(|| no_room(&format!("no node has {} free", spec.resources)))
    }
}

impl Slot {
    fn check(&self, wanted: &Resources) -> Result<(), Launched> {
        let name = &self.node.name;
        if !wanted.fits_in(&self.node.total) {
            return Err(Launched::Refused { words: format!("node {name:?} could never hold {wanted}") });
        }
        match self.node.state {
            NodeState::Up if wanted.fits_in(&self.free) => Ok(()),
            NodeState::Up => Err(no_room(&format!("node {name:?} has {} free", self.free))),
            NodeState::Draining => Err(no_room(&format!("node {name:?} is draining"))),
            NodeState::Down => Err(no_room(&format!("node {name:?} is down"))),
        }
    }
}

fn no_room(words: &str) -> Launched {
    Launched::NoRoom { words: words.to_owned() }
}
