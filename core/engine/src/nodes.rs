//! The books: executors, their nodes, and what is allocated on them.

use std::collections::{BTreeMap, VecDeque};

use berth_model::{JobId, Resources};

use crate::{Abilities, NameId, NodeId, NodeInfo, NodeTold, PlacementId, PlacementTold, Room, names::Names};

/// A machine with its allocations.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) executor: NameId,
    pub(crate) name: String,
    pub(crate) total: Resources,
    /// What live jobs hold; more than `total` only if the node has shrunk under them.
    pub(crate) used: Resources,
    pub(crate) jobs: u32,
    /// Tasks that were sent ahead and wait there for room, oldest first.
    pub(crate) ahead: VecDeque<JobId>,
    pub(crate) labels: BTreeMap<String, String>,
    usable: bool,
    /// Its executor still names it.
    present: bool,
}

impl Node {
    pub(crate) fn free(&self) -> Resources {
        self.total.saturating_sub(&self.used)
    }
}

/// What is known of an executor.
#[derive(Debug, Default)]
pub(crate) struct ExecutorState {
    pub(crate) abilities: Abilities,
    /// Its nodes have been told at least once.
    pub(crate) known: bool,
    /// Its last words, while it is away.
    pub(crate) away: Option<String>,
}

/// Jobs with the same executor and constraints may run on the same nodes.
#[derive(Debug)]
struct Placement {
    executor: NameId,
    constraints: BTreeMap<String, String>,
    nodes: Vec<NodeId>,
}

/// All nodes, placements and allocations.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    executors: BTreeMap<NameId, ExecutorState>,
    nodes: Vec<Node>,
    placements: Vec<Placement>,
    by_wish: BTreeMap<(NameId, BTreeMap<String, String>), PlacementId>,
    /// Nodes and placements that the policy has not been told in their present form.
    stale_nodes: Vec<NodeId>,
    stale_placements: Vec<PlacementId>,
}

impl Nodes {
    pub(crate) fn executor(&self, name: NameId) -> Option<&ExecutorState> {
        self.executors.get(&name)
    }

