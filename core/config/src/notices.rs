//! `[notices]` and `[[webhooks]]`: who is told of jobs, and how.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use berth_model::Occasion;

use crate::{
    check::Check,
    ldap::is_this_machine,
    raw::{At, RawMail, RawNotices, RawWebhook},
};

/// Whether what is said to a mail server is encrypted.
pub use crate::raw::Encryption;

/// `[notices]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notices {
    /// The mail server; without it there is no mail.
    pub mail: Option<Mail>,
    /// What people may have called; without it they may have nothing called.
    pub user_webhooks: Option<UserWebhooks>,
    /// The authorities whose word on receivers' certificates counts.
    pub tls_ca: PathBuf,
    /// How long a receiver has for one call.
    pub answer_within: Duration,
    /// How long to wait after a first failure.
    pub retry: Duration,
    /// How often a notice is tried that is not taken.
    pub attempts: u32,
    /// After which time a notice is given up.
    pub give_up_after: Duration,
    /// The most that may wait for one sink.
    pub most_waiting: u64,
}

/// `[notices.mail]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The server's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub encryption: Encryption,
    /// The authorities whose word on its certificate counts.
    pub tls_ca: PathBuf,
    /// Who Berth is there, and the file with the password.
    pub login: Option<(String, PathBuf)>,
    /// Whom mail is from.
    pub from: String,
    /// The domain of those whose address nobody knows.
    pub domain: Option<String>,
    /// Domains of addresses that people may choose.
    pub user_domains: Vec<String>,
    /// How long the server has for one mail.
    pub answer_within: Duration,
}

/// What people may have called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserWebhooks {
    /// From this key theirs are made.
    pub key_file: PathBuf,
    /// Hosts.
    pub hosts: Vec<String>,
    /// Networks that are not public and may be called all the same.
    pub networks: Vec<String>,
}

/// One of `[[webhooks]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its name, no two alike.
    pub name: String,
    /// Its address.
    pub url: String,
    /// The key that calls are signed with.
    pub key_file: PathBuf,
    /// On which occasions it is called.
    pub on: Vec<Occasion>,
    /// Only for jobs with this label, and with this value where there is one.
    pub label: Option<(String, Option<String>)>,
}

