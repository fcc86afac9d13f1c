//! A directory with the sample user in it, for checks.

use std::time::Duration;

use super::{SAMPLE_PASSWORD, SAMPLE_USER};
use crate::{
    Password, Passwords,
    ldap::{Directory, Entry, Failure, Question, Scope, Test},
};

/// Whatever the place is called at which somebody looks, the sample user is right below it.
pub(super) struct SampleDirectory;

const OBJECT_CLASS: &str = "objectClass";

fn attributes() -> [(&'static str, String); 7] {
    let (user, uid) = SAMPLE_USER;
    [
        (OBJECT_CLASS, "posixAccount".to_owned()),
        ("uid", user.to_owned()),
        ("cn", user.to_owned()),
        ("uidNumber", uid.to_string()),
        ("gidNumber", uid.to_string()),
        ("homeDirectory", format!("/home/{user}")),
        ("mail", format!("{user}@example.org")),
    ]
}

fn holds(test: &Test) -> bool {
    let fits = |(name, value): &(&str, String)| {
        name.eq_ignore_ascii_case(&test.attribute) && test.value.as_ref().is_none_or(|wanted| wanted == value)
    };
    attributes().iter().any(fits) != test.negated
}

/// The sample user's password, and nobody else's.
pub(super) struct SamplePasswords;

impl Passwords for SamplePasswords {
    fn check(&self, user: &str, password: &Password) -> Result<bool, String> {
        Ok(user == SAMPLE_USER.0 && password.reveal() == SAMPLE_PASSWORD)
    }
}

impl Directory for SampleDirectory {
    fn bind(&self, dn: &str, password: &Password, _patience: Duration) -> Result<bool, Failure> {
        Ok(dn.starts_with(&format!("uid={}", SAMPLE_USER.0)) && password.reveal() == SAMPLE_PASSWORD)
    }

    fn search(&self, question: &Question, _patience: Duration) -> Result<Vec<Entry>, Failure> {
        let fits = question.clauses.iter().all(|clause| clause.iter().any(holds));
        if !fits || question.scope == Scope::Base {
            return Ok(Vec::new());
        }
        let value = |wanted: &String| {
            let same = attributes().into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            same.map(|(_, value)| (wanted.clone(), vec![value]))
        };
        let dn = format!("uid={},{}", SAMPLE_USER.0, question.base);
        Ok(vec![Entry { dn, attributes: question.attributes.iter().filter_map(value).collect() }])
    }
}
