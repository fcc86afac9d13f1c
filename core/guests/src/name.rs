//! What guests are called.
//!
//! A guest's name is made of who vouches for them, of the claim that names them, and of what it says; each with its
//! length, so that no two of them run into each other. A hundred bits of the hash are kept: nobody finds claims that
//! give them the name of somebody else.

use berth_model::GUEST_PREFIX;
use sha2::{Digest, Sha256};

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Five bits each.
const LENGTH: usize = 20;

/// The name of whoever an issuer names so.
#[must_use]
pub fn guest_name(issuer: &str, claim: &str, subject: &str) -> String {
    let mut hash = Sha256::new();
    for part in [issuer, claim, subject] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let hash = hash.finalize();
    let bit = |at: usize| hash.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0);
    let letter = |place: usize| {
        let number = (0..5).fold(0, |number, at| number << 1 | usize::from(bit(place * 5 + at)));
        LETTERS.get(number).map_or('a', |letter| char::from(*letter))
    };
    let letters: String = (0..LENGTH).map(letter).collect();
    format!("{GUEST_PREFIX}{letters}")
}

/// What a guest's directory is called: a plain name that begins with a letter or a digit, and no path. `None` for what
/// is not the name of a guest.
#[must_use]
pub fn home_of(name: &str) -> Option<&str> {
    let own = name.strip_prefix(GUEST_PREFIX)?;
    (own.len() == LENGTH && own.bytes().all(|byte| LETTERS.contains(&byte))).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_stable_and_no_two_people_share_one() {
        let ann = guest_name("https://id.example.org", "sub", "ann");
        assert_eq!(ann, "guest:zd24gq4m6sdjo6wvg5it");
        let others = [
            guest_name("https://id.example.org", "sub", "bob"),
            guest_name("https://id.example.org", "email", "ann"),
            guest_name("https://id.example.or", "sub", "ann"),
            guest_name("https://id.example.or", "gsub", "ann"),
            guest_name("https://id.example.org", "su", "bann"),
            guest_name("https://id.example.org/", "sub", "ann"),
            guest_name("https://id.example.org", "sub", "ann "),
            guest_name("https://id.example.org", "sub", "Ann"),
        ];
        for (at, other) in others.iter().enumerate() {
            assert_ne!(*other, ann);
            assert!(others.iter().skip(at + 1).all(|one| one != other));
        }
    }

    #[test]
    fn a_home_is_a_plain_name_whatever_somebody_is_called() {
        for subject in ["../../etc", "a/b", "", "\0", "..", "ann@example.org", &"x".repeat(10_000)] {
            let name = guest_name("https://id.example.org", "sub", subject);
            let home = home_of(&name).unwrap();
            assert!(home.len() == LENGTH && home.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{home}");
        }
        for name in [
            "ann",
            "guest:",
            "guest:..",
            "guest:../../etc/passwd",
            "guest:abcdefghijabcdefghi/",
            "guest:ABCDEFGHIJABCDEFGHIJ",
        ] {
            assert_eq!(home_of(name), None, "{name}");
        }
    }
}
