//! The fields of a job that filters see and set.

use super::Edit;

/// What a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// One text.
    Text,
    /// One whole number.
    Whole,
    /// `true` or `false`.
    Flag,
    /// Any number of texts.
    List,
    /// Any number of whole numbers.
    Wholes,
    /// A table: its keys are fields of their own, with one text each.
    Table,
    /// Likewise, with one whole number each.
    Amounts,
}

const FIELDS: [(&str, FieldKind); 42] = {
    use FieldKind::{Amounts, Flag, List, Table, Text, Whole, Wholes};
    [
        ("name", Text),
        ("description", Text),
        ("tags", List),
        ("project", Text),
        ("class", Text),
        ("executor", Text),
        ("image", Text),
        ("command.argv", List),
        ("command.script", Text),
        ("command.args", List),
        ("env", Table),
        ("workdir", Text),
        ("output", Text),
        ("error", Text),
        ("cpus", Text),
        ("memory", Text),
        ("gpus", Whole),
        ("resources", Amounts),
        ("exclusive", Flag),
        ("time", Text),
        ("grace", Text),
        ("array", Text),
        ("after_ok", List),
        ("after_any", List),
        ("after_not_ok", List),
        ("hold", Flag),
        ("begin", Text),
        ("priority", Whole),
        ("volumes", List),
        ("ports", Wholes),
        ("network", Text),
        ("constraints", Table),
        ("labels", Table),
        ("scratch", Text),
        ("uris", List),
        ("interactive", Flag),
        ("root", Flag),
        ("retry_on_node_failure", Whole),
        ("avoid_failed_nodes", Flag),
        ("notify", List),
        ("mail", Text),
        ("options", Table),
    ]
};

/// All fields, and all tables, of a job.
pub fn fields() -> impl Iterator<Item = (&'static str, FieldKind)> {
    FIELDS.into_iter()
}

/// What the field of this name takes: for a key of a table, what the table takes.
pub fn kind_of(name: &str) -> Option<FieldKind> {
    let is_table = |kind: FieldKind| matches!(kind, FieldKind::Table | FieldKind::Amounts);
    let plain = fields().find(|&(known, kind)| known == name && !is_table(kind));
    let in_table = || {
        let (table, key) = name.split_once('.')?;
        fields().find(|&(known, kind)| known == table && is_table(kind) && !key.is_empty())
    };
    plain.or_else(in_table).map(|(_, kind)| kind)
}

/// Why an edit cannot be done by its form.
pub(super) fn fault_of(edit: &Edit) -> Option<String> {
    let (name, values) = (&edit.field.name, &edit.field.values);
    let Some(kind) = kind_of(name) else {
        return Some(format!("it set {name:?}, and jobs have no such field"));
    };
    if !matches!(kind, FieldKind::List | FieldKind::Wholes) && values.len() > 1 {
        return Some(format!("it gave {name:?} {} values", values.len()));
    }
    let fits = |value: &String| match kind {
        FieldKind::Text | FieldKind::List | FieldKind::Table => true,
        FieldKind::Whole => value.parse::<i32>().is_ok(),
        FieldKind::Flag => matches!(value.as_str(), "true" | "false"),
        FieldKind::Wholes => value.parse::<u16>().is_ok(),
        FieldKind::Amounts => value.parse::<u64>().is_ok(),
    };
    // What a variable is set to, which may be a secret, is any text and never gets here.
    let wrong = values.iter().find(|value| !fits(value));
    wrong.map(|value| format!("it set {name:?} to {value:?}, which it does not take"))
}
