//! Compares the parsed file with the keys that there are. What is wrong is reported and taken out, so
//! that the rest can be looked at too.

use std::path::{Path, PathBuf};

use berth_model::{parse_bytes, parse_cpus, parse_disk, parse_duration};
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use crate::{
    diagnostics::{Problem, nearest},
    known::{Bounds, KeyDoc, KeyKind},
    quantity::parse_mode,
    shape::executor_keys,
    source::{Origin, Sources, Span},
    tree::{Node, found},
};

/// Checks a whole file.
pub(crate) struct Checker<'a> {
    pub(crate) sources: &'a Sources,
    pub(crate) problems: &'a mut Vec<Problem>,
}

impl Checker<'_> {
    /// Checks the table called `path`; false if it is of no use. `span` is where to say that a key is
    /// missing.
    pub(crate) fn table(
        &mut self,
        path: &str,
        span: &Span,
        table: &mut DeTable<'_>,
        keys: &[KeyDoc],
    ) -> bool {
        let mut wrong = Vec::new();
        for (name, value) in table.iter_mut() {
            let text: &str = name.get_ref();
            let fits = match keys.iter().find(|key| key.name == text) {
                Some(key) => self.value(&join(path, text), &name.span(), value, &key.kind),
                None => {
                    self.unknown_key(path, text, &name.span(), keys);
                    false
                }
            };
            if !fits {
                wrong.push(text.to_owned());
            }
        }
        let missing = keys.iter().filter(|key| key.required && !table.contains_key(key.name.as_str()));
        let missing: Vec<&str> = missing.map(|key| key.name.as_str()).collect();
        for name in &missing {
            let message = format!("{path} has no `{name}`");
            self.problems.push(Problem::error(message).at(span).label(format!("add `{name} = …`")));
        }
        for name in &wrong {
            table.remove(name.as_str());
        }
        missing.is_empty() && !keys.iter().any(|key| key.required && wrong.contains(&key.name))
    }

    fn unknown_key(&mut self, path: &str, text: &str, span: &Span, keys: &[KeyDoc]) {
        let table = if path.is_empty() { "at the top".to_owned() } else { format!("in [{path}]") };
        let names = || keys.iter().map(|key| key.name.as_str());
        let near = nearest(text, names());
        let problem = match self.sources.origin(span) {
            Origin::Variable(variable) => {
                let upper = |near: &str| near.to_uppercase().replace('-', "_");
                Problem::error(format!("{variable} sets an unknown key `{text}` {table}")).label(
                    near.map_or("unset it".to_owned(), |near| format!("did you mean `{}`?", upper(near))),
                )
            }
            _ => Problem::error(format!("unknown key `{text}` {table}"))
                .label(near.map_or("take it out".to_owned(), |near| format!("did you mean `{near}`?"))),
        };
        let known = format!("the keys {table} are {}", names().collect::<Vec<_>>().join(", "));
        let problem = if near.is_none() && !keys.is_empty() { problem.help(known) } else { problem };
        self.problems.push(problem.at(span));
    }

    /// Checks one value, and makes paths absolute; false if it does not fit.
    fn value(&mut self, path: &str, key: &Span, value: &mut Node<'_>, kind: &KeyKind) -> bool {
        use KeyKind as K;
        let span = value.span();
        match (kind, value.get_mut()) {
            (K::Open, DeValue::Table(_)) | (K::Text, DeValue::String(_)) | (K::Flag, DeValue::Boolean(_)) => {
                true
            }
            (K::Number, DeValue::Integer(_) | DeValue::Float(_)) => true,
            (K::Table(keys), DeValue::Table(table)) => self.table(path, key, table, keys),
            (K::Kinds { .. }, DeValue::Table(table)) => self.executors(path, table, kind),
            (K::List(item), DeValue::Array(array)) => self.list(path, array, item),
            (K::Choice(choices), DeValue::String(text)) => self.choice(path, &span, text, choices),
            (K::Whole(least, most), DeValue::Integer(number)) => {
                self.whole(path, &span, number, i128::from(*least), i128::from(*most))
            }
            (K::Path | K::File | K::Directory, DeValue::String(text)) => {
                let path = self.path(path, &span, text, kind);
                path.map(|path| *text = path.to_string_lossy().into_owned().into()).is_some()
            }
            (K::Size(bounds), DeValue::String(_) | DeValue::Integer(_)) => {
                self.quantity(path, value, bounds, &parse_bytes)
            }
            (K::DiskSize, DeValue::String(_) | DeValue::Integer(_)) => {
                let bounds = Bounds { least: Some("1".to_owned()), most: None };
                self.quantity(path, value, &bounds, &parse_disk)
            }
            (K::Duration(bounds), DeValue::String(_) | DeValue::Integer(_)) => {
                self.quantity(path, value, bounds, &|text| parse_duration(text).map(millis))
            }
            (K::Cpus, DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_)) => {
                self.quantity(path, value, &Bounds::default(), &parse_cpus)
            }
            (K::Mode, DeValue::String(_) | DeValue::Integer(_)) => self.mode(path, value),
            _ => self.wrong_type(path, value, kind),
        }
    }

    fn wrong_type(&mut self, path: &str, value: &Node<'_>, kind: &KeyKind) -> bool {
        let message = format!("{path} takes {}, not {}", expected(kind), found(value.get_ref()));
        self.problems.push(Problem::error(message).at(&value.span()).label(example(kind)));
        false
    }

    fn choice(&mut self, path: &str, span: &Span, text: &str, choices: &[String]) -> bool {
        if choices.iter().any(|choice| choice == text) {
            return true;
        }
        let problem = Problem::error(format!("{path} cannot be {text:?}")).at(span);
        let all = choices.iter().map(|choice| format!("{choice:?}")).collect::<Vec<_>>().join(", ");
        self.problems.push(match nearest(text, choices.iter().map(String::as_str)) {
            Some(near) => problem.label(format!("did you mean {near:?}?")),
            None => problem.label(format!("write one of {all}")),
        });
        false
    }

    fn whole(&mut self, path: &str, span: &Span, number: &DeInteger<'_>, least: i128, most: i128) -> bool {
        let value = i128::from_str_radix(number.as_str(), number.radix());
        let problem = match value {
            Ok(value) if (least..=most).contains(&value) => return true,
            Ok(value) if value < 0 && least >= 0 => Problem::error(format!("{path} must not be negative")),
            Ok(value) if value < least => Problem::error(format!("{path} is too small")),
            _ => Problem::error(format!("{path} is too large")),
        };
        let label = match most == i128::from(i64::MAX) {
            true => format!("write {least} or more"),
            false => format!("write a number from {least} to {most}"),
        };
        self.problems.push(problem.at(span).label(label));
        false
    }

    fn quantity<T: std::fmt::Display>(
        &mut self,
        path: &str,
        value: &Node<'_>,
        bounds: &Bounds,
        read: &dyn Fn(&str) -> Result<u64, T>,
    ) -> bool {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.as_str().to_owned(),
            _ => String::new(),
        };
        let problem = match read(&text) {
            Ok(amount) => {
                let bound = |bound: &Option<String>| bound.as_deref().and_then(|bound| read(bound).ok());
                match (bound(&bounds.least), bound(&bounds.most), bounds) {
                    (Some(least), _, Bounds { least: Some(words), .. }) if amount < least => {
                        Problem::error(format!("{path} is too small")).label(format!("the least is {words}"))
                    }
                    (_, Some(most), Bounds { most: Some(words), .. }) if amount > most => {
                        Problem::error(format!("{path} is too large")).label(format!("the most is {words}"))
                    }
                    _ => return true,
                }
            }
            Err(_) if text.starts_with('-') => {
                Problem::error(format!("{path} must not be negative")).label("write it without the minus")
            }
            Err(_) if only_too_many_digits(&text, read) => {
                Problem::error(format!("{path} is too large")).label("write a smaller one")
            }
            Err(error) => {
                let words = error.to_string();
                let (what, way_out) = words.split_once("; ").unwrap_or((&words, "write another one"));
                Problem::error(format!("{path}: {what}")).label(way_out)
            }
        };
        self.problems.push(problem.at(&value.span()));
        false
    }

    fn mode(&mut self, path: &str, value: &Node<'_>) -> bool {
        let fits = match value.get_ref() {
            DeValue::String(text) => parse_mode(text).is_some(),
            DeValue::Integer(number) => number.radix() == 8 && parse_mode(number.as_str()).is_some(),
            _ => false,
        };
        if !fits {
            let message = format!("{path} takes permission bits in octal");
            self.problems.push(Problem::error(message).at(&value.span()).label("write \"0660\" or 0o660"));
        }
        fits
    }

    fn path(&mut self, path: &str, span: &Span, text: &str, kind: &KeyKind) -> Option<PathBuf> {
        let (problem, way_out) = if text.is_empty() {
            (format!("{path} is an empty path"), "write a path, or take the line out".to_owned())
        } else if text.starts_with("~/") {
            (format!("{path} begins with `~`, which is not replaced"), "write the whole path".to_owned())
        } else {
            let whole = self.sources.resolve(span, Path::new(text));
            match trouble(&whole, kind) {
                None => return Some(whole),
                Some((what, way_out)) => (format!("{path}: {what}"), way_out),
            }
        };
        self.problems.push(Problem::error(problem).at(span).label(way_out));
        None
    }

    fn list(&mut self, path: &str, array: &mut DeArray<'_>, item: &KeyKind) -> bool {
        let old = std::mem::replace(array, std::iter::empty().collect());
        for mut one in old {
            let span = one.span();
            if self.value(path, &span, &mut one, item) {
                array.push(one);
            }
        }
        true
    }

    fn executors(&mut self, path: &str, table: &mut DeTable<'_>, kinds: &KeyKind) -> bool {
        let mut wrong = Vec::new();
        for (name, value) in table.iter_mut() {
            let (text, span) = (name.get_ref().to_string(), name.span());
            if !self.executor(&join(path, &text), &text, &span, value, kinds) {
                wrong.push(text);
            }
        }
        for name in wrong {
            table.remove(name.as_str());
        }
        true
    }

    fn executor(
        &mut self,
        path: &str,
        name: &str,
        key: &Span,
        value: &mut Node<'_>,
        kinds: &KeyKind,
    ) -> bool {
        let DeValue::Table(table) = value.get_mut() else {
            return self.wrong_type(path, value, &KeyKind::Open);
        };
        let (kind, span) = match table.get("kind") {
            Some(kind) => match kind.get_ref() {
                DeValue::String(text) => (text.to_string(), kind.span()),
                _ => return self.wrong_type(&join(path, "kind"), kind, &KeyKind::Text),
            },
            None => (name.to_owned(), key.clone()),
        };
        if let Some(keys) = executor_keys(kinds, &kind) {
            return self.table(path, key, table, &keys);
        }
        let KeyKind::Kinds { kinds, .. } = kinds else { return false };
        let names = || kinds.iter().map(|kind| kind.name.as_str());
        let all = names().collect::<Vec<_>>().join(", ");
        let problem = if table.contains_key("kind") {
            Problem::error(format!("there is no executor of kind {kind:?}"))
        } else {
            Problem::error(format!("{path} has no `kind`, and no kind is called {name:?}"))
        };
        let problem = match nearest(&kind, names()) {
            Some(near) => problem.label(format!("did you mean {near:?}?")),
            None => problem.label(format!("the kinds are {all}")),
        };
        self.problems.push(problem.at(&span));
        false
    }
}

