//! Where notices go, as it is configured.

use std::path::{Path, PathBuf};

use anyhow::Context;
use berth_config::{Config, UserWebhooks};
use berth_notices::{
    Address, Call, Encryption, Hooks, Login, MailSettings, Mailer, Notice, Reach, Secret, Undelivered,
    user_key,
};
use berth_store::OwedNotice;

use super::{Notices, ledger::USER};

/// The mail server and the webhooks.
pub struct Sinks {
    mailer: Option<Mailer>,
    hooks: Hooks,
    site: Vec<SiteHook>,
    users: Option<(Reach, PathBuf)>,
}

struct SiteHook {
    name: String,
    address: Address,
    key_file: PathBuf,
}

/// What people may have called.
pub fn reach(users: &UserWebhooks) -> Reach {
    // What is no network was told when the file was read.
    let networks = users.networks.iter().filter_map(|network| network.parse().ok()).collect();
    Reach { hosts: users.hosts.clone(), networks }
}

impl Sinks {
    /// # Errors
    /// When something cannot be used as it is configured.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let notices = &config.notices;
        let mailer = notices.mail.as_ref().map(|mail| Mailer::new(mail_settings(mail))).transpose()?;
        let mut site = Vec::with_capacity(config.webhooks.len());
        for hook in &config.webhooks {
            let of = || format!("webhook {}", hook.name);
            let address = hook.url.parse().with_context(of)?;
            Secret::key(&hook.key_file).with_context(of)?;
            site.push(SiteHook { name: hook.name.clone(), address, key_file: hook.key_file.clone() });
        }
        if let Some(users) = &notices.user_webhooks {
            Secret::key(&users.key_file).context("notices.user-key-file")?;
        }
        let users = notices.user_webhooks.as_ref().map(|users| (reach(users), users.key_file.clone()));
        let hooks = Hooks { tls_ca: notices.tls_ca.clone(), answer_within: notices.answer_within };
        Ok(Self { mailer, hooks, site, users })
    }

    pub fn user_key_file(&self) -> Option<&Path> {
        self.users.as_ref().map(|(_, file)| file.as_path())
    }
}

fn mail_settings(mail: &berth_config::Mail) -> MailSettings {
    MailSettings {
        host: mail.host.clone(),
        port: mail.port,
        encryption: match mail.encryption {
            berth_config::Encryption::None => Encryption::None,
            berth_config::Encryption::StartTls => Encryption::StartTls,
            berth_config::Encryption::Tls => Encryption::Tls,
        },
        tls_ca: mail.tls_ca.clone(),
        login: mail.login.clone().map(|(user, password_file)| Login { user, password_file }),
        from: mail.from.clone(),
        answer_within: mail.answer_within,
    }
}

impl Notices {
    /// Brings one notice to where it is owed, once.
    pub(super) async fn deliver(&self, owed: &OwedNotice, seconds: u64) -> Result<(), Undelivered> {
        let gone = || Undelivered::Closed("it is not configured any more".to_owned());
        let notice: Notice = serde_json::from_str(&owed.body)
            .map_err(|error| Undelivered::Never(format!("what was to be told cannot be read: {error}")))?;
        let (sinks, id, notice, now) = (&self.sinks, owed.id.as_str(), &notice, seconds);
        let secret = |file: &Path| Secret::key(file).map_err(|error| Undelivered::Closed(error.to_string()));
        if owed.sink == "mail" {
            let mailer = sinks.mailer.as_ref().ok_or_else(gone)?;
            return mailer.deliver(id, &owed.target, notice).await;
        }
        if let Some(user) = owed.sink.strip_prefix(USER) {
            let (reach, key_file) = sinks.users.as_ref().ok_or_else(gone)?;
            let url = self.choice(user).webhook;
            let url = url.ok_or_else(|| Undelivered::Never("nobody wants it any more".to_owned()))?;
            let address: Address = url
                .parse()
                .map_err(|error: berth_notices::AddressError| Undelivered::Never(error.to_string()))?;
            let key = user_key(secret(key_file)?.reveal().as_bytes(), user, &url);
            // So that all of them together do not take up what the site's own need.
            let _turn = self.users.acquire().await;
            let call = Call { address: &address, reach: Some(reach), key: key.as_bytes(), id, notice, now };
            return sinks.hooks.deliver(&call).await;
        }
        let name = owed.sink.strip_prefix("hook:").unwrap_or_default();
        let hook = sinks.site.iter().find(|hook| hook.name == name).ok_or_else(gone)?;
        let key = secret(&hook.key_file)?;
        let key = key.reveal().as_bytes();
        let call = Call { address: &hook.address, reach: None, key, id, notice, now };
        sinks.hooks.deliver(&call).await
    }
}
