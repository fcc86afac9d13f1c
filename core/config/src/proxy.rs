//! `[server.proxy]`: whom Berth believes who somebody is.

use std::net::IpAddr;

use crate::{
    check::Check,
    checked::Proxy,
    raw::{At, RawProxy},
};

/// Headers that mean something else, or that the proxy's secret is in.
const TAKEN: [&str; 6] =
    ["authorization", "berth-proxy-secret", "content-type", "content-length", "host", "connection"];

impl Check<'_> {
    pub(crate) fn proxy(&mut self, raw: &RawProxy) -> Option<Proxy> {
        let Some(header) = &raw.user_header else {
            let first = raw.from.first().map(At::span).or_else(|| raw.secret_file.as_ref().map(At::span));
            if let Some(span) = first {
                let message = "server.proxy is read by nobody, because user-header is not set".to_owned();
                self.warning(&span, message, "name the header, or take this out");
            }
            return None;
        };
        let name = header.to_ascii_lowercase();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || !name.chars().all(plain) || TAKEN.contains(&name.as_str()) {
            let message = format!("server.proxy.user-header cannot be {:?}", header.as_str());
            self.error(&header.span(), message, "write a header of its own, such as X-Remote-User");
        }
        if raw.from.is_empty() {
            let message = "server.proxy believes nobody, because from is empty".to_owned();
            self.error(&header.span(), message, "add from, the addresses that the proxy comes from");
        }
        if raw.secret_file.is_none() {
            let message = "server.proxy needs secret-file".to_owned();
            let label = "add it: whoever else comes from the proxy's address could be anybody";
            self.error(&header.span(), message, label);
        }
        let from = raw.from.iter().filter_map(|address| self.proxy_address(address)).collect();
        let secret_file = raw.secret_file.as_ref()?.as_path().to_owned();
        Some(Proxy { user_header: name, from, secret_file })
    }

    fn proxy_address(&mut self, address: &At<String>) -> Option<IpAddr> {
        let parsed = address.parse::<IpAddr>().ok();
        if parsed.is_none() {
            let message = format!("{:?} is not the address of a proxy", address.as_str());
            self.error(&address.span(), message, "write 10.0.0.5 or fd00::5, without a port");
        }
        parsed.map(|address| address.to_canonical())
    }
}
