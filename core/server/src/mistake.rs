//! Turns what serde says of a request into a place and a way out.

use berth_api::{ErrorBody, ErrorCode, Problem};

/// Where in a text something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    /// The place of a byte. Columns count characters, lines and columns count from 1.
    pub(crate) fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Self { line, column }
    }
}

/// A request that cannot be read: `field` is where reading had got to, `said` serde's words.
pub(crate) fn mistake(what: &str, field: &str, said: &str, place: Option<Place>) -> ErrorBody {
    let said = without_place(said.trim());
    let unknown = said.strip_prefix("unknown field ").or_else(|| said.strip_prefix("unknown variant "));
    let (name, message) = match unknown.and_then(|rest| quoted(rest).split_first().map(own)) {
        Some((wrong, known)) => {
            // Depending on the format, the path ends at the field or at what holds it.
            let path = field.strip_suffix(wrong.as_str()).unwrap_or(field).trim_end_matches('.');
            let is_field = said.starts_with("unknown field");
            let name = match (is_field, path) {
                (true, "" | ".") => wrong.clone(),
                (true, path) => format!("{path}.{wrong}"),
                (false, _) => field.to_owned(),
            };
            let kind = if is_field { "field" } else { "value" };
            (name, format!("unknown {kind} {wrong:?}; {}", way_out(&wrong, &known)))
        }
        None => (field.to_owned(), said.replace('`', "")),
    };
    let place =
        place.map(|Place { line, column }| format!(" (line {line}, column {column})")).unwrap_or_default();
    let message = format!("{message}{place}");
    if matches!(name.as_str(), "" | "." | "?") {
        return ErrorBody::new(ErrorCode::Invalid, format!("{what} cannot be read: {message}"));
    }
    let said = format!("{what} cannot be read: {name}: {message}");
    ErrorBody { code: ErrorCode::Invalid, message: said, problems: vec![Problem { field: name, message }] }
}

fn own((first, rest): (&&str, &[&str])) -> (String, Vec<String>) {
    ((*first).to_owned(), rest.iter().map(|name| (*name).to_owned()).collect())
}

/// serde_json puts the place behind its words.
fn without_place(said: &str) -> &str {
    said.rfind(" at line ").and_then(|at| said.get(..at)).unwrap_or(said)
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn way_out(wrong: &str, known: &[String]) -> String {
    let folded = wrong.to_lowercase().replace('-', "_");
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&folded, &name.to_lowercase().replace('-', "_")), name))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, name)) if distance <= (name.len() / 3).max(1) => format!("nearest is {name:?}"),
        Some(_) if known.len() <= 12 => format!("known are {}", known.join(", ")),
        Some(_) => "/v1/openapi.json has the known ones".to_owned(),
        None => "nothing is expected there".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_named_with_its_nearest_neighbour() {
        let said = "unknown field `memry`, expected one of `name`, `memory`, `cpus` at line 2 column 9";
        let body = mistake("the job", "memry", said, Some(Place { line: 2, column: 9 }));
        assert_eq!(
            body.message,
            "the job cannot be read: memry: unknown field \"memry\"; nearest is \"memory\" (line 2, column 9)"
        );
        assert_eq!(body.problems[0].field, "memry");
        let body = mistake("the job", "command", "unknown field `x`, expected `text` or `args`", None);
        assert_eq!(body.problems[0].field, "command.x");
        assert_eq!(body.problems[0].message, "unknown field \"x\"; known are text, args");
        let body =
            mistake("the job", "command.script.txt", "unknown field `txt`, expected `text` or `args`", None);
        assert_eq!(body.problems[0].field, "command.script.txt");
    }

    #[test]
    fn an_unknown_value_keeps_the_name_of_its_field() {
        let body = mistake("it", "action", "unknown variant `kil`, expected one of `kill`, `hold`", None);
        assert_eq!(body.problems[0].field, "action");
        assert_eq!(body.problems[0].message, "unknown value \"kil\"; nearest is \"kill\"");
    }

    #[test]
    fn a_place_counts_characters() {
        assert_eq!(Place::of("ä = 1\nöö = x", 14), Place { line: 2, column: 6 });
        assert_eq!(Place::of("", 0), Place { line: 1, column: 1 });
    }
}
