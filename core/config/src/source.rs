//! Where a value comes from. All sources stand in one row of bytes, so that one span says both which
//! source it is and where in it.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// A stretch of the row of sources.
pub(crate) type Span = Range<usize>;

/// Where a value comes from, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A file; line and column count from 1, the column in characters.
    File {
        /// As it was given.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// An environment variable, by name.
    Variable(String),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, .. } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SourceKind {
    File(PathBuf),
    /// The text is `NAME=value`.
    Variable(String),
    Default,
}

#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) kind: SourceKind,
    pub(crate) text: String,
    start: usize,
}

/// Every text that configuration was read from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    all: Vec<Source>,
}

impl Sources {
    /// Adds a source and says where in the row it starts.
    pub(crate) fn add(&mut self, kind: SourceKind, text: String) -> usize {
        // One byte apart, so that the end of one is not the start of the next.
        let start = self.all.last().map_or(0, |last| last.start + last.text.len() + 1);
        self.all.push(Source { kind, text, start });
        start
    }

    /// The source that a span lies in, and the span within its text.
    pub(crate) fn find(&self, span: &Span) -> Option<(&Source, Span)> {
        let after = self.all.partition_point(|source| source.start <= span.start);
        let source = self.all.get(after.checked_sub(1)?)?;
        let most = source.text.len();
        let start = floor(&source.text, (span.start - source.start).min(most));
        let end = floor(&source.text, span.end.saturating_sub(source.start).min(most));
        Some((source, start..end.max(start)))
    }

    pub(crate) fn text(&self, span: &Span) -> &str {
        self.find(span).and_then(|(source, span)| source.text.get(span)).unwrap_or_default()
    }

    pub(crate) fn origin(&self, span: &Span) -> Origin {
        let Some((source, span)) = self.find(span) else { return Origin::Default };
        match &source.kind {
            SourceKind::File(path) => {
                let before = source.text.get(..span.start).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                Origin::File { path: path.clone(), line, column }
            }
            SourceKind::Variable(name) => Origin::Variable(name.clone()),
            SourceKind::Default => Origin::Default,
        }
    }

    pub(crate) fn is_default(&self, span: &Span) -> bool {
        self.find(span).is_none_or(|(source, _)| source.kind == SourceKind::Default)
    }

    /// Makes a path absolute: from the folder of the file that says it, else from the current one.
    pub(crate) fn resolve(&self, span: &Span, path: &Path) -> PathBuf {
        let folder = match self.find(span).map(|(source, _)| &source.kind) {
            Some(SourceKind::File(file)) => file.parent().unwrap_or(Path::new("")).to_owned(),
            _ => PathBuf::new(),
        };
        let joined = folder.join(path);
        // Fails for an empty path and without a current folder; the checks that follow name the path.
        std::path::absolute(&joined).unwrap_or(joined)
    }
}

/// The last character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}
