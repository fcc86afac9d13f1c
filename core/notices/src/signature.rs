//! How a receiver makes sure that a call is Berth's.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

fn mac(key: &[u8], parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands in `Berth-Signature`: the time in seconds since 1970, and the HMAC-SHA256 in hex of that time, a dot and
/// the body. The time is within it, so that nobody can pass an old call off as a new one.
#[must_use]
pub fn sign(key: &[u8], seconds: u64, body: &[u8]) -> String {
    let time = seconds.to_string();
    format!("t={time},v1={}", mac(key, &[time.as_bytes(), b".", body]))
}

/// The key of one person's calls to one address, made from the site's: it need not be kept anywhere, and a receiver
/// who has it can pass for Berth before nobody else.
#[must_use]
pub fn user_key(site: &[u8], user: &str, address: &str) -> String {
    // The lengths keep apart what would be the same when written one behind the other.
    let head = format!("berth user webhook\n{} {}\n", user.len(), address.len());
    mac(site, &[head.as_bytes(), user.as_bytes(), address.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hmac_that_others_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a key of the site'
        let signed = sign(b"a key of the site", 1_700_000_000, br#"{"a":1}"#);
        assert_eq!(
            signed,
            "t=1700000000,v1=95ea8f52f2686f740b86039eae8044199d9237501832f3602138184840732b0e"
        );
    }

    #[test]
    fn a_user_has_another_key_for_each_address_and_nobody_elses() {
        let key = |user, address| user_key(b"site", user, address);
        assert_eq!(key("ann", "https://a/"), key("ann", "https://a/"));
        assert_ne!(key("ann", "https://a/"), key("ann", "https://b/"));
        assert_ne!(key("ann", "https://a/"), key("bob", "https://a/"));
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }
}
