//! The keys of the file, as [`KeyDoc`]s, from what `raw.rs` says of itself.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::{
    known::{Bounds, KeyDoc, KeyKind, KnownPlugins},
    raw::{RawConfig, RawExecutor},
};

/// The order in which sections are written.
pub(crate) const SECTIONS: [&str; 19] = [
    "cluster",
    "server",
    "jobs",
    "quotas",
    "store",
    "scheduler",
    "auth",
    "guests",
    "issuers",
    "watchers",
    "network",
    "filters",
    "notices",
    "webhooks",
    "executors",
    "resources",
    "classes",
    "status",
    "log",
];

/// All keys of the file.
pub(crate) fn file_keys(known: &KnownPlugins) -> Vec<KeyDoc> {
    let mut keys = keys_of(&raw_schema::<RawConfig>());
    for key in &mut keys {
        if key.name == "executors" {
            let mut common = keys_of(&raw_schema::<RawExecutor>());
            // Even `kind` follows from the name where it is left out.
            common.iter_mut().for_each(|key| key.required = false);
            key.kind = KeyKind::Kinds { common, kinds: known.executors.clone() };
            key.required = false;
        }
    }
    keys.sort_by_key(|key| SECTIONS.iter().position(|section| *section == key.name));
    keys
}

/// What schemars makes of a type, with everything in one piece.
pub(crate) fn raw_schema<T: schemars::JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn keys_of(schema: &Value) -> Vec<KeyDoc> {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let required = texts(schema.get("required"));
    let mut keys: Vec<_> = properties.iter().map(|(name, schema)| key_of(name, schema, &required)).collect();
    keys.sort_by_key(|key| !names_the_thing(&key.name));
    keys
}

/// Whether a key comes first in its table.
pub(crate) fn names_the_thing(key: &str) -> bool {
    matches!(key, "name" | "kind" | "policy")
}

fn key_of(name: &str, schema: &Value, required: &[String]) -> KeyDoc {
    let default = schema.get("default").filter(|value| !value.is_null()).map(Value::to_string);
    let kind = kind_of(schema);
    // A table is there as soon as one looks for it.
    let filled = default.is_some() || matches!(kind, KeyKind::Table(_));
    KeyDoc {
        name: name.to_owned(),
        about: text(schema.get("description")).split_whitespace().collect::<Vec<_>>().join(" "),
        required: required.iter().any(|key| key == name) && !filled,
        formerly: texts(schema.get("formerly")),
        default,
        kind,
    }
}

fn kind_of(schema: &Value) -> KeyKind {
    let bounds = || {
        let bound = |key| schema.get(key).and_then(Value::as_str).map(str::to_owned);
        Bounds { least: bound("least"), most: bound("most") }
    };
    let one_of = schema.get("enum").or_else(|| schema.get("oneOf"));
    match schema.get("format").and_then(Value::as_str) {
        Some("size") => return KeyKind::Size(bounds()),
        Some("disk-size") => return KeyKind::DiskSize,
        Some("duration") => return KeyKind::Duration(bounds()),
        Some("cpus") => return KeyKind::Cpus,
        Some("mode") => return KeyKind::Mode,
        Some("path") => return KeyKind::Path,
        Some("file") => return KeyKind::File,
        Some("directory") => return KeyKind::Directory,
        _ if one_of.is_some() => return KeyKind::Choice(choices(one_of)),
        _ => {}
    }
    let types = schema.get("type");
    let is =
        |name: &str| types.and_then(Value::as_str) == Some(name) || texts(types).iter().any(|t| t == name);
    let bound = |key: &str, other: i64| schema.get(key).and_then(Value::as_i64).unwrap_or(other);
    if is("boolean") {
        KeyKind::Flag
    } else if is("integer") {
        KeyKind::Whole(bound("minimum", i64::MIN), bound("maximum", i64::MAX))
    } else if is("number") {
        KeyKind::Number
    } else if is("array") {
        KeyKind::List(Box::new(schema.get("items").map_or(KeyKind::Text, kind_of)))
    } else if schema.get("properties").is_some() {
        KeyKind::Table(keys_of(schema))
    } else if is("object") {
        KeyKind::Open
    } else {
        KeyKind::Text
    }
}

fn choices(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    // An enum whose variants have doc comments becomes a `oneOf` of constants.
    let of = |choice: &Value| match choice.get("const") {
        Some(constant) => vec![text(Some(constant))],
        None if choice.get("enum").is_some() => texts(choice.get("enum")),
        None => vec![text(Some(choice))],
    };
    list.iter().flat_map(of).filter(|choice| !choice.is_empty()).collect()
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|one| text(Some(one))).collect()
}

/// The keys that an executor's table may have: the common ones and its kind's. `None` where there is no
/// such kind.
pub(crate) fn executor_keys(kind: &KeyKind, of: &str) -> Option<Vec<KeyDoc>> {
    let KeyKind::Kinds { common, kinds } = kind else { return None };
    let found = kinds.iter().find(|kind| kind.name == of)?;
    Some(common.iter().chain(&found.keys).cloned().collect())
}
