//! Tables that fit.
//!
//! On a terminal, columns that matter least are left out and texts are cut until a row fits one line; in a
//! pipe nothing is left out or cut.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr;

use super::escape;

/// Between two columns.
const GAP: usize = 2;
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// A column's heading and how it gives way.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Numbers stand at the right.
    pub right: bool,
    /// The least width that it may be cut to; whole where there is none.
    pub least: Option<usize>,
    /// The higher, the sooner it is left out; 0 stays.
    pub leaves: u8,
}

impl Column {
    /// A column that is always there, and whole.
    pub const fn fixed(title: &'static str) -> Self {
        Self { title, right: false, least: None, leaves: 0 }
    }

    /// A column of numbers.
    pub const fn number(title: &'static str) -> Self {
        Self { right: true, ..Self::fixed(title) }
    }

    /// A column whose texts may be cut.
    pub const fn text(title: &'static str, least: usize) -> Self {
        Self { least: Some(least), ..Self::fixed(title) }
    }

    /// Leaves when there is no room, those with higher numbers first.
    pub const fn leaving(self, leaves: u8) -> Self {
        Self { leaves, ..self }
    }
}

/// Rows under columns.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// The column with a state, which is coloured.
    state: Option<usize>,
}

impl Table {
    /// An empty one.
    pub fn new(columns: &[Column]) -> Self {
        let state = columns.iter().position(|column| column.title == "STATE");
        Self { columns: columns.to_vec(), rows: Vec::new(), state }
    }

    /// Adds a row; texts from elsewhere are made harmless here.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let clean = |cell: String| match escape::one_line(&cell) {
            Cow::Owned(clean) => clean,
            Cow::Borrowed(_) => cell,
        };
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// Leaves out a column that says nothing in any row.
    pub fn drop_if_all(&mut self, title: &str, nothing: &str) {
        let Some(at) = self.columns.iter().position(|column| column.title == title) else { return };
        if self.rows.iter().all(|row| row.get(at).is_none_or(|cell| cell == nothing)) {
            self.remove(at);
        }
    }

    fn remove(&mut self, at: usize) {
        self.columns.remove(at);
        self.rows.iter_mut().filter(|row| at < row.len()).for_each(|row| drop(row.remove(at)));
        self.state = self.columns.iter().position(|column| column.title == "STATE");
    }

    /// As text, at most `width` wide where one is given.
    pub fn render(mut self, width: Option<usize>, coloured: bool) -> String {
        let widths = self.fit(width);
        let mut text = String::with_capacity((widths.iter().sum::<usize>() + 16) * (self.rows.len() + 1));
        let titles = self.columns.iter().map(|column| column.title);
        let bold = coloured.then_some(BOLD);
        self.line(&mut text, titles.map(|title| (title, bold)), &widths);
        for row in &self.rows {
            let cells = row.iter().enumerate().map(|(at, cell)| {
                let is_state = coloured && self.state == Some(at);
                (cell.as_str(), is_state.then(|| colour_of(cell)).flatten())
            });
            self.line(&mut text, cells, &widths);
        }
        text.pop();
        text
    }

    /// One line; the column's room is counted without what only colours it.
    fn line<'t>(
        &self,
        text: &mut String,
        cells: impl Iterator<Item = (&'t str, Option<&'static str>)>,
        widths: &[usize],
    ) {
        let mut owed = 0;
        for ((cell, colour), (column, &width)) in cells.zip(self.columns.iter().zip(widths)) {
            let cell = cut(cell, width);
            let spare = width.saturating_sub(cell.width());
            let (before, behind) = if column.right { (spare, 0) } else { (0, spare) };
            // Blanks are written when something follows them, so that no line ends in any.
            if !cell.is_empty() {
                text.extend(std::iter::repeat_n(' ', owed + before));
                text.push_str(colour.unwrap_or_default());
                text.push_str(&cell);
                text.push_str(if colour.is_some() { PLAIN } else { "" });
                owed = 0;
            } else {
                owed += before;
            }
            owed += behind + GAP;
        }
        text.push('\n');
    }

    /// Leaves out what has no place, and says how wide each column becomes.
    fn fit(&mut self, width: Option<usize>) -> Vec<usize> {
        let mut natural: Vec<usize> = (0..self.columns.len()).map(|at| self.natural(at)).collect();
        let Some(width) = width else { return natural };
        loop {
            let gaps = GAP * self.columns.len().saturating_sub(1);
            let least: Vec<usize> = natural
                .iter()
                .zip(&self.columns)
                .map(|(&natural, column)| match column.least {
                    Some(least) => natural.min(least.max(column.title.width())),
                    None => natural,
                })
                .collect();
            let needed = least.iter().sum::<usize>() + gaps;
            let goes = self.columns.iter().enumerate().filter(|(_, column)| column.leaves > 0);
            match goes.max_by_key(|(_, column)| column.leaves).map(|(at, _)| at) {
                Some(at) if needed > width => {
                    self.remove(at);
                    natural.remove(at);
                }
                _ => return share(&natural, least, width.saturating_sub(needed)),
            }
        }
    }

    fn natural(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width());
        let title = self.columns.get(at).map_or(0, |column| column.title.width());
        cells.max().unwrap_or(0).max(title)
    }
}

