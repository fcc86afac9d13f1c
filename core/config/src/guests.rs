//! `[guests]` and `[[issuers]]`: who is let in by the word of others.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use crate::{
    check::Check,
    raw::{At, RawGuests, RawIssuer},
    source::Span,
};

/// How an issuer signs its tokens.
pub use crate::raw::TokenAlgorithm;

/// `[guests]`, with the issuers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guests {
    /// The account that jobs of all guests run as.
    pub user: String,
    /// The folder in which each guest gets a directory; without it guests have no home.
    pub homes: Option<PathBuf>,
    /// Whether guests' jobs may run as root, where jobs may at all.
    pub allow_root: bool,
    /// Names of volumes that guests may ask for beside `home`.
    pub volumes: BTreeSet<String>,
    /// Names of executors that their jobs may go to; any, where there are none.
    pub executors: BTreeSet<String>,
    /// The most who may wait to be let in.
    pub most_waiting: u64,
    /// How often their directories are measured.
    pub measure_every: Duration,
    /// Whose word counts, in the order of the file; never empty.
    pub issuers: Vec<Issuer>,
}

/// One of `[[issuers]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Its address, as its tokens have it.
    pub url: String,
    /// What this Berth is called in them.
    pub audience: String,
    /// The claim that names a person.
    pub claim: String,
    /// How it signs.
    pub algorithms: Vec<TokenAlgorithm>,
    /// A file with its keys; without it the issuer is asked.
    pub keys_file: Option<PathBuf>,
    /// The authorities whose word on its certificate counts.
    pub tls_ca: PathBuf,
    /// Domains of addresses, in small letters.
    pub domains: Vec<String>,
    /// Claims and the values that they have to have.
    pub require: Vec<(String, String)>,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// How long it may take to answer.
    pub answer_within: Duration,
    /// The shortest time between two looks for its keys.
    pub look_again: Duration,
    /// From this age on keys are looked for again.
    pub keys_fresh_for: Duration,
    /// From this age on they are used no more.
    pub keys_good_for: Duration,
}

impl Check<'_> {
    /// `executors` are the names of those that there are.
    pub(crate) fn guests(
        &mut self,
        raw: &RawGuests,
        issuers: &[At<RawIssuer>],
        executors: &[&str],
    ) -> Option<Guests> {
        let checked = self.issuers(issuers);
        let Some(user) = &raw.user else {
            if let Some(first) = issuers.first() {
                let message =
                    "nobody comes by the word of an issuer, because guests.user is not set".to_owned();
                self.warning(
                    &first.span(),
                    message,
                    "name the account that guests' jobs run as, or take this out",
                );
            }
            return None;
        };
        if user.is_empty() || user.as_str() == "root" || user.contains([':', '/']) {
            let message = format!("guests.user cannot be {:?}", user.as_str());
            self.error(&user.span(), message, "name an account that nobody else uses");
        }
        if issuers.is_empty() {
            let message = "guests.user is set, and nobody's word counts".to_owned();
            self.error(&user.span(), message, "add an [[issuers]] table");
        }
        for name in raw.executors.iter().filter(|name| !executors.contains(&name.as_str())) {
            let message = format!("guests.executors: there is no executor {:?}", name.as_str());
            self.error(&name.span(), message, format!("there are {}", executors.join(", ")));
        }
        Some(Guests {
            user: user.value(),
            homes: raw.homes.as_ref().map(At::value),
            allow_root: *raw.allow_root,
            volumes: raw.volumes.iter().map(At::value).collect(),
            executors: raw.executors.iter().map(At::value).collect(),
            most_waiting: *raw.most_waiting,
            measure_every: raw.measure_every.0,
            issuers: checked,
        })
    }

    fn issuers(&mut self, raw: &[At<RawIssuer>]) -> Vec<Issuer> {
        let mut seen = BTreeSet::new();
        let mut all = Vec::with_capacity(raw.len());
        for issuer in raw {
            self.issuer_address(issuer);
            if !seen.insert(issuer.url.as_str()) {
                let message = format!("the issuer {} stands here twice", *issuer.url);
                self.error(&issuer.url.span(), message, "take this one out");
            }
            if issuer.audience.is_empty() {
                let message = "issuers.audience is empty".to_owned();
                self.error(&issuer.audience.span(), message, "write what its tokens call this server");
            }
            if issuer.claim.is_empty() {
                let message = "issuers.claim is empty".to_owned();
                self.error(
                    &issuer.claim.span(),
                    message,
                    "write sub, which is never given to another person",
                );
            } else if issuer.claim.as_str() != "sub" {
                let message = format!("people of {} are known by their {}", *issuer.url, *issuer.claim);
                let label = "make sure that the issuer never gives the same one to another person, as only sub promises";
                self.warning(&issuer.claim.span(), message, label);
            }
            if issuer.algorithms.is_empty() {
                let message = "issuers.algorithms is empty, so that no token is taken".to_owned();
                self.error(&issuer.url.span(), message, "name how it signs, or leave algorithms out");
            }
            if issuer.keys_fresh_for.0 > issuer.keys_good_for.0 {
                let message = "issuers.keys-fresh-for is longer than issuers.keys-good-for".to_owned();
                self.error(&issuer.keys_fresh_for.span(), message, "make it shorter");
            }
            let require = issuer.require.iter().filter_map(|text| self.required_claim(text)).collect();
            for domain in issuer.domains.iter().filter(|domain| is_no_domain(domain)) {
                let message = format!("issuers.domains: {:?} is no domain", domain.as_str());
                self.error(&domain.span(), message, "write what stands behind the @ of addresses");
            }
            all.push(Issuer {
                url: issuer.url.value(),
                audience: issuer.audience.value(),
                claim: issuer.claim.value(),
                algorithms: issuer.algorithms.iter().map(|algorithm| **algorithm).collect(),
                keys_file: issuer.keys_file.as_ref().map(At::value),
                tls_ca: issuer.tls_ca.value(),
                domains: issuer.domains.iter().map(|domain| domain.to_ascii_lowercase()).collect(),
                require,
                leeway: issuer.leeway.0,
                answer_within: issuer.answer_within.0,
                look_again: issuer.look_again.0,
                keys_fresh_for: issuer.keys_fresh_for.0,
                keys_good_for: issuer.keys_good_for.0,
            });
        }
        all
    }

    fn issuer_address(&mut self, issuer: &At<RawIssuer>) {
        let (text, span): (&str, Span) = (&issuer.url, issuer.url.span());
        // What is never asked needs no encryption, and some name themselves so.
        let plain = text.strip_prefix("http://").filter(|_| issuer.keys_file.is_some());
        let rest = text.strip_prefix("https://").or(plain);
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '?' | '#' | '\\');
        if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with(['/', ':']) || rest.contains(odd)) {
            let message = format!("issuers.url: {text:?} is no issuer");
            self.error(&span, message, "write it as its tokens have it: https://HOST/PATH");
        }
    }

    fn required_claim(&mut self, text: &At<String>) -> Option<(String, String)> {
        let parts = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
        if parts.is_none() {
            let message = format!("issuers.require: {:?} is no claim with a value", text.as_str());
            self.error(&text.span(), message, "write NAME=VALUE");
        }
        parts.map(|(name, value)| (name.to_owned(), value.to_owned()))
    }
}

fn is_no_domain(domain: &str) -> bool {
    domain.is_empty() || domain.contains(['@', ' ', '/', '*'])
}
