//! Where a server is, and how to be known there.

use std::{fmt, path::PathBuf, str::FromStr};

use hyper::Uri;

use super::ClientError;

/// A server to speak to.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// The server on this machine; the kernel tells it who is calling.
    Unix(PathBuf),
    /// A server over the network.
    Http {
        /// `http://HOST:PORT`, with a path where a proxy puts Berth under one.
        url: String,
        /// The bearer token. It never appears in errors or `Debug`.
        token: Option<String>,
    },
}

impl FromStr for Target {
    type Err = std::convert::Infallible;

    /// An address with `http://` or `https://` is one, anything else is the path of a socket, with or
    /// without `unix:` before it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("://") && !text.starts_with("unix:") {
            return Ok(Self::Http { url: text.to_owned(), token: None });
        }
        let path = text.strip_prefix("unix:").unwrap_or(text);
        Ok(Self::Unix(PathBuf::from(path.strip_prefix("//").unwrap_or(path))))
    }
}

/// The server as messages name it: without a token, and without anything secret in the address.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Http { url, .. } => f.write_str(&without_secrets(url)),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => f.debug_tuple("Unix").field(path).finish(),
            Self::Http { url, .. } => {
                f.debug_struct("Http").field("url", &without_secrets(url)).finish_non_exhaustive()
            }
        }
    }
}

/// People write `http://user:password@host`; neither half belongs in a message.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// An address that has been read and can be used.
pub(super) struct Address {
    pub(super) place: Place,
    /// The `Host` header.
    pub(super) host: String,
    /// What stands before `/v1`, without a slash at its end.
    pub(super) prefix: String,
    pub(super) token: Option<hyper::header::HeaderValue>,
    /// For messages.
    pub(super) shown: String,
}

pub(super) enum Place {
    Unix(PathBuf),
    Tcp { host: String, port: u16 },
}

impl Address {
    pub(super) fn read(target: Target) -> Result<Self, ClientError> {
        let shown = target.to_string();
        match target {
            Target::Unix(path) => Ok(Self {
                place: Place::Unix(path),
                host: "localhost".to_owned(),
                prefix: String::new(),
                token: None,
                shown,
            }),
            Target::Http { url, token } => Self::read_http(&url, token, shown),
        }
    }

    fn read_http(url: &str, token: Option<String>, shown: String) -> Result<Self, ClientError> {
        let unusable =
            |reason: &str| ClientError::Unusable { target: shown.clone(), reason: reason.to_owned() };
        if url.starts_with("https:") {
            return Err(unusable(
                "Berth's client does not speak TLS itself; use http:// to a TLS proxy on this machine, or to a \
                 port forwarded with `ssh -L 8765:localhost:8765 HOST`",
            ));
        }
        let uri: Uri =
            url.parse().map_err(|_| unusable("this is not an address such as http://HOST:8765"))?;
        let authority =
            uri.authority().ok_or_else(|| unusable("the host is missing: write http://HOST:8765"))?;
        if uri.scheme_str() != Some("http") {
            return Err(unusable("only http:// and the path of a Unix socket are known"));
        }
        if authority.as_str().contains('@') {
            return Err(unusable("a user or password in the address is not used; give a token"));
        }
        let token = token.map(|token| bearer(&token)).transpose().map_err(|()| {
            unusable("the token has characters that no token has; was it copied whole, without a line break?")
        })?;
        Ok(Self {
            place: Place::Tcp {
                host: authority.host().trim_matches(['[', ']']).to_owned(),
                port: authority.port_u16().unwrap_or(80),
            },
            host: authority.as_str().to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            token,
            shown,
        })
    }
}

fn bearer(token: &str) -> Result<hyper::header::HeaderValue, ()> {
    let mut value =
        hyper::header::HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| ())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(url: &str, token: Option<&str>) -> Target {
        Target::Http { url: url.to_owned(), token: token.map(str::to_owned) }
    }

    #[test]
    fn text_becomes_a_target() {
        let read = |text: &str| text.parse::<Target>().unwrap();
        assert_eq!(read("/run/berth.sock"), Target::Unix("/run/berth.sock".into()));
        assert_eq!(read("unix:/run/berth.sock"), Target::Unix("/run/berth.sock".into()));
        assert_eq!(read("unix:///run/berth.sock"), Target::Unix("/run/berth.sock".into()));
        assert_eq!(read("http://host:1"), http("http://host:1", None));
    }

    #[test]
    fn a_token_or_password_is_never_shown() {
        let target = http("http://me:hunter2@host:1/b?key=hunter2", Some("hunter2"));
        assert_eq!(target.to_string(), "http://host:1/b");
        assert!(!format!("{target:?}").contains("hunter2"));
        let error = Address::read(target).err().unwrap();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        let error = Address::read(http("http://host", Some("hunter2\nX: y"))).err().unwrap();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn addresses_are_taken_apart() {
        let address = Address::read(http("http://[::1]:8765/berth/", Some("abc"))).unwrap();
        assert!(matches!(&address.place, Place::Tcp { host, port: 8765 } if host == "::1"));
        assert_eq!((address.host.as_str(), address.prefix.as_str()), ("[::1]:8765", "/berth"));
        assert!(!format!("{:?}", address.token).contains("abc"));
    }

    #[test]
    fn what_cannot_be_used_says_the_way_out() {
        for (url, words) in [
            ("https://host", "ssh -L"),
            ("ftp://host", "only http://"),
            ("http://", "not an address"),
            ("http://ho st", "not an address"),
        ] {
            let error = Address::read(http(url, None)).err().unwrap();
            assert!(error.to_string().contains(words), "{url}: {error}");
        }
    }
}
