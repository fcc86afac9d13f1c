//! Why somebody is not let in.

use std::time::Duration;

/// Why a token is not believed, by what is to be done about it. No words repeat what is in the token but the names of
/// the issuer's things, so that they can be logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no token, or one of a kind that is not taken.
    #[error("this token cannot be taken: {0}")]
    Malformed(&'static str),
    /// Nobody here trusts whoever says to have signed it.
    #[error("this token is of an issuer that is not trusted here")]
    UnknownIssuer,
    /// The issuer does not have the key that it names.
    #[error("this token is signed with a key that its issuer does not have")]
    UnknownKey,
    /// The signature is not the issuer's.
    #[error("the signature of this token is wrong")]
    Signature,
    /// It was good once.
    #[error("this token has expired; get a new one from its issuer")]
    Expired,
    /// It is of the future; clocks differ, or somebody plays with them.
    #[error("this token is not good yet")]
    NotYet,
    /// It is for somebody else than this Berth.
    #[error("this token is not for this server: its audience is another one")]
    Audience,
    /// A claim is missing, or is not what it has to be.
    #[error("this token says nothing sound in its claim {0:?}")]
    Claim(String),
    /// Signed, sound, and of somebody whom the site does not want.
    #[error("{0}")]
    NotAllowed(String),
    /// It cannot be said now. Asking again later may help.
    #[error("tokens of this issuer cannot be checked now: {0}")]
    Unavailable(String),
}

/// Why an issuer's keys cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceFault {
    /// There was no answer in time.
    #[error("the issuer did not answer within {0:?}")]
    Slow(Duration),
    /// It cannot be reached, or is not who it should be.
    #[error("the issuer cannot be asked: {0}")]
    Unreachable(String),
    /// It has answered with something else than what was asked for.
    #[error("the issuer's answer is of no use: {0}")]
    Answer(String),
    /// The file cannot be used.
    #[error("the file of the issuer's keys cannot be used: {0}")]
    File(String),
}
