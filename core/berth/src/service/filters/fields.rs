//! A job as fields with texts in them, which is how filters see and set it.

use berth_api::Submit;
use berth_policy_host::{Edit, Field, FieldKind, fields, kind_of};
use serde_json::{Map, Value, json};

/// The longest value that is shown in words.
const MOST_SHOWN: usize = 120;

/// What is set of a job, by rising names, and the names of its variables.
pub fn of(job: &Submit) -> (Vec<Field>, Vec<String>) {
    let all = object(job);
    let mut found = Vec::new();
    for (name, kind) in fields().filter(|&(name, _)| name != "env") {
        match kind {
            FieldKind::Table | FieldKind::Amounts => {
                let table = all.get(name).and_then(Value::as_object);
                let field = |(key, value): (&String, &Value)| Field {
                    name: format!("{name}.{key}"),
                    values: texts(value),
                };
                found.extend(table.into_iter().flatten().map(field));
            }
            _ => found.extend(field(&all, name)),
        }
    }
    found.sort();
    (found, job.env.keys().cloned().collect())
}

fn field(all: &Map<String, Value>, name: &str) -> Option<Field> {
    let values = values(all, name);
    let values = values.iter().map(|value| in_one_form(name, value)).collect::<Vec<_>>();
    (!values.is_empty()).then(|| Field { name: name.to_owned(), values })
}

/// Amounts as filters are told them. What cannot be read was refused before.
fn in_one_form(name: &str, text: &str) -> String {
    let read = match name {
        "cpus" => berth_model::parse_cpus(text).map(|millis| format!("{millis}m")).ok(),
        "memory" | "scratch" => berth_model::parse_bytes(text).map(|bytes| bytes.to_string()).ok(),
        "time" | "grace" => {
            berth_model::parse_duration(text).map(|span| format!("{}ms", span.as_millis())).ok()
        }
        _ => None,
    };
    read.unwrap_or_else(|| text.to_owned())
}

/// A job with an edit done.
///
/// # Errors
/// When no job can be so, in words.
pub fn edited(job: &Submit, edit: &Edit) -> Result<Submit, String> {
    let mut all = object(job);
    let Field { name, values } = &edit.field;
    let kind = kind_of(name).ok_or_else(|| format!("jobs have no field {name:?}"))?;
    match name.split_once('.') {
        Some(("command", part)) => set_command(&mut all, part, values),
        Some((table, key)) => {
            let entry = all.entry(table).or_insert_with(|| json!({}));
            if let Some(entry) = entry.as_object_mut() {
                put(entry, key, value_of(kind, values));
            }
        }
        None => put(&mut all, name, value_of(kind, values)),
    }
    serde_json::from_value(Value::Object(all)).map_err(|error| format!("{name}: {error}"))
}

/// What an edit has done, in words; `None` when everything is as it was. What may be a secret is not repeated.
pub fn described(before: &Submit, after: &Submit, edit: &Edit) -> Option<String> {
    let name = &edit.field.name;
    let (was, is) = (values(&object(before), name), values(&object(after), name));
    if was == is {
        return None;
    }
    let secret = name.starts_with("env.") || name.starts_with("command.");
    let show = |values: &[String]| shortened(&values.join(", "));
    let what = match (was.is_empty(), is.is_empty()) {
        (_, true) if secret => format!("took {name} away"),
        (true, _) if secret => format!("set {name}"),
        (false, _) if secret => format!("changed {name}"),
        (_, true) => format!("took {name} away, which was {}", show(&was)),
        (true, _) => format!("set {name} to {}", show(&is)),
        (false, _) => format!("changed {name} from {} to {}", show(&was), show(&is)),
    };
    Some(if edit.words.is_empty() { what } else { format!("{what}: {}", edit.words) })
}

fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(MOST_SHOWN);
    let clean = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    match text.split_at(end) {
        (whole, "") => clean(whole),
        (head, _) => format!("{}…", clean(head)),
    }
}

fn object(job: &Submit) -> Map<String, Value> {
    match serde_json::to_value(job) {
        Ok(Value::Object(all)) => all,
        // A job is plain data, and always a table.
        _ => Map::new(),
    }
}

/// The values of a field as they are written.
fn values(all: &Map<String, Value>, name: &str) -> Vec<String> {
    let command = |part: &str| all.get("command").and_then(|command| command.pointer(part));
    let found = match name {
        "command.argv" => command("/argv"),
        "command.script" => command("/script/text"),
        "command.args" => command("/script/args"),
        _ => match name.split_once('.') {
            Some((table, key)) => all.get(table).and_then(|table| table.get(key)),
            None => all.get(name),
        },
    };
    found.map_or_else(Vec::new, texts)
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().map(text).collect(),
        one => vec![text(one)],
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn put(table: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    match value {
        Some(value) => table.insert(key.to_owned(), value),
        None => table.remove(key),
    };
}

/// What stands in a job file for some values; `None` where there are none. What is no number stays a text, and is
/// refused as one.
fn value_of(kind: FieldKind, values: &[String]) -> Option<Value> {
    let number = |text: &String| text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number));
    let first = values.first()?;
    Some(match kind {
        FieldKind::Text | FieldKind::Table => json!(first),
        FieldKind::Flag => json!(first == "true"),
        FieldKind::Whole | FieldKind::Amounts => number(first),
        FieldKind::List => json!(values),
        FieldKind::Wholes => values.iter().map(number).collect(),
    })
}

