//! Placements: which nodes jobs with the same wishes may run on, and which of them can take one now.

use std::collections::BTreeMap;

use berth_model::Resources;

use crate::{
    NameId, NodeId, PlacementId, PlacementTold,
    choice::Choice,
    closures::Party,
    nodes::{Node, Nodes},
    pools::{Held, Pools, Wanted},
};

/// What decides where a job may run. Jobs with equal wishes share a placement.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wish {
    pub(crate) executor: NameId,
    /// Labels that the node has to have.
    pub(crate) constraints: BTreeMap<String, String>,
    /// Named resources, with how much of each.
    pub(crate) named: Wanted,
    /// What closures have to know of its jobs.
    pub(crate) party: Party,
    /// Nodes that it is to avoid, in rising order.
    pub(crate) avoids: Vec<NodeId>,
}

#[derive(Debug)]
struct Placement {
    wish: Wish,
    /// Nodes that it could ever run on, in rising order.
    nodes: Vec<NodeId>,
    /// Those of them that the policy was told.
    told: Option<Vec<NodeId>>,
}

/// All placements.
#[derive(Debug, Default)]
pub(crate) struct Placements {
    all: Vec<Placement>,
    by_wish: BTreeMap<Wish, PlacementId>,
    /// Those that the policy has not been told in their present form.
    stale: Vec<PlacementId>,
    /// Named resources were taken or given back since the policy was told.
    pub(crate) pools_moved: bool,
}

impl Placements {
    fn get(&self, id: PlacementId) -> Option<&Placement> {
        self.all.get(id as usize)
    }

    fn ids(&self) -> impl Iterator<Item = PlacementId> + use<> {
        0..PlacementId::try_from(self.all.len()).unwrap_or(PlacementId::MAX)
    }

    fn is_stale_now(&mut self, id: PlacementId) {
        if !self.stale.contains(&id) {
            self.stale.push(id);
        }
    }
}

impl Nodes {
    /// The placement for these wishes.
    pub(crate) fn placement(&mut self, wish: Wish) -> PlacementId {
        if let Some(&id) = self.placements.by_wish.get(&wish) {
            return id;
        }
        let id = PlacementId::try_from(self.placements.all.len()).unwrap_or(PlacementId::MAX);
        let nodes = self.suitable(&wish);
        self.closures.note_lasts(wish.party.lasts);
        self.placements.by_wish.insert(wish.clone(), id);
        self.placements.all.push(Placement { wish, nodes, told: None });
        self.placements.stale.push(id);
        id
    }

    /// The placement that has the wishes of another one, for other jobs.
    pub(crate) fn placement_of(&mut self, like: PlacementId, party: Party) -> PlacementId {
        match self.wish_of(like) {
            Some(wish) if wish.party != party => {
                let wish = Wish { party, ..wish.clone() };
                self.placement(wish)
            }
            _ => like,
        }
    }

    /// Likewise, but for certain nodes.
    pub(crate) fn placement_like(
        &mut self,
        like: PlacementId,
        party: Party,
        avoids: &[NodeId],
    ) -> PlacementId {
        match self.wish_of(like) {
            Some(wish) if wish.party != party || wish.avoids != avoids => {
                let wish = Wish { party, avoids: avoids.to_vec(), ..wish.clone() };
                self.placement(wish)
            }
            _ => like,
        }
    }

    /// The nodes of an executor have changed.
    pub(crate) fn place_anew(&mut self, executor: NameId) {
        for id in self.placements.ids() {
            let Some(placement) =
                self.placements.get(id).filter(|placement| placement.wish.executor == executor)
            else {
                continue;
            };
            let suitable = self.suitable(&placement.wish);
            if let Some(placement) = self.placements.all.get_mut(id as usize)
                && placement.nodes != suitable
            {
                placement.nodes = suitable;
                self.placements.is_stale_now(id);
            }
        }
        self.placements.pools_moved = true;
    }

