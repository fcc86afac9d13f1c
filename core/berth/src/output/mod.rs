//! What goes to standard output and standard error, and in which form.

pub mod escape;
pub mod progress;
pub mod secret;
pub mod table;
pub mod time;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use table::Table;

/// How this command speaks.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// For programs.
    pub json: bool,
    /// The terminal's width, where standard output is one.
    width: Option<usize>,
    coloured: bool,
    colour_allowed: bool,
}

impl Output {
    /// For this process.
    pub fn of_process(json: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let size = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let width = is_terminal.then(|| size().filter(|&columns| columns > 0).unwrap_or(80));
        let colour_allowed = !no_colour && !dumb;
        Self { json, width, coloured: is_terminal && colour_allowed, colour_allowed }
    }

    /// Whether colours are welcome on standard output.
    pub fn coloured(&self) -> bool {
        self.coloured
    }

    /// Whether colours are welcome on standard error.
    pub fn stderr_coloured(&self) -> bool {
        self.colour_allowed && io::stderr().is_terminal()
    }

    /// Whether progress may be shown.
    pub fn progress(&self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// One document for programs.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn document(&self, value: &impl Serialize) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        serde_json::to_writer_pretty(&mut out, value)?;
        writeln!(out)?;
        out.flush()
    }

    /// One line of a stream for programs.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn json_line(&self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        out.flush()
    }

    /// A table, fitted to the terminal where there is one.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn table(&self, table: Table) -> io::Result<()> {
        self.text(&table.render(self.width, self.coloured))
    }

    /// Text, with a line break behind it.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn text(&self, text: &str) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}

/// A message beside the output: `berth: …`.
pub fn note(text: &str) {
    to_stderr(&format!("berth: {}", escape::lines(text)));
}

/// A line on standard error.
pub fn to_stderr(text: &str) {
    // Where not even this can be written, nobody is there to be told.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// CPUs from milli-cores: `2`, `0.5`.
pub fn cpus(millis: u64) -> String {
    let (whole, rest) = (millis / 1000, millis % 1000);
    match rest {
        0 => whole.to_string(),
        _ => format!("{whole}.{rest:03}").trim_end_matches('0').to_owned(),
    }
}
