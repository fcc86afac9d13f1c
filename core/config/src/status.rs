//! `[status]`: where Berth's processes tell that they are there.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{check::Check, ldap::is_this_machine, quantity::Span, raw::At};

/// `[status]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawStatus {
    /// What is told.
    #[schemars(extend("default" = "none"))]
    pub kind: At<RawStatusKind>,
    /// Its servers, such as http://127.0.0.1:2379; the first that answers is asked.
    #[schemars(extend("default" = [], "formerly" = ["etcd_host"]))]
    pub endpoints: Vec<At<String>>,
    /// What all keys in etcd begin with; the service's name in Consul.
    #[schemars(extend("default" = "berth", "formerly" = ["etcd_prefix"]))]
    pub name: At<String>,
    /// For how long a process counts that says nothing more. It tells three times within that.
    #[schemars(extend("default" = "15s", "least" = "2s", "most" = "1h"))]
    pub ttl: At<Span>,
    /// The authorities, in PEM form, whose word on the servers' certificates counts; needed for https.
    #[schemars(extend("format" = "path"))]
    pub tls_ca: Option<At<PathBuf>>,
    /// For etcd: who Berth is there, where it wants to know.
    pub user: Option<At<String>>,
    /// A file with that user's password, which nobody else may read.
    #[schemars(extend("format" = "path"))]
    pub password_file: Option<At<PathBuf>>,
    /// For consul: a file with the token that lets Berth register, which nobody else may read.
    #[schemars(extend("format" = "path"))]
    pub token_file: Option<At<PathBuf>>,
}

/// What is told of Berth's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum RawStatusKind {
    /// Nobody.
    None,
    /// etcd, by the JSON gateway of its v3 API.
    Etcd,
    /// An agent of Consul.
    Consul,
}

/// What is told of Berth's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusKind {
    /// etcd, by the JSON gateway of its v3 API.
    Etcd,
    /// An agent of Consul.
    Consul,
}

/// `[status]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What is told.
    pub kind: StatusKind,
    /// Its servers.
    pub endpoints: Vec<String>,
    /// What keys begin with, or the service's name.
    pub name: String,
    /// For how long a process counts that says nothing more.
    pub ttl: Duration,
    /// The authorities of the servers' certificates.
    pub tls_ca: Option<PathBuf>,
    /// A user's name, and the file with their password.
    pub login: Option<(String, PathBuf)>,
    /// The file with a token.
    pub token_file: Option<PathBuf>,
}

impl Check<'_> {
    pub(crate) fn status(&mut self, raw: &RawStatus) -> Option<Status> {
        let kind = match *raw.kind {
            RawStatusKind::Etcd => StatusKind::Etcd,
            RawStatusKind::Consul => StatusKind::Consul,
            RawStatusKind::None => {
                if let Some(first) = raw.endpoints.first() {
                    let message =
                        "status.endpoints are told nothing, because status.kind is \"none\"".to_owned();
                    self.warning(
                        &first.span(),
                        message,
                        "set kind to \"etcd\" or \"consul\", or take this out",
                    );
                }
                return None;
            }
        };
        if raw.endpoints.is_empty() {
            let message = "status.kind needs status.endpoints".to_owned();
            self.error(
                &raw.kind.span(),
                message,
                "add endpoints = [\"http://127.0.0.1:2379\"], or wherever it answers",
            );
        }
        self.name("status.name", &raw.name, &raw.name.span());
        let has_secret = raw.password_file.is_some() || raw.token_file.is_some();
        let endpoints = raw
            .endpoints
            .iter()
            .filter_map(|at| self.endpoint(at, raw.tls_ca.is_some(), has_secret))
            .collect();
        Some(Status {
            kind,
            endpoints,
            name: raw.name.value(),
            ttl: raw.ttl.0,
            tls_ca: raw.tls_ca.as_ref().map(At::value),
            login: self.login(kind, raw),
            token_file: self.token(kind, raw),
        })
    }

    fn endpoint(&mut self, at: &At<String>, has_ca: bool, has_secret: bool) -> Option<String> {
        let text = at.trim_end_matches('/');
        let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => (false, ""),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        if rest.is_empty() || !rest.chars().all(plain) {
            let message = format!("status.endpoints: {text:?} is no address of a server");
            self.error(&at.span(), message, "write http://HOST:PORT or https://HOST:PORT");
            return None;
        }
        if secure && !has_ca {
            let message = "status.endpoints: https needs status.tls-ca".to_owned();
            self.error(&at.span(), message, "add tls-ca, the file with the authority of its certificate");
        }
        let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
        if !secure && has_secret && !is_this_machine(host.trim_matches(['[', ']'])) {
            let message =
                format!("status.endpoints: what Berth proves itself with goes to {rest} unencrypted");
            self.error(&at.span(), message, "write https://, with tls-ca");
        }
        Some(text.to_owned())
    }

    fn login(&mut self, kind: StatusKind, raw: &RawStatus) -> Option<(String, PathBuf)> {
        match (&raw.user, &raw.password_file) {
            (None, None) => None,
            (Some(user), _) if kind == StatusKind::Consul => {
                self.error(&user.span(), "status.user means nothing to Consul".to_owned(), "use token-file");
                None
            }
            (Some(user), Some(file)) => Some((user.value(), file.value())),
            (Some(user), None) => {
                self.error(&user.span(), "status.user needs status.password-file".to_owned(), "add it");
                None
            }
            (None, Some(file)) => {
                let message = "status.password-file needs status.user".to_owned();
                self.error(&file.span(), message, "say whose password it is");
                None
            }
        }
    }

    fn token(&mut self, kind: StatusKind, raw: &RawStatus) -> Option<PathBuf> {
        let file = raw.token_file.as_ref()?;
        if kind == StatusKind::Etcd {
            let message = "status.token-file means nothing to etcd".to_owned();
            self.error(&file.span(), message, "use user and password-file");
            return None;
        }
        Some(file.value())
    }
}
