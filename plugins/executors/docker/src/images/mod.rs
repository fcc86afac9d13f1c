//! The image manager: what a job needs is there before its container is made, is asked for once however many
//! jobs wait for it, and goes again when it takes too much room.

mod cache;
mod progress;
mod pull;
mod record;

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use berth_docker_engine::{Engine, EngineError, ImageRef};
use tokio::sync::watch;

use self::record::Record;
use crate::config::{ImageSettings, Pull};

/// How long what was just seen in the engine is believed to be there. A container that cannot be made for
/// want of its image asks anew.
const BELIEVED: Duration = Duration::from_secs(10);

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    /// The engine's own name for the very contents.
    pub id: String,
    /// The digest that a registry knows it by; the engine's own for images that come from none.
    pub digest: String,
    /// What people should know, such as that a newer one could not be had.
    pub note: Option<String>,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It will not come by itself.
    Never(String),
    /// Perhaps later.
    NotNow(String),
    /// The engine is away: nobody knows.
    Away(String),
}

/// How a pull is going, for all who wait for it.
#[derive(Clone, Debug)]
enum Pulling {
    Under(String),
    Done(Result<Got, Failure>),
}

#[derive(Default)]
struct State {
    record: Record,
    /// Whether the record has news that are not in the file yet.
    news: bool,
    pulls: HashMap<String, watch::Receiver<Pulling>>,
    failures: HashMap<String, (Instant, Failure)>,
    seen: HashMap<String, (Instant, Got)>,
    /// Images that attempts without a container yet are about to use.
    wanted: HashMap<String, usize>,
}

/// The manager.
pub(crate) struct Images {
    settings: ImageSettings,
    file: PathBuf,
    state: Mutex<State>,
}

/// Keeps an image from being thrown away until its container is there.
pub(crate) struct Wanted<'a> {
    images: &'a Images,
    name: String,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut state = self.images.lock();
        if let Some(count) = state.wanted.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                state.wanted.remove(&self.name);
            }
        }
    }
}

impl Images {
    /// Reads what is known from before.
    pub fn open(settings: ImageSettings, file: PathBuf) -> io::Result<Self> {
        let record = Record::read(&file)?;
        Ok(Self { settings, file, state: Mutex::new(State { record, ..State::default() }) })
    }

    /// The name that the engine is asked for: with the private registry, where there is one.
    pub fn name_of(&self, image: &ImageRef) -> Result<ImageRef, Failure> {
        match &self.settings.prefix {
            Some(prefix) => prefix.apply(image).map_err(|error| Failure::Never(error.to_string())),
            None => Ok(image.clone()),
        }
    }

    /// Keeps it while the result lives.
    pub fn want(&self, name: &ImageRef) -> Wanted<'_> {
        let name = name.full();
        *self.lock().wanted.entry(name.clone()).or_default() += 1;
        Wanted { images: self, name }
    }

    /// The image, pulled if need be. `tell` hears how that goes.
    pub async fn get(
        &self,
        engine: &Engine,
        name: &ImageRef,
        pull: Option<Pull>,
        tell: impl FnMut(&str),
    ) -> Result<Got, Failure> {
        let full = name.full();
        let pull = pull.unwrap_or(self.settings.pull);
        if let Some(failure) = self.recent_failure(&full) {
            // With "always" the failure was one to renew it, and what is there has to do.
            return match (pull, self.local(engine, &full).await?) {
                (Pull::Always | Pull::Missing, Some(got)) => Ok(noted(got, &failure)),
                _ => Err(failure),
            };
        }
        if pull != Pull::Always
            && let Some(got) = self.local(engine, &full).await?
        {
            self.used(&full);
            return Ok(got);
        }
        if pull == Pull::Never {
            return Err(Failure::Never(format!("the engine has no image {full}, and none is pulled here")));
        }
        let got = match self.pulled(engine, name, tell).await {
            Err(Failure::Away(words)) => return Err(Failure::Away(words)),
            Err(failure) => match self.local(engine, &full).await? {
                Some(got) => noted(got, &failure),
                None => return Err(failure),
            },
            Ok(got) => got,
        };
        self.used(&full);
        Ok(got)
    }

    /// It turned out not to be there.
    pub fn missed(&self, name: &ImageRef) {
        self.lock().seen.remove(&name.full());
    }

    fn recent_failure(&self, full: &str) -> Option<Failure> {
        let mut state = self.lock();
        state.failures.retain(|_, (at, _)| at.elapsed() < self.settings.cool_down);
        state.failures.get(full).map(|(_, failure)| failure.clone())
    }

    /// What the engine has by this name.
    async fn local(&self, engine: &Engine, full: &str) -> Result<Option<Got>, Failure> {
        let seen = self.lock().seen.get(full).filter(|(at, _)| at.elapsed() < BELIEVED).cloned();
        if let Some((_, got)) = seen {
            return Ok(Some(got));
        }
        let docker = engine.docker().await.map_err(|error| Failure::Away(error.to_string()))?;
        match engine.answer(docker.inspect_image(full)).await {
            Ok(image) => {
                let id = image.id.unwrap_or_default();
                let digest = image.repo_digests.unwrap_or_default().into_iter().next();
                let got = Got { digest: digest.unwrap_or_else(|| id.clone()), id, note: None };
                self.lock().seen.insert(full.to_owned(), (Instant::now(), got.clone()));
                Ok(Some(got))
            }
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(away_or_never(&error)),
        }
    }

    fn used(&self, full: &str) {
        let mut state = self.lock();
        state.record.used(full);
        state.news = true;
    }

    /// Writes down what has changed since the last time.
    pub async fn save(&self) -> io::Result<()> {
        let json = {
            let mut state = self.lock();
            if !std::mem::take(&mut state.news) {
                return Ok(());
            }
            state.record.to_json()?
        };
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || record::replace(&file, &json)).await;
        let written = written.map_err(io::Error::other).and_then(|written| written);
        if written.is_err() {
            self.lock().news = true;
        }
        written
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn noted(got: Got, failure: &Failure) -> Got {
    let (Failure::Never(words) | Failure::NotNow(words) | Failure::Away(words)) = failure;
    Got {
        note: Some(format!("the registry was asked in vain, and the image at hand is used: {words}")),
        ..got
    }
}

fn away_or_never(error: &EngineError) -> Failure {
    match error.is_unreachable() {
        true => Failure::Away(error.to_string()),
        false => Failure::Never(error.to_string()),
    }
}
