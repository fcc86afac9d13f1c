//! An issuer's keys, as it publishes them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{
        AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
    },
};
use serde::Deserialize;
use serde_json::Value;

/// The most keys that are looked at. Issuers have a handful.
const MOST_KEYS: usize = 64;
/// Shorter moduli can be factored, longer ones only take time.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// Of a coordinate on P-256, and of a point on Ed25519.
const POINT_BYTES: usize = 32;

/// How a token is signed. There are no others here: none that a public key could be the secret of, and none without a
/// key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignedBy {
    /// RSA (PKCS 1.5) with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl SignedBy {
    pub(crate) fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::RS256 => Some(Self::Rs256),
            Algorithm::ES256 => Some(Self::Es256),
            Algorithm::EdDSA => Some(Self::EdDsa),
            _ => None,
        }
    }

    pub(crate) fn algorithm(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }

    fn in_a_key(self) -> KeyAlgorithm {
        match self {
            Self::Rs256 => KeyAlgorithm::RS256,
            Self::Es256 => KeyAlgorithm::ES256,
            Self::EdDsa => KeyAlgorithm::EdDSA,
        }
    }
}

/// Keys that signatures can be checked with.
#[derive(Debug)]
pub(crate) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    by: SignedBy,
    key: DecodingKey,
}

/// A set as it is written. Each key is read by itself, so that one of a new kind does not take the others with it.
#[derive(Deserialize)]
struct Written {
    keys: Vec<Value>,
}

impl Keys {
    /// Those of a set that are of use here; others are passed over.
    ///
    /// # Errors
    /// When it is no set, or none of them is of use.
    pub(crate) fn read(json: &[u8]) -> Result<Self, &'static str> {
        let written: Written = serde_json::from_slice(json).map_err(|_| "it is no set of keys (JWKS)")?;
        let read = |value: Value| serde_json::from_value::<Jwk>(value).ok().and_then(|jwk| usable(&jwk));
        let keys: Vec<Key> = written.keys.into_iter().take(MOST_KEYS).filter_map(read).collect();
        match keys.is_empty() {
            true => Err("it has no key for RS256 (of 2048 bits or more), ES256 or EdDSA"),
            false => Ok(Self(keys)),
        }
    }

    /// The key that a token says it is signed with; without a word on that, the only one that it can be.
    pub(crate) fn find(&self, id: Option<&str>, by: SignedBy) -> Option<&DecodingKey> {
        let mut fitting =
            self.0.iter().filter(|key| key.by == by && (id.is_none() || key.id.as_deref() == id));
        let first = fitting.next()?;
        (id.is_some() || fitting.next().is_none()).then_some(&first.key)
    }
}

fn usable(jwk: &Jwk) -> Option<Key> {
    let (by, key) = match &jwk.algorithm {
        AlgorithmParameters::RSA(of) => {
            let (modulus, exponent) = (number(&of.n)?, number(&of.e)?);
            let sound = MODULUS_BYTES.contains(&modulus.len()) && (1..=4).contains(&exponent.len());
            (SignedBy::Rs256, sound.then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))?)
        }
        AlgorithmParameters::EllipticCurve(of) if of.curve == EllipticCurve::P256 => {
            let sound = point(&of.x).is_some() && point(&of.y).is_some();
            (SignedBy::Es256, sound.then(|| DecodingKey::from_ec_components(&of.x, &of.y))?.ok()?)
        }
        AlgorithmParameters::OctetKeyPair(of) if of.curve == EllipticCurve::Ed25519 => {
            (SignedBy::EdDsa, point(&of.x).map(|_| DecodingKey::from_ed_components(&of.x))?.ok()?)
        }
        // A secret that is shared with whoever checks is nothing that is published.
        _ => return None,
    };
    is_for_signing(&jwk.common, by).then(|| Key { id: jwk.common.key_id.clone(), by, key })
}

fn is_for_signing(common: &CommonParameters, by: SignedBy) -> bool {
    let signs = common.public_key_use.as_ref().is_none_or(|what| *what == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    signs && verifies && common.key_algorithm.is_none_or(|algorithm| algorithm == by.in_a_key())
}

/// A number without the zeros in front that some write.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

fn point(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == POINT_BYTES)
}
