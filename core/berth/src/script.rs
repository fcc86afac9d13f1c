//! Scripts and the `#BERTH` lines at their top.
//!
//! The lines take the options of `berth submit`, read by the very same definition. They count up to the
//! first line that is neither a comment nor empty.

use std::{fmt, io::Read, path::Path};

use berth_api::Submit;
use berth_model::format_bytes;
use clap::{
    Args, Command, FromArgMatches,
    error::{ContextKind, ContextValue},
};

use crate::commands::options::JobOptions;

const MARK: &str = "#BERTH";
/// The server decides what is too long for it; this is what is absurd to read at all.
const MOST_BYTES: u64 = 64 << 20;
/// More options than there are, several times over.
const MOST_LINES: usize = 1000;

/// A script's text and what to call it.
#[derive(Debug)]
pub struct Script {
    /// The text.
    pub text: String,
    /// For messages: its path, or "standard input".
    pub place: String,
    /// For the job, unless it has a name.
    pub name: Option<String>,
}

/// Why a script cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// There is none.
    #[error("there is no script {0:?}; to run a program, write it behind two dashes: -- {0}")]
    Absent(String),
    /// Something else has that name.
    #[error("{0} is not a file")]
    NotFile(String),
    /// Too long to be a script.
    #[error("{place} is {} long; {} are the most that a script may be", format_bytes(*bytes), format_bytes(MOST_BYTES))]
    TooLong {
        /// Which.
        place: String,
        /// How long.
        bytes: u64,
    },
    /// Not text.
    #[error("{place} is not UTF-8 text (byte {at}); to run a program, write it behind two dashes")]
    NotText {
        /// Which.
        place: String,
        /// Where it ceases to be text.
        at: usize,
    },
    /// It could not be read.
    #[error("{place} cannot be read")]
    Unreadable {
        /// Which.
        place: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Script {
    /// Reads the script at a path, or standard input for `-`.
    ///
    /// # Errors
    /// When it is not there, no text, or far too long.
    pub fn read(path: &Path) -> Result<Self, ScriptError> {
        if path == Path::new("-") {
            return Self::from_reader(std::io::stdin().lock(), "standard input".to_owned(), None);
        }
        let place = path.display().to_string();
        let unreadable = |source| ScriptError::Unreadable { place: place.clone(), source };
        let found = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ScriptError::Absent(place));
            }
            found => found.map_err(unreadable)?,
        };
        if found.is_dir() {
            return Err(ScriptError::NotFile(place));
        }
        if found.len() > MOST_BYTES {
            return Err(ScriptError::TooLong { place, bytes: found.len() });
        }
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self::from_reader(file, place, name)
    }

    fn from_reader(from: impl Read, place: String, name: Option<String>) -> Result<Self, ScriptError> {
        let mut bytes = Vec::new();
        if let Err(source) = from.take(MOST_BYTES + 1).read_to_end(&mut bytes) {
            return Err(ScriptError::Unreadable { place, source });
        }
        let length = bytes.len() as u64;
        if length > MOST_BYTES {
            return Err(ScriptError::TooLong { place, bytes: length });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { text, place, name }),
            Err(error) => Err(ScriptError::NotText { place, at: error.utf8_error().valid_up_to() }),
        }
    }
}

/// What is wrong with a `#BERTH` line, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderError {
    place: String,
    /// Counts from 1.
    line: usize,
    /// Counts characters from 1.
    column: usize,
    text: String,
    word: String,
    reason: String,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, line, column, text, word, reason } = self;
        let clean = crate::output::escape::one_line;
        writeln!(f, "{}:{line}:{column}: {reason}", clean(place))?;
        let gutter = line.to_string();
        writeln!(f, "{gutter} | {}", clean(text))?;
        let before: usize =
            text.chars().take(column - 1).map(|c| clean(c.encode_utf8(&mut [0; 4])).len()).sum();
        let marks = "^".repeat(clean(word).chars().count().max(1));
        write!(f, "{} | {}{marks}", " ".repeat(gutter.len()), " ".repeat(before))
    }
}

impl std::error::Error for HeaderError {}

/// One `#BERTH` line.
struct HeaderLine<'t> {
    number: usize,
    text: &'t str,
    words: Vec<Word>,
}

struct Word {
    text: String,
    column: usize,
}

/// Reads the `#BERTH` lines of a script.
///
/// # Errors
/// The first thing that is wrong with them.
pub fn header(text: &str, place: &str, here: &Path) -> Result<Submit, Box<HeaderError>> {
    let lines = header_lines(text, place)?;
    if lines.is_empty() {
        return Ok(Submit::default());
    }
    let options = match parse(&lines) {
        Ok(options) => options,
        Err(error) => return Err(Box::new(locate(&lines, error, place))),
    };
    options.into_submit(here).map_err(|reason| {
        let (line, word) = lines.first().map_or((1, ""), |line| (line.number, line.text));
        Box::new(HeaderError {
            place: place.to_owned(),
            line,
            column: 1,
            text: word.to_owned(),
            word: MARK.to_owned(),
            reason,
        })
    })
}

