//! Mail.

use std::{path::PathBuf, time::Duration};

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
        response::Code,
    },
};

use crate::{
    Notice, Undelivered, chain,
    secret::{Secret, SecretError},
    tls::{TlsError, authorities},
};

/// Whether what is said to the server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    None,
    /// After a first word in clear; without it nothing is sent.
    StartTls,
    /// From the first byte on.
    Tls,
}

/// Who Berth is to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// A name.
    pub user: String,
    /// The file with its password.
    pub password_file: PathBuf,
}

/// The server that takes mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailSettings {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub encryption: Encryption,
    /// The authorities whose word on its certificate counts.
    pub tls_ca: PathBuf,
    /// As whom it is spoken to; as nobody in particular where `None`.
    pub login: Option<Login>,
    /// Whom mail is from: `Berth <berth@example.org>`.
    pub from: String,
    /// How long it has for one mail.
    pub answer_within: Duration,
}

/// Brings mail to one server. Certificates and the password are read anew for each mail.
#[derive(Clone, Debug)]
pub struct Mailer {
    settings: MailSettings,
    from: Mailbox,
    hello: String,
}

/// Why no mail can be sent as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Nobody can be written to from there.
    #[error("notices.mail.from: {from:?} is no address to send mail from")]
    From {
        /// What stands there.
        from: String,
    },
    /// The password.
    #[error("notices.mail.password-file")]
    Password(#[source] SecretError),
    /// The authorities.
    #[error("notices.mail")]
    Tls(#[source] TlsError),
}

/// Whether mail can be addressed like this: `NAME@DOMAIN`, and nothing else.
#[must_use]
pub fn is_address(text: &str) -> bool {
    text.is_ascii() && text.len() <= 254 && text.parse::<Address>().is_ok()
}

/// The part of an address behind the `@`, in small letters.
#[must_use]
pub fn domain_of(address: &str) -> Option<String> {
    address.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase())
}

impl Mailer {
    /// Sees whether mail can be sent like this; asks nobody.
    ///
    /// # Errors
    /// Why not.
    pub fn new(settings: MailSettings) -> Result<Self, Unusable> {
        let from = settings.from.parse().map_err(|_| Unusable::From { from: settings.from.clone() })?;
        if let Some(login) = &settings.login {
            Secret::password(&login.password_file).map_err(Unusable::Password)?;
        }
        if settings.encryption != Encryption::None {
            authorities(&settings.tls_ca).map_err(Unusable::Tls)?;
        }
        // Without a name it says what every machine may call itself.
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim();
        let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
        let hello =
            if name.is_empty() || name.contains(odd) { "localhost".to_owned() } else { name.to_owned() };
        Ok(Self { settings, from, hello })
    }

    /// Brings one mail. `id` names the notice, however often it has to be brought.
    ///
    /// # Errors
    /// Why it was not taken. It may have been all the same, where the server broke off.
    pub async fn deliver(&self, id: &str, to: &str, notice: &Notice) -> Result<(), Undelivered> {
        let mail = self.mail(id, to, notice)?;
        let transport = self.transport()?;
        let within = self.settings.answer_within;
        match tokio::time::timeout(within, transport.send(mail)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(judged(&error)),
            Err(_) => Err(Undelivered::Closed(format!("no answer within {within:?}"))),
        }
    }

