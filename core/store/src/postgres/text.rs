//! Texts that PostgreSQL cannot hold as they are: it has no NUL.

use std::borrow::Cow;

/// Begins what stands for another letter. No text that people write has it.
const MARK: char = '\u{1a}';

/// A text as it is kept: itself, unless it has one of two letters that hardly any text has.
pub(super) fn kept(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', MARK]) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(MARK, "\u{1a}m").replace('\0', "\u{1a}0"))
}

/// The text that was kept so.
pub(super) fn told(kept: String) -> String {
    if !kept.contains(MARK) {
        return kept;
    }
    let mut told = String::with_capacity(kept.len());
    let mut letters = kept.chars();
    while let Some(letter) = letters.next() {
        told.push(match letter {
            MARK if letters.next() == Some('0') => '\0',
            letter => letter,
        });
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_comes_back_and_is_kept_without_nul(text in "[a0m\u{0}\u{1a}ö]{0,12}") {
            let kept = kept(&text).into_owned();
            prop_assert!(!kept.contains('\0'));
            if !text.contains(['\0', MARK]) {
                prop_assert_eq!(&kept, &text);
            }
            prop_assert_eq!(told(kept), text);
        }
    }
}
