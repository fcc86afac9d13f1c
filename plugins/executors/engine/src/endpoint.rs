//! Where an engine listens.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket on this machine.
    Unix(PathBuf),
    /// A host and port without encryption: whoever reaches it is root on that machine.
    Tcp(String),
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
    #[error("{text:?} needs TLS or ssh, which is not built in; use unix:///PATH over a tunnel of your own")]
    Encrypted {
        /// What was given.
        text: String,
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
        if text.starts_with("https://") || text.starts_with("ssh://") {
            return Err(EndpointError::Encrypted { text: text.to_owned() });
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
        for wrong in ["https://host:2376", "ssh://host"] {
            assert!(matches!(wrong.parse::<Endpoint>(), Err(EndpointError::Encrypted { .. })), "{wrong}");
        }
    }
}