/// The line of a `#BERTH` that comes too late to count, if there is one.
pub fn late_header(text: &str) -> Option<usize> {
    let first_command = text.lines().position(|line| !is_preamble(line))?;
    let late = text.lines().skip(first_command).position(|line| rest_of_header(line).is_some())?;
    Some(first_command + late + 1)
}

fn is_preamble(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// What stands behind the mark, if this is a header line.
fn rest_of_header(line: &str) -> Option<&str> {
    let rest = line.strip_prefix(MARK)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then_some(rest)
}

fn header_lines<'t>(text: &'t str, place: &str) -> Result<Vec<HeaderLine<'t>>, Box<HeaderError>> {
    let mut lines = Vec::new();
    for (index, text) in text.lines().take_while(|line| is_preamble(line)).enumerate() {
        let Some(rest) = rest_of_header(text) else { continue };
        let error = |column, word: &str, reason: &str| {
            Box::new(HeaderError {
                place: place.to_owned(),
                line: index + 1,
                column,
                text: text.to_owned(),
                word: word.to_owned(),
                reason: reason.to_owned(),
            })
        };
        if lines.len() == MOST_LINES {
            return Err(error(1, MARK, "more than 1000 #BERTH lines"));
        }
        let words = split(rest, MARK.len())
            .map_err(|(column, word)| error(column, &word, "a quotation is opened and not closed"))?;
        lines.push(HeaderLine { number: index + 1, text, words });
    }
    Ok(lines)
}

/// Splits as a shell does, and notes where each word begins. The error is where the rest begins that
/// cannot be split.
fn split(rest: &str, offset: usize) -> Result<Vec<Word>, (usize, String)> {
    let mut words = Vec::new();
    let mut shlex = shlex::Shlex::new(rest);
    let mut from = 0;
    for text in shlex.by_ref() {
        let tail = rest.get(from..).unwrap_or_default();
        let start = from + (tail.len() - tail.trim_start().len());
        // With quotes or escapes the word does not stand there as it is: then its first character will do.
        let at = rest.get(start..).and_then(|tail| tail.find(&text));
        let begin = if text.is_empty() { start } else { at.map_or(start, |at| start + at) };
        from = begin + if at.is_some() { text.len() } else { 0 };
        // A quotation mark that closes the word is no part of the next one.
        let closing = rest.get(from..).is_some_and(|tail| tail.starts_with(['"', '\'']));
        from += usize::from(closing && at.is_some());
        words.push(Word { text, column: column(rest, begin, offset) });
    }
    if shlex.had_error {
        let tail = rest.get(from..).unwrap_or_default();
        let start = from + (tail.len() - tail.trim_start().len());
        return Err((column(rest, start, offset), rest.get(start..).unwrap_or_default().to_owned()));
    }
    Ok(words)
}

fn column(rest: &str, byte: usize, offset: usize) -> usize {
    rest.get(..byte).unwrap_or(rest).chars().count() + offset + 1
}

fn parse(lines: &[HeaderLine<'_>]) -> Result<JobOptions, clap::Error> {
    let command = JobOptions::augment_args(Command::new(MARK)).no_binary_name(true).disable_help_flag(true);
    let words = lines.iter().flat_map(|line| line.words.iter().map(|word| word.text.clone()));
    JobOptions::from_arg_matches(&command.try_get_matches_from(words)?)
}

/// Finds the line and the word that an error is about.
fn locate(lines: &[HeaderLine<'_>], whole: clap::Error, place: &str) -> HeaderError {
    // A line that is wrong by itself comes first; what is left only shows when lines come together.
    let alone = lines.iter().find_map(|line| Some((line, parse(std::slice::from_ref(line)).err()?)));
    let (line, error) = alone.unwrap_or_else(|| {
        let together =
            (1..=lines.len()).find(|&count| lines.get(..count).is_some_and(|some| parse(some).is_err()));
        let last = together.and_then(|count| lines.get(count - 1)).or(lines.last());
        (last.unwrap_or(&EMPTY_LINE), whole)
    });
    let word = line.words.iter().rev().find(|word| is_about(&error, &word.text));
    let (column, word) = match word {
        Some(word) => (word.column, word.text.clone()),
        None => (1, MARK.to_owned()),
    };
    HeaderError {
        place: place.to_owned(),
        line: line.number,
        column,
        text: line.text.to_owned(),
        word,
        reason: reason(&error),
    }
}

static EMPTY_LINE: HeaderLine<'static> = HeaderLine { number: 1, text: "", words: Vec::new() };

/// Whether a word is the one that clap complains of: the value where it names one, else the option.
fn is_about(error: &clap::Error, word: &str) -> bool {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()).filter(|text| !text.is_empty()),
        _ => None,
    };
    if let Some(value) = said(ContextKind::InvalidValue) {
        return word == value
            || word.ends_with(&format!("={value}"))
            || word.split(',').any(|one| one == value);
    }
    let option = said(ContextKind::InvalidArg).and_then(|text| text.split([' ', '=']).next());
    option.is_some_and(|option| word == option || word.starts_with(&format!("{option}=")))
}

