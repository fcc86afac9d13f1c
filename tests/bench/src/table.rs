//! The one table.

use std::fmt::Write as _;

/// What it is judged by.
#[derive(Clone, Debug)]
pub enum Target {
    /// Nothing: it is there to be compared with.
    None,
    /// In words, and whether it is reached.
    Judged { words: String, reached: bool },
}

/// One line.
#[derive(Clone, Debug)]
pub struct Row {
    pub what: String,
    pub berth: String,
    pub compared: String,
    pub ratio: String,
    pub target: Target,
}

/// All lines, and what has to be said about them.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Target {
    /// Reached when `reached` is true.
    pub fn of(words: impl Into<String>, reached: bool) -> Self {
        Self::Judged { words: words.into(), reached }
    }
}

impl Table {
    /// Adds a line. It is told at once, too: the whole takes minutes.
    pub fn row(&mut self, what: &str, berth: String, compared: &str, ratio: Option<f64>, target: Target) {
        eprintln!("  {what}: {berth} ({compared})");
        self.rows.push(Row {
            what: what.to_owned(),
            berth,
            compared: compared.to_owned(),
            ratio: ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            target,
        });
    }

    /// Adds a remark below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        eprintln!("  {note}");
        self.notes.push(note);
    }

    /// As text: a table that is one in Markdown as well.
    pub fn text(&self) -> String {
        let head = ["what", "Berth", "compared with", "ratio", "target", "reached"].map(str::to_owned);
        let mut lines = vec![head];
        lines.extend(self.rows.iter().map(|row| {
            let (target, reached) = match &row.target {
                Target::None => (String::new(), String::new()),
                Target::Judged { words, reached } => {
                    (words.clone(), if *reached { "yes" } else { "no" }.to_owned())
                }
            };
            [row.what.clone(), row.berth.clone(), row.compared.clone(), row.ratio.clone(), target, reached]
        }));
        let mut widths = [0; 6];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            for (width, cell) in widths.iter().zip(line) {
                let _ = write!(text, "| {cell:width$} ");
            }
            text.push_str("|\n");
            if number == 0 {
                widths.iter().for_each(|width| text.push_str(&format!("|{:-<1$}", "", width + 2)));
                text.push_str("|\n");
            }
        }
        for note in &self.notes {
            let _ = write!(text, "\n* {note}");
        }
        text
    }
}

/// `1234.5` as `1,235`.
pub fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many a second.
pub fn rate(value: f64) -> String {
    format!("{}/s", whole(value))
}

/// In milliseconds.
pub fn ms(time: std::time::Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// In seconds.
pub fn seconds(time: std::time::Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
