//! `[store]`: where the state is kept, and whether a database can be reached as it stands there.

use crate::{
    check::Check,
    checked::Store,
    ldap::is_this_machine,
    raw::{At, RawStore, RawStoreKind},
};

impl Check<'_> {
    pub(crate) fn store(&mut self, raw: &RawStore) -> Store {
        let file = || Store::Sqlite { path: raw.path.value() };
        match *raw.kind {
            RawStoreKind::Sqlite => {
                if let Some(url) = &raw.url {
                    let message = "store.url is read by nobody, because store.kind is \"sqlite\"".to_owned();
                    self.warning(&url.span(), message, "set store.kind to \"postgres\", or take this out");
                }
                file()
            }
            RawStoreKind::Postgres => {
                let Some(url) = &raw.url else {
                    let message = "store.kind \"postgres\" needs store.url".to_owned();
                    self.error(&raw.kind.span(), message, "add url = \"postgres://berth@HOST/berth\"");
                    return file();
                };
                self.database(url, raw.tls_ca.is_some());
                Store::Postgres {
                    url: url.value(),
                    password_file: raw.password_file.as_ref().map(At::value),
                    tls_ca: raw.tls_ca.as_ref().map(At::value),
                    lease: raw.lease.0,
                }
            }
        }
    }

    fn database(&mut self, url: &At<String>, encrypted: bool) {
        let span = url.span();
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        // Neither the message nor the label repeats what could be a password.
        let Some(rest) = rest else {
            let message = "store.url is no address of a database".to_owned();
            return self.error(&span, message, "write postgres://USER@HOST/NAME, with or without :PORT");
        };
        let place = rest.split(['/', '?']).next().unwrap_or_default();
        let (user, host) = place.rsplit_once('@').unwrap_or(("", place));
        if user.contains(':') || rest.contains("password=") {
            let message = "store.url has a password in it".to_owned();
            self.error(
                &span,
                message,
                "write it into a file of its own, and its path to store.password-file",
            );
        } else if host.contains(',') {
            let message = "store.url names several servers".to_owned();
            self.error(&span, message, "name the one that writes, or an address that leads to it");
        } else if host.is_empty() && !rest.contains("host=") {
            let message = "store.url names no server".to_owned();
            self.error(&span, message, "write postgres://USER@HOST/NAME, with or without :PORT");
        } else if !encrypted && !host.is_empty() && !host.starts_with("%2F") && !is_this_machine(host) {
            let message = "the database of store.url is on another machine, and needs tls-ca".to_owned();
            self.error(&span, message, "add tls-ca, a file with the authority of its certificate");
        }
    }
}
