//! The table of names: each is told to policies once and is a number from then on.

use rustc_hash::FxHashMap;

use crate::NameId;

/// Names and their numbers; only ever extended.
#[derive(Debug, Default)]
pub(crate) struct Names {
    all: Vec<Box<str>>,
    numbers: FxHashMap<Box<str>, NameId>,
}

impl Names {
    /// The number of `name`, a new one if it has none yet.
    pub(crate) fn number(&mut self, name: &str) -> NameId {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = NameId::try_from(self.all.len()).unwrap_or(NameId::MAX);
        self.all.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    /// The number of `name`, if it has one.
    pub(crate) fn find(&self, name: &str) -> Option<NameId> {
        self.numbers.get(name).copied()
    }

    /// The name with this number; empty for one that was never given.
    pub(crate) fn name(&self, number: NameId) -> &str {
        self.all.get(number as usize).map_or("", |name| name)
    }

    /// All names from this number on.
    pub(crate) fn from(&self, first: NameId) -> Vec<String> {
        self.all.iter().skip(first as usize).map(|name| name.to_string()).collect()
    }

    /// The number that the next new name will get.
    pub(crate) fn next(&self) -> NameId {
        NameId::try_from(self.all.len()).unwrap_or(NameId::MAX)
    }
}