impl Check<'_> {
    pub(crate) fn notices(&mut self, raw: &RawNotices) -> Notices {
        Notices {
            mail: self.mail(&raw.mail),
            user_webhooks: self.user_webhooks(raw),
            tls_ca: raw.tls_ca.value(),
            answer_within: raw.answer_within.0,
            retry: raw.retry.0,
            attempts: *raw.attempts,
            give_up_after: raw.give_up_after.0,
            most_waiting: *raw.most_waiting,
        }
    }

    fn mail(&mut self, raw: &RawMail) -> Option<Mail> {
        let Some(server) = &raw.server else {
            if let Some(from) = &raw.from {
                let message =
                    "notices.mail is read by nobody, because notices.mail.server is not set".to_owned();
                self.warning(&from.span(), message, "set the server, or take this out");
            }
            return None;
        };
        let encryption = *raw.encryption;
        let usual = match encryption {
            Encryption::None => 25,
            Encryption::StartTls => 587,
            Encryption::Tls => 465,
        };
        let place = host_and_port(server, usual);
        if place.is_none() {
            let message = format!("notices.mail.server: {:?} is no host", **server);
            self.error(&server.span(), message, "write HOST, or HOST:PORT");
        }
        let (host, port) = place.unwrap_or_default();
        let login = match (&raw.user, &raw.password_file) {
            (Some(user), Some(file)) => {
                if encryption == Encryption::None && !is_this_machine(&host) {
                    let message = "notices.mail: the password would be sent without encryption".to_owned();
                    self.error(&user.span(), message, "set encryption to start-tls or tls");
                }
                Some((user.to_string(), file.value()))
            }
            (Some(user), None) => {
                let message = "notices.mail.user needs password-file".to_owned();
                self.error(&user.span(), message, "name the file with its password");
                None
            }
            (None, Some(file)) => {
                let message = "notices.mail.password-file needs user".to_owned();
                self.error(&file.span(), message, "say whose password it is");
                None
            }
            (None, None) => None,
        };
        if raw.from.is_none() {
            let message = "notices.mail.server needs from".to_owned();
            self.error(
                &server.span(),
                message,
                "say whom mail is from: from = \"Berth <berth@example.org>\"",
            );
        }
        let domains = raw.user_domains.iter().chain(&raw.domain);
        for domain in domains.filter(|domain| domain.is_empty() || domain.contains(['@', ' ', '/'])) {
            let message = format!("notices.mail: {:?} is no domain", **domain);
            self.error(&domain.span(), message, "write what stands behind the @ of addresses");
        }
        Some(Mail {
            host,
            port,
            encryption,
            tls_ca: raw.tls_ca.value(),
            login,
            from: raw.from.as_ref().map(At::value).unwrap_or_default(),
            domain: raw.domain.as_ref().map(At::value),
            user_domains: raw.user_domains.iter().map(|domain| domain.to_ascii_lowercase()).collect(),
            answer_within: raw.answer_within.0,
        })
    }

    fn user_webhooks(&mut self, raw: &RawNotices) -> Option<UserWebhooks> {
        if !*raw.user_webhooks {
            return None;
        }
        let span = raw.user_webhooks.span();
        if raw.allowed_hosts.is_empty() {
            let message = "notices.user-webhooks needs allowed-hosts".to_owned();
            self.error(&span, message, "name the hosts that people may have called");
        }
        let Some(key_file) = &raw.user_key_file else {
            let message = "notices.user-webhooks needs user-key-file".to_owned();
            self.error(&span, message, "name a file with a key of which theirs are made");
            return None;
        };
        for network in &raw.allowed_networks {
            if !is_network(network) {
                let message = format!("notices.allowed-networks: {:?} is no network", **network);
                self.error(&network.span(), message, "write 10.0.0.0/8, fd00::/8, or an address");
            }
        }
        Some(UserWebhooks {
            key_file: key_file.value(),
            hosts: raw.allowed_hosts.iter().map(At::value).collect(),
            networks: raw.allowed_networks.iter().map(At::value).collect(),
        })
    }

    pub(crate) fn webhooks(&mut self, raw: &[At<RawWebhook>]) -> Vec<Webhook> {
        let mut seen = BTreeSet::new();
        let mut webhooks = Vec::with_capacity(raw.len());
        for webhook in raw {
            self.name("a webhook's name", &webhook.name, &webhook.name.span());
            if !seen.insert(webhook.name.as_str()) {
                let message = format!("two webhooks are called {:?}", *webhook.name);
                self.error(&webhook.name.span(), message, "call this one something else");
            }
            if !webhook.url.starts_with("https://") && !webhook.url.starts_with("http://") {
                // It may have a secret in it, and is not repeated.
                let message = format!("webhook {}: its url is no address to call", *webhook.name);
                self.error(&webhook.url.span(), message, "write https://HOST/PATH");
            }
            let mut on = Vec::new();
            for word in &webhook.on {
                match Occasion::parse_list([word.as_str()]) {
                    Ok(more) => on.extend(more),
                    Err(error) => self.error(&word.span(), error.to_string(), "write another word"),
                }
            }
            let label = webhook.label.as_ref().map(|label| match label.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (label.to_string(), None),
            });
            webhooks.push(Webhook {
                name: webhook.name.value(),
                url: webhook.url.value(),
                key_file: webhook.key_file.value(),
                on,
                label,
            });
        }
        webhooks
    }
}

fn host_and_port(text: &str, usual: u16) -> Option<(String, u16)> {
    // An address of the sixth version has colons of its own, and brackets around it where a port follows.
    let is_v6 = |host: &str| host.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match text.rsplit_once(':') {
        _ if is_v6(text) => (text, usual),
        Some((host, port)) => (host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok()?),
        None => (text, usual),
    };
    let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    let fine = !host.is_empty() && port > 0 && (is_v6(host) || !host.contains(odd));
    fine.then(|| (host.to_owned(), port))
}

fn is_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_with_or_without_a_port() {
        let read = |text: &str| host_and_port(text, 587);
        let is = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(read("smtp.example.org"), is("smtp.example.org", 587));
        assert_eq!(read("127.0.0.1:2525"), is("127.0.0.1", 2525));
        assert_eq!(read("::1"), is("::1", 587));
        assert_eq!(read("[::1]:25"), is("::1", 25));
        for bad in ["", ":25", "a:", "a:0", "a:99999", "a b", "smtp://a", "a/b", "u@a"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
