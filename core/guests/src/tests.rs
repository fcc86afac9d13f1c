//! Which tokens are believed.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use berth_model::UtcMs;
use berth_testbed::{KeyKind, SigningKey};
use ring::hmac;
use serde_json::{Value, json};

use crate::{IssuerSettings, Issuers, KeySource, Pace, Presented, Refusal, Rules, SignedBy, guest_name};

const ISSUER: &str = "https://id.example.org";
/// Some instant, in seconds.
const NOW: u64 = 1_900_000_000;

/// A site that trusts one issuer, whose keys are in a file.
struct Site {
    issuers: Issuers,
    folder: tempfile::TempDir,
    key: SigningKey,
}

fn settings(folder: &tempfile::TempDir) -> IssuerSettings {
    IssuerSettings {
        url: ISSUER.into(),
        audience: "berth".into(),
        algorithms: vec![SignedBy::Rs256, SignedBy::Es256, SignedBy::EdDsa],
        source: KeySource::File(folder.path().join("keys.json")),
        pace: Pace {
            answer_within: Duration::from_secs(5),
            look_again: Duration::from_secs(60),
            fresh_for: Duration::from_secs(3600),
            good_for: Duration::from_secs(86_400),
        },
        rules: Rules {
            claim: "sub".into(),
            leeway: Duration::from_secs(30),
            domains: Vec::new(),
            require: Vec::new(),
        },
    }
}

