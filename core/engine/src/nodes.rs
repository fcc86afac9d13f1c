//! The books: executors, their nodes, and what is allocated on them.

use std::collections::{BTreeMap, VecDeque};

use berth_model::{Closure, ClosureKind, JobId, Resources, Stock};

use crate::{
    Abilities, NameId, NodeId, NodeInfo, NodeTold, PlacementId, PlacementTold, Room,
    closures::{ClosureId, Closures, Party, Shut},
    names::Names,
    placements::Placements,
    pools::{Held, Pools},
};

/// A machine with its allocations.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) executor: NameId,
    pub(crate) name: String,
    pub(crate) total: Resources,
    /// What live jobs hold; more than `total` only if the node has shrunk under them.
    pub(crate) used: Resources,
    /// Its named resources.
    pub(crate) pools: Pools,
    pub(crate) jobs: u32,
    /// Tasks that were sent ahead and wait there for room, oldest first.
    pub(crate) ahead: VecDeque<JobId>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Closures that mean it.
    pub(crate) closures: Vec<ClosureId>,
    usable: bool,
    /// Its executor still names it.
    pub(crate) present: bool,
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

/// All nodes, placements and allocations.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    executors: BTreeMap<NameId, ExecutorState>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) placements: Placements,
    /// Named resources that belong to no node.
    pub(crate) site: Pools,
    /// What administrators have closed.
    pub(crate) closures: Closures,
    /// Nodes that the policy has not been told in their present form.
    stale_nodes: Vec<NodeId>,
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
    pub(crate) fn set_capacity(
        &mut self,
        executor: NameId,
        abilities: Abilities,
        infos: Vec<NodeInfo>,
        names: &mut Names,
    ) {
        let state = self.expect_executor(executor);
        *state = ExecutorState { abilities, known: true, away: None };
        for node in self.nodes.iter_mut().filter(|node| node.executor == executor) {
            node.present = false;
            node.usable = false;
            node.pools.set([]);
        }
        for info in infos {
            let id = self.node_of(executor, &info.name);
            let stocks: Vec<(NameId, Stock)> =
                info.named.into_iter().map(|(name, stock)| (names.number(&name), stock)).collect();
            if let Some(node) = self.nodes.get_mut(id as usize) {
                node.total = info.total;
                node.pools.set(stocks);
                node.closures = self.closures.of_node(&full_name(names.name(executor), &node.name));
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
                pools: Pools::default(),
                jobs: 0,
                ahead: VecDeque::new(),
                labels: BTreeMap::new(),
                closures: Vec::new(),
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
        self.place_anew(executor);
    }

    /// Sets a closure in place of what there was under its name, or takes that away.
    pub(crate) fn set_closure(
        &mut self,
        kind: ClosureKind,
        name: &str,
        terms: Option<(u64, Closure)>,
        names: &mut Names,
    ) {
        self.closures.set(kind, name, terms, names);
        for node in &mut self.nodes {
            node.closures = self.closures.of_node(&full_name(names.name(node.executor), &node.name));
        }
    }

    /// The closures that keep such jobs from starting on a node now.
    pub(crate) fn closed_by<'a>(&'a self, id: NodeId, party: &'a Party) -> impl Iterator<Item = &'a Shut> {
        let ids = self.node(id).into_iter().flat_map(|node| &node.closures);
        ids.filter_map(|&id| self.closures.get(id)).filter(|shut| shut.keeps_out(party, self.closures.now))
    }

    /// Whether new jobs may go there, as far as its executor is concerned.
    pub(crate) fn is_open(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|node| node.usable && self.is_reachable(node.executor))
    }

    fn is_reachable(&self, executor: NameId) -> bool {
        self.executor(executor).is_some_and(|state| state.known && state.away.is_none())
    }

    /// Sets aside what a job of this placement needs. What does not fit is not allocated.
    pub(crate) fn allocate(
        &mut self,
        id: NodeId,
        placement: PlacementId,
        needs: &Resources,
        owner: NameId,
    ) -> Option<Vec<Held>> {
        if !self.has_room(id, placement, needs) {
            return None;
        }
        let held = self.take_named(id, placement, owner);
        let node = self.nodes.get_mut(id as usize)?;
        node.used = node.used.plus(needs);
        node.jobs += 1;
        Some(held)
    }

    /// Notes an allocation that was made before a restart, whether it still fits or not.
    pub(crate) fn allocate_restored(&mut self, id: NodeId, needs: &Resources, held: &[Held]) {
        held.iter().for_each(|held| self.pools_of(id, held.name).note(held));
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

    /// Gives back what was set aside.
    pub(crate) fn release(&mut self, id: NodeId, needs: &Resources, held: &[Held]) {
        held.iter().for_each(|held| self.pools_of(id, held.name).put_back(held));
        self.placements.pools_moved |= !held.is_empty();
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.used = node.used.saturating_sub(needs);
            node.jobs = node.jobs.saturating_sub(1);
        }
    }

    /// What is free on a node at the moment.
    pub(crate) fn free_on(&self, id: NodeId) -> Option<Resources> {
        self.node(id).map(Node::free)
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
        if full {
            nodes = (0..).zip(&self.nodes).map(|(id, _)| id).collect();
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
        (told_nodes, self.tell_placements(full))
    }
}

fn full_name(executor: &str, node: &str) -> String {
    format!("{executor}/{node}")
}
