//! `[auth.ldap]`: whether the servers can be asked as it stands there.

use crate::{
    check::Check,
    checked::Ldap,
    raw::{At, RawLdap},
};

impl Check<'_> {
    /// `grant` is where the capability is granted, if it is.
    pub(crate) fn ldap(&mut self, raw: &RawLdap, grant: Option<&At<String>>) -> Option<Ldap> {
        let Some(grant) = grant else {
            if let Some(first) = raw.servers.first() {
                let message = "auth.ldap is read by nobody, because auth.grants has no \"ldap\"".to_owned();
                self.warning(&first.span(), message, "grant it, or take the servers out");
            }
            return None;
        };
        if raw.servers.is_empty() {
            let message = "auth: \"ldap\" is granted, and auth.ldap names no servers".to_owned();
            self.error(&grant.span(), message, "name them: servers = [\"ldaps://ldap.example.org\"]");
        }
        for server in &raw.servers {
            self.ldap_server(raw, server);
        }
        if *raw.start_tls && raw.tls_ca.is_none() {
            let label = "add tls-ca, a file with the authority of their certificates";
            self.error(&raw.start_tls.span(), "auth.ldap.start-tls needs tls-ca".to_owned(), label);
        }
        let login = match (&raw.bind_dn, &raw.bind_password_file) {
            (Some(dn), Some(file)) => Some((dn.to_string(), file.as_path().to_owned())),
            (Some(dn), None) => {
                let message = "auth.ldap.bind-dn needs bind-password-file".to_owned();
                self.error(&dn.span(), message, "name the file with its password");
                None
            }
            (None, Some(file)) => {
                let message = "auth.ldap.bind-password-file needs bind-dn".to_owned();
                self.error(&file.span(), message, "say whose password it is");
                None
            }
            (None, None) => None,
        };
        Some(Ldap {
            servers: raw.servers.iter().map(At::value).collect(),
            login,
            tls_ca: raw.tls_ca.as_ref().map(|ca| ca.as_path().to_owned()),
            start_tls: *raw.start_tls,
            answer_within: raw.answer_within.0,
        })
    }

    fn ldap_server(&mut self, raw: &RawLdap, server: &At<String>) {
        let (span, text) = (server.span(), server.as_str());
        let plain = text.strip_prefix("ldap://");
        let host = plain.or_else(|| text.strip_prefix("ldaps://"));
        let odd =
            |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '?' | '#' | '\\' | '%');
        if host.is_none_or(|host| host.is_empty() || host.starts_with(':') || host.contains(odd)) {
            let message = format!("auth.ldap.servers: {text:?} is no address of a server");
            self.error(&span, message, "write ldap://HOST or ldaps://HOST, with or without :PORT");
        } else if plain.is_none() && raw.tls_ca.is_none() {
            let message = format!("auth.ldap.servers: {text} needs tls-ca");
            self.error(&span, message, "add tls-ca, a file with the authority of its certificate");
        } else if let Some(host) = plain
            && !*raw.start_tls
            && !is_this_machine(host)
        {
            let message = format!("{text} is asked without encryption");
            self.warning(
                &span,
                message,
                "set start-tls, or write ldaps://: whoever is in between decides who people are",
            );
        }
    }
}

pub(crate) fn is_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.starts_with("127.") || host.starts_with("[::1]") || host == "::1"
}