/// Clap's words in one line, without its frame.
fn reason(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    match text.lines().find_map(|line| line.trim().strip_prefix("tip: ")) {
        Some(tip) => format!("{first}; {tip}"),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use berth_api::Submit;

    use super::*;

    fn read(text: &str) -> Result<Submit, String> {
        header(text, "job.sh", Path::new("/home/ann")).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_at_the_top_are_options() {
        let job = read(
            "#!/bin/sh\n# a comment\n#BERTH --cpus 2 --memory 4G\n\n#BERTH --name 'two words' --env A=1\r\n#BERTH\n\
             #BERTH --env B=2 --workdir sub\n#BERTHOLD --gpus 9\necho\n#BERTH --gpus 1\n",
        )
        .unwrap();
        let expected = Submit {
            cpus: Some("2".into()),
            memory: Some("4G".into()),
            name: Some("two words".into()),
            env: [("A".into(), "1".into()), ("B".into(), "2".into())].into(),
            workdir: Some("/home/ann/sub".into()),
            ..Submit::default()
        };
        assert_eq!(job, expected);
        assert_eq!(read("echo\n#BERTH --nonsense\n"), Ok(Submit::default()), "too late to count");
        assert_eq!(read(""), Ok(Submit::default()));
    }

    #[test]
    fn a_wrong_value_is_shown_where_it_stands() {
        insta::assert_snapshot!(read("#!/bin/sh\n#BERTH --name x --cpus two\n").unwrap_err(), @r#"
        job.sh:2:24: invalid value 'two' for '--cpus <N>': "two" is not a number of CPUs; write 2, 0.5 or 500m
        2 | #BERTH --name x --cpus two
          |                        ^^^
        "#);
        insta::assert_snapshot!(read("#BERTH --memory=4Q").unwrap_err(), @r#"
        job.sh:1:8: invalid value '4Q' for '--memory <SIZE>': "4Q" is not a size; write bytes, or a number with K, M, G, T (1024 each) or KB, MB, GB, TB (1000 each)
        1 | #BERTH --memory=4Q
          |        ^^^^^^^^^^^
        "#);
    }

    #[test]
    fn an_unknown_option_is_shown_with_the_nearest() {
        insta::assert_snapshot!(read("#BERTH --cpu 2").unwrap_err(), @r#"
        job.sh:1:8: unexpected argument '--cpu' found; a similar argument exists: '--cpus'
        1 | #BERTH --cpu 2
          |        ^^^^^
        "#);
        insta::assert_snapshot!(read("#BERTH -c 2 stray").unwrap_err(), @r#"
        job.sh:1:13: unexpected argument 'stray' found
        1 | #BERTH -c 2 stray
          |             ^^^^^
        "#);
        insta::assert_snapshot!(read("#BERTH --help").unwrap_err(), @r#"
        job.sh:1:8: unexpected argument '--help' found
        1 | #BERTH --help
          |        ^^^^^^
        "#);
    }

    #[test]
    fn an_option_given_twice_is_shown_on_the_later_line() {
        insta::assert_snapshot!(read("#BERTH --cpus 2\n#BERTH --time 1h --cpus 2\n").unwrap_err(), @r#"
        job.sh:2:18: the argument '--cpus <N>' cannot be used multiple times
        2 | #BERTH --time 1h --cpus 2
          |                  ^^^^^^
        "#);
    }

    #[test]
    fn an_open_quotation_is_shown_where_it_opens() {
        insta::assert_snapshot!(read("#BERTH --cpus 2 --name 'never closed").unwrap_err(), @r#"
        job.sh:1:24: a quotation is opened and not closed
        1 | #BERTH --cpus 2 --name 'never closed
          |                        ^^^^^^^^^^^^^
        "#);
    }

    #[test]
    fn a_missing_value_is_shown() {
        insta::assert_snapshot!(read("#BERTH --hold --cpus").unwrap_err(), @r#"
        job.sh:1:15: a value is required for '--cpus <N>' but none was supplied
        1 | #BERTH --hold --cpus
          |               ^^^^^^
        "#);
    }

    #[test]
    fn hostile_text_is_not_sent_to_the_terminal() {
        let error = read("#BERTH --cpus \x1b[31mred").unwrap_err();
        assert!(!error.contains('\x1b'), "{error:?}");
    }

    #[test]
    fn a_line_that_comes_too_late_is_found() {
        assert_eq!(late_header("#!/bin/sh\n#BERTH -c 1\necho\n#BERTH -c 2\n"), Some(4));
        assert_eq!(late_header("#!/bin/sh\n#BERTH -c 1\necho\n"), None);
        assert_eq!(late_header("#BERTH -c 1"), None);
    }

    #[test]
    fn what_is_no_script_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert!(matches!(Script::read(&path), Err(ScriptError::Absent(_))));
        assert!(matches!(Script::read(folder.path()), Err(ScriptError::NotFile(_))));
        std::fs::write(&path, b"ok \xff").unwrap();
        assert!(matches!(Script::read(&path), Err(ScriptError::NotText { at: 3, .. })));
        std::fs::File::create(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(matches!(Script::read(&path), Err(ScriptError::TooLong { .. })));
    }
}
