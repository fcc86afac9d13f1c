//! The site's directory: questions to LDAP servers that the site has named.
//!
//! A policy gives the parts of a question and never the text of a filter, so that nothing that a user is called
//! can mean anything but itself.

mod client;
mod connection;
mod filter;
mod settings;

use std::{sync::Arc, time::Duration};

pub use self::{
    client::Client,
    settings::{Login, Settings, Tls, Unusable},
};
use crate::{Password, bindings::v0_1_0::ldap as wit, instance::Guest};

/// How far below a place is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Only the place itself.
    Base,
    /// What is directly below it.
    OneLevel,
    /// The place and everything below it.
    Subtree,
}

/// About one attribute of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The attribute's name.
    pub attribute: String,
    /// That one of its values equals this; `None`: that it has any.
    pub value: Option<String>,
    /// The opposite has to hold.
    pub negated: bool,
}

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The distinguished name of the place to begin at.
    pub base: String,
    /// How far below it.
    pub scope: Scope,
    /// All of them have to hold; each does when any of its tests does.
    pub clauses: Vec<Vec<Test>>,
    /// The attributes that are wanted.
    pub attributes: Vec<String>,
}

/// Something that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its distinguished name.
    pub dn: String,
    /// Attributes, as the question named them, with their values that are text.
    pub attributes: Vec<(String, Vec<String>)>,
}

/// Why there is no answer. The words name no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No server has answered; later one may.
    #[error("{0}")]
    Unavailable(String),
    /// More was found than an answer may hold.
    #[error("more was found than an answer may hold")]
    TooMany,
    /// The question makes no sense.
    #[error("{0}")]
    Refused(String),
}

/// Where it is looked. May wait, for as long as `patience` at the most.
pub trait Directory: Send + Sync + 'static {
    /// All entries that fit.
    ///
    /// # Errors
    /// When it cannot be said which they are.
    fn search(&self, question: &Question, patience: Duration) -> Result<Vec<Entry>, Failure>;

    /// Whether an entry is let in with a password. One that does not exist is not.
    ///
    /// # Errors
    /// When it cannot be said.
    fn bind(&self, dn: &str, password: &Password, patience: Duration) -> Result<bool, Failure>;
}

impl From<wit::Scope> for Scope {
    fn from(scope: wit::Scope) -> Self {
        match scope {
            wit::Scope::Base => Self::Base,
            wit::Scope::OneLevel => Self::OneLevel,
            wit::Scope::Subtree => Self::Subtree,
        }
    }
}

impl From<wit::Test> for Test {
    fn from(test: wit::Test) -> Self {
        let wit::Test { attribute, value, negated } = test;
        Self { attribute, value, negated }
    }
}

impl From<Entry> for wit::Entry {
    fn from(entry: Entry) -> Self {
        let Entry { dn, attributes } = entry;
        Self { dn, attributes }
    }
}

impl From<Failure> for wit::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(words) => Self::Unavailable(words),
            Failure::TooMany => Self::TooMany,
            Failure::Refused(words) => Self::Refused(words),
        }
    }
}

impl wit::Host for Guest {
    fn search(
        &mut self,
        base: String,
        scope: wit::Scope,
        clauses: Vec<Vec<wit::Test>>,
        attributes: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<wit::Entry>, wit::Failure>> {
        let clause = |tests: Vec<wit::Test>| tests.into_iter().map(Test::from).collect();
        let clauses = clauses.into_iter().map(clause).collect();
        let question = Question { base, scope: scope.into(), clauses, attributes };
        let found = self.waiting(|guest, patience| {
            // Linked only where it was granted.
            let not_granted = || Failure::Refused("ldap is not granted".to_owned());
            let directory = guest.grants.ldap.as_ref().map(Arc::clone).ok_or_else(not_granted)?;
            directory.search(&question, patience)
        });
        let found: Result<Vec<Entry>, Failure> = found?;
        Ok(found.map(|entries| entries.into_iter().map(Into::into).collect()).map_err(Into::into))
    }

    fn bind(&mut self, dn: String, password: u64) -> wasmtime::Result<Result<bool, wit::Failure>> {
        let Some((_, password)) = self.presented.attempt(password) else { return Ok(Ok(false)) };
        // By RFC 4513 either of them empty means to come as nobody, which servers let everybody do.
        if dn.is_empty() || password.reveal().is_empty() {
            return Ok(Ok(false));
        }
        let bound = self.waiting(|guest, patience| {
            let not_granted = || Failure::Refused("ldap is not granted".to_owned());
            let directory = guest.grants.ldap.as_ref().map(Arc::clone).ok_or_else(not_granted)?;
            directory.bind(&dn, &password, patience)
        });
        let bound: Result<bool, Failure> = bound?;
        if bound == Ok(true) {
            self.presented.note_right();
        }
        Ok(bound.map_err(Into::into))
    }
}
