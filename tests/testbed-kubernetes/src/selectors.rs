//! Selectors of labels and fields, as far as anybody uses them here.

use serde_json::Value;

use crate::store::text;

/// `a=b`, `a!=b`, with commas.
#[derive(Debug)]
pub(crate) struct Labels(Vec<(String, String, bool)>);

fn parse(selector: &str) -> Vec<(String, String, bool)> {
    let one = |part: &str| {
        if let Some((key, value)) = part.split_once("!=") {
            return Some((key.to_owned(), value.to_owned(), false));
        }
        let (key, value) = part.split_once("==").or_else(|| part.split_once('='))?;
        Some((key.to_owned(), value.to_owned(), true))
    };
    selector.split(',').filter_map(one).collect()
}

impl Labels {
    pub fn parse(selector: &str) -> Self {
        Self(parse(selector))
    }

    pub fn select(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.0.iter().all(|(key, value, wanted)| {
            let is = labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
            (is == Some(value.as_str())) == *wanted
        })
    }
}

/// The same of fields.
#[derive(Debug)]
pub(crate) struct Fields(Vec<(String, String, bool)>);

impl Fields {
    pub fn parse(selector: &str) -> Self {
        Self(parse(selector))
    }

    pub fn select(&self, object: &Value) -> bool {
        self.0.iter().all(|(path, value, wanted)| {
            (text(object, &format!("/{}", path.replace('.', "/"))) == value) == *wanted
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_and_fields_are_selected_by_what_they_are_and_are_not() {
        let object = json!({ "metadata": { "name": "x", "labels": { "a": "1", "b": "2" } } });
        for (selector, selected) in
            [("a=1", true), ("a=1,b!=2", false), ("c!=1", true), ("a==2", false), ("", true)]
        {
            assert_eq!(Labels::parse(selector).select(&object), selected, "{selector}");
        }
        assert!(Fields::parse("metadata.name=x").select(&object));
        assert!(!Fields::parse("metadata.name!=x").select(&object));
    }
}