/// Whether a quantity would be one with fewer digits.
fn only_too_many_digits<T>(text: &str, read: &dyn Fn(&str) -> Result<u64, T>) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    text.len() - unit.len() > 9 && read(&format!("1{unit}")).is_ok()
}

/// What keeps a path from being used, and the way out.
fn trouble(path: &Path, kind: &KeyKind) -> Option<(String, String)> {
    let (wanted, what) = match kind {
        KeyKind::Directory => (path, "directory"),
        KeyKind::File => (path.parent().unwrap_or(path), "directory"),
        _ => return None,
    };
    let shown = wanted.display();
    match std::fs::metadata(wanted) {
        Ok(found) if !found.is_dir() => {
            Some((format!("{shown} is not a directory"), "name another one".into()))
        }
        Ok(_) if *kind == KeyKind::File && path.is_dir() => {
            Some((format!("{} is a directory", path.display()), "name a file in it".into()))
        }
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Some((format!("{what} {shown} does not exist"), format!("create it: mkdir -p {shown}")))
        }
        Err(error) => {
            Some((format!("{what} {shown} cannot be looked at: {error}"), "name another one".into()))
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn expected(kind: &KeyKind) -> &'static str {
    use KeyKind as K;
    match kind {
        K::Text | K::Choice(_) => "a text",
        K::Flag => "true or false",
        K::Whole(..) => "a whole number",
        K::Number => "a number",
        K::Size(_) => "a size",
        K::DiskSize => "a size on a disk",
        K::Duration(_) => "a duration",
        K::Cpus => "a number of CPUs",
        K::Mode => "permission bits",
        K::Path | K::File | K::Directory => "a path",
        K::List(_) => "a list",
        K::Table(_) | K::Kinds { .. } | K::Open => "a table",
    }
}

fn example(kind: &KeyKind) -> &'static str {
    use KeyKind as K;
    match kind {
        K::Text | K::Choice(_) => "put it in quotes",
        K::Flag => "write true or false",
        K::Whole(..) | K::Number => "write it without quotes, such as 3",
        K::Size(_) => "write \"512M\" or \"2G\"",
        K::DiskSize => "write \"500m\" or \"2g\"",
        K::Duration(_) => "write \"90s\" or \"1h30m\"",
        K::Cpus => "write 2, 0.5 or \"500m\"",
        K::Mode => "write \"0660\"",
        K::Path | K::File | K::Directory => "put the path in quotes",
        K::List(item) if matches!(**item, K::Table(_)) => {
            "write the name of the table in two pairs of brackets"
        }
        K::List(_) => "put it in brackets",
        K::Table(_) | K::Kinds { .. } | K::Open => "make it a table of its own",
    }
}
