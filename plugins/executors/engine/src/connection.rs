//! The way to an engine: made when it is needed, and again after it was lost.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use berth_executor_api::{ExecutorError, UtcMs};
use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion, Docker, models::SystemInfo};
use tokio::time::timeout;

use crate::{Endpoint, EngineConfig, EngineError, engine_time, tls};

/// The oldest version of the API that Berth speaks.
pub const OLDEST_API: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// An engine, whether it is reachable at the moment or not. Copies of the connection are cheap; each
/// question has a connection of its own on the wire.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    docker: Mutex<Option<Docker>>,
}

/// What an engine says of itself.
#[derive(Clone, Debug)]
pub struct EngineInfo {
    /// All of it.
    pub info: SystemInfo,
    /// The API that is spoken with it, such as `1.41`.
    pub api: String,
    /// Its clock, less this machine's, in milliseconds.
    pub clock_ahead_ms: i64,
}

impl EngineInfo {
    /// An instant of this machine's clock by the engine's.
    #[must_use]
    pub fn by_its_clock(&self, ours: UtcMs) -> UtcMs {
        UtcMs(ours.0.saturating_add_signed(self.clock_ahead_ms))
    }
}

impl Engine {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self { config, docker: Mutex::new(None) }
    }

    /// How it is reached.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Connects anew, agrees on a version of the API, and asks the engine about itself.
    ///
    /// # Errors
    /// `Unreachable` when it does not answer; `Unusable` when it is too old, or the files for TLS are not as they
    /// should be.
    pub async fn connect(&self) -> Result<EngineInfo, ExecutorError> {
        let backend = self.config.backend;
        self.lock().take();
        let docker = self.client().await?;
        let docker = self.answer(docker.with_request_modifier(encode_for_urls).negotiate_version()).await;
        let docker = docker.map_err(|error| error.for_executor(backend))?;
        let version = docker.client_version();
        if version < OLDEST_API {
            return Err(ExecutorError::Unusable {
                backend: backend.into(),
                reason: format!(
                    "the engine speaks API {version}, and {OLDEST_API} is the oldest that will do"
                ),
            });
        }
        let asked = now();
        let info = self.answer(docker.info()).await.map_err(|error| error.for_executor(backend))?;
        let answered = now();
        let clock_ahead_ms = info.system_time.as_deref().and_then(engine_time).map_or(0, |theirs| {
            // As if its answer was made half-way.
            let ours = asked.0.midpoint(answered.0);
            let ahead = i64::try_from(theirs.0).unwrap_or(0) - i64::try_from(ours).unwrap_or(0);
            let doubt = i64::try_from(answered.0.saturating_sub(asked.0)).unwrap_or(i64::MAX);
            // What the way there and back explains is no difference of clocks.
            if ahead.abs() <= doubt { 0 } else { ahead }
        });
        *self.lock() = Some(docker);
        Ok(EngineInfo { info, api: version.to_string(), clock_ahead_ms })
    }

    async fn client(&self) -> Result<Docker, ExecutorError> {
        let backend = self.config.backend;
        let seconds = self.config.answer_within.as_secs().max(1);
        let made = match &self.config.endpoint {
            Endpoint::Unix(path) => {
                Docker::connect_with_unix(&path.to_string_lossy(), seconds, API_DEFAULT_VERSION)
            }
            Endpoint::Tcp(host) => Docker::connect_with_http(host, seconds, API_DEFAULT_VERSION),
            Endpoint::Tls { host, files } => {
                let made = tls::docker(host, files, seconds).await;
                return made.map_err(|error| ExecutorError::Unusable {
                    backend: backend.into(),
                    reason: error.to_string(),
                });
            }
        };
        made.map_err(|error| EngineError::from(error).for_executor(backend))
    }

    /// The connection, made now where there is none.
    ///
    /// # Errors
    /// As for [`Engine::connect`].
    pub async fn docker(&self) -> Result<Docker, ExecutorError> {
        let made = self.lock().clone();
        match made {
            Some(docker) => Ok(docker),
            None => {
                self.connect().await?;
                let made = self.lock().clone();
                made.ok_or_else(|| self.away("the connection was given up"))
            }
        }
    }

    /// The connection, if there is one. Engines are not waited for here.
    #[must_use]
    pub fn connected(&self) -> Option<Docker> {
        self.lock().clone()
    }

    /// The connection leads nowhere; the next question makes a new one.
    pub fn lost(&self) {
        self.lock().take();
    }

    /// Waits for an answer as long as is set.
    ///
    /// # Errors
    /// What the engine says, or that it says nothing.
    pub async fn answer<T>(
        &self,
        question: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        self.answer_within(self.config.answer_within, question).await
    }

    /// The same for questions that take their time.
    ///
    /// # Errors
    /// What the engine says, or that it says nothing.
    pub async fn answer_within<T>(
        &self,
        patience: Duration,
        question: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        match timeout(patience, question).await {
            Ok(answer) => answer.map_err(EngineError::from),
            Err(_) => Err(EngineError::Unreachable { words: "no answer in time".into(), waited: patience }),
        }
    }

    /// The error for those who need an engine that is away.
    #[must_use]
    pub fn away(&self, words: &str) -> ExecutorError {
        ExecutorError::Unreachable {
            backend: self.config.backend.into(),
            waited: Duration::ZERO,
            source: words.into(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Docker>> {
        self.docker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine reads credentials in the alphabet for URLs and takes what it cannot read as none at all;
/// the client writes them in the other alphabet.
fn encode_for_urls(mut request: BollardRequest) -> BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        if let Some(value) = request.headers_mut().get_mut(name) {
            let text = value.to_str().unwrap_or_default().replace('+', "-").replace('/', "_");
            if let Ok(encoded) = text.parse() {
                *value = encoded;
            }
        }
    }
    request
}

fn now() -> UtcMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UtcMs(0).after(since)
}
