//! Named resources in the books: how much there is of each, and which units are held.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{NamedGrant, Stock};

use crate::{NameId, names::Names};

/// What jobs ask for, by the number of its name; in rising order, and none of them 0.
pub(crate) type Wanted = Vec<(NameId, u64)>;

/// What an execution holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) name: NameId,
    pub(crate) amount: u64,
    /// The units, where they have numbers.
    pub(crate) units: Vec<u32>,
    /// Whose job it is.
    pub(crate) owner: NameId,
}

/// One named resource, of a node or of the whole site.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    /// `None` when nobody says any more that there is any; some of it may still be held.
    stock: Option<Stock>,
    /// How much is held, units counted in.
    held: u64,
    /// Which units are.
    units: BTreeSet<u32>,
    /// How many jobs of each owner hold some of it.
    holders: BTreeMap<NameId, u32>,
}

impl Pool {
    pub(crate) fn total(&self) -> u64 {
        self.stock.as_ref().map_or(0, Stock::total)
    }

    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// How many jobs hold some of it, and of how many users.
    pub(crate) fn holders(&self) -> (u32, usize) {
        (self.holders.values().sum(), self.holders.len())
    }

    /// How much is free.
    pub(crate) fn free(&self) -> u64 {
        match &self.stock {
            None => 0,
            Some(Stock::Sum(sum)) => sum.saturating_sub(self.held),
            Some(Stock::Units(all)) => {
                let free = all.keys().filter(|unit| !self.units.contains(unit)).count() as u64;
                // What was taken while the units had no numbers may be any of them.
                free.saturating_sub(self.held.saturating_sub(self.units.len() as u64))
            }
        }
    }

    /// Takes so much, which is free: the units with the lowest numbers.
    fn take(&mut self, name: NameId, amount: u64, owner: NameId) -> Held {
        let units: Vec<u32> = match &self.stock {
            Some(Stock::Units(all)) => {
                let free = all.keys().filter(|unit| !self.units.contains(unit));
                free.take(usize::try_from(amount).unwrap_or(usize::MAX)).copied().collect()
            }
            Some(Stock::Sum(_)) | None => Vec::new(),
        };
        let held = Held { name, amount, units, owner };
        self.note(&held);
        held
    }

    fn note(&mut self, held: &Held) {
        self.held = self.held.saturating_add(held.amount);
        self.units.extend(&held.units);
        *self.holders.entry(held.owner).or_default() += 1;
    }

    fn put_back(&mut self, held: &Held) {
        self.held = self.held.saturating_sub(held.amount);
        held.units.iter().for_each(|unit| {
            self.units.remove(unit);
        });
        if let Some(jobs) = self.holders.get_mut(&held.owner) {
            *jobs = jobs.saturating_sub(1);
        }
        self.holders.retain(|_, jobs| *jobs > 0);
    }
}

/// The named resources of a node or of the whole site.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pools(BTreeMap<NameId, Pool>);

impl Pools {
    /// What there is from now on; what is held stays so.
    pub(crate) fn set(&mut self, stocks: impl IntoIterator<Item = (NameId, Stock)>) {
        self.0.values_mut().for_each(|pool| pool.stock = None);
        for (name, stock) in stocks {
            self.0.entry(name).or_default().stock = Some(stock);
        }
        self.0.retain(|_, pool| pool.stock.is_some() || pool.held > 0);
    }

    pub(crate) fn get(&self, name: NameId) -> Option<&Pool> {
        self.0.get(&name)
    }

    /// Whether there is any of it at all.
    pub(crate) fn has(&self, name: NameId) -> bool {
        self.get(name).is_some_and(|pool| pool.stock.is_some())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NameId, &Pool)> {
        self.0.iter().map(|(&name, pool)| (name, pool))
    }

    pub(crate) fn free(&self, name: NameId) -> u64 {
        self.get(name).map_or(0, Pool::free)
    }

    pub(crate) fn take(&mut self, name: NameId, amount: u64, owner: NameId) -> Held {
        self.0.entry(name).or_default().take(name, amount, owner)
    }

    pub(crate) fn note(&mut self, held: &Held) {
        self.0.entry(held.name).or_default().note(held);
    }

    pub(crate) fn put_back(&mut self, held: &Held) {
        if let Some(pool) = self.0.get_mut(&held.name) {
            pool.put_back(held);
            if pool.stock.is_none() && pool.held == 0 {
                self.0.remove(&held.name);
            }
        }
    }

    fn devices(&self, held: &Held) -> Vec<String> {
        let stock = self.get(held.name).and_then(|pool| pool.stock.as_ref());
        stock.map(|stock| stock.devices(&held.units)).unwrap_or_default()
    }
}

impl Held {
    /// As it is kept.
    pub(crate) fn kept(&self, names: &Names) -> NamedGrant {
        let name = names.name(self.name).to_owned();
        NamedGrant { name, amount: self.amount, units: self.units.clone(), devices: Vec::new() }
    }

    /// As an executor is told of it.
    pub(crate) fn told(&self, names: &Names, node: &Pools) -> NamedGrant {
        NamedGrant { devices: node.devices(self), ..self.kept(names) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(numbers: std::ops::Range<u32>) -> Stock {
        Stock::Units(numbers.map(|unit| (unit, Vec::new())).collect())
    }

    #[test]
    fn the_lowest_units_are_given_and_none_twice() {
        let mut pools = Pools::default();
        pools.set([(1, units(0..3))]);
        let (first, second) = (pools.take(1, 1, 7), pools.take(1, 2, 8));
        assert_eq!((&first.units[..], &second.units[..]), (&[0][..], &[1, 2][..]));
        assert_eq!((pools.free(1), pools.get(1).unwrap().holders()), (0, (2, 2)));
        pools.put_back(&first);
        assert_eq!(pools.take(1, 1, 7).units, [0]);
    }

    #[test]
    fn what_is_held_stays_held_when_the_stock_changes_its_form() {
        let mut pools = Pools::default();
        pools.set([(1, Stock::Sum(4))]);
        let held = pools.take(1, 3, 7);
        pools.set([(1, units(0..4))]);
        assert_eq!(pools.free(1), 1, "any three of them may be in use");
        pools.set([]);
        assert!(!pools.has(1) && pools.get(1).is_some());
        pools.put_back(&held);
        assert!(pools.get(1).is_none());
    }

    #[test]
    fn units_of_before_a_restart_are_not_given_again() {
        let mut pools = Pools::default();
        pools.note(&Held { name: 1, amount: 1, units: vec![1], owner: 7 });
        pools.set([(1, units(0..2))]);
        assert_eq!(pools.free(1), 1);
        assert_eq!(pools.take(1, 1, 7).units, [0]);
    }
}
