//! People who come by the word of an outside issuer: whether a token is one of an issuer's that the site trusts, and
//! whose it is. Where guests are kept, and what they may, is decided by who asks. No store, no policies.
//!
//! Signatures are checked by ring through the crate jsonwebtoken, by keys that come from the issuer alone: over HTTPS,
//! or from a file. Only RS256, ES256 and EdDSA are known here, so that no token says by itself how it wants to be
//! checked.

mod claims;
mod fault;
mod fetch;
mod issuer;
mod keys;
mod name;
mod provider;
mod ring_of_keys;

pub use self::{
    claims::{Presented, Rules},
    fault::{Refusal, SourceFault},
    issuer::{Issuer, IssuerSettings, Issuers},
    keys::SignedBy,
    name::{guest_name, home_of},
    ring_of_keys::{KeySource, Pace},
};

/// The longest token that is looked at.
pub const MOST_TOKEN_BYTES: usize = 16 << 10;

/// Whether a bearer token is one that an outside issuer could have signed, and none of Berth's own.
#[must_use]
pub fn looks_signed(token: &str) -> bool {
    let mut parts = token.split('.');
    let is_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // What is signed with nothing has an empty last part, and is to be told so.
    parts.next().is_some_and(is_part)
        && parts.next().is_some_and(is_part)
        && parts.next().is_some_and(|part| part.is_empty() || is_part(part))
        && parts.next().is_none()
}

#[cfg(test)]
mod tests;