    fn suitable(&self, wish: &Wish) -> Vec<NodeId> {
        let enough = |node: &Node| {
            wish.named.iter().all(|&(name, amount)| {
                let pools = if self.site.has(name) { &self.site } else { &node.pools };
                pools.get(name).is_some_and(|pool| amount <= pool.total())
            })
        };
        self.labelled(wish).filter(|(_, node)| enough(node)).map(|(id, _)| id).collect()
    }

    /// Nodes of the executor with the labels, whatever named resources they have.
    fn labelled<'a>(&'a self, wish: &'a Wish) -> impl Iterator<Item = (NodeId, &'a Node)> {
        (0..).zip(&self.nodes).filter(|(_, node)| {
            node.present
                && node.executor == wish.executor
                && wish.constraints.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        })
    }

    /// What a placement is for.
    pub(crate) fn wish_of(&self, placement: PlacementId) -> Option<&Wish> {
        self.placements.get(placement).map(|placement| &placement.wish)
    }

    /// The executor of a placement.
    pub(crate) fn executor_of(&self, placement: PlacementId) -> NameId {
        self.wish_of(placement).map_or(0, |wish| wish.executor)
    }

    /// The named resources that a placement asks for.
    pub(crate) fn named_of(&self, placement: PlacementId) -> &[(NameId, u64)] {
        self.wish_of(placement).map_or(&[], |wish| &wish.named)
    }

    /// The nodes that jobs of a placement could ever run on, in rising order.
    pub(crate) fn nodes_of(&self, placement: PlacementId) -> &[NodeId] {
        self.placements.get(placement).map_or(&[], |placement| &placement.nodes)
    }

    /// Those that the policy was told: it keeps to these.
    pub(crate) fn told_nodes_of(&self, placement: PlacementId) -> &[NodeId] {
        self.placements.get(placement).and_then(|placement| placement.told.as_deref()).unwrap_or_default()
    }

    /// The most that there is of a named resource for jobs with these labels, in one place.
    pub(crate) fn most_named(&self, placement: PlacementId, name: NameId) -> u64 {
        if self.site.has(name) {
            return self.site.get(name).map_or(0, |pool| pool.total());
        }
        let Some(wish) = self.wish_of(placement) else { return 0 };
        let totals = self.labelled(wish).filter_map(|(_, node)| node.pools.get(name));
        totals.map(|pool| pool.total()).max().unwrap_or(0)
    }

    /// How much is free of a named resource for a job on this node.
    pub(crate) fn free_named(&self, node: &Node, name: NameId) -> u64 {
        if self.site.has(name) { self.site.free(name) } else { node.pools.free(name) }
    }

    /// Whether a node can take a job of this placement now, as far as policies do not judge that themselves.
    fn admits(&self, id: NodeId, wish: &Wish) -> bool {
        self.lets_in(id, wish) && self.has_named(id, wish)
    }

    /// Whether such jobs may start on a node now, whether there is room or not.
    fn lets_in(&self, id: NodeId, wish: &Wish) -> bool {
        wish.avoids.binary_search(&id).is_err() && self.closed_by(id, &wish.party).next().is_none()
    }

    /// Whether a node takes jobs of a placement now, whether there is room or not.
    pub(crate) fn takes(&self, id: NodeId, placement: PlacementId) -> bool {
        self.is_open(id) && self.wish_of(placement).is_some_and(|wish| self.lets_in(id, wish))
    }

    fn has_named(&self, id: NodeId, wish: &Wish) -> bool {
        let Some(node) = self.node(id) else { return false };
        wish.named.iter().all(|&(name, amount)| amount <= self.free_named(node, name))
    }

    /// Whether a job of this placement has a place on the node now, and may start there.
    pub(crate) fn fits(&self, id: NodeId, placement: PlacementId, needs: &Resources) -> bool {
        let wish = self.wish_of(placement);
        wish.is_some_and(|wish| self.lets_in(id, wish)) && self.has_room(id, placement, needs)
    }

    /// Whether there is room for it on the node.
    pub(crate) fn has_room(&self, id: NodeId, placement: PlacementId, needs: &Resources) -> bool {
        let Some(placement) = self.placements.get(placement) else { return false };
        placement.nodes.binary_search(&id).is_ok()
            && self.node(id).is_some_and(|node| needs.fits_in(&node.free()))
            && self.has_named(id, &placement.wish)
    }

    /// The nodes that take jobs and on which those of a placement may start now, whether there is room or not.
    pub(crate) fn taking(&self, placement: PlacementId) -> impl Iterator<Item = NodeId> {
        let found = self.placements.get(placement);
        let nodes = found.into_iter().flat_map(|found| found.nodes.iter().map(|&id| (id, &found.wish)));
        nodes.filter(|&(id, wish)| self.is_open(id) && self.lets_in(id, wish)).map(|(id, _)| id)
    }

    /// Whether a change of what is free, or of what is closed, may change which nodes a placement has.
    pub(crate) fn depends(&self, placement: PlacementId) -> bool {
        !self.closures.is_empty() || !self.named_of(placement).is_empty()
    }

    /// The open node that a start of the placement goes to now.
    pub(crate) fn best_fit(
        &self,
        choice: Choice,
        placement: PlacementId,
        needs: &Resources,
    ) -> Option<NodeId> {
        if choice == Choice::FirstFit {
            return self.first_fit(placement, needs);
        }
        let fits = self.taking(placement).filter(|&id| self.has_room(id, placement, needs));
        fits.min_by_key(|&id| {
            let node = self.node(id);
            (node.map(|node| choice.rank(needs, &node.total, &node.free())), id)
        })
    }

    /// The open node with the lowest number on which a job of the placement fits now.
    pub(crate) fn first_fit(&self, placement: PlacementId, needs: &Resources) -> Option<NodeId> {
        let found = self.placements.get(placement)?;
        let fits = |id: &NodeId| {
            self.is_open(*id)
                && self.node(*id).is_some_and(|node| needs.fits_in(&node.free()))
                && self.admits(*id, &found.wish)
        };
        found.nodes.iter().copied().find(fits)
    }

    /// Where a named resource is kept count of.
    pub(crate) fn pools_of(&mut self, id: NodeId, name: NameId) -> &mut Pools {
        match self.nodes.get_mut(id as usize) {
            Some(node) if !self.site.has(name) => &mut node.pools,
            _ => &mut self.site,
        }
    }

    /// Takes the named resources of a placement, which are free.
    pub(crate) fn take_named(&mut self, id: NodeId, placement: PlacementId, owner: NameId) -> Vec<Held> {
        let named = self.named_of(placement).to_vec();
        self.placements.pools_moved |= !named.is_empty();
        named.into_iter().map(|(name, amount)| self.pools_of(id, name).take(name, amount, owner)).collect()
    }

    /// The nodes that can take a job of the placement now, as far as policies do not judge that themselves.
    fn open_nodes(&self, placement: &Placement) -> Vec<NodeId> {
        placement.nodes.iter().copied().filter(|&id| self.admits(id, &placement.wish)).collect()
    }

    /// Placements in their present form, those that changed or all. A node that has too little of a named resource
    /// at the moment is left out, so that policies need not know of such things.
    pub(crate) fn tell_placements(&mut self, full: bool) -> Vec<PlacementTold> {
        let mut stale = std::mem::take(&mut self.placements.stale);
        let moved = std::mem::take(&mut self.placements.pools_moved);
        let shifted = self.closures.have_shifted();
        let with_named = |id: &PlacementId| !self.named_of(*id).is_empty();
        if full || shifted {
            stale = self.placements.ids().collect();
        } else if moved {
            stale.extend(self.placements.ids().filter(with_named));
            stale.sort_unstable();
            stale.dedup();
        }
        let mut told = Vec::with_capacity(stale.len());
        for id in stale {
            let Some(open) = self.placements.get(id).map(|placement| self.open_nodes(placement)) else {
                continue;
            };
            let Some(placement) = self.placements.all.get_mut(id as usize) else { continue };
            if full || placement.told.as_ref() != Some(&open) {
                placement.told = Some(open.clone());
                told.push(PlacementTold { id, nodes: open });
            }
        }
        told
    }
}
