//! What an issuer of identities has: an authority with a certificate, and keys that tokens are signed with. All of it is
//! made for one test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};

fn openssl(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("openssl cannot be run: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {words}");
    output.stdout
}

/// An authority, and a certificate of its for `localhost` and 127.0.0.1.
#[derive(Debug)]
pub struct Authority {
    /// The authority's own certificate.
    pub ca: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's key.
    pub key: PathBuf,
}

impl Authority {
    /// Makes one in a folder, under a name.
    ///
    /// # Panics
    /// When openssl does not do it.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let file = |what: &str| format!("{name}-{what}.pem");
        let (ca, ca_key, key, request) = (file("ca"), file("ca-key"), file("key"), file("request"));
        let certificate = file("certificate");
        let extensions = format!("{name}-extensions");
        let words = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
        fs::write(folder.join(&extensions), words).unwrap_or_else(|error| panic!("{extensions}: {error}"));
        let new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let own = ["-x509", "-days", "30", "-subj", "/CN=authority", "-keyout", &ca_key, "-out", &ca];
        openssl(folder, &[&new[..], &own].concat());
        let server = ["-subj", "/CN=localhost", "-keyout", &key, "-out", &request];
        openssl(folder, &[&new[..], &server].concat());
        let sign = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
        let how = ["-days", "30", "-extfile", &extensions, "-out", &certificate];
        openssl(folder, &[&sign[..], &how].concat());
        Self { ca: folder.join(ca), certificate: folder.join(certificate), key: folder.join(key) }
    }
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RS256, of 2048 bits.
    Rsa,
    /// ES256.
    P256,
    /// Ed25519.
    Ed25519,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key that tokens are signed with.
pub struct SigningKey {
    /// What it is called.
    pub id: String,
    pair: Pair,
}

impl SigningKey {
    /// A new one.
    ///
    /// # Panics
    /// When none can be made.
    #[must_use]
    pub fn new(kind: KeyKind, id: &str) -> Self {
        let random = SystemRandom::new();
        let pair = match kind {
            KeyKind::Rsa => {
                let wanted =
                    ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"];
                let der = openssl(Path::new("/"), &wanted);
                // Some versions put a frame around it, others do not.
                let pair = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der));
                let pair = pair.unwrap_or_else(|error| panic!("RSA: {error}"));
                Pair::Rsa(Box::new(pair))
            }
            KeyKind::P256 => {
                let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
                let der = der.unwrap_or_else(|error| panic!("P-256: {error}"));
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random);
                Pair::P256(pair.unwrap_or_else(|error| panic!("P-256: {error}")))
            }
            KeyKind::Ed25519 => {
                let der = Ed25519KeyPair::generate_pkcs8(&random);
                let der = der.unwrap_or_else(|error| panic!("Ed25519: {error}"));
                let pair = Ed25519KeyPair::from_pkcs8(der.as_ref());
                Pair::Ed25519(pair.unwrap_or_else(|error| panic!("Ed25519: {error}")))
            }
        };
        Self { id: id.to_owned(), pair }
    }

    /// How it signs, as headers have it.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// Its public half, as issuers publish it.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": text(&public.n), "e": text(&public.e) })
            }
            Pair::P256(pair) => {
                // A letter that says how the point is written stands before it.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
        };
        if let Value::Object(jwk) = &mut jwk {
            jwk.insert("kid".to_owned(), self.id.clone().into());
            jwk.insert("use".to_owned(), "sig".into());
            jwk.insert("alg".to_owned(), self.algorithm().into());
        }
        jwk
    }

    /// A token with these claims, as an honest issuer makes it.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.algorithm(), "typ": "JWT", "kid": self.id }), claims)
    }

    /// One with a header of its own, signed all the same.
    ///
    /// # Panics
    /// When the key does not sign.
    #[must_use]
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", text(header), text(claims));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let done = pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature);
                assert!(done.is_ok(), "RSA does not sign");
                signature
            }
            Pair::P256(pair) => {
                let signature = pair.sign(&random, message.as_bytes());
                signature.unwrap_or_else(|error| panic!("P-256: {error}")).as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}
