//! Who belongs to which project: what the service asks when somebody wants to see another's job.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use berth_engine::StoredAccount;
use berth_model::{AccountKind, AccountTerms, ProjectVolume};

/// The projects as administrators have set them. Follows the engine, once that is durable.
#[derive(Debug, Default)]
pub struct Memberships {
    projects: RwLock<HashMap<String, Arc<AccountTerms>>>,
}

impl Memberships {
    /// What is stored.
    pub fn new(stored: &[StoredAccount]) -> Self {
        let memberships = Self::default();
        for account in stored {
            let terms = account.terms.as_ref().map(|(_, terms)| terms.clone());
            memberships.set(account.kind, &account.name, terms);
        }
        memberships
    }

    /// An account was set, or taken away.
    pub fn set(&self, kind: AccountKind, name: &str, terms: Option<AccountTerms>) {
        if kind != AccountKind::Project {
            return;
        }
        let mut projects = self.projects.write().unwrap_or_else(PoisonError::into_inner);
        match terms {
            Some(terms) => projects.insert(name.to_owned(), Arc::new(terms)),
            None => projects.remove(name),
        };
    }

    fn project(&self, name: &str) -> Option<Arc<AccountTerms>> {
        self.projects.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Whether a user is a member of a project.
    pub fn is_member(&self, project: &str, user: &str) -> bool {
        self.project(project).is_some_and(|terms| terms.members.contains(user))
    }

    /// The group of a project.
    pub fn group(&self, project: &str) -> Option<String> {
        self.project(project)?.group.clone()
    }

    /// The projects that a user is a member of, by name.
    pub fn of(&self, user: &str) -> Vec<String> {
        let projects = self.projects.read().unwrap_or_else(PoisonError::into_inner);
        let is_in = projects.iter().filter(|(_, terms)| terms.members.contains(user));
        let mut names: Vec<String> = is_in.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// The volumes of a project that a user is a member of.
    pub fn volumes(&self, project: &str, user: &str) -> BTreeMap<String, ProjectVolume> {
        let terms = self.project(project).filter(|terms| terms.members.contains(user));
        terms.map(|terms| terms.volumes.clone()).unwrap_or_default()
    }

    /// Whether a user is a member of a project whose members see and control each other's jobs.
    pub fn shares(&self, project: &str, user: &str) -> bool {
        self.project(project).is_some_and(|terms| terms.shared && terms.members.contains(user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_of_a_shared_project_share_its_jobs() {
        let memberships = Memberships::default();
        let terms =
            |shared| AccountTerms { members: ["ann".into()].into(), shared, ..AccountTerms::default() };
        memberships.set(AccountKind::Project, "open", Some(terms(true)));
        memberships.set(AccountKind::Project, "closed", Some(terms(false)));
        memberships.set(AccountKind::Group, "group", Some(terms(true)));
        let shares = ["open", "closed", "group", "none"].map(|project| memberships.shares(project, "ann"));
        assert_eq!(shares, [true, false, false, false]);
        assert!(!memberships.shares("open", "bob"));
        assert!(memberships.is_member("closed", "ann"));
        assert_eq!(memberships.of("ann"), ["closed", "open"]);
        memberships.set(AccountKind::Project, "open", None);
        assert!(!memberships.shares("open", "ann"));
    }
}
