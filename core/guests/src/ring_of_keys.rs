//! The keys of one issuer, kept and looked for again.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jsonwebtoken::DecodingKey;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{Refusal, SignedBy, SourceFault, fetch, keys::Keys};

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file with a set of keys.
    File(PathBuf),
    /// The issuer itself, over HTTPS, by what `/.well-known/openid-configuration` says.
    Issuer {
        /// The file with the authorities whose word on its certificate counts.
        ca: PathBuf,
    },
}

/// How often keys are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long one look may take.
    pub answer_within: Duration,
    /// The shortest time from one look to the next, whatever is asked for.
    pub look_again: Duration,
    /// Keys older than this are looked for again, while they go on being used.
    pub fresh_for: Duration,
    /// Keys older than this are used no more.
    pub good_for: Duration,
}

/// The keys that are known.
#[derive(Debug)]
pub(crate) struct KeyRing {
    url: String,
    source: KeySource,
    pace: Pace,
    kept: Mutex<Kept>,
    /// One looks at a time; others wait for what it finds.
    turn: Semaphore,
}

#[derive(Debug, Default)]
struct Kept {
    keys: Option<(Arc<Keys>, Instant)>,
    looked: Option<Instant>,
    /// Of the last look.
    fault: Option<SourceFault>,
}

/// What is known without looking.
enum Known {
    Key { key: DecodingKey, is_fresh: bool },
    OtherKeys,
    Nothing,
}

impl KeyRing {
    pub(crate) fn new(url: &str, source: KeySource, pace: Pace) -> Self {
        Self { url: url.to_owned(), source, pace, kept: Mutex::default(), turn: Semaphore::new(1) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that a token is signed with. Where it is not known, the issuer is asked, unless it was a moment ago.
    pub(crate) async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
        by: SignedBy,
    ) -> Result<DecodingKey, Refusal> {
        if let Known::Key { key, is_fresh } = self.known(id, by) {
            if !is_fresh {
                let ring = Arc::clone(self);
                // Who has a key that is known does not wait for an issuer that hangs.
                tokio::spawn(async move { ring.look().await });
            }
            return Ok(key);
        }
        self.look().await;
        let known = self.known(id, by);
        let fault = self.kept().fault.clone();
        match (known, fault) {
            (Known::Key { key, .. }, _) => Ok(key),
            (Known::OtherKeys, None) => Err(Refusal::UnknownKey),
            (Known::OtherKeys | Known::Nothing, Some(fault)) => Err(Refusal::Unavailable(fault.to_string())),
            (Known::Nothing, None) => Err(Refusal::Unavailable("its keys are being looked for".to_owned())),
        }
    }

    fn known(&self, id: Option<&str>, by: SignedBy) -> Known {
        let kept = self.kept();
        let Some((keys, since)) = &kept.keys else { return Known::Nothing };
        let age = since.elapsed();
        if age >= self.pace.good_for {
            return Known::Nothing;
        }
        match keys.find(id, by) {
            Some(key) => Known::Key { key: key.clone(), is_fresh: age < self.pace.fresh_for },
            None => Known::OtherKeys,
        }
    }

    /// Looks for the keys, or waits for whoever does.
    async fn look(&self) {
        let Ok(Ok(_turn)) = timeout(self.pace.answer_within, self.turn.acquire()).await else { return };
        if !self.may_look() {
            return;
        }
        let found = timeout(self.pace.answer_within, self.ask()).await;
        let found = found.unwrap_or(Err(SourceFault::Slow(self.pace.answer_within)));
        let mut kept = self.kept();
        match found {
            Ok(keys) => {
                kept.keys = Some((Arc::new(keys), Instant::now()));
                kept.fault = None;
            }
            Err(fault) => {
                tracing::warn!(issuer = self.url, reason = %fault, "an issuer's keys cannot be had");
                kept.fault = Some(fault);
            }
        }
    }

    /// Begins a look, unless there was one a moment ago: nobody has Berth call an issuer as often as they like.
    fn may_look(&self) -> bool {
        let mut kept = self.kept();
        let may = kept.looked.is_none_or(|looked| looked.elapsed() >= self.pace.look_again);
        if may {
            kept.looked = Some(Instant::now());
        }
        may
    }

    async fn ask(&self) -> Result<Keys, SourceFault> {
        match &self.source {
            KeySource::Issuer { ca } => fetch::keys(&self.url, ca).await,
            KeySource::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || fetch::file(&path)).await;
                read.unwrap_or_else(|error| Err(SourceFault::File(error.to_string())))
            }
        }
    }
}
