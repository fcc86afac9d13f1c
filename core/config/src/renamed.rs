//! Keys under names of old: put where they belong now, each with a warning.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    diagnostics::Problem,
    environment::as_key,
    known::{KeyDoc, KeyKind},
    tree::{self, Node},
};

/// A key that was taken out, to be put elsewhere.
struct Found<'s> {
    old: String,
    span: crate::source::Span,
    value: Node<'s>,
}

/// Moves what has a new place.
pub(crate) fn rename<'s>(root: &mut DeTable<'s>, keys: &[KeyDoc], problems: &mut Vec<Problem>) {
    for section in keys {
        match &section.kind {
            KeyKind::Table(inner) => rename_section(root, &section.name, inner, problems),
            KeyKind::Kinds { .. } => rename_in_executors(root, section, problems),
            _ => {}
        }
    }
}

fn rename_section<'s>(root: &mut DeTable<'s>, section: &str, keys: &[KeyDoc], problems: &mut Vec<Problem>) {
    for (key, old) in keys.iter().flat_map(|key| key.formerly.iter().map(move |old| (key, old))) {
        let Some(found) = take(root, old) else { continue };
        if !root.contains_key(section) {
            let empty = Spanned::new(found.span.clone(), DeValue::Table(DeTable::default()));
            root.insert(tree::name(section, found.span.clone()), empty);
        }
        let into = root.get_mut(section).map(Spanned::get_mut);
        put(into, found, &format!("{section}.{}", key.name), &key.name, problems);
    }
}

fn rename_in_executors(root: &mut DeTable<'_>, section: &KeyDoc, problems: &mut Vec<Problem>) {
    let KeyKind::Kinds { kinds, .. } = &section.kind else { return };
    let executors = root.get_mut(section.name.as_str()).map(Spanned::get_mut);
    let Some(DeValue::Table(executors)) = executors else { return };
    for (name, executor) in executors.iter_mut() {
        let of = executor.get_ref().get("kind").and_then(|kind| kind.get_ref().as_str());
        let of = of.unwrap_or(name.get_ref()).to_owned();
        let own = kinds.iter().filter(|kind| kind.name == of).flat_map(|kind| &kind.keys);
        for (key, old) in own.flat_map(|key| key.formerly.iter().map(move |old| (key, old))) {
            let DeValue::Table(table) = executor.get_mut() else { continue };
            let Some(found) = take(table, old) else { continue };
            let path = format!("{}.{}.{}", section.name, name.get_ref(), key.name);
            put(Some(executor.get_mut()), found, &path, &key.name, problems);
        }
    }
}

fn take<'s>(table: &mut DeTable<'s>, old: &str) -> Option<Found<'s>> {
    let written = table.keys().find(|key| as_key(key.get_ref()) == as_key(old))?.get_ref().to_string();
    let (name, value) = table.remove_entry(written.as_str())?;
    Some(Found { old: written, span: name.span(), value })
}

fn put<'s>(
    into: Option<&mut DeValue<'s>>,
    Found { old, span, value }: Found<'s>,
    path: &str,
    new: &str,
    problems: &mut Vec<Problem>,
) {
    let Some(DeValue::Table(table)) = into else { return };
    if table.contains_key(new) {
        let message = format!("`{old}` is the former name of `{path}`, which is set as well");
        problems.push(Problem::error(message).at(&span).label("take this one out"));
        return;
    }
    let message = format!("`{old}` is deprecated");
    problems.push(Problem::warning(message).at(&span).label(format!("use `{path}` instead")));
    table.insert(tree::name(new, span), value);
}
