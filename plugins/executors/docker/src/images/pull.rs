//! Asking a registry, once for all who wait.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use berth_docker_engine::{
    Access, Engine, EngineError, ImageRef,
    bollard::{auth::DockerCredentials, query_parameters::CreateImageOptions},
};
use futures::StreamExt;
use tokio::sync::watch;

use super::{Failure, Got, Images, Pulling, private::OwnPull, progress::Progress};

/// The most often that people hear of progress.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Takes the pull out of the list however it ends, so that nobody waits for one that is given up.
struct Leading<'a> {
    images: &'a Images,
    pull: (String, Access),
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.images.lock().pulls.remove(&self.pull);
    }
}

enum Part<'a> {
    Lead(watch::Sender<Pulling>, Leading<'a>),
    Follow(watch::Receiver<Pulling>),
}

impl Images {
    pub(super) async fn pulled(
        &self,
        engine: &Engine,
        name: &ImageRef,
        access: &Access,
        mut tell: impl FnMut(&str),
    ) -> Result<Got, Failure> {
        loop {
            match self.part(name, access) {
                Part::Lead(sender, _leading) => {
                    let got = self.lead(engine, name, access, &sender, &mut tell).await;
                    self.remember(name, access, &got);
                    sender.send_replace(Pulling::Done(got.clone()));
                    return got;
                }
                // Where the leader was given up with its job, one of those who waited takes over.
                Part::Follow(receiver) => {
                    if let Some(got) = follow(receiver, &mut tell).await {
                        return got;
                    }
                }
            }
        }
    }

    fn part(&self, name: &ImageRef, access: &Access) -> Part<'_> {
        let pull = (name.full(), access.clone());
        let mut state = self.lock();
        if let Some(receiver) = state.pulls.get(&pull) {
            return Part::Follow(receiver.clone());
        }
        let (sender, receiver) = watch::channel(Pulling::Under(format!("pulling image {name}")));
        state.pulls.insert(pull.clone(), receiver);
        Part::Lead(sender, Leading { images: self, pull })
    }

    async fn lead(
        &self,
        engine: &Engine,
        name: &ImageRef,
        access: &Access,
        sender: &watch::Sender<Pulling>,
        tell: &mut impl FnMut(&str),
    ) -> Result<Got, Failure> {
        let own = match access {
            Access::Own { uid, .. } => Some(self.begin_own(engine, name, *uid).await?),
            Access::Site(_) => None,
        };
        let credentials = access.for_engine(name.host());
        let heard = |words: &str| {
            sender.send_replace(Pulling::Under(words.to_owned()));
            tell(words);
        };
        let asked = tokio::time::timeout(self.settings.pull_within, ask(engine, name, credentials, heard));
        match (asked.await, own) {
            (Ok(Ok(given)), own) => return self.given(engine, name, given, own).await,
            (Ok(Err(failure)), Some(own)) if !matches!(failure, Failure::Away(_)) => {
                own.brought_nothing();
                Err(failure)
            }
            (Ok(Err(failure)), _) => Err(failure),
            (Err(_), _) => {
                let within = self.settings.pull_within;
                Err(Failure::NotNow(format!("image {name} was not there after {within:?}")))
            }
        }
    }

    /// What a registry has given, and to whom.
    async fn given(
        &self,
        engine: &Engine,
        name: &ImageRef,
        digest: Option<String>,
        own: Option<OwnPull<'_>>,
    ) -> Result<Got, Failure> {
        let Some(got) = self.look(engine, &name.full()).await? else {
            return Err(Failure::NotNow(format!("image {name} was pulled and is not there")));
        };
        // Somebody else's pull may have put something else under the name, that these credentials do not open.
        let is_it = |digest: &String| got.names.iter().any(|name| name.ends_with(digest));
        if self.by_contents() && !digest.as_ref().is_some_and(is_it) {
            return Err(Failure::NotNow(format!("image {name} was pulled, and is not the same any more")));
        }
        match own {
            Some(own) => {
                own.brought(&got.id);
                // Not yet on the disk, it would only have to be asked for once more after a crash.
                if let Err(error) = self.save().await {
                    tracing::warn!(error = %error, "the record of images cannot be written");
                }
            }
            None => self.opened(&got.id),
        }
        Ok(got)
    }

    fn remember(&self, name: &ImageRef, access: &Access, got: &Result<Got, Failure>) {
        let full = name.full();
        let mut state = self.lock();
        match got {
            Ok(_) => {
                state.record.pulled(&full);
                state.news = true;
                state.failures.remove(&(full, access.clone()));
            }
            Err(Failure::Away(_)) => {}
            Err(failure) => {
                state.failures.insert((full, access.clone()), (Instant::now(), failure.clone()));
            }
        }
    }
}

