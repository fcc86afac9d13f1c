//! Tells people and programs of jobs: what a notice says, how it is written as a mail or as the call of a webhook,
//! and how it is brought there, once. Who is owed which notice, and when to try again, is decided by who calls.
//! No state, no SQL, no engine.

mod backoff;
mod mail;
mod notice;
mod reach;
mod secret;
mod signature;
mod tls;
mod webhook;

pub use self::{
    backoff::wait,
    mail::{Encryption, Login, MailSettings, Mailer, Unusable, domain_of, is_address},
    notice::Notice,
    reach::{Network, NetworkError, Reach, is_public},
    secret::{Secret, SecretError},
    signature::{sign, user_key},
    tls::TlsError,
    webhook::{Address, AddressError, Call, Hooks},
};

/// Why a notice was not delivered, by what is to be done about it.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// The way there is closed, for this notice as for all others: nobody answers, or nobody is let in.
    #[error("{0}")]
    Closed(String),
    /// The other side did not take this one; later it may.
    #[error("{0}")]
    NotNow(String),
    /// It will never be taken.
    #[error("{0}")]
    Never(String),
}

/// An error with all that is behind it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        // Some libraries repeat the cause in their own words.
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        source = cause.source();
    }
    notice::one_line(&words, 500)
}
