//! Text from elsewhere, made harmless for a terminal and a table.

use std::{borrow::Cow, fmt::Write};

/// The text in one line, with everything written out that could move the cursor, colour the screen, or
/// turn the order of letters round.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => clean.push_str("\\n"),
            '\t' => clean.push_str("\\t"),
            '\r' => clean.push_str("\\r"),
            c if is_hostile(c) && u32::from(c) < 0x100 => {
                let _ = write!(clean, "\\x{:02x}", u32::from(c));
            }
            c if is_hostile(c) => {
                let _ = write!(clean, "\\u{{{:x}}}", u32::from(c));
            }
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// As [`one_line`], but line breaks stay.
pub fn lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(|line| one_line(line.trim_end_matches('\r'))).collect();
    lines.join("\n")
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Line and paragraph breaks, marks and overrides of the writing direction.
            '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{200b}'..='\u{200f}' | '\u{061c}'
            // Invisible: a byte order mark, soft hyphens, fillers, tags.
            | '\u{feff}' | '\u{00ad}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(one_line("a\x1b[31mred\x07"), "a\\x1b[31mred\\x07");
        assert_eq!(one_line("two\nlines\tand\rback"), "two\\nlines\\tand\\rback");
        assert_eq!(one_line("c1 \u{9b}31m"), "c1 \\x9b31m");
        assert_eq!(one_line("\u{202e}gnp.exe"), "\\u{202e}gnp.exe");
        assert_eq!(one_line("a\u{200b}b"), "a\\u{200b}b");
    }

    #[test]
    fn what_people_write_stays() {
        for text in ["", "plain", "größer", "日本語", "🦀", "tab-less \\n"] {
            assert_eq!(one_line(text), text);
        }
    }

    #[test]
    fn line_breaks_may_stay() {
        assert_eq!(lines("a\r\nb\x1b\n"), "a\nb\\x1b\n");
    }
}
