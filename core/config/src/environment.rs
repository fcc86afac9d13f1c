//! `BERTH__SECTION__KEY` variables, laid over the file before anything is checked.
//!
//! Two underscores part the names of tables and keys. Within one, upper case and underscores stand for
//! lower case and dashes, so `BERTH__JOBS__DEFAULT_CPUS` is `default-cpus` in `[jobs]`. A watcher or filter is named
//! by its `name`. The value is read as TOML where it is TOML and as a bare text where it is not.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use crate::{
    diagnostics::Problem,
    known::{KeyDoc, KeyKind},
    source::Span,
    tree::{self, Node},
};

/// What every such variable begins with.
pub(crate) const PREFIX: &str = "BERTH__";

/// One variable, and where `NAME=value` stands in the row of sources.
pub(crate) struct Variable<'s> {
    pub(crate) name: &'s str,
    pub(crate) value: &'s str,
    pub(crate) at: usize,
}

/// One name between two pairs of underscores.
#[derive(Clone)]
struct Part<'s> {
    text: &'s str,
    span: Span,
}

/// How a name is compared: as a key of the file would be written.
pub(crate) fn as_key(text: &str) -> String {
    text.to_lowercase().replace('_', "-")
}

/// Lays the variables over the file, in the order of their names.
pub(crate) fn apply<'s>(
    root: &mut DeTable<'s>,
    keys: &[KeyDoc],
    variables: &[Variable<'s>],
    problems: &mut Vec<Problem>,
) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for variable in variables {
        let whole = variable.at..variable.at + variable.name.len();
        if let Some(other) = seen.insert(as_key(variable.name), variable.name) {
            let message = format!("{} and {other} set the same key", variable.name);
            problems.push(Problem::error(message).at(&whole).label("unset one of them"));
            continue;
        }
        let parts = parts(variable);
        if parts.iter().any(|part| part.text.is_empty()) {
            let message = format!("{} has an empty name between underscores", variable.name);
            problems.push(Problem::error(message).at(&whole).label("write BERTH__SECTION__KEY"));
            continue;
        }
        if let Err(problem) = put(root, keys, &parts, variable) {
            problems.push(problem);
        }
    }
}

fn parts<'s>(variable: &Variable<'s>) -> Vec<Part<'s>> {
    let rest = variable.name.strip_prefix(PREFIX).unwrap_or_default();
    let mut at = variable.at + PREFIX.len();
    let part = |text: &'s str| {
        let span = at..at + text.len();
        at = span.end + 2;
        Part { text, span }
    };
    rest.split("__").map(part).collect()
}

fn put<'s>(
    table: &mut DeTable<'s>,
    keys: &[KeyDoc],
    parts: &[Part<'_>],
    variable: &Variable<'s>,
) -> Result<(), Problem> {
    let Some((part, rest)) = parts.split_first() else { return Ok(()) };
    let key = keys.iter().find(|key| as_key(&key.name) == as_key(part.text));
    let written = table.keys().find(|key| as_key(key.get_ref()) == as_key(part.text));
    let spelled = match (key, written) {
        (Some(key), _) => key.name.clone(),
        (None, Some(written)) => written.get_ref().to_string(),
        (None, None) => as_key(part.text),
    };
    let kind = key.map_or(&KeyKind::Open, |key| &key.kind);
    if rest.is_empty() {
        tree::set(
            table,
            tree::name(&spelled, part.span.clone()),
            value_of(variable, key.map(|key| &key.kind)),
        );
        return Ok(());
    }
    let not_a_table = |way_out: &str| {
        let message = format!("{} sets a key within `{spelled}`, which is no table", variable.name);
        Problem::error(message).at(&part.span).label(way_out)
    };
    if table.get(spelled.as_str()).is_none() {
        let empty = match kind {
            KeyKind::List(_) => DeValue::Array(DeArray::default()),
            KeyKind::Table(_) | KeyKind::Kinds { .. } | KeyKind::Open => DeValue::Table(DeTable::default()),
            _ => return Err(not_a_table("leave out what follows this name")),
        };
        let key = tree::name(&spelled, part.span.clone());
        tree::set(table, key, Spanned::new(part.span.clone(), empty));
    }
    match (table.get_mut(spelled.as_str()).map(Spanned::get_mut), kind) {
        (Some(DeValue::Table(inner)), KeyKind::Kinds { common, kinds }) => put(
            inner,
            &named(rest, common.iter().chain(kinds.iter().flat_map(|kind| &kind.keys))),
            rest,
            variable,
        ),
        (Some(DeValue::Table(inner)), KeyKind::Table(keys)) => put(inner, keys, rest, variable),
        (Some(DeValue::Table(inner)), KeyKind::Open) => put(inner, &[], rest, variable),
        (Some(DeValue::Array(array)), KeyKind::List(item)) => match &**item {
            KeyKind::Table(keys) => put_in_list(array, keys, rest, variable),
            _ => Err(not_a_table("leave out what follows this name")),
        },
        _ => Err(not_a_table("unset it, or make that a table")),
    }
}

/// The keys of a table whose only key is the name that comes next.
fn named<'k>(rest: &[Part<'_>], keys: impl Iterator<Item = &'k KeyDoc>) -> Vec<KeyDoc> {
    let name = rest.first().map(|part| as_key(part.text)).unwrap_or_default();
    vec![KeyDoc::new(&name, KeyKind::Table(keys.cloned().collect()), "")]
}

/// Finds the element with that name, or adds one.
fn put_in_list<'s>(
    array: &mut DeArray<'s>,
    keys: &[KeyDoc],
    parts: &[Part<'_>],
    variable: &Variable<'s>,
) -> Result<(), Problem> {
    let Some((part, rest)) = parts.split_first() else { return Ok(()) };
    if rest.is_empty() {
        let message = format!("{} names a whole table", variable.name);
        let label = "add two underscores and one of its keys";
        return Err(Problem::error(message).at(&part.span).label(label));
    }
    let is_it = |node: &Node<'_>| {
        let name = node.get_ref().get("name").and_then(|name| name.get_ref().as_str());
        name.is_some_and(|name| as_key(name) == as_key(part.text))
    };
    let index = array.iter().position(is_it).unwrap_or_else(|| {
        let mut table = DeTable::default();
        table.insert(tree::name("name", part.span.clone()), tree::text(as_key(part.text), part.span.clone()));
        array.push(Spanned::new(part.span.clone(), DeValue::Table(table)));
        array.len() - 1
    });
    match array.get_mut(index).map(Spanned::get_mut) {
        Some(DeValue::Table(table)) => put(table, keys, rest, variable),
        _ => Ok(()),
    }
}

fn value_of<'s>(variable: &Variable<'s>, kind: Option<&KeyKind>) -> Node<'s> {
    let at = variable.at + variable.name.len() + 1;
    let bare = || tree::text(variable.value, at..at + variable.value.len());
    let Some(read) = tree::read_value(variable.value, at) else { return bare() };
    let is_text = matches!(read.get_ref(), DeValue::String(_));
    if kind.is_some_and(KeyKind::is_textual) && !is_text { bare() } else { read }
}
