//! The groups that a person is in. Groups within groups are not looked into.

use berth_policy_sdk::auth::Denial;

use crate::{
    directory::{Directory, Entry, Failure, Question, Scope, Test, denied, equals, values},
    people::Person,
    settings::Layout,
};

/// Groups that only a person's entry names are looked up one by one.
const MOST_LOOK_UPS: usize = 100;

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its distinguished name.
    pub dn: String,
    /// Its names.
    pub names: Vec<String>,
    /// Its number; some have none, and count for roles only.
    pub gid: Option<u32>,
}

impl Group {
    /// Whether it is meant by a name, or by a distinguished name.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name) || self.dn.eq_ignore_ascii_case(name)
    }
}

/// All groups that a person is in, whether the group says so or their entry.
///
/// # Errors
/// When the directory does not say.
pub fn groups(layout: &Layout, directory: &impl Directory, person: &Person) -> Result<Vec<Group>, Denial> {
    let mut groups = match &layout.groups {
        Some(base) => naming(layout, directory, base, person)?,
        None => Vec::new(),
    };
    let known = |groups: &[Group], dn: &str| groups.iter().any(|group| group.dn.eq_ignore_ascii_case(dn));
    let mut look_ups = 0;
    for dn in person.member_of.iter().filter(|dn| is_below(dn, layout.groups.as_deref())) {
        if known(&groups, dn) {
            continue;
        }
        look_ups += 1;
        if look_ups > MOST_LOOK_UPS {
            let words = format!("{} is in more than {MOST_LOOK_UPS} groups that do not say so", person.user);
            return Err(Denial::Unavailable(words));
        }
        groups.extend(at(layout, directory, dn)?);
    }
    Ok(groups)
}

/// Those that have the person as a member. The primary group has its number, and counts by its name, too.
fn naming(
    layout: &Layout,
    directory: &impl Directory,
    base: &str,
    person: &Person,
) -> Result<Vec<Group>, Denial> {
    let names = &layout.names;
    let by_name = names.members.iter().map(|attribute| equals(attribute, &person.user));
    let by_dn = names.member_dns.iter().map(|attribute| equals(attribute, &person.dn));
    let primary = equals(&names.gid, person.gid.to_string());
    let is_in: Vec<Test> = by_name.chain(by_dn).chain([primary]).collect();
    let question = question(layout, base, Scope::Subtree, vec![is_in]);
    let found = directory.search(question).map_err(denied)?;
    Ok(found.into_iter().map(|entry| group(layout, entry)).collect())
}

/// The group at a place; `None` where there is none that fits.
fn at(layout: &Layout, directory: &impl Directory, dn: &str) -> Result<Option<Group>, Denial> {
    let is_named = Test { attribute: layout.names.group.clone(), value: None, negated: false };
    match directory.search(question(layout, dn, Scope::Base, vec![vec![is_named]])) {
        Ok(found) => Ok(found.into_iter().next().map(|entry| group(layout, entry))),
        // The entry may name what is gone, or what is not shown.
        Err(Failure::Refused(_)) => Ok(None),
        Err(failure) => Err(denied(failure)),
    }
}

fn question<'a>(layout: &Layout, base: &'a str, scope: Scope, mut clauses: Vec<Vec<Test>>) -> Question<'a> {
    clauses.extend(layout.group_filter.iter().map(|test| vec![test.clone()]));
    let attributes = vec![layout.names.group.clone(), layout.names.gid.clone()];
    Question { base, scope, clauses, attributes }
}

fn group(layout: &Layout, entry: Entry) -> Group {
    let gid = values(&entry, &layout.names.gid).first().and_then(|gid| gid.parse().ok());
    Group { names: values(&entry, &layout.names.group).to_vec(), gid, dn: entry.dn }
}

/// Whether a group is where the site has its groups, if it says where that is.
fn is_below(dn: &str, base: Option<&str>) -> bool {
    let Some(base) = base else { return true };
    let at = dn.len().checked_sub(base.len()).and_then(|at| at.checked_sub(1));
    let tail = at.and_then(|at| dn.get(at..));
    tail.is_some_and(|tail| tail.strip_prefix(',').is_some_and(|tail| tail.eq_ignore_ascii_case(base)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_below_a_place_whatever_its_capital_letters() {
        let base = Some("ou=groups,dc=a");
        assert!(is_below("cn=x,OU=groups,dc=A", base) && is_below("cn=x,dc=b", None));
        for dn in ["ou=groups,dc=a", "cn=x,ou=mygroups,dc=a", "cn=x,dc=a", "xou=groups,dc=a", "é,dc=a", ""] {
            assert!(!is_below(dn, base), "{dn}");
        }
    }
}
