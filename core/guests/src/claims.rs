//! What a token says, and whether the site wants whoever it is about.

use std::time::Duration;

use berth_model::UtcMs;
use serde_json::{Map, Value};

use crate::{Refusal, guest_name};

/// The longest name of a person, as the standard has it.
const MOST_SUBJECT_BYTES: usize = 255;
/// The longest address.
const MOST_ADDRESS_BYTES: usize = 254;

/// Somebody whom an issuer vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The guest's name here, which nobody else gets.
    pub name: String,
    /// The issuer.
    pub issuer: String,
    /// What the issuer calls them.
    pub subject: String,
    /// Their address, where the issuer has made sure of it.
    pub email: Option<String>,
}

/// What a token has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The claim that names the person. Only `sub` is sure never to be given to somebody else.
    pub claim: String,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// Domains of addresses that the issuer has made sure of, in small letters; any, where there are none.
    pub domains: Vec<String>,
    /// Claims with a value that each has to have, alone or in a list.
    pub require: Vec<(String, String)>,
}

impl Rules {
    /// Judges the claims of a token whose signature, issuer and audience are right.
    pub(crate) fn judge(
        &self,
        now: UtcMs,
        issuer: &str,
        claims: &Map<String, Value>,
    ) -> Result<Presented, Refusal> {
        self.judge_times(now, claims)?;
        let subject = claims.get(&self.claim).and_then(Value::as_str);
        let subject = subject.filter(|subject| {
            !subject.is_empty()
                && subject.len() <= MOST_SUBJECT_BYTES
                && !subject.chars().any(char::is_control)
        });
        let subject = subject.ok_or_else(|| Refusal::Claim(self.claim.clone()))?;
        let email = sure_address(claims);
        self.allows(claims, email)?;
        Ok(Presented {
            name: guest_name(issuer, &self.claim, subject),
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            email: email.map(str::to_owned),
        })
    }

    fn judge_times(&self, now: UtcMs, claims: &Map<String, Value>) -> Result<(), Refusal> {
        let leeway = u64::try_from(self.leeway.as_millis()).unwrap_or(u64::MAX);
        let expires = instant(claims, "exp")?.ok_or_else(|| Refusal::Claim("exp".to_owned()))?;
        if now.0 >= expires.saturating_add(leeway) {
            return Err(Refusal::Expired);
        }
        for claim in ["nbf", "iat"] {
            if instant(claims, claim)?.is_some_and(|from| now.0.saturating_add(leeway) < from) {
                return Err(Refusal::NotYet);
            }
        }
        Ok(())
    }

    fn allows(&self, claims: &Map<String, Value>, email: Option<&str>) -> Result<(), Refusal> {
        let domain = email.and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain);
        let is_of = |wanted: &String| domain.is_some_and(|domain| domain.eq_ignore_ascii_case(wanted));
        if !self.domains.is_empty() && !self.domains.iter().any(is_of) {
            let words = "only people with an address of certain domains, which their issuer has made sure of, are \
                         guests here";
            return Err(Refusal::NotAllowed(words.to_owned()));
        }
        let missing = self.require.iter().find(|(name, value)| !has(claims.get(name), value));
        match missing {
            Some((name, _)) => {
                Err(Refusal::NotAllowed(format!("only people with a certain {name} are guests here")))
            }
            None => Ok(()),
        }
    }
}

/// Milliseconds since 1970; an error where it is there and no instant.
fn instant(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=1e12).contains(seconds));
    let seconds = seconds.ok_or_else(|| Refusal::Claim(name.to_owned()))?;
    let span = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    Ok(Some(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
}

fn has(claim: Option<&Value>, wanted: &str) -> bool {
    match claim {
        Some(Value::String(text)) => text == wanted,
        Some(Value::Bool(flag)) => flag.to_string() == wanted,
        Some(Value::Number(number)) => number.to_string() == wanted,
        Some(Value::Array(list)) => list.iter().any(|one| one.as_str() == Some(wanted)),
        _ => false,
    }
}

/// An address that the issuer says it has made sure of, if it is a plain one.
fn sure_address(claims: &Map<String, Value>) -> Option<&str> {
    claims.get("email_verified").filter(|sure| **sure == Value::Bool(true))?;
    let address = claims.get("email")?.as_str()?;
    let plain =
        |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '(' | ')' | ',' | ';' | ':' | '"' | '\\');
    let (local, domain) = address.split_once('@')?;
    let sound = !local.is_empty()
        && !domain.is_empty()
        && !domain.contains('@')
        && address.len() <= MOST_ADDRESS_BYTES
        && address.chars().all(plain);
    sound.then_some(address)
}
