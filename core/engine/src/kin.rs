//! Which accounts belong together: the groups of projects, the members that projects have had, and the users that
//! classes have had.

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
    class_users: FxHashMap<(NameId, NameId), NameId>,
}

impl Kin {
    /// The accounts that a job counts for.
    pub fn keys(&self, whose: Whose) -> Keys {
        let Whose { user, project, class } = whose;
        Keys {
            user,
            project,
            group: self.groups.get(&project).copied(),
            member: self.members.get(&(project, user)).copied(),
            class,
            class_user: class.and_then(|class| self.class_users.get(&(class, user)).copied()),
        }
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

    /// A user has a job of a class: the number of the account for that.
    pub fn join_class(&mut self, names: &mut Names, class: NameId, user: NameId) -> NameId {
        match self.class_users.entry((class, user)) {
            Entry::Occupied(part) => *part.get(),
            Entry::Vacant(part) => {
                let name = format!("{}/{}", names.name(class), names.name(user));
                *part.insert(names.number(&name))
            }
        }
    }

    /// The project and the user of a member's account.
    pub fn of_member(&self, member: NameId) -> Option<(NameId, NameId)> {
        self.parts.get(&member).copied()
    }
}