async fn follow(
    mut receiver: watch::Receiver<Pulling>,
    tell: &mut impl FnMut(&str),
) -> Option<Result<Got, Failure>> {
    loop {
        let now = receiver.borrow_and_update().clone();
        match now {
            Pulling::Done(got) => return Some(got),
            Pulling::Under(words) => tell(&words),
        }
        receiver.changed().await.ok()?;
    }
}

/// Gives the digest by which the registry knows what it gave.
async fn ask(
    engine: &Engine,
    name: &ImageRef,
    credentials: Option<DockerCredentials>,
    mut heard: impl FnMut(&str),
) -> Result<Option<String>, Failure> {
    let docker = engine.docker().await.map_err(|error| Failure::Away(error.to_string()))?;
    // The engine says nothing before the registry has.
    let docker = Arc::new(docker.with_timeout(Duration::from_secs(3600)));
    let options = CreateImageOptions {
        from_image: Some(name.name()),
        tag: Some(name.version().to_owned()),
        ..CreateImageOptions::default()
    };
    let mut lines = docker.create_image(Some(options), None, credentials);
    let mut progress = Progress::new(&name.full());
    heard(&progress.words());
    let mut told = Instant::now();
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| failure(name, &EngineError::from(error)))?;
        progress.note(&line);
        if told.elapsed() >= TOLD_EVERY {
            heard(&progress.words());
            told = Instant::now();
        }
    }
    Ok(progress.digest)
}

/// Sorts a no: one of the registry's about this image stays one, anything about the way there may pass.
fn failure(name: &ImageRef, error: &EngineError) -> Failure {
    let EngineError::Refused { message, .. } = error else {
        return Failure::Away(error.to_string());
    };
    let words = format!("image {name} cannot be pulled: {message}");
    let lower = message.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    // First, because a proxy's words about the way may sound like the registry's about the image.
    let on_the_way = [
        "no such host",
        "connection refused",
        "i/o timeout",
        "timeout",
        "tls handshake",
        "server misbehaving",
        "no route to host",
        "network is unreachable",
        "connection reset",
        "toomanyrequests",
        "too many requests",
        "unexpected eof",
        "service unavailable",
        "bad gateway",
        "internal server error",
        "no space left",
        "temporary failure",
    ];
    if has(&on_the_way) {
        return Failure::NotNow(words);
    }
    let for_good = [
        "manifest unknown",
        "not found",
        "pull access denied",
        "repository does not exist",
        "name unknown",
        "no basic auth credentials",
        "unauthorized",
        "access forbidden",
        "denied",
        "invalid reference format",
        "no matching manifest",
        "unsupported manifest",
    ];
    if has(&for_good) { Failure::Never(words) } else { Failure::NotNow(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_says_of_an_image_is_told_from_trouble_on_the_way() {
        let name: ImageRef = "hub.site/a:1".parse().unwrap();
        let said = |message: &str| {
            failure(&name, &EngineError::Refused { status: 500, message: message.to_owned() })
        };
        for never in [
            "manifest for hub.site/a:1 not found: manifest unknown: manifest unknown",
            "Head \"https://hub.site/v2/a/manifests/1\": no basic auth credentials",
            "unauthorized: authentication required",
            "pull access denied for a, repository does not exist or may require 'docker login'",
        ] {
            assert!(matches!(said(never), Failure::Never(_)), "{never}");
        }
        for later in [
            "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host",
            "dial tcp 127.0.0.1:5000: connect: connection refused",
            "toomanyrequests: You have reached your pull rate limit",
            "something that nobody has seen before",
        ] {
            assert!(matches!(said(later), Failure::NotNow(_)), "{later}");
        }
        let away = EngineError::Unreachable { words: "gone".into(), waited: Duration::ZERO };
        assert!(matches!(failure(&name, &away), Failure::Away(_)));
    }
}
