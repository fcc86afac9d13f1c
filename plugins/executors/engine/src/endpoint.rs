//! Where an engine listens.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use crate::{OwnCertificate, TlsFiles};

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket on this machine.
    Unix(PathBuf),
    /// A host and port without encryption: whoever reaches it is root on that machine.
    Tcp(String),
    /// A host and port with TLS.
    Tls {
        /// Both, as the engine's certificate has to name the host.
        host: String,
        /// By what both sides are made sure of.
        files: TlsFiles,
    },
}

/// Text that is not the address of an engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not of any known form.
    #[error("{text:?} is not the address of an engine; write unix:///PATH or tcp://HOST:PORT")]
    Form {
        /// What was given.
        text: String,
    },
    /// A form that is known and not offered.
    #[error("{text:?} needs ssh, which is not built in; use TLS, or unix:///PATH over a tunnel of your own")]
    Ssh {
        /// What was given.
        text: String,
    },
    /// Encryption without a word on whom to trust.
    #[error(
        "{text:?} over TLS needs tls-ca, a file with the authority that the engine's certificate is from"
    )]
    NoAuthority {
        /// What was given.
        text: String,
    },
    /// Half a certificate.
    #[error("tls-cert and tls-key belong together")]
    Half,
    /// Encryption where there is nothing to encrypt.
    #[error("tls-ca, tls-cert and tls-key are for engines at tcp://HOST:PORT, and this one is at {at}")]
    NoTcp {
        /// Its address.
        at: String,
    },
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::Unix("/var/run/docker.sock".into())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || EndpointError::Form { text: text.to_owned() };
        if text.starts_with("ssh://") {
            return Err(EndpointError::Ssh { text: text.to_owned() });
        }
        if text.starts_with("https://") {
            return Err(EndpointError::NoAuthority { text: text.to_owned() });
        }
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(form()) };
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let host = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://")).ok_or_else(form)?;
        let host = host.trim_end_matches('/');
        let port = host.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse::<u16>().ok()?)));
        match port {
            Some((name, _)) if !name.is_empty() && !host.contains('/') => Ok(Self::Tcp(host.to_owned())),
            _ => Err(form()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
            Self::Tls { host, .. } => write!(f, "tcp://{host} with TLS"),
        }
    }
}

impl Endpoint {
    /// The engine at an address, over TLS if any of the files is given.
    ///
    /// # Errors
    /// When it is no address, and when address and files do not go together.
    pub fn new(
        address: &str,
        ca: Option<PathBuf>,
        cert: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> Result<Self, EndpointError> {
        // With an authority it is as good as the other way to write it.
        let plain = match (address.strip_prefix("https://"), &ca) {
            (Some(host), Some(_)) => format!("tcp://{host}").parse()?,
            _ => address.parse()?,
        };
        let own = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(OwnCertificate { cert, key }),
            _ => return Err(EndpointError::Half),
        };
        match (plain, ca, own) {
            (plain, None, None) => Ok(plain),
            (Self::Tcp(host), Some(ca), own) => Ok(Self::Tls { host, files: TlsFiles { ca, own } }),
            (Self::Tcp(_), None, Some(_)) => Err(EndpointError::NoAuthority { text: address.to_owned() }),
            (other, ..) => Err(EndpointError::NoTcp { at: other.to_string() }),
        }
    }
}

/// What is needed to talk to an engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// How errors name the executor: `docker`, `swarm`.
    pub backend: &'static str,
    /// Where the engine listens.
    pub endpoint: Endpoint,
    /// An engine that takes longer for an answer counts as unreachable.
    pub answer_within: Duration,
}

impl EngineConfig {
    /// The engine at its usual place.
    #[must_use]
    pub fn new(backend: &'static str) -> Self {
        Self { backend, endpoint: Endpoint::default(), answer_within: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for (text, written) in [
            ("unix:///run/docker.sock", "unix:///run/docker.sock"),
            ("/run/docker.sock", "unix:///run/docker.sock"),
            ("tcp://10.0.0.1:2375", "tcp://10.0.0.1:2375"),
            ("http://engine:2375/", "tcp://engine:2375"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for wrong in
            ["", "docker", "unix://relative", "tcp://host", "tcp://:1", "tcp://h:1/path", "tcp://h:99999"]
        {
            assert!(matches!(wrong.parse::<Endpoint>(), Err(EndpointError::Form { .. })), "{wrong}");
        }
        let parse = |text: &str| text.parse::<Endpoint>();
        assert!(matches!(parse("https://host:2376"), Err(EndpointError::NoAuthority { .. })));
        assert!(matches!(parse("ssh://host"), Err(EndpointError::Ssh { .. })));
    }

    #[test]
    fn files_make_it_tls_where_they_go_together() {
        let file = |name: &str| Some(PathBuf::from(name));
        let of = |address: &str, ca, cert, key| Endpoint::new(address, ca, cert, key);
        let own = Some(OwnCertificate { cert: "cert".into(), key: "key".into() });
        for (own, cert, key) in [(own, file("cert"), file("key")), (None, None, None)] {
            let expected = Endpoint::Tls { host: "h:2376".into(), files: TlsFiles { ca: "ca".into(), own } };
            for address in ["tcp://h:2376", "https://h:2376/"] {
                assert_eq!(of(address, file("ca"), cert.clone(), key.clone()).as_ref(), Ok(&expected));
            }
        }
        assert_eq!(of("tcp://h:1", None, None, None), Ok(Endpoint::Tcp("h:1".into())));
        let half = of("tcp://h:1", file("ca"), file("cert"), None);
        assert_eq!(half, Err(EndpointError::Half));
        let trusting = of("tcp://h:1", None, file("cert"), file("key"));
        assert!(matches!(trusting, Err(EndpointError::NoAuthority { .. })));
        let local = of("unix:///run/docker.sock", file("ca"), None, None);
        assert!(matches!(local, Err(EndpointError::NoTcp { .. })));
    }
}
