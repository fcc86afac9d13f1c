//! Issuers whom the site trusts.

use std::sync::Arc;

use berth_model::UtcMs;
use jsonwebtoken::{Header, Validation, dangerous, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    MOST_TOKEN_BYTES, Presented, Refusal, Rules, SignedBy, provider,
    ring_of_keys::{KeyRing, KeySource, Pace},
};

/// One issuer, as the site has set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// Its address, as its tokens have it letter by letter.
    pub url: String,
    /// What this Berth is called in its tokens.
    pub audience: String,
    /// How it signs.
    pub algorithms: Vec<SignedBy>,
    /// Where its keys come from.
    pub source: KeySource,
    /// How often they are looked for.
    pub pace: Pace,
    /// What its tokens have to say.
    pub rules: Rules,
}

/// An issuer with its keys.
#[derive(Debug)]
pub struct Issuer {
    settings: IssuerSettings,
    keys: Arc<KeyRing>,
}

/// All issuers that are trusted.
#[derive(Debug, Default)]
pub struct Issuers(Vec<Issuer>);

/// Who a token says to have signed it, before that is known to be true.
#[derive(Deserialize)]
struct Unproven {
    iss: String,
}

impl Issuers {
    /// Nobody is asked for keys before there is a token to check.
    #[must_use]
    pub fn new(all: Vec<IssuerSettings>) -> Self {
        provider::install();
        let issuer = |settings: IssuerSettings| {
            let keys = KeyRing::new(&settings.url, settings.source.clone(), settings.pace);
            Issuer { settings, keys: Arc::new(keys) }
        };
        Self(all.into_iter().map(issuer).collect())
    }

    /// Whether this issuer is trusted.
    #[must_use]
    pub fn trusts(&self, url: &str) -> bool {
        self.0.iter().any(|issuer| issuer.settings.url == url)
    }

    /// Whose token this is. May wait for the issuer's keys, for as long as [`Pace::answer_within`] at most, twice.
    ///
    /// # Errors
    /// Why it is not believed. Nothing in it is, before its signature has been found right.
    pub async fn prove(&self, now: UtcMs, token: &str) -> Result<Presented, Refusal> {
        if token.len() > MOST_TOKEN_BYTES {
            return Err(Refusal::Malformed("it is longer than any token"));
        }
        let header =
            decode_header(token).map_err(|_| Refusal::Malformed("it is signed in no way that is known"))?;
        let by = signed_by(&header)?;
        let unproven: Unproven = dangerous::insecure_decode_claims(token)
            .map_err(|_| Refusal::Malformed("it does not say who has signed it"))?;
        let issuer = self.0.iter().find(|issuer| issuer.settings.url == unproven.iss);
        issuer.ok_or(Refusal::UnknownIssuer)?.prove(now, token, &header, by).await
    }
}

impl Issuer {
    async fn prove(
        &self,
        now: UtcMs,
        token: &str,
        header: &Header,
        by: SignedBy,
    ) -> Result<Presented, Refusal> {
        let IssuerSettings { url, audience, algorithms, rules, .. } = &self.settings;
        if !algorithms.contains(&by) {
            return Err(Refusal::Malformed("its issuer does not sign in this way"));
        }
        let key = self.keys.find(header.kid.as_deref(), by).await?;
        let mut wanted = Validation::new(by.algorithm());
        wanted.set_audience(&[audience]);
        wanted.set_issuer(&[url]);
        wanted.set_required_spec_claims(&["exp", "aud", "iss"]);
        // Times are judged by the clock of who asks.
        (wanted.validate_exp, wanted.validate_nbf) = (false, false);
        let proven =
            decode::<Map<String, Value>>(token, &key, &wanted).map_err(|error| refusal(error.kind()))?;
        rules.judge(now, url, &proven.claims)
    }
}

/// How it is signed, if all that its header says is understood.
fn signed_by(header: &Header) -> Result<SignedBy, Refusal> {
    if header.crit.is_some() {
        return Err(Refusal::Malformed("its header wants something that is not known here"));
    }
    let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
    if !matches!(kind.as_deref(), None | Some("jwt" | "at+jwt" | "application/at+jwt")) {
        return Err(Refusal::Malformed("it is a token of another kind"));
    }
    SignedBy::of(header.alg).ok_or(Refusal::Malformed("only RS256, ES256 and EdDSA are taken"))
}

fn refusal(error: &ErrorKind) -> Refusal {
    match error {
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => Refusal::Signature,
        ErrorKind::InvalidAudience => Refusal::Audience,
        ErrorKind::InvalidIssuer => Refusal::UnknownIssuer,
        ErrorKind::MissingRequiredClaim(claim) => Refusal::Claim(claim.clone()),
        _ => Refusal::Malformed("it cannot be read"),
    }
}
