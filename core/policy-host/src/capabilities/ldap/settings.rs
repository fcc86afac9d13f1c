//! Which servers there are, and how one is let in.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The site's servers. Files are read each time that a connection is made anew, so that a new password and new
/// certificates are used without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Their addresses, such as `ldaps://ldap.example.org`. All of them know the same.
    pub servers: Vec<String>,
    /// How Berth presents itself; without, it asks as nobody in particular.
    pub login: Option<Login>,
    /// What `ldaps://` needs.
    pub tls: Option<Tls>,
    /// How long one server may take for a connection and an answer.
    pub answer_within: Duration,
    /// Entries of one answer.
    pub most_entries: usize,
    /// Names and values of one answer.
    pub most_bytes: usize,
}

/// Berth's own entry in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Its distinguished name.
    pub dn: String,
    /// A file with its password, which nobody else may read. A line's end behind it does not count.
    pub password_file: PathBuf,
}

/// Encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The authorities whose word on the servers' certificates counts, in PEM form; no others do.
    pub ca: PathBuf,
    /// Whether connections to `ldap://` servers are encrypted, too, before anything is said.
    pub start_tls: bool,
}

/// Why the servers cannot be asked as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is none.
    #[error("there is no server to ask")]
    NoServer,
    /// Not an address.
    #[error("{server:?} is not ldap://HOST or ldaps://HOST, with or without :PORT")]
    Address {
        /// As it was given.
        server: String,
    },
    /// `ldaps://` without authorities.
    #[error("{server} needs tls-ca: the authorities whose word on its certificate counts")]
    NoAuthority {
        /// The server.
        server: String,
    },
    /// A file cannot be read.
    #[error("{key} {} cannot be read", path.display())]
    Unreadable {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// In the system's words.
        #[source]
        source: io::Error,
    },
    /// Others could read the password.
    #[error("bind-password-file {} is open to others; take their rights away (chmod 600)", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// An empty password would let one in as nobody.
    #[error("bind-password-file {} has no password in it", path.display())]
    NoPassword {
        /// The file.
        path: PathBuf,
    },
    /// There is something else in a file.
    #[error("tls-ca {} has no certificate of an authority in PEM form", path.display())]
    Form {
        /// The file.
        path: PathBuf,
    },
    /// The library says no.
    #[error("TLS cannot be used: {0}")]
    Tls(String),
    /// No thread to ask on.
    #[error("there is no thread to ask on")]
    NoThread(#[source] io::Error),
}

/// What was in the files.
pub(super) struct Secrets {
    pub(super) password: Option<String>,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl Settings {
    /// Servers with the usual bounds, asked without a name and without encryption.
    #[must_use]
    pub fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            login: None,
            tls: None,
            answer_within: Duration::from_secs(2),
            most_entries: 1000,
            most_bytes: 1 << 20,
        }
    }

    /// Sees whether the servers can be asked like this. Blocks; asks none.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Unusable> {
        if self.servers.is_empty() {
            return Err(Unusable::NoServer);
        }
        for server in &self.servers {
            if !is_address(server) {
                return Err(Unusable::Address { server: server.clone() });
            }
            if server.starts_with("ldaps:") && self.tls.is_none() {
                return Err(Unusable::NoAuthority { server: server.clone() });
            }
        }
        self.read().map(drop)
    }

    /// Whether what is said to a server is heard by nobody else.
    pub(super) fn keeps_secrets(&self, server: &str) -> bool {
        let Some(host) = server.strip_prefix("ldap://") else { return true };
        let name =
            if host.ends_with(']') { host } else { host.rsplit_once(':').map_or(host, |(name, _)| name) };
        let name = name.trim_matches(['[', ']']);
        let this_machine =
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        this_machine || self.tls.as_ref().is_some_and(|tls| tls.start_tls)
    }

    pub(super) fn read(&self) -> Result<Secrets, Unusable> {
        Ok(Secrets {
            password: self.login.as_ref().map(Login::password).transpose()?,
            tls: self.tls.as_ref().map(Tls::config).transpose()?.map(Arc::new),
        })
    }
}

