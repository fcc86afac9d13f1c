//! Text that guests wrote, made fit to be shown.

/// Cuts `text` to at most `most` bytes and replaces control characters, so that a policy can neither
/// flood a listing nor send commands to a terminal.
pub(crate) fn shown(text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(most);
    let (kept, rest) = text.split_at(end);
    let mut shown: String = kept.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if !rest.is_empty() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn control_characters_and_length_are_taken_off() {
        assert_eq!(shown("red \u{1b}[31m\nline", 100), "red  [31m line");
        assert_eq!(shown("äöü", 3), "ä…");
        assert_eq!(shown("short", 5), "short");
    }
}
