//! Which accounts belong together: the groups of projects, and the members that projects have had.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use crate::{
    NameId,
    accounts::{Keys, Whose},
    names::Names,
};

/// Leads from a job to its wider accounts.
#[derive(Debug, Default)]
pub(crate) struct Kin {
    groups: FxHashMap<NameId, NameId>,
    members: FxHashMap<(NameId, NameId), NameId>,
    parts: FxHashMap<NameId, (NameId, NameId)>,
}

impl Kin {
    /// The accounts that a job counts for.
    pub fn keys(&self, whose: Whose) -> Keys {
        let Whose { user, project } = whose;
        let group = self.groups.get(&project).copied();
        Keys { user, project, group, member: self.members.get(&(project, user)).copied() }
    }

    /// The group of a project.
    pub fn group(&self, project: NameId) -> Option<NameId> {
        self.groups.get(&project).copied()
    }

    /// Puts a project into a group, or into none.
    pub fn set_group(&mut self, project: NameId, group: Option<NameId>) {
        match group {
            Some(group) => self.groups.insert(project, group),
            None => self.groups.remove(&project),
        };
    }

    /// A user has a job in a project.
    pub fn join(&mut self, names: &mut Names, whose: Whose) {
        let parts = (whose.project, whose.user);
        if let Entry::Vacant(member) = self.members.entry(parts) {
            let name = format!("{}/{}", names.name(whose.project), names.name(whose.user));
            let number = *member.insert(names.number(&name));
            self.parts.insert(number, parts);
        }
    }

    /// The project and the user of a member's account.
    pub fn of_member(&self, member: NameId) -> Option<(NameId, NameId)> {
        self.parts.get(&member).copied()
    }
}
