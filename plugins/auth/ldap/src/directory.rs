//! Where people and groups are looked up.

pub use berth_policy_sdk::ldap::{Entry, Failure, Scope, Test};
use berth_policy_sdk::{auth::Denial, ldap};

/// A question to the directory.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Where it begins.
    pub base: &'a str,
    /// How far below that it goes.
    pub scope: Scope,
    /// All of them have to hold; each does when any of its tests does.
    pub clauses: Vec<Vec<Test>>,
    /// What is wanted of each entry.
    pub attributes: Vec<String>,
}

/// The site's directory.
pub trait Directory {
    /// All entries that fit.
    ///
    /// # Errors
    /// Why it cannot be said which they are.
    fn search(&self, question: Question<'_>) -> Result<Vec<Entry>, Failure>;

    /// Whether an entry is let in with the password that a handle stands for.
    ///
    /// # Errors
    /// Why it cannot be said.
    fn bind(&self, dn: &str, password: u64) -> Result<bool, Failure>;
}

/// The one behind the capability `ldap`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host;

impl Directory for Host {
    fn search(&self, question: Question<'_>) -> Result<Vec<Entry>, Failure> {
        let Question { base, scope, clauses, attributes } = question;
        ldap::search(base, scope, &clauses, &attributes)
    }

    fn bind(&self, dn: &str, password: u64) -> Result<bool, Failure> {
        ldap::bind(dn, password)
    }
}

/// That an attribute has this value.
#[must_use]
pub fn equals(attribute: &str, value: impl Into<String>) -> Test {
    Test { attribute: attribute.to_owned(), value: Some(value.into()), negated: false }
}

/// The values of an attribute; none where an entry lacks it.
#[must_use]
pub fn values<'a>(entry: &'a Entry, attribute: &str) -> &'a [String] {
    let found = entry.attributes.iter().find(|(name, _)| name == attribute);
    found.map_or(&[], |(_, values)| values.as_slice())
}

/// Whoever cannot be looked up is not let in, and told that this is not final.
#[must_use]
pub fn denied(failure: Failure) -> Denial {
    Denial::Unavailable(match failure {
        Failure::Unavailable(words) | Failure::Refused(words) => words,
        Failure::TooMany => "the directory answers more than can be read".to_owned(),
    })
}
