//! The parsed file before it has types: small helpers on TOML values with spans.

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use crate::source::Span;

pub(crate) type Node<'s> = Spanned<DeValue<'s>>;
pub(crate) type Name = Spanned<DeString<'static>>;

/// A key at a place.
pub(crate) fn name(text: &str, span: Span) -> Name {
    Spanned::new(span, text.to_owned().into())
}

/// A text at a place.
pub(crate) fn text<'s>(text: impl Into<String>, span: Span) -> Node<'s> {
    Spanned::new(span, DeValue::String(text.into().into()))
}

/// Reads one TOML value that stands at `at` in the row of sources; `None` if the text is none.
pub(crate) fn read_value(text: &str, at: usize) -> Option<Node<'_>> {
    DeValue::parse(text).ok().map(|node| moved(node, |span| span.start + at..span.end + at))
}

/// Reads the text of a default, all of which stands at `span`.
pub(crate) fn read_default<'s>(text: &'s str, span: &Span) -> Option<Node<'s>> {
    DeValue::parse(text).ok().map(|node| moved(node, |_| span.clone()))
}

/// Puts a value and what is in it at other places.
fn moved<'s>(node: Node<'s>, to: impl Fn(Span) -> Span + Copy) -> Node<'s> {
    let span = to(node.span());
    let value = match node.into_inner() {
        DeValue::Array(array) => DeValue::Array(array.into_iter().map(|one| moved(one, to)).collect()),
        DeValue::Table(table) => {
            let one = |(key, value): (Spanned<DeString<'s>>, Node<'s>)| {
                (Spanned::new(to(key.span()), key.into_inner()), moved(value, to))
            };
            DeValue::Table(table.into_iter().map(one).collect())
        }
        plain => plain,
    };
    Spanned::new(span, value)
}

/// Sets a key, with the place of the new one.
pub(crate) fn set<'s>(table: &mut DeTable<'s>, key: Name, value: Node<'s>) {
    table.remove(key.get_ref().as_ref());
    table.insert(key, value);
}

/// What a value is, for messages.
pub(crate) fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The value as a plain one, for what is handed on.
pub(crate) fn plain(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => toml::Value::Integer(number),
            Err(_) => toml::Value::String(number.to_string()),
        },
        DeValue::Float(number) => toml::Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => toml::Value::Boolean(*flag),
        DeValue::Datetime(at) => toml::Value::Datetime(*at),
        DeValue::Array(array) => array.iter().map(|one| plain(one.get_ref())).collect::<Vec<_>>().into(),
        DeValue::Table(table) => {
            let one = |(key, value): (&Spanned<DeString<'_>>, &Node<'_>)| {
                (key.get_ref().to_string(), plain(value.get_ref()))
            };
            toml::Value::Table(table.iter().map(one).collect())
        }
    }
}
