//! One connection to one server.

use std::{sync::Arc, time::Duration};

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, SearchEntry, SearchOptions, SearchStream};
use rustls::ClientConfig;
use tokio::{task::AbortHandle, time::timeout};

use super::{Entry, Failure, Question, Scope, Settings, settings::Secrets};
use crate::Password;

/// What a server said that one cannot go on with.
#[derive(Debug)]
pub(super) enum Fault {
    /// The question is answered, by this; another server would say the same.
    Answered(Failure),
    /// Another server, or another connection, may do better.
    Server(String),
}

/// A connection. It is closed with the last of its clones.
#[derive(Clone)]
pub(super) struct Connection {
    ldap: Ldap,
    driver: Arc<Driver>,
}

/// The task that reads and writes. It ends with this.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The codes of RFC 4511, appendix A, that mean something here.
mod code {
    pub(super) const TIME_LIMIT: u32 = 3;
    pub(super) const SIZE_LIMIT: u32 = 4;
    pub(super) const REFERRAL: u32 = 10;
    pub(super) const ADMIN_LIMIT: u32 = 11;
    pub(super) const CONSTRAINT: u32 = 19;
    pub(super) const NO_SUCH_OBJECT: u32 = 32;
    pub(super) const INVALID_DN: u32 = 34;
    pub(super) const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
    pub(super) const INVALID_CREDENTIALS: u32 = 49;
    pub(super) const NO_RIGHTS: u32 = 50;
    pub(super) const BUSY: u32 = 51;
    pub(super) const UNAVAILABLE: u32 = 52;
    pub(super) const UNWILLING: u32 = 53;
    pub(super) const OTHER: u32 = 80;
}

impl Connection {
    /// Connects, encrypts where that is wanted, and presents itself.
    pub(super) async fn open(settings: &Settings, server: &str) -> Result<Self, Fault> {
        let Secrets { password, tls } = secrets(settings).await?;
        let mut this = Self::dial(settings, server, tls).await?;
        if let (Some(login), Some(password)) = (&settings.login, password) {
            let bound = this.ldap.simple_bind(&login.dn, &password).await.map_err(fault)?;
            if bound.rc != 0 {
                let words = format!("it does not let {} in: {}", login.dn, said(&bound));
                return Err(Fault::Server(words));
            }
        }
        Ok(this)
    }

    /// Whether a server lets an entry in with a password, over a connection that ends with the answer.
    pub(super) async fn lets_in(
        settings: &Settings,
        server: &str,
        dn: &str,
        password: &Password,
    ) -> Result<bool, Fault> {
        let Secrets { tls, .. } = secrets(settings).await?;
        let mut this = Self::dial(settings, server, tls).await?;
        let bound = this.ldap.simple_bind(dn, password.reveal()).await.map_err(fault)?;
        match bound.rc {
            0 => Ok(true),
            code::NO_SUCH_OBJECT
            | code::INVALID_DN
            | code::INAPPROPRIATE_AUTHENTICATION
            | code::INVALID_CREDENTIALS
            | code::NO_RIGHTS => Ok(false),
            // Locked, or to be changed first: the server's words are for the log, since they tell who exists.
            code::CONSTRAINT | code::UNWILLING => {
                tracing::info!(server, reason = said(&bound), "LDAP server does not let somebody in");
                Ok(false)
            }
            code::BUSY | code::UNAVAILABLE | code::OTHER => {
                Err(Fault::Server(format!("it could not answer: {}", said(&bound))))
            }
            _ => {
                let words = format!("the directory does not check passwords like this: {}", said(&bound));
                Err(Fault::Answered(Failure::Refused(words)))
            }
        }
    }

    async fn dial(settings: &Settings, server: &str, tls: Option<Arc<ClientConfig>>) -> Result<Self, Fault> {
        let start_tls = settings.tls.as_ref().is_some_and(|tls| tls.start_tls);
        let mut how = LdapConnSettings::new().set_starttls(start_tls);
        if let Some(tls) = tls {
            how = how.set_config(tls);
        }
        let (connection, ldap) = LdapConnAsync::with_settings(how, server).await.map_err(fault)?;
        let driver = tokio::spawn(async move {
            // Whoever asks next finds it closed, and says why then.
            let _ = connection.drive().await;
        });
        Ok(Self { ldap, driver: Arc::new(Driver(driver.abort_handle())) })
    }