    /// Makes sure that the executor exists in the books, before anything is known of it.
    pub(crate) fn expect_executor(&mut self, name: NameId) -> &mut ExecutorState {
        self.executors.entry(name).or_default()
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).zip(&self.nodes).filter(|(_, node)| node.present)
    }

    /// Takes over what an executor says of its nodes.
    pub(crate) fn set_capacity(&mut self, executor: NameId, abilities: Abilities, infos: Vec<NodeInfo>) {
        let state = self.expect_executor(executor);
        *state = ExecutorState { abilities, known: true, away: None };
        for node in self.nodes.iter_mut().filter(|node| node.executor == executor) {
            node.present = false;
            node.usable = false;
        }
        for info in infos {
            let id = self.node_of(executor, &info.name);
            if let Some(node) = self.nodes.get_mut(id as usize) {
                node.total = info.total;
                node.labels = info.labels;
                node.usable = info.usable;
                node.present = true;
            }
        }
        self.refresh(executor);
    }

    /// Notes whether an executor can be reached.
    pub(crate) fn set_away(&mut self, executor: NameId, away: Option<String>) {
        self.expect_executor(executor).away = away;
        self.refresh(executor);
    }

    /// The number of a node, which is made known when it is not: a restored job may name one before its
    /// executor does.
    pub(crate) fn node_of(&mut self, executor: NameId, name: &str) -> NodeId {
        let known = self.nodes.iter().position(|node| node.executor == executor && node.name == name);
        let index = known.unwrap_or_else(|| {
            self.nodes.push(Node {
                executor,
                name: name.to_owned(),
                total: Resources::default(),
                used: Resources::default(),
                jobs: 0,
                ahead: VecDeque::new(),
                labels: BTreeMap::new(),
                usable: false,
                present: false,
            });
            self.nodes.len() - 1
        });
        NodeId::try_from(index).unwrap_or(NodeId::MAX)
    }

    fn refresh(&mut self, executor: NameId) {
        for (id, node) in (0..).zip(&self.nodes) {
            if node.executor == executor && !self.stale_nodes.contains(&id) {
                self.stale_nodes.push(id);
            }
        }
        for id in 0..self.placements.len() {
            let id = PlacementId::try_from(id).unwrap_or(PlacementId::MAX);
            let suitable = self.suitable(id);
            if let Some(placement) = self.placements.get_mut(id as usize)
                && placement.executor == executor
                && placement.nodes != suitable
            {
                placement.nodes = suitable;
                if !self.stale_placements.contains(&id) {
                    self.stale_placements.push(id);
                }
            }
        }
    }

    fn suitable(&self, placement: PlacementId) -> Vec<NodeId> {
        let Some(placement) = self.placements.get(placement as usize) else { return Vec::new() };
        let fits = |node: &Node| {
            node.present
                && node.executor == placement.executor
                && placement.constraints.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        };
        (0..).zip(&self.nodes).filter(|(_, node)| fits(node)).map(|(id, _)| id).collect()
    }

    /// The placement for these wishes.
    pub(crate) fn placement(
        &mut self,
        executor: NameId,
        constraints: &BTreeMap<String, String>,
    ) -> PlacementId {
        let wish = (executor, constraints.clone());
        if let Some(&id) = self.by_wish.get(&wish) {
            return id;
        }
        let id = PlacementId::try_from(self.placements.len()).unwrap_or(PlacementId::MAX);
        self.placements.push(Placement { executor, constraints: constraints.clone(), nodes: Vec::new() });
        let nodes = self.suitable(id);
        if let Some(placement) = self.placements.last_mut() {
            placement.nodes = nodes;
        }
        self.by_wish.insert(wish, id);
        self.stale_placements.push(id);
        id
    }

    /// The executor of a placement.
    pub(crate) fn executor_of(&self, placement: PlacementId) -> NameId {
        self.placements.get(placement as usize).map_or(0, |placement| placement.executor)
    }

    /// The labels that a placement asks for.
    pub(crate) fn constraints_of(&self, placement: PlacementId) -> Option<&BTreeMap<String, String>> {
        self.placements.get(placement as usize).map(|placement| &placement.constraints)
    }

    /// The nodes of a placement, in rising order.
    pub(crate) fn nodes_of(&self, placement: PlacementId) -> &[NodeId] {
        self.placements.get(placement as usize).map_or(&[], |placement| &placement.nodes)
    }

    /// Whether new jobs may go there.
    pub(crate) fn is_open(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|node| node.usable && self.is_reachable(node.executor))
    }

    fn is_reachable(&self, executor: NameId) -> bool {
        self.executor(executor).is_some_and(|state| state.known && state.away.is_none())
    }

    /// Sets `needs` aside. What does not fit is not allocated, and `false` says so.
    pub(crate) fn allocate(&mut self, id: NodeId, needs: &Resources) -> bool {
        match self.nodes.get_mut(id as usize) {
            Some(node) if needs.fits_in(&node.free()) => {
                node.used = node.used.plus(needs);
                node.jobs += 1;
                true
            }
            _ => false,
        }
    }

    /// Notes an allocation that was made before a restart, whether it still fits or not.
    pub(crate) fn allocate_restored(&mut self, id: NodeId, needs: &Resources) {
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.used = node.used.plus(needs);
            node.jobs += 1;
        }
    }

    /// Notes a task that waits on the node for room.
    pub(crate) fn send_ahead(&mut self, id: NodeId, task: JobId) {
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.ahead.push_back(task);
        }
    }

    /// The task that has waited there longest.
    pub(crate) fn first_ahead(&self, id: NodeId) -> Option<JobId> {
        self.node(id)?.ahead.front().copied()
    }

    /// That task waits no longer.
    pub(crate) fn drop_first_ahead(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.ahead.pop_front();
        }
    }

    /// Gives `needs` back.
    pub(crate) fn release(&mut self, id: NodeId, needs: &Resources) {
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.used = node.used.saturating_sub(needs);
            node.jobs = node.jobs.saturating_sub(1);
        }
    }

    /// What is free on a node at the moment.
    pub(crate) fn free_on(&self, id: NodeId) -> Option<Resources> {
        self.node(id).map(Node::free)
    }

    /// The open node with the lowest number on which `needs` fits now.
    pub(crate) fn first_fit(&self, placement: PlacementId, needs: &Resources) -> Option<NodeId> {
        let fits =
            |id: &NodeId| self.is_open(*id) && self.node(*id).is_some_and(|node| needs.fits_in(&node.free()));
        self.nodes_of(placement).iter().copied().find(fits)
    }

    /// What is free on every open node.
    pub(crate) fn room(&self) -> Vec<Room> {
        (0..)
            .zip(&self.nodes)
            .filter(|(id, _)| self.is_open(*id))
            .map(|(node, state)| Room { node, free: state.free() })
            .collect()
    }

    /// Nodes and placements in their present form, those that changed or all.
    pub(crate) fn tell(&mut self, names: &mut Names, full: bool) -> (Vec<NodeTold>, Vec<PlacementTold>) {
        let mut nodes = std::mem::take(&mut self.stale_nodes);
        let mut placements = std::mem::take(&mut self.stale_placements);
        if full {
            nodes = (0..).zip(&self.nodes).map(|(id, _)| id).collect();
            placements = (0..).zip(&self.placements).map(|(id, _)| id).collect();
        }
        let told_nodes = nodes
            .into_iter()
            .filter_map(|id| {
                let node = self.node(id)?;
                let name = names.number(&node.name);
                let usable = self.is_open(id);
                Some(NodeTold { id, name, executor: node.executor, total: node.total, usable })
            })
            .collect();
        let told_placements = placements
            .into_iter()
            .map(|id| PlacementTold { id, nodes: self.nodes_of(id).to_vec() })
            .collect();
        (told_nodes, told_placements)
    }
}
