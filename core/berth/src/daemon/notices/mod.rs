//! Notices: what is owed because of what happened to jobs, and its way to where it is owed.
//!
//! The `desk` reads the durable events behind the loop and writes down what is owed together with how far it has
//! read, in one transaction; so a crash loses none and owes none twice. A `courier` for each sink brings what is
//! owed there and strikes it off then: at least once, always under the same name. Neither is anything the loop
//! waits for.

mod courier;
mod desk;
mod ledger;
mod rules;
mod sinks;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::Context;
use berth_config::Config;
use berth_model::{Identity, JobNotices, NoticeChoice};
use berth_notices::{Secret, user_key};
use berth_store::{NoticeCount, Store, StoreError};
use tokio::sync::{Semaphore, watch};

pub use self::ledger::SinkStatus;
use self::{
    ledger::Ledger,
    rules::{Refused, Rules},
    sinks::Sinks,
};
use super::Listening;

/// How many people's own webhooks are called at once.
const USERS_AT_ONCE: usize = 16;

/// Who is told what, and what waits to be told.
pub struct Notices {
    rules: Rules,
    sinks: Sinks,
    choices: RwLock<HashMap<String, NoticeChoice>>,
    ledger: Ledger,
    store: Arc<dyn Store>,
    users: Semaphore,
    patience: Patience,
}

/// How long and how often something is tried.
#[derive(Clone, Debug)]
struct Patience {
    retry: Duration,
    attempts: u32,
    give_up_after: Duration,
    most_waiting: u64,
}

impl Notices {
    /// Begins where the last one stopped. Events that came before there was anybody to tell are nobody's.
    ///
    /// # Errors
    /// When nothing can be sent as it is configured, or the store cannot be read.
    pub async fn start(
        config: &Config,
        store: &Arc<dyn Store>,
        feed: &Listening,
        stopped: &watch::Receiver<bool>,
    ) -> anyhow::Result<Arc<Self>> {
        let notices = Self::new(config, store, store.count_notices().await?)?;
        let choices = store.notice_choices().await?.into_iter().collect();
        *notices.choices.write().unwrap_or_else(PoisonError::into_inner) = choices;
        for sink in notices.ledger.sinks() {
            notices.send_courier(&sink);
        }
        if notices.rules.anybody() {
            desk::open(&notices, feed, stopped).await?;
        }
        Ok(notices)
    }

    /// For a Berth that stands by: the leader tells everybody.
    ///
    /// # Errors
    /// When nothing can be sent as it is configured.
    pub fn at_rest(config: &Config, store: &Arc<dyn Store>) -> anyhow::Result<Arc<Self>> {
        Self::new(config, store, Vec::new())
    }

    fn new(config: &Config, store: &Arc<dyn Store>, waiting: Vec<NoticeCount>) -> anyhow::Result<Arc<Self>> {
        let sinks = Sinks::new(config).context("notices cannot be sent as they are configured")?;
        Ok(Arc::new(Self {
            rules: Rules::new(config),
            sinks,
            choices: RwLock::default(),
            ledger: Ledger::new(waiting),
            store: Arc::clone(store),
            users: Semaphore::new(USERS_AT_ONCE),
            patience: Patience {
                retry: config.notices.retry,
                attempts: config.notices.attempts,
                give_up_after: config.notices.give_up_after,
                most_waiting: config.notices.most_waiting,
            },
        }))
    }

    /// What somebody wants to be told of all their jobs.
    pub fn choice(&self, user: &str) -> NoticeChoice {
        let choices = self.choices.read().unwrap_or_else(PoisonError::into_inner);
        choices.get(user).cloned().unwrap_or_default()
    }

    /// Keeps what somebody has chosen.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn choose(&self, user: &str, choice: NoticeChoice) -> Result<(), StoreError> {
        let choice = Some(choice).filter(|choice| *choice != NoticeChoice::default());
        self.store.choose_notices(user, choice.clone()).await?;
        let mut choices = self.choices.write().unwrap_or_else(PoisonError::into_inner);
        match choice {
            Some(choice) => choices.insert(user.to_owned(), choice),
            None => choices.remove(user),
        };
        Ok(())
    }

    /// Whether the site lets somebody have this.
    ///
    /// # Errors
    /// Why not.
    pub fn may_choose(&self, who: &Identity, choice: &NoticeChoice) -> Result<(), Refused> {
        self.rules.may_choose(who, choice)
    }

    /// Whether a job may ask for this.
    ///
    /// # Errors
    /// Why not.
    pub fn may_ask(&self, who: &Identity, job: &JobNotices) -> Result<(), Refused> {
        self.rules.may_ask(who, &self.choice(&who.user), job)
    }

    /// Where somebody's mail goes.
    pub fn address(&self, who: &Identity, choice: &NoticeChoice) -> Option<String> {
        self.rules.address(who, choice, None)
    }

    /// The key that calls of somebody's webhook are signed with.
    pub fn key(&self, user: &str, url: &str) -> Option<String> {
        let site = Secret::key(self.sinks.user_key_file()?).ok()?;
        Some(user_key(site.reveal().as_bytes(), user, url))
    }

    /// How each sink does.
    pub fn statuses(&self) -> Vec<SinkStatus> {
        self.ledger.statuses()
    }

    /// How the sinks do that somebody's notices go to: how many of theirs wait, and what is wrong.
    pub fn own_status(&self, user: &str) -> (u64, Vec<String>) {
        self.ledger.of(user)
    }
}