    /// Whether two are the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.driver, &other.driver)
    }

    /// Asks. What takes too long, or brings too much, leaves the connection in a state of no use.
    pub(super) async fn search(
        &self,
        settings: &Settings,
        question: &Question,
        filter: &str,
        within: Duration,
    ) -> Result<Vec<Entry>, Fault> {
        let asking = self.search_bounded(settings, question, filter);
        match timeout(within, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::Server(format!("it did not answer within {within:?}"))),
        }
    }

    async fn search_bounded(
        &self,
        settings: &Settings,
        question: &Question,
        filter: &str,
    ) -> Result<Vec<Entry>, Fault> {
        let mut ldap = self.ldap.clone();
        let most = i32::try_from(settings.most_entries).unwrap_or(i32::MAX);
        ldap.with_search_options(SearchOptions::new().sizelimit(most));
        let scope = match question.scope {
            Scope::Base => ldap3::Scope::Base,
            Scope::OneLevel => ldap3::Scope::OneLevel,
            Scope::Subtree => ldap3::Scope::Subtree,
        };
        // No attributes would mean all of them.
        let none = vec!["1.1".to_owned()];
        let attributes = if question.attributes.is_empty() { none } else { question.attributes.clone() };
        let mut stream =
            ldap.streaming_search(&question.base, scope, filter, attributes).await.map_err(fault)?;
        let entries = collect(&mut stream, settings, question).await?;
        let end = stream.finish().await;
        match end.rc {
            0 => Ok(entries),
            code::NO_SUCH_OBJECT => {
                let words = format!("the directory has no {}, or does not show it to us", question.base);
                Err(Fault::Answered(Failure::Refused(words)))
            }
            code::SIZE_LIMIT | code::ADMIN_LIMIT => Err(Fault::Answered(Failure::TooMany)),
            code::REFERRAL => {
                let words = format!("{} is on another server, where nothing is looked for", question.base);
                Err(Fault::Answered(Failure::Refused(words)))
            }
            code::TIME_LIMIT | code::BUSY | code::UNAVAILABLE | code::OTHER => {
                Err(Fault::Server(format!("it could not answer: {}", said(&end))))
            }
            _ => {
                let words = format!("the directory does not answer this: {}", said(&end));
                Err(Fault::Answered(Failure::Refused(words)))
            }
        }
    }
}

async fn secrets(settings: &Settings) -> Result<Secrets, Fault> {
    let own = settings.clone();
    let read = tokio::task::spawn_blocking(move || own.read()).await;
    read.map_err(|gone| Fault::Server(gone.to_string()))?.map_err(|error| Fault::Server(chain(&error)))
}

type Stream<'a> = SearchStream<'a, String, Vec<String>>;

async fn collect(
    stream: &mut Stream<'_>,
    settings: &Settings,
    question: &Question,
) -> Result<Vec<Entry>, Fault> {
    let (mut entries, mut bytes) = (Vec::new(), 0_usize);
    while let Some(item) = stream.next().await.map_err(fault)? {
        // Where else one could ask is not followed: a server would decide whom Berth believes.
        if item.is_ref() || item.is_intermediate() {
            continue;
        }
        let entry = named(SearchEntry::construct(item), question);
        bytes = bytes.saturating_add(size(&entry));
        entries.push(entry);
        if entries.len() > settings.most_entries || bytes > settings.most_bytes {
            return Err(Fault::Answered(Failure::TooMany));
        }
    }
    Ok(entries)
}

fn size(entry: &Entry) -> usize {
    let values = entry.attributes.iter().flat_map(|(name, values)| values.iter().chain([name]));
    values.map(String::len).sum::<usize>().saturating_add(entry.dn.len())
}

/// The wanted attributes by the names that the question has for them; a server may write them otherwise.
fn named(found: SearchEntry, question: &Question) -> Entry {
    let SearchEntry { dn, attrs, .. } = found;
    let values = |wanted: &String| {
        let same = attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        same.map(|(_, values)| (wanted.clone(), values.clone()))
    };
    Entry { dn, attributes: question.attributes.iter().filter_map(values).collect() }
}

fn fault(error: LdapError) -> Fault {
    Fault::Server(match &error {
        LdapError::LdapResult { result } => said(result),
        LdapError::OpSend { .. } | LdapError::ResultRecv { .. } | LdapError::EndOfStream => {
            "the connection was closed".to_owned()
        }
        // The cause says it all.
        LdapError::Io { source } => source.to_string(),
        _ => chain(&error),
    })
}

/// A server's code with its name and the server's words.
fn said(result: &ldap3::LdapResult) -> String {
    let line = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    let name = match result.rc {
        8 => "stronger authentication required",
        13 => "confidentiality required",
        48 => "inappropriate authentication",
        49 => "invalid credentials",
        50 => "insufficient access rights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwilling to perform",
        _ => "",
    };
    let mut words = format!("code {}", result.rc);
    for more in [name, line(&result.text).trim()] {
        if !more.is_empty() {
            words.push_str(", ");
            words.push_str(more);
        }
    }
    words
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        // Some errors have their cause in their words already.
        if !words.ends_with(&inner) {
            words.push_str(": ");
            words.push_str(&inner);
        }
        cause = error.source();
    }
    words
}
