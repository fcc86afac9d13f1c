//! The image manager: what a job needs is there before its container is made, is asked for once however many
//! jobs wait for it, and goes again when it takes too much room.

mod cache;
mod private;
mod progress;
mod pull;
mod record;

use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use berth_docker_engine::{Access, AccessError, Engine, EngineError, ImageRef};
use berth_executor_api::Identity;
use tokio::sync::watch;

use self::{
    private::{Begun, Whose},
    record::Record,
};
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
    /// All names that the engine has for it, with a tag or a digest each.
    pub names: Vec<String>,
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
    /// Shared by those who ask for the same name as the same.
    pulls: HashMap<(String, Access), watch::Receiver<Pulling>>,
    failures: HashMap<(String, Access), (Instant, Failure)>,
    seen: HashMap<String, (Instant, Got)>,
    /// Images that attempts without a container yet are about to use.
    wanted: HashMap<String, usize>,
    /// Pulls with users' own logins of which it is not known what they bring, and how many there ever were.
    begun: HashMap<u64, Begun>,
    pulls_begun: u64,
    /// Contents that are known to be everybody's.
    for_all: HashSet<String>,
}

/// The manager.
pub(crate) struct Images {
    settings: ImageSettings,
    file: PathBuf,
    state: Mutex<State>,
    /// Whoever writes the record does it alone, so that what was decided last is what stays.
    turn: tokio::sync::Mutex<()>,
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
        let record = Record::read(&file, settings.registries.user_logins)?;
        let begun: HashMap<u64, Begun> = (1..).zip(private::left_over(&record.begun)).collect();
        let pulls_begun = begun.len() as u64;
        let state = Mutex::new(State { record, begun, pulls_begun, ..State::default() });
        Ok(Self { settings, file, state, turn: tokio::sync::Mutex::new(()) })
    }

    /// The name that the engine is asked for: with the private registry, where there is one.
    pub fn name_of(&self, image: &ImageRef) -> Result<ImageRef, Failure> {
        self.settings.rules.in_registry(image).map_err(|error| Failure::Never(error.to_string()))
    }

    /// Keeps it while the result lives.
    pub fn want(&self, name: &ImageRef) -> Wanted<'_> {
        let name = name.full();
        *self.lock().wanted.entry(name.clone()).or_default() += 1;
        Wanted { images: self, name }
    }

    /// The image for a job of this user, pulled if need be. `tell` hears how that goes.
    pub async fn get(
        &self,
        engine: &Engine,
        name: &ImageRef,
        pull: Option<Pull>,
        owner: &Identity,
        tell: impl FnMut(&str),
    ) -> Result<Got, Failure> {
        let full = name.full();
        let pull = pull.unwrap_or(self.settings.pull);
        self.settle(engine).await?;
        if pull != Pull::Always {
            let there = self.local(engine, &full).await?;
            let there = there.map(|got| (self.whose(&got, owner.uid), got));
            match (there, pull) {
                (Some((Whose::Theirs, got)), _) => {
                    self.used(&full);
                    return Ok(got);
                }
                (Some((whose, _)), Pull::Never) => {
                    let none = Failure::Never("none is pulled here".into());
                    return Err(not_theirs(none, whose, &full));
                }
                (None, Pull::Never) => {
                    let words = format!("the engine has no image {full}, and none is pulled here");
                    return Err(Failure::Never(words));
                }
                _ => {}
            }
        }
        let asking = self.settings.registries.access(name.host(), owner).await.map_err(no_access)?;
        let pulled = match self.recent_failure(&full, &asking.access) {
            Some(failure) => Err(failure),
            None => self.pulled(engine, name, &asking.access, tell).await,
        };
        let got = match pulled {
            Ok(got) => got,
            Err(Failure::Away(words)) => return Err(Failure::Away(words)),
            Err(failure) => self.at_hand(engine, &full, owner, failure.and(asking.hint.as_deref())).await?,
        };
        self.used(&full);
        Ok(got)
    }

    /// What is there has to do where a registry gives nothing.
    async fn at_hand(
        &self,
        engine: &Engine,
        full: &str,
        owner: &Identity,
        failure: Failure,
    ) -> Result<Got, Failure> {
        let Some(got) = self.local(engine, full).await? else { return Err(failure) };
        match self.whose(&got, owner.uid) {
            Whose::Theirs => Ok(noted(got, &failure)),
            whose => Err(not_theirs(failure, whose, full)),
        }
    }

    /// It turned out not to be there.
    pub fn missed(&self, name: &ImageRef) {
        self.lock().seen.remove(&name.full());
    }

    fn recent_failure(&self, full: &str, access: &Access) -> Option<Failure> {
        let mut state = self.lock();
        state.failures.retain(|_, (at, _)| at.elapsed() < self.settings.cool_down);
        state.failures.get(&(full.to_owned(), access.clone())).map(|(_, failure)| failure.clone())
    }

    /// What the engine has by this name.
    async fn local(&self, engine: &Engine, full: &str) -> Result<Option<Got>, Failure> {
        let seen = self.lock().seen.get(full).filter(|(at, _)| at.elapsed() < BELIEVED).cloned();
        match seen {
            Some((_, got)) => Ok(Some(got)),
            None => self.look(engine, full).await,
        }
    }

    /// The same, asked for now.
    async fn look(&self, engine: &Engine, full: &str) -> Result<Option<Got>, Failure> {
        let docker = engine.docker().await.map_err(|error| Failure::Away(error.to_string()))?;
        match engine.answer(docker.inspect_image(full)).await {
            Ok(image) => {
                let id = image.id.unwrap_or_default();
                let mut names = image.repo_digests.unwrap_or_default();
                let digest = names.first().unwrap_or(&id).clone();
                names.extend(image.repo_tags.unwrap_or_default());
                let got = Got { id, digest, names, note: None };
                self.lock().seen.insert(full.to_owned(), (Instant::now(), got.clone()));
                Ok(Some(got))
            }
            Err(error) if error.is_missing() => {
                self.lock().seen.remove(full);
                Ok(None)
            }
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
        let _turn = self.turn.lock().await;
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

impl Failure {
    /// With something else that is worth knowing.
    fn and(self, more: Option<&str>) -> Self {
        let Some(more) = more else { return self };
        let both = |words: String| format!("{words}; {more}");
        match self {
            Self::Never(words) => Self::Never(both(words)),
            Self::NotNow(words) => Self::NotNow(both(words)),
            Self::Away(words) => Self::Away(both(words)),
        }
    }
}

/// Why what is there cannot be had by somebody to whom no registry has given it.
fn not_theirs(failure: Failure, whose: Whose, full: &str) -> Failure {
    match whose {
        Whose::Unclear => Failure::NotNow(format!(
            "the engine has image {full}, and it is not known yet whether by a user's own login"
        )),
        Whose::Theirs | Whose::Others => failure.and(Some(&private::of_others(full))),
    }
}

fn no_access(error: AccessError) -> Failure {
    match &error {
        AccessError::Own(own) if !own.may_pass() => Failure::Never(error.to_string()),
        AccessError::Own(_) | AccessError::Site(_) => Failure::NotNow(error.to_string()),
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
