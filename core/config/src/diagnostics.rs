//! What is wrong with a configuration, and where.

use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Origin as Place, Renderer, Snippet, renderer::DecorStyle};
use serde_json::{Value, json};

use crate::source::{Origin, SourceKind, Sources, Span};

/// More than these are counted and not shown.
const MOST_SHOWN: usize = 50;

/// Whether Berth can start all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Whether Berth can start all the same.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// The way out, in a few words beside the text in question.
    pub label: Option<String>,
    /// The way out, at more length.
    pub help: Option<String>,
    pub(crate) span: Option<Span>,
}

impl Problem {
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), label: None, help: None, span: None }
    }

    pub(crate) fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    pub(crate) fn at(mut self, span: &Span) -> Self {
        self.span = Some(span.clone());
        self
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Everything that is wrong with a configuration. Displayed as text with the lines in question.
#[derive(Clone, Default)]
pub struct Problems {
    list: Vec<Problem>,
    sources: Sources,
}

impl Problems {
    /// Errors first, then in the order of the sources.
    pub(crate) fn new(mut list: Vec<Problem>, sources: Sources) -> Self {
        list.sort_by_key(|problem| (problem.severity, problem.span.as_ref().map(|span| span.start)));
        Self { list, sources }
    }

    /// Whether there is nothing wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Where a problem is; [`Origin::Default`] for one that is nowhere in particular.
    #[must_use]
    pub fn origin(&self, problem: &Problem) -> Origin {
        problem.span.as_ref().map_or(Origin::Default, |span| self.sources.origin(span))
    }

    /// As text for people, coloured for a terminal or plain.
    #[must_use]
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let shown = self.list.iter().take(MOST_SHOWN).map(|problem| self.render_one(&renderer, problem));
        let mut parts: Vec<String> = shown.collect();
        if self.list.len() > MOST_SHOWN {
            parts.push(format!("and {} more", self.list.len() - MOST_SHOWN));
        }
        parts.join("\n\n")
    }

    /// As data for programs: a list of objects. The text in question is left out where it may be secret.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let one = |problem: &Problem| {
            let text = problem.span.as_ref().filter(|span| !self.may_be_secret(span));
            json!({
                "severity": match problem.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                },
                "message": problem.message,
                "at": problem.span.as_ref().map(|span| self.sources.origin(span)),
                "text": text.map(|span| self.sources.text(span)),
                "label": problem.label,
                "help": problem.help,
            })
        };
        self.list.iter().map(one).collect()
    }

    fn render_one(&self, renderer: &Renderer, problem: &Problem) -> String {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = annotate_snippets::Group::with_title(level.primary_title(&problem.message));
        let mut label = problem.label.clone();
        if let Some((source, span)) = problem.span.as_ref().and_then(|span| self.sources.find(span)) {
            let secret = problem.span.as_ref().is_some_and(|span| self.may_be_secret(span));
            match &source.kind {
                SourceKind::Default => {}
                SourceKind::File(path) if !secret => {
                    let mark = AnnotationKind::Primary.span(span).label(label.take());
                    let snippet = Snippet::source(&source.text).path(path.display().to_string());
                    group = group.element(snippet.annotation(mark));
                }
                SourceKind::Variable(_) if !secret => {
                    let mark = AnnotationKind::Primary.span(span).label(label.take());
                    let snippet = Snippet::source(&source.text).line_numbering(false);
                    group = group.element(snippet.annotation(mark));
                }
                _ => group = group.element(place(&self.origin(problem))),
            }
        }
        group = group.elements(label.map(|label| Level::NOTE.message(label)));
        group = group.elements(problem.help.as_ref().map(|help| Level::HELP.message(help)));
        renderer.render(&[group])
    }

    /// Whether showing the lines of a span could show a password.
    fn may_be_secret(&self, span: &Span) -> bool {
        let Some((source, span)) = self.sources.find(span) else { return false };
        let start = source.text.get(..span.start).and_then(|text| text.rfind('\n')).map_or(0, |at| at + 1);
        let rest = source.text.get(span.end..).unwrap_or_default();
        let end = span.end + rest.find('\n').unwrap_or(rest.len());
        is_secret(source.text.get(start..end).unwrap_or_default())
    }
}

fn place(origin: &Origin) -> Place<'static> {
    match origin {
        Origin::File { path, line, column } => {
            Place::path(path.display().to_string()).line(*line).char_column(*column)
        }
        other => Place::path(other.to_string()),
    }
}

/// Whether a key, or a line with one, has a value that nobody should read over a shoulder. Takes
/// misspelt names for what they were meant to be.
pub(crate) fn is_secret(text: &str) -> bool {
    const WORDS: [&str; 5] = ["password", "secret", "token", "credential", "private"];
    let text = text.to_ascii_lowercase();
    let near = |part: &str| WORDS.iter().any(|word| strsim::damerau_levenshtein(part, word) <= 1);
    WORDS.iter().any(|word| text.contains(word)) || text.split(|c: char| !c.is_alphanumeric()).any(near)
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the sources, which may hold secrets.
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// The candidate that a person most likely meant, if one is near.
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let text = plain(text);
    let near = candidates.into_iter().map(|candidate| {
        let other = plain(candidate);
        let part = text.len() >= 4 && (other.contains(&text) || text.contains(&other));
        let score = strsim::jaro_winkler(&text, &other).max(if part { 0.85 } else { 0.0 });
        (strsim::damerau_levenshtein(&text, &other), score, candidate)
    });
    near.filter(|&(steps, score, _)| score >= 0.8 || steps <= 1)
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(.., candidate)| candidate)
}
