//! What Grid Engine's commands print as XML, as a small tree.

use quick_xml::{Reader, events::BytesStart, events::Event};

/// Deeper than any document of these commands.
const DEEPEST: usize = 64;

/// One element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Element>,
    /// Its own text, without that of its children.
    pub text: String,
}

/// Why a document cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XmlError {
    /// It ends before it is closed.
    #[error("its answer breaks off after {bytes} bytes")]
    Half { bytes: usize },
    /// It is no XML.
    #[error("its answer is not XML: {words}")]
    Broken { words: String },
}

impl Element {
    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of this name; empty where there is none.
    pub fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.trim())
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All elements of this name, at whatever depth, in their order.
    pub fn all<'a>(&'a self, name: &str) -> Vec<&'a Self> {
        let mut found = Vec::new();
        self.collect(name, &mut found);
        found
    }

    fn collect<'a>(&'a self, name: &str, found: &mut Vec<&'a Self>) {
        for child in &self.children {
            if child.name == name {
                found.push(child);
            }
            child.collect(name, found);
        }
    }
}

/// Reads a whole document. Half a document is an error, however well it begins.
pub(crate) fn parse(text: &str) -> Result<Element, XmlError> {
    let broken = |words: String| XmlError::Broken { words };
    let mut reader = Reader::from_str(text);
    // Closed elements gather in the one that is open around them; the document itself is the outermost.
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                if open.len() > DEEPEST {
                    return Err(broken("it is nested too deeply".into()));
                }
                open.push(begin(&start)?);
            }
            Ok(Event::Empty(start)) => close(&mut open, begin(&start)?),
            Ok(Event::End(_)) => match (open.pop(), open.is_empty()) {
                (Some(done), false) => close(&mut open, done),
                _ => return Err(broken("it closes what is not open".into())),
            },
            Ok(Event::Text(text)) => {
                add(&mut open, &text.decode().map_err(|error| broken(error.to_string()))?)
            }
            Ok(Event::CData(text)) => {
                add(&mut open, &text.decode().map_err(|error| broken(error.to_string()))?)
            }
            Ok(Event::GeneralRef(reference)) => {
                let char = reference.resolve_char_ref().map_err(|error| broken(error.to_string()))?;
                let name = reference.decode().map_err(|error| broken(error.to_string()))?;
                match (char, named(&name)) {
                    (Some(char), _) => add(&mut open, char.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => add(&mut open, text),
                    (None, None) => return Err(broken(format!("it refers to {name:?}"))),
                }
            }
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(_) if reader.buffer_position() >= text.len() as u64 => {
                return Err(XmlError::Half { bytes: text.len() });
            }
            Err(error) => return Err(broken(error.to_string())),
        }
    }
    let half = XmlError::Half { bytes: text.len() };
    match (open.pop(), open.is_empty()) {
        (Some(document), true) => document.children.into_iter().next().ok_or(half),
        _ => Err(half),
    }
}

fn begin(start: &BytesStart<'_>) -> Result<Element, XmlError> {
    let broken = |words: String| XmlError::Broken { words };
    let mut element =
        Element { name: String::from_utf8_lossy(start.name().as_ref()).into_owned(), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| broken(error.to_string()))?;
        let value = attribute.unescape_value().map_err(|error| broken(error.to_string()))?.into_owned();
        element.attributes.push((String::from_utf8_lossy(attribute.key.as_ref()).into_owned(), value));
    }
    Ok(element)
}

fn close(open: &mut [Element], done: Element) {
    if let Some(around) = open.last_mut() {
        around.children.push(done);
    }
}

fn add(open: &mut [Element], text: &str) {
    if let Some(around) = open.last_mut() {
        around.text.push_str(text);
    }
}

fn named(name: &str) -> Option<&'static str> {
    Some(match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str =
        "<?xml version='1.0'?>\n<a x='1'>\n <b>can&apos;t &#65;</b><c y=\"&lt;\"/><d><b>2</b></d>\n</a>\n";

    #[test]
    fn a_document_is_a_tree_with_its_texts() {
        let tree = parse(WHOLE).unwrap();
        assert_eq!((tree.name.as_str(), tree.attribute("x")), ("a", Some("1")));
        assert_eq!(tree.text_of("b"), "can't A");
        assert_eq!(tree.child("c").unwrap().attribute("y"), Some("<"));
        assert_eq!(tree.all("b").len(), 2);
        assert_eq!(tree.text_of("none"), "");
    }

    #[test]
    fn half_a_document_is_never_read_as_a_whole_one() {
        let end = WHOLE.trim_end().len();
        for bytes in 0..end {
            assert!(parse(&WHOLE[..bytes]).is_err(), "{:?}", &WHOLE[..bytes]);
        }
        assert_eq!(parse("<a><b>1</b>"), Err(XmlError::Half { bytes: 11 }));
    }

    #[test]
    fn what_is_no_xml_is_refused() {
        for text in ["", "error: no", "<a></b>", "</a>", "<a>&unknown;</a>", &"<a>".repeat(1000)] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
