//! What holds, and where it comes from: for `berth config show`.

use std::fmt::Write;

use serde_json::{Value, json};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    diagnostics::is_secret,
    known::{KeyDoc, KeyKind},
    shape::names_the_thing,
    source::{Origin, Sources},
    tree::{Node, plain},
};

/// One key that is set, by somebody or by default.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The table's heading, in its brackets.
    heading: String,
    /// Which table of those with the same heading.
    number: usize,
    /// The key.
    key: String,
    /// Names of tables and key, joined with dots; a watcher or filter goes by its place in the list, from 0.
    pub path: String,
    /// The value as TOML; hidden where it may be a secret.
    pub value: String,
    /// Who set it.
    pub origin: Origin,
}

/// Every key that is set, in the order of the sections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective {
    settings: Vec<Setting>,
}

impl Effective {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter()
    }

    /// Who set a key, such as `jobs.grace` or `executors.local.spool`.
    #[must_use]
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        self.settings.iter().find(|setting| setting.path == path).map(|setting| &setting.origin)
    }

    /// As a berth.toml in which every line says where its value comes from.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut table = None;
        let lines = |setting: &Setting| format!("{} = {}", quoted(&setting.key), setting.value);
        let width =
            self.settings.iter().map(|setting| lines(setting).chars().count()).max().unwrap_or(0).min(48);
        for setting in &self.settings {
            let this = (&setting.heading, setting.number);
            if table.replace(this) != Some(this) {
                let gap = if text.is_empty() { "" } else { "\n" };
                let _ = writeln!(text, "{gap}{}", setting.heading);
            }
            let _ = writeln!(text, "{:width$}  # {}", lines(setting), setting.origin);
        }
        text
    }

    /// As data: a list of objects with `key`, `value` (as TOML) and `origin`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let one = |setting: &Setting| json!({ "key": setting.path, "value": setting.value, "origin": setting.origin });
        self.settings.iter().map(one).collect()
    }
}

pub(crate) fn settings_of(root: &DeTable<'_>, keys: &[KeyDoc], sources: &Sources) -> Effective {
    let mut settings = Vec::new();
    for key in keys {
        let Some(node) = root.get(key.name.as_str()) else { continue };
        match (node.get_ref(), &key.kind) {
            (DeValue::Array(array), KeyKind::List(_)) => {
                for (number, one) in array.iter().enumerate() {
                    let DeValue::Table(table) = one.get_ref() else { continue };
                    let path = format!("{}.{number}", key.name);
                    let at = At { heading: key.name.clone(), list: true, number, path };
                    add(table, &at, sources, &mut settings);
                }
            }
            (DeValue::Table(table), _) => {
                let at = At { heading: key.name.clone(), list: false, number: 0, path: key.name.clone() };
                add(table, &at, sources, &mut settings);
            }
            _ => {}
        }
    }
    Effective { settings }
}

/// A table's place.
struct At {
    heading: String,
    list: bool,
    number: usize,
    path: String,
}

fn add(table: &DeTable<'_>, at: &At, sources: &Sources, settings: &mut Vec<Setting>) {
    let heading = if at.list { format!("[[{}]]", at.heading) } else { format!("[{}]", at.heading) };
    let is_table = |node: &Node<'_>| matches!(node.get_ref(), DeValue::Table(_));
    let mut plain_ones: Vec<_> = table.iter().filter(|(_, node)| !is_table(node)).collect();
    plain_ones.sort_by_key(|(name, _)| !names_the_thing(name.get_ref()));
    for (name, node) in plain_ones {
        let key = name.get_ref().to_string();
        let path = format!("{}.{key}", at.path);
        let value =
            if is_secret(&path) { "\"(hidden)\"".to_owned() } else { plain(node.get_ref()).to_string() };
        let (heading, number) = (heading.clone(), at.number);
        settings.push(Setting { heading, number, key, path, value, origin: sources.origin(&name.span()) });
    }
    for (name, node) in table.iter().filter(|(_, node)| is_table(node)) {
        let DeValue::Table(inner) = Spanned::get_ref(node) else { continue };
        let key = name.get_ref();
        let inner_at = At {
            heading: format!("{}.{}", at.heading, quoted(key)),
            list: false,
            number: at.number,
            path: format!("{}.{key}", at.path),
        };
        add(inner, &inner_at, sources, settings);
    }
}

/// A key as TOML has it.
fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { key.to_owned() } else { toml::Value::String(key.to_owned()).to_string() }
}
