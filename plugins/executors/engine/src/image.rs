//! Names of images.

use std::{fmt, str::FromStr};

/// Where images come from whose name does not say so.
const HUB: &str = "docker.io";

/// A name of an image, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageRef {
    /// The registry's host and port, where the name has one.
    pub registry: Option<String>,
    /// The repository in it, such as `library/busybox` or `busybox`.
    pub repository: String,
    /// The tag.
    pub tag: Option<String>,
    /// The digest, with its algorithm: it decides over the tag.
    pub digest: Option<String>,
}

/// Text that does not name an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} does not name an image: {reason}")]
pub struct ImageError {
    text: String,
    reason: &'static str,
}

impl FromStr for ImageRef {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |reason| ImageError { text: text.to_owned(), reason };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(wrong("after @ comes sha256: and 64 hexadecimal digits"));
        }
        let (registry, rest) = match rest.split_once('/') {
            Some((host, rest)) if is_host(host) => (Some(host), rest),
            _ => (None, rest),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("a tag has at most 128 letters, digits, dots, dashes and underscores"));
        }
        if !repository.split('/').all(is_component) {
            return Err(wrong("a repository has lower-case letters and digits, joined by . _ - and /"));
        }
        let owned = |part: &str| part.to_owned();
        Ok(Self {
            registry: registry.map(owned),
            repository: owned(repository),
            tag: tag.map(owned),
            digest: digest.map(owned),
        })
    }
}

/// A first part is a host when it could not be part of a repository's name, as Docker has it.
fn is_host(text: &str) -> bool {
    let legal = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    let begins = text.starts_with(|char: char| char.is_ascii_alphanumeric() || char == '[');
    legal && begins && (text.contains(['.', ':']) || text == "localhost")
}

fn is_component(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else { return false };
    inner(first) && inner(last) && text.bytes().all(|byte| inner(byte) || b"._-".contains(&byte))
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let Some(first) = text.bytes().next() else { return false };
    text.len() <= 128 && word(first) && text.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

fn is_digest(text: &str) -> bool {
    let hex = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.strip_prefix("sha256:").is_some_and(hex)
}

impl ImageRef {
    /// The registry that it comes from.
    #[must_use]
    pub fn host(&self) -> &str {
        self.registry.as_deref().unwrap_or(HUB)
    }

    /// The name without tag and digest.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.registry {
            Some(registry) => format!("{registry}/{}", self.repository),
            None => self.repository.clone(),
        }
    }

    /// What to ask a registry for beside the name: the digest, or the tag, which is `latest` where
    /// none is given.
    #[must_use]
    pub fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// The name with the tag or digest that it stands for: what an engine is given.
    #[must_use]
    pub fn full(&self) -> String {
        let joint = if self.digest.is_some() { '@' } else { ':' };
        format!("{}{joint}{}", self.name(), self.version())
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full())
    }
}

/// A private registry that all images are taken from, whatever they are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl FromStr for Prefix {
    type Err = ImageError;

    /// Reads `HOST[:PORT][/PATH]`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim_end_matches('/');
        let probe: ImageRef = format!("{trimmed}/x").parse()?;
        match probe.registry {
            Some(_) => Ok(Self(trimmed.to_owned())),
            None => Err(ImageError { text: text.to_owned(), reason: "it begins with no registry's host" }),
        }
    }
}

impl Prefix {
    /// The name in the private registry; one that is of it already stays as it is.
    ///
    /// # Errors
    /// When both together are no name.
    pub fn apply(&self, image: &ImageRef) -> Result<ImageRef, ImageError> {
        let name = image.name();
        if name.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.starts_with('/')) {
            return Ok(image.clone());
        }
        // A registry in the middle of a name may not have a port.
        let full = image.full();
        let inner = match &image.registry {
            Some(registry) => full.replacen(registry.as_str(), &registry.replace(':', "-"), 1),
            None => full,
        };
        format!("{}/{inner}", self.0).parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, host, full) in [
            ("busybox", "docker.io", "busybox:latest".to_owned()),
            ("berth/busybox:test", "docker.io", "berth/busybox:test".to_owned()),
            ("localhost/x", "localhost", "localhost/x:latest".to_owned()),
            ("127.0.0.1:5000/a/b:1.2-rc_3", "127.0.0.1:5000", "127.0.0.1:5000/a/b:1.2-rc_3".to_owned()),
            (&format!("quay.io/a:1@{digest}"), "quay.io", format!("quay.io/a@{digest}")),
        ] {
            let image: ImageRef = text.parse().unwrap();
            assert_eq!((image.host(), image.full()), (host, full), "{text}");
        }
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for wrong in [
            "",
            "Upper",
            "a b",
            "a:",
            "a:b:c",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a@sha256:12",
            "a@md5:0",
            "a:.x",
            "../a",
        ] {
            assert!(wrong.parse::<ImageRef>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_private_registry_stands_before_every_name_once() {
        let prefix: Prefix = "hub.site:5000/mirror/".parse().unwrap();
        for (text, full) in [
            ("ubuntu", "hub.site:5000/mirror/ubuntu:latest"),
            ("hub.site:5000/mirror/ubuntu:24.04", "hub.site:5000/mirror/ubuntu:24.04"),
            ("quay.io/a/b:1", "hub.site:5000/mirror/quay.io/a/b:1"),
            ("other:5000/a", "hub.site:5000/mirror/other-5000/a:latest"),
        ] {
            assert_eq!(prefix.apply(&text.parse().unwrap()).unwrap().full(), full);
        }
        assert!("mirror".parse::<Prefix>().is_err());
    }
}
