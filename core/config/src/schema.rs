//! What the file may say, for editors (JSON Schema) and for people (a commented berth.toml).

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::{
    known::{Bounds, KeyDoc, KeyKind, KnownPlugins},
    raw::RawConfig,
    shape::{SECTIONS, file_keys, raw_schema},
};

/// How wide a line of the commented file is.
const WIDTH: usize = 100;

/// The JSON Schema of berth.toml, with descriptions and defaults.
#[must_use]
pub fn schema(known: &KnownPlugins) -> Value {
    let mut root = raw_schema::<RawConfig>();
    scrub(&mut root);
    let executors = file_keys(known).into_iter().find(|key| key.name == "executors");
    if let (Some(Value::Object(schema)), Some(KeyDoc { kind: KeyKind::Kinds { common, kinds }, .. })) =
        (root.pointer_mut("/properties/executors"), executors)
    {
        let one = kinds.iter().map(|kind| {
            let keys: Vec<_> = common.iter().chain(&kind.keys).cloned().collect();
            let mut table = table_schema(&keys);
            set(&mut table, "title", kind.name.clone().into());
            set(&mut table, "description", kind.about.clone().into());
            if let Some(Value::Object(of)) = table.pointer_mut("/properties/kind") {
                of.insert("const".to_owned(), kind.name.clone().into());
            }
            table
        });
        schema.insert("additionalProperties".to_owned(), json!({ "anyOf": one.collect::<Vec<_>>() }));
    }
    set(&mut root, "title", "berth.toml".into());
    root
}

/// Takes out what TOML has no word for, and what is for this crate alone.
fn scrub(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            // Everything may be left out, but what makes a watcher, a filter, a webhook or an issuer.
            let has = |key: &str| object.get("properties").is_some_and(|keys| keys.get(key).is_some());
            if has("every") || has("on-failure") {
                object.insert("required".to_owned(), json!(["name", "policy"]));
            } else if has("key-file") {
                object.insert("required".to_owned(), json!(["name", "url", "key-file"]));
            } else if has("audience") {
                object.insert("required".to_owned(), json!(["url", "audience"]));
            } else if object.get("required").is_some_and(Value::is_array) {
                object.remove("required");
            }
            let null = |value: &Value| value.is_null() || *value == "null";
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|one| !null(one));
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            object.values_mut().for_each(scrub);
        }
        Value::Array(array) => array.iter_mut().for_each(scrub),
        _ => {}
    }
}

fn set(schema: &mut Value, key: &str, value: Value) {
    if let Value::Object(object) = schema {
        object.insert(key.to_owned(), value);
    }
}

fn table_schema(keys: &[KeyDoc]) -> Value {
    let property = |key: &KeyDoc| {
        let mut schema = kind_schema(&key.kind);
        set(&mut schema, "description", key.about.clone().into());
        if let Some(default) = key.default.as_deref().and_then(as_json) {
            set(&mut schema, "default", default);
        }
        (key.name.clone(), schema)
    };
    let properties: Map<String, Value> = keys.iter().map(property).collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name.as_str()).collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        set(&mut schema, "required", json!(required));
    }
    schema
}

fn kind_schema(kind: &KeyKind) -> Value {
    use KeyKind as K;
    let bounded = |types: Value, format: &str, bounds: &Bounds| {
        let mut schema = json!({ "type": types, "format": format });
        for (key, bound) in [("least", &bounds.least), ("most", &bounds.most)] {
            if let Some(bound) = bound {
                set(&mut schema, key, bound.clone().into());
            }
        }
        schema
    };
    match kind {
        K::Text => json!({ "type": "string" }),
        K::Choice(choices) => json!({ "type": "string", "enum": choices }),
        K::Flag => json!({ "type": "boolean" }),
        K::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        K::Number => json!({ "type": "number" }),
        K::Size(bounds) => bounded(json!(["string", "integer"]), "size", bounds),
        K::DiskSize => json!({ "type": ["string", "integer"], "format": "disk-size" }),
        K::Duration(bounds) => bounded(json!(["string", "integer"]), "duration", bounds),
        K::Cpus => json!({ "type": ["string", "number"], "format": "cpus" }),
        K::Mode => json!({ "type": ["string", "integer"], "format": "mode" }),
        K::Path => json!({ "type": "string", "format": "path" }),
        K::File => json!({ "type": "string", "format": "file" }),
        K::Directory => json!({ "type": "string", "format": "directory" }),
        K::List(item) => json!({ "type": "array", "items": kind_schema(item) }),
        K::Table(keys) => table_schema(keys),
        K::Kinds { .. } | K::Open => json!({ "type": "object", "additionalProperties": true }),
    }
}