impl Site {
    fn new(kind: KeyKind, change: impl FnOnce(&mut IssuerSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::new(kind, "first");
        let mut settings = settings(&folder);
        change(&mut settings);
        let site = Self { issuers: Issuers::new(vec![settings]), folder, key };
        site.publish(&[site.key.jwk()]);
        site
    }

    fn publish(&self, keys: &[Value]) {
        std::fs::write(self.folder.path().join("keys.json"), json!({ "keys": keys }).to_string()).unwrap();
    }

    async fn prove(&self, token: &str) -> Result<Presented, Refusal> {
        self.issuers.prove(UtcMs(NOW * 1000), token).await
    }

    /// What comes of an honest token with some claims changed; `null` takes one out.
    async fn with(&self, changes: Value) -> Result<Presented, Refusal> {
        self.prove(&self.key.token(&claims(changes))).await
    }
}

fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": "berth", "sub": "ann", "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 300,
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn an_honest_token_says_who_somebody_is_however_it_is_signed() {
    for kind in [KeyKind::Rsa, KeyKind::P256, KeyKind::Ed25519] {
        let site = Site::new(kind, |_| {});
        let name = guest_name(ISSUER, "sub", "ann");
        let ann = Presented { name, issuer: ISSUER.into(), subject: "ann".into(), email: None };
        assert_eq!(site.with(json!({})).await, Ok(ann.clone()), "{kind:?}");
        assert_eq!(site.with(json!({ "aud": ["other", "berth"] })).await, Ok(ann.clone()));
        assert_eq!(site.with(json!({ "nbf": null, "iat": null })).await, Ok(ann.clone()));
        let plain = json!({ "alg": site.key.algorithm() });
        let without_id = site.key.token_with(&plain, &claims(json!({})));
        assert_eq!(site.prove(&without_id).await, Ok(ann), "there is only one key that it can be");
    }
}

#[tokio::test]
async fn a_token_is_good_from_its_beginning_to_its_end_give_or_take_the_leeway() {
    let site = Site::new(KeyKind::Ed25519, |_| {});
    for (claim, last_right, first_wrong, refusal) in [
        ("exp", NOW - 29, NOW - 30, Refusal::Expired),
        ("nbf", NOW + 30, NOW + 31, Refusal::NotYet),
        ("iat", NOW + 30, NOW + 31, Refusal::NotYet),
    ] {
        assert!(site.with(json!({ claim: last_right })).await.is_ok(), "{claim}");
        assert_eq!(site.with(json!({ claim: first_wrong })).await, Err(refusal), "{claim}");
    }
    let forever = site.with(json!({ "exp": null })).await;
    assert_eq!(forever, Err(Refusal::Claim("exp".into())));
    // A claim of another type is not one that is missing.
    for claim in ["exp", "nbf", "iat"] {
        for wrong in [
            json!("never"),
            json!(format!("{}", NOW + 300)),
            json!([NOW + 300]),
            json!(-1),
            json!(true),
            json!(1e300),
        ] {
            let got = site.with(json!({ claim: wrong.clone() })).await;
            assert!(got.is_err(), "{claim} = {wrong}: {got:?}");
        }
    }
}

#[tokio::test]
async fn a_token_of_another_issuer_or_for_somebody_else_is_refused() {
    let site = Site::new(KeyKind::P256, |_| {});
    for issuer in [
        "https://id.example.org/",
        "https://id.example.or",
        "https://other.example.org",
        "",
        "HTTPS://id.example.org",
    ] {
        assert_eq!(site.with(json!({ "iss": issuer })).await, Err(Refusal::UnknownIssuer), "{issuer}");
    }
    assert!(site.with(json!({ "iss": null })).await.is_err());
    for audience in [json!("other"), json!(["other", "ber"]), json!([]), json!(""), json!("BERTH")] {
        assert_eq!(site.with(json!({ "aud": audience })).await, Err(Refusal::Audience), "{audience}");
    }
    assert_eq!(site.with(json!({ "aud": null })).await, Err(Refusal::Claim("aud".into())));
}

#[tokio::test]
async fn a_signature_that_is_not_the_issuers_is_refused() {
    for kind in [KeyKind::Rsa, KeyKind::P256, KeyKind::Ed25519] {
        let site = Site::new(kind, |_| {});
        // Another key under the name of the right one, and one that the issuer does not have.
        let thief = SigningKey::new(kind, "first");
        assert_eq!(site.prove(&thief.token(&claims(json!({})))).await, Err(Refusal::Signature), "{kind:?}");
        let stranger = SigningKey::new(kind, "second");
        assert_eq!(
            site.prove(&stranger.token(&claims(json!({})))).await,
            Err(Refusal::UnknownKey),
            "{kind:?}"
        );
        // A token of one person with the claims of another, and parts that were played with.
        let (ann, bob) =
            (site.key.token(&claims(json!({}))), site.key.token(&claims(json!({ "sub": "bob" }))));
        let (ann, bob): (Vec<&str>, Vec<&str>) = (ann.split('.').collect(), bob.split('.').collect());
        let mixed = [ann[0], bob[1], ann[2]].join(".");
        assert_eq!(site.prove(&mixed).await, Err(Refusal::Signature), "{kind:?}");
        let other_header = text(json!({ "alg": site.key.algorithm(), "kid": "first", "x": 1 }).to_string());
        for tampered in [
            [other_header.as_str(), ann[1], ann[2]].join("."),
            [ann[0], ann[1], ""].join("."),
            [ann[0], ann[1], "AAAA"].join("."),
        ] {
            assert!(site.prove(&tampered).await.is_err(), "{kind:?} {tampered}");
        }
    }
}

#[tokio::test]
async fn a_token_does_not_say_how_it_is_to_be_checked() {
    let site = Site::new(KeyKind::Rsa, |_| {});
    let body = text(claims(json!({})).to_string());
    // With no signature at all.
    for none in ["none", "None", "NONE", ""] {
        for signature in ["", "AAAA"] {
            let token =
                format!("{}.{body}.{signature}", text(json!({ "alg": none, "kid": "first" }).to_string()));
            assert!(matches!(site.prove(&token).await, Err(Refusal::Malformed(_))), "{none:?}");
        }
    }
    // Signed with what is public as if it were a secret.
    let jwk = site.key.jwk();
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for secret in [jwk.to_string().into_bytes(), modulus, jwk["n"].as_str().unwrap().as_bytes().to_vec()] {
        let message = format!("{}.{body}", text(json!({ "alg": "HS256", "kid": "first" }).to_string()));
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        let token = format!("{message}.{}", text(signature));
        assert!(matches!(site.prove(&token).await, Err(Refusal::Malformed(_))));
    }
    // By a way that is known, and is not that of the key; and with a key that it brings itself.
    for algorithm in ["ES256", "EdDSA"] {
        let header = json!({ "alg": algorithm, "kid": "first" });
        assert_eq!(
            site.prove(&site.key.token_with(&header, &claims(json!({})))).await,
            Err(Refusal::UnknownKey)
        );
    }
    let own = SigningKey::new(KeyKind::Rsa, "own");
    let header =
        json!({ "alg": "RS256", "kid": "first", "jwk": own.jwk(), "jku": "https://evil.example.org/keys" });
    assert_eq!(site.prove(&own.token_with(&header, &claims(json!({})))).await, Err(Refusal::Signature));
    for odd in [json!({ "crit": ["exp"] }), json!({ "typ": "dpop+jwt" })] {
        let mut header = json!({ "alg": "RS256", "kid": "first" });
        header.as_object_mut().unwrap().extend(odd.as_object().unwrap().clone());
        let token = site.key.token_with(&header, &claims(json!({})));
        assert!(matches!(site.prove(&token).await, Err(Refusal::Malformed(_))), "{odd}");
    }
}

#[tokio::test]
async fn an_issuer_signs_only_as_the_site_has_it() {
    let site = Site::new(KeyKind::Rsa, |settings| settings.algorithms = vec![SignedBy::EdDsa]);
    assert!(matches!(site.with(json!({})).await, Err(Refusal::Malformed(_))));
}

#[tokio::test]
async fn what_is_no_token_is_refused_whatever_it_is() {
    let site = Site::new(KeyKind::Ed25519, |_| {});
    let good = site.key.token(&claims(json!({})));
    let huge = site.key.token(&claims(json!({ "more": "x".repeat(20_000) })));
    let deep = format!("{}.{}.AAAA", text(r#"{"alg":"EdDSA"}"#), text("[".repeat(5000)));
    for wrong in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "berth_abc",
        "🦀.🦀.🦀",
        &good[..good.len() / 2],
        &format!("{good}.x"),
        &huge,
        &deep,
        &"a".repeat(100_000),
    ] {
        assert!(site.prove(wrong).await.is_err(), "{}", wrong.chars().take(30).collect::<String>());
    }
    assert_eq!(site.prove(&huge).await, Err(Refusal::Malformed("it is longer than any token")));
    assert!(crate::looks_signed(&good) && crate::looks_signed("e30.e30."));
    for other in ["berth_0123", "a.b", "a.b.c.d", "a..c", ".b.c", "a b.c.d", ""] {
        assert!(!crate::looks_signed(other), "{other}");
    }
}

#[tokio::test]
async fn nobody_gets_anothers_name_by_what_their_token_says() {
    let site = Site::new(KeyKind::Ed25519, |_| {});
    let ann = site.with(json!({})).await.unwrap();
    let taking = json!({ "sub": "bob", "name": "ann", "email": "ann@example.org", "preferred_username": ann.name.clone() });
    let bob = site.with(taking).await.unwrap();
    assert_ne!(bob.name, ann.name);
    assert_eq!(bob.email, None, "the issuer has not made sure of it");
    let chosen = site.with(json!({ "sub": ann.name.clone() })).await.unwrap();
    assert_ne!(chosen.name, ann.name);
    for subject in [json!(""), json!(null), json!("a\nb"), json!("x".repeat(256))] {
        assert_eq!(
            site.with(json!({ "sub": subject })).await,
            Err(Refusal::Claim("sub".into())),
            "{subject}"
        );
    }
    for subject in [json!(7), json!(["ann"]), json!({ "ann": 1 }), json!(true)] {
        assert!(site.with(json!({ "sub": subject })).await.is_err(), "{subject}");
    }
}

#[tokio::test]
async fn two_issuers_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let other_folder = tempfile::tempdir().unwrap();
    let (key, other_key) = (SigningKey::new(KeyKind::Ed25519, "k"), SigningKey::new(KeyKind::Ed25519, "k"));
    let other = IssuerSettings { url: "https://other.example.org".into(), ..settings(&other_folder) };
    let issuers = Issuers::new(vec![settings(&folder), other]);
    for (folder, key) in [(&folder, &key), (&other_folder, &other_key)] {
        std::fs::write(folder.path().join("keys.json"), json!({ "keys": [key.jwk()] }).to_string()).unwrap();
    }
    let now = UtcMs(NOW * 1000);
    let here = issuers.prove(now, &key.token(&claims(json!({})))).await.unwrap();
    let of_other = claims(json!({ "iss": "https://other.example.org" }));
    let there = issuers.prove(now, &other_key.token(&of_other)).await.unwrap();
    assert_ne!(here.name, there.name, "both are called ann");
    assert_eq!(issuers.prove(now, &key.token(&of_other)).await, Err(Refusal::Signature));
    assert!(issuers.trusts(ISSUER) && !issuers.trusts("https://third.example.org"));
}

#[tokio::test]
async fn the_site_says_whom_it_wants() {
    let site = Site::new(KeyKind::Ed25519, |settings| {
        settings.rules.domains = vec!["example.org".into()];
        settings.rules.require = vec![("groups".into(), "staff".into())];
    });
    let right = json!({ "email": "Ann@Example.ORG", "email_verified": true, "groups": ["staff", "x"] });
    assert_eq!(site.with(right.clone()).await.unwrap().email.as_deref(), Some("Ann@Example.ORG"));
    for (claim, value) in [
        ("email", json!("ann@example.org.evil.org")),
        ("email", json!("ann@evil.org@example.org")),
        ("email", json!("<ann@evil.org>,b@example.org")),
        ("email", json!("@example.org")),
        ("email", json!("ann@sub.example.org")),
        ("email_verified", json!(false)),
        ("email_verified", json!("true")),
        ("groups", json!("staffers")),
        ("groups", json!(["Staff"])),
        ("groups", json!({ "staff": true })),
        ("groups", json!(null)),
    ] {
        let mut wrong = right.clone();
        wrong[claim] = value.clone();
        assert!(matches!(site.with(wrong).await, Err(Refusal::NotAllowed(_))), "{claim} = {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_looked_for_again_when_one_is_unknown_but_not_all_the_time() {
    let site = Site::new(KeyKind::Ed25519, |_| {});
    site.with(json!({})).await.unwrap();
    let second = SigningKey::new(KeyKind::Ed25519, "second");
    site.publish(&[second.jwk()]);
    let token = second.token(&claims(json!({})));
    assert_eq!(site.prove(&token).await, Err(Refusal::UnknownKey), "it was looked for a moment ago");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(site.prove(&token).await.is_ok());
    assert_eq!(site.with(json!({})).await, Err(Refusal::UnknownKey), "the first key is gone for good");
}

#[tokio::test(start_paused = true)]
async fn without_keys_nobody_is_let_in_and_old_ones_do_not_last_for_ever() {
    let site = Site::new(KeyKind::Ed25519, |_| {});
    let file = site.folder.path().join("keys.json");
    let right = std::fs::read(&file).unwrap();
    for wrong in [None, Some("{"), Some("{\"keys\": []}"), Some("[]")] {
        std::fs::remove_file(&file).ok();
        if let Some(wrong) = wrong {
            std::fs::write(&file, wrong).unwrap();
        }
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(matches!(site.with(json!({})).await, Err(Refusal::Unavailable(_))), "{wrong:?}");
    }
    std::fs::write(&file, &right).unwrap();
    tokio::time::advance(Duration::from_secs(61)).await;
    site.with(json!({})).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    tokio::time::advance(Duration::from_secs(7200)).await;
    assert!(site.with(json!({})).await.is_ok(), "what is known goes on while it is looked for again");
    tokio::time::advance(Duration::from_secs(86_400)).await;
    assert!(matches!(site.with(json!({})).await, Err(Refusal::Unavailable(_))));
}

#[test]
fn only_keys_that_are_meant_for_it_check_signatures() {
    let rsa = SigningKey::new(KeyKind::Rsa, "k").jwk();
    let p256 = SigningKey::new(KeyKind::P256, "k").jwk();
    let read = |jwk: &Value| crate::keys::Keys::read(json!({ "keys": [jwk] }).to_string().as_bytes());
    let changed = |jwk: &Value, key: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[key] = value;
        jwk
    };
    assert!(read(&rsa).is_ok() && read(&p256).is_ok());
    let short = text([0xff; 128]);
    for wrong in [
        changed(&rsa, "use", json!("enc")),
        changed(&rsa, "alg", json!("RS512")),
        changed(&rsa, "alg", json!("HS256")),
        changed(&rsa, "key_ops", json!(["encrypt"])),
        changed(&rsa, "n", json!(short)),
        changed(&rsa, "n", json!("not base64!")),
        changed(&p256, "crv", json!("P-384")),
        changed(&p256, "x", json!("AAAA")),
        json!({ "kty": "oct", "k": text([1; 32]), "kid": "k", "alg": "HS256" }),
        json!({ "kty": "new", "kid": "k" }),
        json!(7),
    ] {
        assert!(read(&wrong).is_err(), "{wrong}");
        let beside = json!({ "keys": [wrong, rsa] }).to_string();
        assert!(crate::keys::Keys::read(beside.as_bytes()).is_ok(), "others are still of use");
    }
}
