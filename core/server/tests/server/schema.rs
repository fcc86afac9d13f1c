//! Checks values against the schemas of the description: as much of JSON Schema as occurs there, and
//! stricter in one thing: no value has fields that are not described.

use std::collections::BTreeSet;

use serde_json::Value;

pub struct Schemas<'a>(pub &'a Value);

impl Schemas<'_> {
    /// What is wrong with `value`, with its place.
    pub fn check(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let mut wrong = self.check_part(schema, value, at);
        if let Some(object) = value.as_object() {
            let known = self.known(schema);
            if let Some(known) = known {
                let extra = object.keys().filter(|key| !known.contains(key.as_str()));
                wrong.extend(extra.map(|key| format!("{at}.{key} is not described")));
            }
        }
        wrong
    }

    fn resolve<'s>(&'s self, schema: &'s Value) -> &'s Value {
        match schema["$ref"].as_str() {
            Some(path) => {
                let target = self.0.pointer(path.trim_start_matches('#'));
                self.resolve(target.unwrap_or_else(|| panic!("{path} leads nowhere")))
            }
            None => schema,
        }
    }

    /// The fields that an object may have; `None` where any will do.
    fn known<'s>(&'s self, schema: &'s Value) -> Option<BTreeSet<&'s str>> {
        let schema = self.resolve(schema);
        let additional = &schema["additionalProperties"];
        if additional.is_object() || schema.as_object().is_none_or(|schema| schema.is_empty()) {
            return None;
        }
        let own = schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str());
        let mut known: BTreeSet<&str> = own.collect();
        for part in ["allOf", "oneOf", "anyOf"].iter().filter_map(|key| schema[*key].as_array()).flatten() {
            known.extend(self.known(part)?);
        }
        Some(known)
    }

    fn check_part(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let schema = self.resolve(schema);
        let mut wrong = Vec::new();
        if !is_of(&schema["type"], value) {
            wrong.push(format!("{at} is not {}: {value}", schema["type"]));
        }
        if let Some(known) = schema["enum"].as_array().filter(|known| !known.contains(value)) {
            wrong.push(format!("{at} is none of {known:?}: {value}"));
        }
        for needed in schema["required"].as_array().into_iter().flatten() {
            if value.get(needed.as_str().unwrap()).is_none() {
                wrong.push(format!("{at} lacks {needed}"));
            }
        }
        if let Some(object) = value.as_object() {
            for (key, value) in object {
                let inner = schema["properties"].get(key).or(schema.get("additionalProperties"));
                if let Some(inner) = inner.filter(|inner| inner.is_object()) {
                    wrong.extend(self.check(inner, value, &format!("{at}.{key}")));
                }
            }
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            wrong.extend(self.check(&schema["items"], item, &format!("{at}[{index}]")));
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            wrong.extend(self.check_part(part, value, at));
        }
        for key in ["oneOf", "anyOf"] {
            let Some(choices) = schema[key].as_array() else { continue };
            if !choices.iter().any(|choice| self.check_part(choice, value, at).is_empty()) {
                wrong.push(format!("{at} fits none of its {key}: {value}"));
            }
        }
        wrong
    }
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind {
        Value::Array(kinds) => kinds.iter().any(|kind| is_of(kind, value)),
        Value::String(kind) => match kind.as_str() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("what is {other}?"),
        },
        _ => true,
    }
}

#[test]
fn the_check_itself_finds_what_is_wrong() {
    let document = serde_json::json!({"components": {"schemas": {
        "Row": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
        "Detail": {"allOf": [{"$ref": "#/components/schemas/Row"},
            {"type": "object", "properties": {"kind": {"type": ["string", "null"], "enum": ["a", null]}}}]},
    }}});
    let check = |value| {
        let schema = serde_json::json!({"type": "array", "items": {"$ref": "#/components/schemas/Detail"}});
        Schemas(&document).check(&schema, &value, "x")
    };
    assert!(check(serde_json::json!([{"id": 1, "kind": "a"}, {"id": 2, "kind": null}])).is_empty());
    for bad in [
        serde_json::json!({}),
        serde_json::json!([{"kind": "a"}]),
        serde_json::json!([{"id": "1"}]),
        serde_json::json!([{"id": 1, "kind": "b"}]),
        serde_json::json!([{"id": 1, "more": 1}]),
    ] {
        assert!(!check(bad.clone()).is_empty(), "{bad}");
    }
}
