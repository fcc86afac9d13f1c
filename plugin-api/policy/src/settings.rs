//! A policy's settings, as berth.toml has them.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use crate::{Error, Setting, units};

/// The settings of a policy. Each is taken out as it is read; what is left over in the end was a mistake.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    left: BTreeMap<String, String>,
    read: Vec<String>,
}

/// The settings make no sense, in these words.
pub fn bad_settings(words: impl Into<String>) -> Error {
    Error::BadSettings(words.into())
}

impl Settings {
    /// The settings as the host tells them.
    #[must_use]
    pub fn new(settings: Vec<Setting>) -> Self {
        let left = settings.into_iter().map(|setting| (setting.key, setting.value)).collect();
        Self { left, read: Vec::new() }
    }

    /// Takes a setting; `None` when it is not given.
    pub fn take(&mut self, key: &str) -> Option<String> {
        self.read.push(key.to_owned());
        self.left.remove(key)
    }

    /// Takes a setting and makes a value of it; `None` when it is not given.
    ///
    /// # Errors
    /// When it is no such value; `what` says what it should have been.
    pub fn parse<T: FromStr>(&mut self, key: &str, what: impl Display) -> Result<Option<T>, Error> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(bad_settings(format!("{key} = {value:?} is not {what}"))),
        }
    }

    /// Takes a setting that is a list, or one text with commas, without empty entries; an empty one when it is
    /// not given.
    pub fn list(&mut self, key: &str) -> Vec<String> {
        let mut entries: Vec<String> =
            self.take(key).unwrap_or_default().split(',').map(str::to_owned).collect();
        // The host numbers the elements of a list from 0.
        entries.extend((0..).map_while(|at: usize| self.left.remove(&format!("{key}.{at}"))));
        entries
            .iter()
            .map(|entry| entry.trim())
            .filter(|entry| !entry.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Takes a setting that is a span of time: a number of seconds, or one with `ms`, `s`, `m`, `h` or `d`.
    /// In milliseconds.
    ///
    /// # Errors
    /// When it is something else.
    pub fn span_ms(&mut self, key: &str) -> Result<Option<u64>, Error> {
        let Some(value) = self.take(key) else { return Ok(None) };
        units::parse_span_ms(value.trim()).map(Some).ok_or_else(|| {
            bad_settings(format!("{key} = {value:?} is not a span of time such as 90s, 15m, 12h or 7d"))
        })
    }

    /// Takes a setting that is a signal to warn jobs by: its name, such as USR1, or its number.
    ///
    /// # Errors
    /// When it is none, or one that no job can hear.
    pub fn signal(&mut self, key: &str) -> Result<Option<i32>, Error> {
        let Some(value) = self.take(key) else { return Ok(None) };
        units::parse_signal(value.trim()).map(Some).ok_or_else(|| {
            bad_settings(format!(
                "{key} = {value:?} is not a signal that a job can hear, such as USR1 or TERM"
            ))
        })
    }

    /// Takes a setting that is a share such as `5%`. In thousandths.
    ///
    /// # Errors
    /// When it is something else.
    pub fn permille(&mut self, key: &str) -> Result<Option<u64>, Error> {
        let Some(value) = self.take(key) else { return Ok(None) };
        units::parse_permille(value.trim())
            .map(Some)
            .ok_or_else(|| bad_settings(format!("{key} = {value:?} is not a share such as 5%")))
    }

    /// Takes all settings of a table: those with keys that begin with `table` and a dot, without both.
    pub fn table(&mut self, table: &str) -> Vec<(String, String)> {
        let prefix = format!("{table}.");
        self.read.push(format!("{prefix}*"));
        let of_it = |key: &String| key.starts_with(&prefix);
        let taken: Vec<String> = self.left.keys().filter(|key| of_it(key)).cloned().collect();
        let entry = |key: String| {
            let value = self.left.remove(&key).unwrap_or_default();
            key.strip_prefix(&prefix).map(|rest| (rest.to_owned(), value))
        };
        taken.into_iter().filter_map(entry).collect()
    }

    /// Makes sure that every setting was read.
    ///
    /// # Errors
    /// Names the first that was not.
    pub fn finish(self) -> Result<(), Error> {
        let Some(unread) = self.left.keys().next() else { return Ok(()) };
        let known = if self.read.is_empty() { "none".to_owned() } else { self.read.join(", ") };
        Err(bad_settings(format!("there is no setting {unread:?}; this policy reads: {known}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
        Settings::new(pairs.iter().map(setting).collect())
    }

    #[test]
    fn a_setting_that_nobody_read_is_refused_with_those_that_are() {
        let mut settings = settings(&[("limit", "3"), ("limmit", "4")]);
        assert_eq!(settings.parse::<u32>("limit", "a number"), Ok(Some(3)));
        assert_eq!(
            settings.finish(),
            Err(bad_settings("there is no setting \"limmit\"; this policy reads: limit"))
        );
    }

    #[test]
    fn what_is_no_value_is_named_with_what_it_should_be() {
        let mut settings = settings(&[("limit", "many"), ("max", "7 weeks")]);
        assert_eq!(
            settings.parse::<u32>("limit", "a number"),
            Err(bad_settings("limit = \"many\" is not a number"))
        );
        assert!(settings.span_ms("max").is_err());
    }

    #[test]
    fn a_table_is_taken_as_a_whole() {
        let mut settings = settings(&[("volumes.db.path", "/db"), ("volumes.a.path", "/a"), ("v", "1")]);
        let expected = [("a.path", "/a"), ("db.path", "/db")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(settings.table("volumes"), expected);
        assert_eq!(settings.list("v"), ["1"]);
        assert_eq!(settings.finish(), Ok(()));
    }

    #[test]
    fn a_list_is_one_text_with_commas_or_numbered_elements_in_their_order() {
        let mut settings = settings(&[("a", "x, y,,z"), ("b.2", "l"), ("b.1", "k"), ("b.0", "j")]);
        assert_eq!(
            (settings.list("a"), settings.list("c")),
            (vec!["x".into(), "y".into(), "z".into()], vec![])
        );
        assert_eq!(settings.list("b"), ["j", "k", "l"]);
        assert_eq!(settings.finish(), Ok(()));
    }
}
