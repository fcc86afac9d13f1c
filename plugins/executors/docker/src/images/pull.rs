//! Asking a registry, once for all who wait.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use berth_docker_engine::{
    Engine, EngineError, ImageRef,
    bollard::{auth::DockerCredentials, query_parameters::CreateImageOptions},
};
use futures::StreamExt;
use tokio::sync::watch;

use super::{Failure, Got, Images, Pulling, progress::Progress};

/// The most often that people hear of progress.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Takes the pull out of the list however it ends, so that nobody waits for one that is given up.
struct Leading<'a> {
    images: &'a Images,
    full: String,
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.images.lock().pulls.remove(&self.full);
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
        mut tell: impl FnMut(&str),
    ) -> Result<Got, Failure> {
        loop {
            match self.part(name) {
                Part::Lead(sender, _leading) => {
                    let got = self.lead(engine, name, &sender, &mut tell).await;
                    self.remember(name, &got);
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

    fn part(&self, name: &ImageRef) -> Part<'_> {
        let full = name.full();
        let mut state = self.lock();
        if let Some(receiver) = state.pulls.get(&full) {
            return Part::Follow(receiver.clone());
        }
        let (sender, receiver) = watch::channel(Pulling::Under(format!("pulling image {full}")));
        state.pulls.insert(full.clone(), receiver);
        Part::Lead(sender, Leading { images: self, full })
    }

    async fn lead(
        &self,
        engine: &Engine,
        name: &ImageRef,
        sender: &watch::Sender<Pulling>,
        tell: &mut impl FnMut(&str),
    ) -> Result<Got, Failure> {
        let host = name.host();
        let credentials = self.settings.registries.credentials(host).await;
        let credentials = credentials.map_err(|error| Failure::NotNow(error.to_string()))?;
        let credentials = credentials.map(|credentials| credentials.for_engine(host));
        let heard = |words: &str| {
            sender.send_replace(Pulling::Under(words.to_owned()));
            tell(words);
        };
        match tokio::time::timeout(self.settings.pull_within, ask(engine, name, credentials, heard)).await {
            Ok(asked) => asked?,
            Err(_) => {
                let within = self.settings.pull_within;
                return Err(Failure::NotNow(format!("image {name} was not there after {within:?}")));
            }
        }
        self.lock().seen.remove(&name.full());
        match self.local(engine, &name.full()).await? {
            Some(got) => Ok(got),
            None => Err(Failure::NotNow(format!("image {name} was pulled and is not there"))),
        }
    }

    fn remember(&self, name: &ImageRef, got: &Result<Got, Failure>) {
        let full = name.full();
        let mut state = self.lock();
        match got {
            Ok(_) => {
                state.failures.remove(&full);
                state.record.pulled(&full);
                state.news = true;
            }
            Err(Failure::Away(_)) => {}
            Err(failure) => {
                state.failures.insert(full, (Instant::now(), failure.clone()));
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

async fn ask(
    engine: &Engine,
    name: &ImageRef,
    credentials: Option<DockerCredentials>,
    mut heard: impl FnMut(&str),
) -> Result<(), Failure> {
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
    Ok(())
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