/// A scheme and a host, and nothing that could send a question elsewhere.
fn is_address(server: &str) -> bool {
    let rest = server.strip_prefix("ldap://").or_else(|| server.strip_prefix("ldaps://"));
    let odd =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '?' | '#' | '\\' | '%');
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(':') && !rest.contains(odd))
}

impl Login {
    fn password(&self) -> Result<String, Unusable> {
        let path = &self.password_file;
        let unreadable =
            |source| Unusable::Unreadable { key: "bind-password-file", path: path.clone(), source };
        if fs::metadata(path).map_err(unreadable)?.mode() & 0o077 != 0 {
            return Err(Unusable::Open { path: path.clone() });
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() {
            return Err(Unusable::NoPassword { path: path.clone() });
        }
        Ok(password.to_owned())
    }
}

impl Tls {
    fn config(&self) -> Result<ClientConfig, Unusable> {
        let mut roots = RootCertStore::empty();
        for authority in authorities(&self.ca)? {
            roots.add(authority).map_err(|_| Unusable::Form { path: self.ca.clone() })?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Unusable::Tls(error.to_string()))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let unreadable = |source| Unusable::Unreadable { key: "tls-ca", path: path.to_owned(), source };
    let pem = fs::read(path).map_err(unreadable)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(|| Unusable::Form { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_address_is_a_scheme_and_a_host_with_or_without_a_port() {
        for good in ["ldap://localhost", "ldaps://ldap.example.org:1636", "ldap://[::1]:389"] {
            assert!(is_address(good), "{good}");
        }
        for bad in
            ["", "ldap:", "ldap://", "ldapi:///x", "http://a", "ldap://a/dc=b", "ldap://u@a", "ldap://:1"]
        {
            assert!(!is_address(bad), "{bad}");
            let refused = Settings::new(vec![bad.to_owned()]).check().unwrap_err();
            assert!(matches!(refused, Unusable::Address { .. }), "{refused}");
        }
        let refused = Settings::new(vec!["ldaps://a".to_owned()]).check().unwrap_err();
        assert!(matches!(refused, Unusable::NoAuthority { .. }), "{refused}");
    }

    #[test]
    fn passwords_are_sent_only_where_nobody_listens() {
        let mut settings = Settings::new(vec![]);
        for (server, keeps) in [
            ("ldaps://a", true),
            ("ldap://localhost:389", true),
            ("ldap://127.0.0.1", true),
            ("ldap://[::1]:389", true),
            ("ldap://a", false),
            ("ldap://127.example.org:389", false),
            ("ldap://localhost.example.org", false),
        ] {
            assert_eq!(settings.keeps_secrets(server), keeps, "{server}");
        }
        settings.tls = Some(Tls { ca: PathBuf::new(), start_tls: true });
        assert!(settings.keeps_secrets("ldap://a"));
    }

    #[test]
    fn a_password_is_its_file_without_the_lines_end_and_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let login = Login { dn: "cn=berth".to_owned(), password_file: path.clone() };
        let write = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        assert!(matches!(login.password(), Err(Unusable::Unreadable { .. })));
        write(" pass word \n", 0o600);
        assert_eq!(login.password().unwrap(), " pass word ");
        write("\n", 0o600);
        assert!(matches!(login.password(), Err(Unusable::NoPassword { .. })));
        write("secret", 0o640);
        let words = login.password().unwrap_err().to_string();
        assert!(words.contains("chmod 600") && !words.contains("secret"), "{words}");
    }

    #[test]
    fn a_file_without_an_authority_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, "nothing").unwrap();
        let tls = Some(Tls { ca: ca.clone(), start_tls: false });
        let settings = Settings { tls, ..Settings::new(vec!["ldaps://a".to_owned()]) };
        let words = settings.check().unwrap_err().to_string();
        assert!(words.contains(&*ca.to_string_lossy()) && words.contains("PEM"), "{words}");
    }
}
