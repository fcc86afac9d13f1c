//! Engines over TLS, where both sides make sure of each other.

use std::{
    error::Error as StdError,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// What it takes to talk to an engine over TLS, in files of PEM form. They are read each time that a
/// connection is made anew, so that new certificates are used after the old ones have expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities whose word on the engine's certificate counts; no others do.
    pub ca: PathBuf,
    /// What the engine is shown; nothing where `None`, which careful engines do not take.
    pub own: Option<OwnCertificate>,
}

/// A certificate with its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    /// The certificate, and those between it and its authority.
    pub cert: PathBuf,
    /// Its private key, which nobody else may read.
    pub key: PathBuf,
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{key} {} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// In the system's words.
        #[source]
        source: io::Error,
    },
    /// There is something else in a file.
    #[error("{key} {} has no {what} in PEM form", path.display())]
    Form {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What should be there.
        what: &'static str,
    },
    /// Others could take the key.
    #[error("tls-key {} is open to others; take their rights away (chmod 600)", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// The certificate and the key cannot be used together.
    #[error("tls-cert {} cannot be used with tls-key {}: {reason}", cert.display(), key.display())]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The libraries say no.
    #[error("TLS cannot be used: {0}")]
    Unusable(String),
}

impl TlsFiles {
    /// Sees whether they can be used. Blocks.
    ///
    /// # Errors
    /// When one of them cannot.
    pub fn check(&self) -> Result<(), TlsError> {
        self.config().map(drop)
    }

    fn config(&self) -> Result<ClientConfig, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("tls-ca", &self.ca)? {
            let unfit = |_| TlsError::Form { key: "tls-ca", path: self.ca.clone(), what: "authority" };
            roots.add(authority).map_err(unfit)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| TlsError::Unusable(error.to_string()))?;
        let builder = builder.with_root_certificates(roots);
        let Some(own) = &self.own else { return Ok(builder.with_no_client_auth()) };
        let pair = builder.with_client_auth_cert(certificates("tls-cert", &own.cert)?, own.private_key()?);
        pair.map_err(|error| TlsError::Pair {
            cert: own.cert.clone(),
            key: own.key.clone(),
            reason: error.to_string(),
        })
    }
}

impl OwnCertificate {
    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let path = &self.key;
        let unreadable = |source| TlsError::Unreadable { key: "tls-key", path: path.clone(), source };
        if fs::metadata(path).map_err(unreadable)?.mode() & 0o077 != 0 {
            return Err(TlsError::Open { path: path.clone() });
        }
        let pem = fs::read(path).map_err(unreadable)?;
        let form = |_| TlsError::Form { key: "tls-key", path: path.clone(), what: "private key" };
        PrivateKeyDer::from_pem_slice(&pem).map_err(form)
    }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { key, path: path.to_owned(), source };
    let form = || TlsError::Form { key, path: path.to_owned(), what: "certificate" };
    let pem = fs::read(path).map_err(unreadable)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(form)
}

/// A way to the engine at this host and port. Nobody is asked yet.
pub(crate) async fn docker(host: &str, files: &TlsFiles, seconds: u64) -> Result<Docker, TlsError> {
    let own = files.clone();
    let read = tokio::task::spawn_blocking(move || own.config()).await;
    let config = read.map_err(|gone| TlsError::Unusable(gone.to_string()))??;
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
    // Each question has a connection of its own, as with other engines: one that was kept may be dead, and then
    // nobody knows whether the question was heard.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let (to, files) = (Arc::<str>::from(host), Arc::new(files.clone()));
    let transport = move |request: BollardRequest| {
        let (asked, to, files) = (client.request(request), Arc::clone(&to), Arc::clone(&files));
        async move {
            asked.await.map_err(|error| match words(&error, &to, &files) {
                Some(words) => Error::from(io::Error::other(words)),
                None => Error::from(error),
            })
        }
    };
    let address = Some(format!("https://{host}"));
    let docker = Docker::connect_with_custom_transport(transport, address, seconds, API_DEFAULT_VERSION);
    docker.map_err(|error| TlsError::Unusable(error.to_string()))
}

/// What has kept the two sides from being sure of each other, if that is what went wrong.
fn words(error: &(dyn StdError + 'static), host: &str, files: &TlsFiles) -> Option<String> {
    use AlertDescription as A;
    let ca = files.ca.display();
    Some(match tls_error(error)? {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            format!("the certificate of {host} is not from an authority in {ca}")
        }
        rustls::Error::InvalidCertificate(reason) => {
            format!("the certificate of {host} is not trusted: {reason}")
        }
        rustls::Error::AlertReceived(
            alert @ (A::NoCertificate
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::CertificateRequired),
        ) => match &files.own {
            Some(own) => format!("{host} refuses the certificate in {}: {alert:?}", own.cert.display()),
            None => format!("{host} wants a certificate; set tls-cert and tls-key ({alert:?})"),
        },
        rustls::Error::InvalidMessage(_) => format!("{host} does not speak TLS"),
        other => format!("TLS with {host} has failed: {other}"),
    })
}

fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // What such an error wraps is not its cause but itself.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = match inner {
            Some(inner) => inner.downcast_ref().or_else(|| tls_error(inner)),
            None => error.downcast_ref(),
        };
        if found.is_some() {
            return found;
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    /// A certificate that speaks for itself, and its key.
    fn certificate(folder: &Path, name: &str) -> OwnCertificate {
        let (cert, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}-key.pem")));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"])
            .args([&format!("/CN={name}"), "-days", "2", "-keyout"])
            .args([&key, Path::new("-out"), &cert])
            .output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        OwnCertificate { cert, key }
    }

    #[test]
    #[ignore = "needs openssl, which makes certificates"]
    fn files_are_told_by_the_setting_that_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (certificate(folder.path(), "one"), certificate(folder.path(), "other"));
        let good = TlsFiles { ca: one.cert.clone(), own: Some(one.clone()) };
        good.check().unwrap();
        TlsFiles { own: None, ..good.clone() }.check().unwrap();
        let with = |own: OwnCertificate| TlsFiles { own: Some(own), ..good.clone() };
        let none = folder.path().join("none");
        let empty = folder.path().join("empty");
        fs::write(&empty, "").unwrap();
        fs::set_permissions(&empty, fs::Permissions::from_mode(0o600)).unwrap();
        for (files, part) in [
            (TlsFiles { ca: none.clone(), ..good.clone() }, "tls-ca"),
            (TlsFiles { ca: empty.clone(), ..good.clone() }, "has no certificate"),
            (with(OwnCertificate { cert: none.clone(), ..one.clone() }), "tls-cert"),
            (with(OwnCertificate { key: none, ..one.clone() }), "tls-key"),
            (with(OwnCertificate { key: empty, ..one.clone() }), "has no private key"),
            (with(OwnCertificate { key: other.key, ..one.clone() }), "cannot be used with"),
        ] {
            let error = files.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        fs::set_permissions(&one.key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(good.check().unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn an_error_of_tls_is_found_inside_others() {
        let inner = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner));
        let files = TlsFiles { ca: "ca.pem".into(), own: None };
        assert!(words(&wrapped, "h:1", &files).unwrap().contains("set tls-cert and tls-key"));
        assert_eq!(words(&io::Error::other("else"), "h:1", &files), None);
    }
}