    fn mail(&self, id: &str, to: &str, notice: &Notice) -> Result<Message, Undelivered> {
        let never = |words: String| Undelivered::Never(words);
        let to = Some(to).filter(|to| is_address(to)).and_then(|to| to.parse::<Address>().ok());
        let to = to.ok_or_else(|| never("it is no address that mail can go to".to_owned()))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .date(std::time::UNIX_EPOCH + Duration::from_millis(notice.at.0))
            .message_id(Some(format!("<{id}@{}.berth>", notice.cluster)))
            .subject(notice.subject())
            // No machine is to answer it.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .header(ContentType::TEXT_PLAIN)
            .body(notice.text());
        message.map_err(|error| never(chain(&error)))
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, Undelivered> {
        let closed = |error: &dyn std::error::Error| Undelivered::Closed(chain(error));
        let settings = &self.settings;
        let tls = match settings.encryption {
            Encryption::None => Tls::None,
            Encryption::StartTls => Tls::Required(self.tls()?),
            Encryption::Tls => Tls::Wrapper(self.tls()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.clone())
            .port(settings.port)
            .tls(tls)
            .timeout(Some(settings.answer_within))
            .hello_name(ClientId::Domain(self.hello.clone()));
        if let Some(login) = &settings.login {
            let password = Secret::password(&login.password_file).map_err(|error| closed(&error))?;
            let credentials = Credentials::new(login.user.clone(), password.reveal().to_owned());
            builder = builder.credentials(credentials);
        }
        Ok(builder.build())
    }

    fn tls(&self) -> Result<TlsParameters, Undelivered> {
        let closed = |error: &dyn std::error::Error| Undelivered::Closed(chain(error));
        let mut builder =
            TlsParameters::builder(self.settings.host.clone()).certificate_store(CertificateStore::None);
        for authority in authorities(&self.settings.tls_ca).map_err(|error| closed(&error))? {
            let authority = Certificate::from_der(authority.to_vec()).map_err(|error| closed(&error))?;
            builder = builder.add_root_certificate(authority);
        }
        builder.build_rustls().map_err(|error| closed(&error))
    }
}

/// What a server's answer means for this mail and for the others.
fn judged(error: &lettre::transport::smtp::Error) -> Undelivered {
    let words = chain(error);
    let Some(code) = error.status() else {
        // What the library finds in the mail itself, such as letters that this server does not take.
        let of_mail = error.is_client() && !error.is_tls();
        return if of_mail { Undelivered::NotNow(words) } else { Undelivered::Closed(words) };
    };
    match number(code) {
        // It goes away, or does not let Berth in: true of all mail.
        421 | 454 | 500..=504 | 521 | 530..=539 => Undelivered::Closed(words),
        550..=599 => Undelivered::Never(words),
        _ => Undelivered::NotNow(words),
    }
}

fn number(code: Code) -> u16 {
    code.to_string().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::notice::tests::notice;

    fn settings() -> MailSettings {
        MailSettings {
            host: "localhost".into(),
            port: 25,
            encryption: Encryption::None,
            tls_ca: "/nowhere.pem".into(),
            login: None,
            from: "Berth <berth@example.org>".into(),
            answer_within: Duration::from_secs(1),
        }
    }

    fn written(notice: &Notice) -> String {
        let mailer = Mailer::new(settings()).unwrap();
        let mail = mailer.mail("19-7-mail", "ann@example.org", notice).unwrap();
        String::from_utf8(mail.formatted()).unwrap()
    }

    #[test]
    fn a_mail_has_the_same_name_each_time_and_says_that_no_person_sent_it() {
        let mail = written(&notice());
        assert_eq!(mail, written(&notice()));
        for line in [
            "From: \"Berth\" <berth@example.org>",
            "To: ann@example.org",
            "Message-ID: <19-7-mail@berth.berth>",
            "Subject: [berth] job 12 (align) has failed: exit code 3",
            "Auto-Submitted: auto-generated",
            "Date: Fri, 21 Nov 2025 09:00:00 +0000",
        ] {
            assert!(
                mail.lines()
                    .any(|has| has.trim_end() == line || has.replace('"', "") == line.replace('"', "")),
                "{line}\n{mail}"
            );
        }
    }

    #[test]
    fn a_name_adds_no_header_whatever_is_in_it() {
        for name in
            ["x\r\nBcc: victim@example.org", "x\nX-Evil: 1\n\nbody", "\r\n.\r\nQUIT", "x\u{2028}Bcc: a@b"]
        {
            let mail = written(&Notice { name: name.into(), cause: Some(name.into()), ..notice() });
            let (head, _) = mail.split_once("\r\n\r\n").unwrap();
            let names: Vec<&str> = head
                .lines()
                .filter(|line| !line.starts_with([' ', '\t']))
                .filter_map(|line| line.split(':').next())
                .collect();
            let known = [
                "From",
                "To",
                "Date",
                "Message-ID",
                "Subject",
                "Auto-Submitted",
                "Content-Type",
                "MIME-Version",
                "Content-Transfer-Encoding",
            ];
            assert!(names.iter().all(|name| known.contains(name)), "{names:?}\n{mail}");
        }
    }

    #[test]
    fn other_letters_are_encoded() {
        let mail = written(&Notice { name: "Größe 名前".into(), ..notice() });
        assert!(mail.is_ascii() && mail.contains("=?utf-8?"), "{mail}");
    }

    #[test]
    fn an_address_is_a_name_and_a_domain_and_nothing_else() {
        for good in ["ann@example.org", "ann+jobs@a.b.example.org"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "ann",
            "@example.org",
            "ann@",
            "ann@example.org, bob@example.org",
            "<ann@example.org>",
            "ann@example.org\r\nRCPT TO:<bob@example.org>",
            "ann @example.org",
            "änn@example.org",
        ] {
            assert!(!is_address(bad), "{bad:?}");
        }
        assert_eq!(domain_of("Ann@Example.ORG").as_deref(), Some("example.org"));
    }

    #[test]
    fn what_cannot_work_is_said_before_anything_is_sent() {
        let unusable = |settings| Mailer::new(settings).unwrap_err().to_string();
        assert!(unusable(MailSettings { from: "nobody".into(), ..settings() }).contains("\"nobody\""));
        let encrypted = MailSettings { encryption: Encryption::Tls, ..settings() };
        let error = Mailer::new(encrypted).unwrap_err();
        assert!(
            matches!(&error, Unusable::Tls(TlsError::Unreadable { path, .. }) if path == Path::new("/nowhere.pem"))
        );
    }
}
