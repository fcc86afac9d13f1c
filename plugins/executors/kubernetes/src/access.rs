//! The way to the API server.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::{
    Client, Config,
    client::{ClientBuilder, retry::RetryPolicy},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use tower::{buffer::BufferLayer, retry::RetryLayer};

use crate::{config::Access, error::KubeError};

/// How often a request is sent again that the server was too busy for, and the pauses between.
const AGAIN: (u32, Duration, Duration) = (3, Duration::from_millis(250), Duration::from_secs(5));

/// How Berth names itself to the server.
const AGENT: &str = concat!("berth/", env!("CARGO_PKG_VERSION"));

/// The client, made when it is first needed.
#[derive(Default)]
pub(crate) struct Door(Mutex<Option<Client>>);

impl std::fmt::Debug for Door {
    // Whatever a client says of itself.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Door")
    }
}

impl Door {
    pub async fn client(&self, access: &Access) -> Result<Client, KubeError> {
        if let Some(client) = self.get() {
            return Ok(client);
        }
        let made = connect(access).await.map_err(|words| KubeError::Unreachable { words })?;
        let mut client = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(client.get_or_insert(made).clone())
    }

    fn get(&self) -> Option<Client> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next one who needs it reads all files anew.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

async fn connect(access: &Access) -> Result<Client, String> {
    let mut config = settings(access).await?;
    // Ours knows of the bound on an answer, and does not go on for minutes.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    if let Ok(agent) = AGENT.parse() {
        config.headers.push(("user-agent".parse().map_err(words)?, agent));
    }
    let (times, first, longest) = AGAIN;
    let retry = RetryPolicy::new(first, longest, times, true).map_err(words)?;
    let client = ClientBuilder::try_from(config).map_err(words)?;
    Ok(client.with_layer(&BufferLayer::new(64)).with_layer(&RetryLayer::new(retry)).build())
}

async fn settings(access: &Access) -> Result<Config, String> {
    match access {
        Access::InCluster => Config::incluster().map_err(words),
        Access::Kubeconfig { file, context } => {
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            let Some(file) = file else { return Config::from_kubeconfig(&options).await.map_err(words) };
            let read = Kubeconfig::read_from(file)
                .map_err(|error| format!("{}: {}", file.display(), words(error)))?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(words)
        }
        Access::Server { url, ca, token_file } => {
            let url = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
            let mut config = Config::new(url);
            if let Some(ca) = ca {
                readable(ca)?;
                config.root_cert_file = Some(ca.clone());
            }
            if let Some(file) = token_file {
                readable(file)?;
                let file = file.to_str().ok_or_else(|| format!("{} is no text", file.display()))?;
                config.auth_info = AuthInfo { token_file: Some(file.to_owned()), ..AuthInfo::default() };
            }
            Ok(config)
        }
    }
}

/// Otherwise nobody would say which file it is.
fn readable(path: &Path) -> Result<(), String> {
    std::fs::File::open(path).map(drop).map_err(|error| format!("{}: {error}", path.display()))
}

/// An error with all its causes, on one line.
fn words(error: impl std::error::Error) -> String {
    crate::error::with_causes(&error)
}