fn set_command(all: &mut Map<String, Value>, part: &str, values: &[String]) {
    let args = self::values(all, "command.args");
    let script = self::values(all, "command.script");
    let command = match (part, values.first(), script.first()) {
        ("argv", Some(_), _) => Some(json!({ "argv": values })),
        ("script", Some(text), _) => Some(json!({ "script": { "text": text, "args": args } })),
        ("args", _, Some(text)) => Some(json!({ "script": { "text": text, "args": values } })),
        _ => None,
    };
    put(all, "command", command);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use berth_api::CommandText;

    use super::*;

    fn table<T: Clone>(value: T) -> BTreeMap<String, T> {
        [("a".to_owned(), value)].into()
    }

    /// A job in which everything is set.
    fn full() -> Submit {
        let text = || Some("1".to_owned());
        let list = || vec!["1".to_owned()];
        Submit {
            name: text(),
            description: text(),
            tags: list(),
            project: text(),
            class: text(),
            executor: text(),
            image: text(),
            command: Some(CommandText::Script { text: "true".into(), args: list() }),
            env: table("secret".to_owned()),
            workdir: text(),
            output: text(),
            error: text(),
            cpus: text(),
            memory: Some("1K".into()),
            gpus: Some(1),
            resources: table(1),
            exclusive: true,
            time: Some("1h".into()),
            grace: text(),
            array: text(),
            after_ok: list(),
            after_any: list(),
            after_not_ok: list(),
            hold: true,
            begin: text(),
            priority: Some(1),
            volumes: list(),
            ports: vec![1],
            network: text(),
            constraints: table("1".to_owned()),
            labels: table("1".to_owned()),
            scratch: text(),
            uris: list(),
            interactive: true,
            root: true,
            retry_on_node_failure: Some(1),
            avoid_failed_nodes: true,
            notify: list(),
            mail: text(),
            options: table("1".to_owned()),
        }
    }

    fn edit(name: &str, values: &[&str]) -> Edit {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        Edit { field: Field { name: name.into(), values }, words: "why".into() }
    }

    #[test]
    fn filters_know_every_field_that_a_job_has() {
        let (found, variables) = of(&full());
        let roots: Vec<&str> =
            found.iter().map(|field| field.name.split('.').next().unwrap_or_default()).collect();
        for key in object(&full()).keys().filter(|key| *key != "env") {
            assert!(roots.contains(&key.as_str()), "{key}");
        }
        assert_eq!(variables, ["a"]);
        assert!(!format!("{found:?}").contains("secret"), "values of variables are not shown");
        assert_eq!(of(&Submit::default()), (Vec::new(), Vec::new()));
    }

    #[test]
    fn amounts_are_told_in_one_form() {
        let job = Submit {
            cpus: Some("1.5".into()),
            memory: Some("2K".into()),
            time: Some("1h30m".into()),
            ..Submit::default()
        };
        let told: Vec<String> = of(&job).0.into_iter().map(|field| field.values.concat()).collect();
        assert_eq!(told, ["1500m", "2048", "5400000ms"]);
    }

    #[test]
    fn every_field_can_be_taken_away_and_set_again() {
        let before = full();
        let (found, _) = of(&before);
        for Field { name, values } in found {
            let take = Edit { field: Field { name: name.clone(), values: Vec::new() }, words: String::new() };
            let without = edited(&before, &take).unwrap();
            assert_ne!(without, before, "{name}");
            // Without a script there is nothing to give arguments to.
            let set = Edit { field: Field { name: name.clone(), values }, words: String::new() };
            let again = edited(if name == "command.args" { &before } else { &without }, &set).unwrap();
            assert_eq!(of(&again).0.iter().find(|field| field.name == name), Some(&set.field));
        }
    }

    #[test]
    fn what_was_changed_is_said_and_no_secret_with_it() {
        let before = full();
        for (edit, words) in [
            (edit("time", &["2h"]), Some("changed time from 1h to 2h: why")),
            (edit("time", &["1h"]), None),
            (edit("image", &[]), Some("took image away, which was 1: why")),
            (edit("labels.b", &["x"]), Some("set labels.b to x: why")),
            (edit("ports", &["1", "2"]), Some("changed ports from 1 to 1, 2: why")),
            (edit("env.a", &["password"]), Some("changed env.a: why")),
            (edit("env.b", &["password"]), Some("set env.b: why")),
            (edit("command.script", &["password"]), Some("changed command.script: why")),
        ] {
            let after = edited(&before, &edit).unwrap();
            assert_eq!(described(&before, &after, &edit).as_deref(), words);
        }
    }
}
