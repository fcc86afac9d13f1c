//! A limit that a site sets for all, and otherwise for single users and projects.

use std::collections::BTreeMap;

use crate::{Error, Settings, bad_settings};

/// What a user or project is given that has no limit.
const NONE: &str = "none";

/// A limit for all, `users.NAME` and `projects.NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits<T> {
    all: Option<T>,
    users: BTreeMap<String, Option<T>>,
    projects: BTreeMap<String, Option<T>>,
}

impl<T: Copy> Limits<T> {
    /// Reads the limit for all from `key`, and the others from the tables `users` and `projects`. `read` makes a
    /// limit of a text; `what` says what one is.
    ///
    /// # Errors
    /// When one is no limit, or there is none at all.
    pub fn read(
        settings: &mut Settings,
        key: &str,
        read: impl Fn(&str) -> Option<T>,
        what: &str,
    ) -> Result<Self, Error> {
        let limit = |key: &str, text: &str| {
            read(text.trim()).ok_or_else(|| bad_settings(format!("{key} = {text:?} is not {what}")))
        };
        let all = settings.take(key).map(|text| limit(key, &text)).transpose()?;
        let mut table = |name: &str| -> Result<BTreeMap<String, Option<T>>, Error> {
            let entry = |(who, text): (String, String)| match text.trim() {
                NONE => Ok((who, None)),
                _ => Ok((who.clone(), Some(limit(&format!("{name}.{who}"), &text)?))),
            };
            settings.table(name).into_iter().map(entry).collect()
        };
        let limits = Self { all, users: table("users")?, projects: table("projects")? };
        if limits.each().next().is_none() {
            return Err(bad_settings(format!("nobody has a limit; {key} has to be {what}")));
        }
        Ok(limits)
    }

    /// The limit of this user's jobs in this project: the user's own, else the project's, else that of all.
    /// `None` for those without.
    #[must_use]
    pub fn of(&self, user: &str, project: &str) -> Option<T> {
        let own = self.users.get(user).or_else(|| self.projects.get(project));
        own.copied().unwrap_or(self.all)
    }

    /// Every limit that there is.
    pub fn each(&self) -> impl Iterator<Item = T> {
        let single = self.users.values().chain(self.projects.values()).copied().flatten();
        self.all.into_iter().chain(single)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Setting;

    fn limits(pairs: &[(&str, &str)]) -> Result<Limits<u32>, Error> {
        let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
        let mut settings = Settings::new(pairs.iter().map(setting).collect());
        let limits = Limits::read(&mut settings, "max", |text| text.parse().ok(), "a number such as 3")?;
        settings.finish().map(|()| limits)
    }

    #[test]
    fn a_users_own_limit_comes_before_the_projects_and_that_before_the_one_of_all() {
        let pairs = [
            ("max", "1"),
            ("users.alice", "2"),
            ("users.a.b", "none"),
            ("projects.p", "3"),
            ("projects.q", "none"),
        ];
        let limits = limits(&pairs).unwrap();
        let of = |user, project| limits.of(user, project);
        assert_eq!([of("alice", "p"), of("bob", "p"), of("bob", "r")], [Some(2), Some(3), Some(1)]);
        assert_eq!([of("a.b", "p"), of("bob", "q")], [None, None]);
    }

    #[test]
    fn what_is_no_limit_is_named_with_whose_it_is() {
        let words = |pairs| match limits(pairs) {
            Err(Error::BadSettings(words)) => words,
            other => panic!("{other:?}"),
        };
        assert_eq!(words(&[("users.alice", "lots")]), "users.alice = \"lots\" is not a number such as 3");
        assert_eq!(words(&[("users.alice", "none")]), "nobody has a limit; max has to be a number such as 3");
        assert_eq!(words(&[("max", "none")]), "max = \"none\" is not a number such as 3");
    }
}