fn as_json(toml: &str) -> Option<Value> {
    let table: toml::Table = toml::from_str(&format!("it = {toml}")).ok()?;
    serde_json::to_value(table.get("it")?).ok()
}

/// A commented berth.toml with every key and its default; every line of it is a comment but the
/// headings of sections, so that it is valid as it is and changes nothing.
#[must_use]
pub fn reference(known: &KnownPlugins) -> String {
    let mut text = String::new();
    comment(
        &mut text,
        raw_schema::<RawConfig>().get("description").and_then(Value::as_str).unwrap_or_default(),
    );
    let keys = file_keys(known);
    for section in SECTIONS.iter().filter_map(|name| keys.iter().find(|key| key.name == *name)) {
        text.push('\n');
        comment(&mut text, &section.about);
        match &section.kind {
            KeyKind::Table(keys) => write_table(&mut text, &section.name, keys, ""),
            KeyKind::List(item) => {
                let KeyKind::Table(keys) = &**item else { continue };
                let _ = writeln!(text, "# [[{}]]", section.name);
                write_keys(&mut text, &section.name, keys, "# ");
            }
            KeyKind::Kinds { common, kinds } => {
                for kind in kinds {
                    let _ = writeln!(text, "\n# {}", kind.about);
                    let keys: Vec<_> = common.iter().chain(&kind.keys).cloned().collect();
                    write_table(&mut text, &format!("{}.{}", section.name, kind.name), &keys, "# ");
                }
            }
            _ => {}
        }
    }
    text
}

fn write_table(text: &mut String, heading: &str, keys: &[KeyDoc], before: &str) {
    let _ = writeln!(text, "{before}[{heading}]");
    write_keys(text, heading, keys, before);
}

fn write_keys(text: &mut String, heading: &str, keys: &[KeyDoc], before: &str) {
    let is_table = |key: &&KeyDoc| matches!(key.kind, KeyKind::Table(_));
    for key in keys.iter().filter(|key| !is_table(key)) {
        text.push('\n');
        comment(text, &key.about);
        if let Some(words) = kind_words(&key.kind) {
            comment(text, &words);
        }
        let value = match &key.default {
            Some(default) => default.clone(),
            None if key.name == "kind" => {
                format!("{:?}", heading.rsplit('.').next().unwrap_or_default())
            }
            None => example_value(&key.kind).to_owned(),
        };
        let none = if key.default.is_none() && key.name != "kind" { "  # no default" } else { "" };
        let _ = writeln!(text, "# {} = {value}{none}", key.name);
    }
    for key in keys.iter().filter(is_table) {
        let KeyKind::Table(inner) = &key.kind else { continue };
        text.push('\n');
        comment(text, &key.about);
        write_table(text, &format!("{heading}.{}", key.name), inner, before);
    }
}

fn kind_words(kind: &KeyKind) -> Option<String> {
    let bounds = |bounds: &Bounds| match (&bounds.least, &bounds.most) {
        (Some(least), Some(most)) => Some(format!("From {least} to {most}.")),
        (Some(least), None) => Some(format!("At least {least}.")),
        (None, Some(most)) => Some(format!("At most {most}.")),
        (None, None) => None,
    };
    match kind {
        KeyKind::Choice(choices) if choices.len() > 1 => {
            let choices: Vec<_> = choices.iter().map(|choice| format!("{choice:?}")).collect();
            Some(format!("One of {}.", choices.join(", ")))
        }
        KeyKind::Whole(least, most) if *most != i64::MAX => Some(format!("From {least} to {most}.")),
        KeyKind::Size(of) | KeyKind::Duration(of) => bounds(of),
        _ => None,
    }
}

fn example_value(kind: &KeyKind) -> &'static str {
    use KeyKind as K;
    match kind {
        K::Text | K::Choice(_) => "\"…\"",
        K::Flag => "true",
        K::Whole(..) | K::Number | K::Cpus => "1",
        K::Size(_) => "\"1G\"",
        K::DiskSize => "\"100g\"",
        K::Duration(_) => "\"1h\"",
        K::Mode => "\"0660\"",
        K::Path | K::File | K::Directory => "\"/…\"",
        K::List(_) => "[]",
        K::Table(_) | K::Kinds { .. } | K::Open => "{}",
    }
}

/// Writes words as comment lines of bearable length.
fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.len() > 1 && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line.truncate(1);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}
