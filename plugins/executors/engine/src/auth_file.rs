//! The form in which `docker login` keeps credentials.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::Credentials;

/// What a file has for one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nothing.
    None,
    /// A user name and a password.
    Login(Credentials),
    /// It leaves them to a helper program.
    Helper,
}

/// The file is not of that form. What is in it is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadForm;

#[derive(Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
}

/// What the file with this text has for a registry.
pub(crate) fn entry(text: &str, host: &str) -> Result<Entry, BadForm> {
    let file: AuthFile = serde_json::from_str(text).map_err(|_| BadForm)?;
    let mut found = file.auths.iter().filter(|(key, _)| names(key, host)).map(|(_, auth)| auth).peekable();
    let mentioned = found.peek().is_some() || file.helpers.keys().any(|key| names(key, host));
    match found.find(|found| !found.auth.is_empty()) {
        Some(found) => login(&found.auth).map(Entry::Login),
        None if mentioned => Ok(Entry::Helper),
        None => Ok(Entry::None),
    }
}

/// Keys are hosts, or addresses from the time when they were.
fn names(key: &str, host: &str) -> bool {
    let bare = key.trim_start_matches("https://").trim_start_matches("http://");
    let bare = bare.split('/').next().unwrap_or(bare);
    bare == host || (host == "docker.io" && bare == "index.docker.io")
}

fn login(auth: &str) -> Result<Credentials, BadForm> {
    let decoded = STANDARD.decode(auth).map_err(|_| BadForm)?;
    let decoded = String::from_utf8(decoded).map_err(|_| BadForm)?;
    let (username, password) = decoded.split_once(':').ok_or(BadForm)?;
    // Old clients fill it up with these.
    let password = password.trim_end_matches('\0');
    Ok(Credentials { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_has_a_login_a_helper_or_nothing() {
        let token = STANDARD.encode("bob:se:cret");
        let text = format!(
            r#"{{"auths": {{"https://hub.site/v1/": {{"auth": "{token}"}}, "kept.site": {{}},
                           "https://index.docker.io/v1/": {{"auth": "{token}"}}}},
                "credHelpers": {{"cloud.site": "cloud"}}, "credsStore": "desktop"}}"#
        );
        let login = Entry::Login(Credentials { username: "bob".into(), password: "se:cret".into() });
        for (host, expected) in [
            ("hub.site", &login),
            ("docker.io", &login),
            ("kept.site", &Entry::Helper),
            ("cloud.site", &Entry::Helper),
            ("other.site", &Entry::None),
            ("hub.site:5000", &Entry::None),
        ] {
            assert_eq!(entry(&text, host).as_ref(), Ok(expected), "{host}");
        }
        assert_eq!(entry("{}", "hub.site"), Ok(Entry::None));
    }

    #[test]
    fn what_is_of_another_form_is_refused() {
        for text in
            ["", "7", r#"{"auths": {"h": {"auth": "%"}}}"#, r#"{"auths": {"h": {"auth": "YWxpY2U="}}}"#]
        {
            assert_eq!(entry(text, "h"), Err(BadForm), "{text}");
        }
    }
}