/// Gives spare room to the columns that are still cut, to each the same.
fn share(natural: &[usize], mut widths: Vec<usize>, mut spare: usize) -> Vec<usize> {
    loop {
        let before = spare;
        for (width, &natural) in widths.iter_mut().zip(natural) {
            if *width < natural && spare > 0 {
                *width += 1;
                spare -= 1;
            }
        }
        if spare == before {
            return widths;
        }
    }
}

/// The text in at most `width` columns of a terminal, with a mark where it was cut.
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.len() <= width || text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mut short = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        short.push(c);
    }
    short.push('…');
    Cow::Owned(short)
}

/// How a terminal is told the colour of a state.
fn colour_of(state: &str) -> Option<&'static str> {
    match state {
        "running" | "up" | "active" | "succeeded" => Some("\x1b[32m"),
        "starting" | "stopping" | "suspended" | "probation" | "closed" => Some("\x1b[33m"),
        "failed" | "killed" | "rejected" | "lost" | "unreachable" | "benched" => Some("\x1b[31m"),
        "held" => Some("\x1b[35m"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[
            Column::number("ID"),
            Column::text("NAME", 8),
            Column::fixed("STATE"),
            Column::text("WHERE", 6).leaving(1),
            Column::number("CPU").leaving(2),
        ]);
        let row = |cells: [&str; 5]| cells.map(str::to_owned);
        table.row(row(["1", "short", "running", "local/node-with-a-long-name", "2"]));
        table.row(row(["20000", "a name that is rather long \x1b[31m", "failed", "", "0.5"]));
        table
    }

    #[test]
    fn in_a_pipe_nothing_is_cut() {
        insta::assert_snapshot!(sample().render(None, false), @r#"
           ID  NAME                                 STATE    WHERE                        CPU
            1  short                                running  local/node-with-a-long-name    2
        20000  a name that is rather long \x1b[31m  failed                                0.5
        "#);
    }

    #[test]
    fn a_terminal_gets_what_fits() {
        insta::assert_snapshot!(sample().render(Some(60), false), @r#"
           ID  NAME                  STATE    WHERE              CPU
            1  short                 running  local/node-with-…    2
        20000  a name that is rath…  failed                      0.5
        "#);
        insta::assert_snapshot!(sample().render(Some(34), false), @r#"
           ID  NAME       STATE    WHERE
            1  short      running  local/…
        20000  a name t…  failed
        "#);
        insta::assert_snapshot!(sample().render(Some(26), false), @r#"
           ID  NAME        STATE
            1  short       running
        20000  a name th…  failed
        "#);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 24..140 {
            let text = sample().render(Some(width), false);
            for line in text.lines() {
                assert!(line.width() <= width, "{width}: {line:?} is {} wide", line.width());
            }
            assert_eq!(text.lines().count(), 3, "one line for each row:\n{text}");
        }
    }

    #[test]
    fn wide_letters_are_counted_as_wide() {
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 1), "…");
    }

    #[test]
    fn colours_only_where_wanted() {
        assert!(!sample().render(None, false).contains('\x1b'));
        assert!(sample().render(None, true).contains("\x1b["));
    }

    #[test]
    fn a_column_without_news_can_leave() {
        let mut table = Table::new(&[Column::number("ID"), Column::number("GPU")]);
        table.row(["1".to_owned(), "0".to_owned()]);
        table.drop_if_all("GPU", "0");
        assert_eq!(table.render(None, false), "ID\n 1");
    }
}
