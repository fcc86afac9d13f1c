//! TLS with the authorities that the site names, and no others.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("tls-ca {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// In the system's words.
        #[source]
        source: io::Error,
    },
    /// There is something else in it.
    #[error("tls-ca {} has no certificate in PEM form", path.display())]
    Form {
        /// The file.
        path: PathBuf,
    },
    /// The library says no.
    #[error("TLS cannot be used: {0}")]
    Library(String),
}

/// The certificates in a file.
pub(crate) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(|| TlsError::Form { path: path.to_owned() })
}

/// What a connection needs to make sure of the other side.
pub(crate) fn config(ca: &Path) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    // A system's bundle may have one that is beyond the library; the others count.
    let (added, _) = roots.add_parsable_certificates(authorities(ca)?);
    if added == 0 {
        return Err(TlsError::Form { path: ca.to_owned() });
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Library(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
