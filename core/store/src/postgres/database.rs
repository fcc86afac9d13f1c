//! Connections: how they are made, and what is asked of them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts, Transaction};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres::{
    Client, Config, IsolationLevel,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{PostgresOptions, fault::Fault};
use crate::StoreError;

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long an answer to a write may take at least. One that takes longer than the lease is not acted upon.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long a read may take, unless it reads everything.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// The way to the database.
pub(super) struct Database {
    config: Config,
    tls: MakeRustlsConnect,
    readers: Pool,
    /// For people: without user and password.
    pub(super) name: Arc<str>,
    /// How long an answer to a write may take.
    pub(super) answer_within: Duration,
    /// How long a lost writer's transaction may hold up others.
    idle_within: Duration,
}

impl Database {
    /// Finds out what is wanted; connects to nothing yet.
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, StoreError> {
        let refused = |reason: String| StoreError::DatabaseRefused {
            database: "the database of [store]".to_owned(),
            reason,
        };
        // The error's own words could hold what was written there.
        let parsed = options.url.parse::<Config>();
        let mut config = parsed.map_err(|_| refused("its url cannot be understood".to_owned()))?;
        let name: Arc<str> = name(&config).into();
        let here = |reason: String| StoreError::DatabaseRefused { database: name.to_string(), reason };
        if let Some(file) = &options.password_file {
            let password = std::fs::read_to_string(file)
                .map_err(|error| here(format!("the file {} cannot be read: {error}", file.display())))?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        config
            .application_name("berth")
            .connect_timeout(CONNECT_WITHIN)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3)
            .tcp_user_timeout(options.lease)
            .ssl_mode(if options.tls_ca.is_some() { SslMode::Require } else { SslMode::Disable });
        let tls = MakeRustlsConnect::new(tls(options.tls_ca.as_ref()).map_err(&here)?);
        let recycled = ManagerConfig { recycling_method: RecyclingMethod::Verified };
        let manager = Manager::from_config(config.clone(), tls.clone(), recycled);
        let patience = Some(CONNECT_WITHIN);
        let readers = Pool::builder(manager)
            .max_size(options.readers.max(1))
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(READ_WITHIN), create: patience, recycle: patience })
            .build()
            .map_err(|error| here(error.to_string()))?;
        let answer_within = (options.lease / 2).max(ANSWER_WITHIN);
        Ok(Self { config, tls, readers, name, answer_within, idle_within: options.lease / 2 })
    }

    /// Makes the connection that writes.
    pub(super) async fn connect(&self) -> Result<Client, Fault> {
        let connecting = tokio::time::timeout(CONNECT_WITHIN, self.config.connect(self.tls.clone()));
        let (client, connection) = connecting.await.map_err(|_| Fault::Silence(CONNECT_WITHIN))??;
        // It ends with the client; what it would say, the client's calls say.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let idle = self.idle_within.as_millis();
        let wait = self.answer_within.as_millis() / 2;
        // What a stopped or cut-off writer holds goes after a while. A commit is on the disk when it returns.
        let set = format!(
            "SET synchronous_commit = on; SET idle_in_transaction_session_timeout = {idle}; \
             SET lock_timeout = {wait}; SET default_transaction_isolation = 'read committed'"
        );
        self.answered(async { Ok(client.batch_execute(&set).await?) }).await?;
        Ok(client)
    }

    /// A connection that reads.
    pub(super) async fn reader(&self) -> Result<deadpool_postgres::Client, Fault> {
        Ok(self.readers.get().await?)
    }

    /// What the writer asks: an answer in time, or [`Fault::Silence`].
    pub(super) async fn answered<T>(
        &self,
        asked: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let asked = tokio::time::timeout(self.answer_within, asked);
        asked.await.unwrap_or(Err(Fault::Silence(self.answer_within)))
    }

    /// What somebody reads, in time and in words for them.
    pub(super) async fn read<T>(
        &self,
        asked: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, StoreError> {
        let asked = tokio::time::timeout(READ_WITHIN, asked);
        let done = asked.await.unwrap_or(Err(Fault::Silence(READ_WITHIN)));
        done.map_err(|fault| fault.about(&self.name, "read"))
    }
}

/// Several reads that see one instant.
pub(super) async fn snapshot(client: &mut deadpool_postgres::Client) -> Result<Transaction<'_>, Fault> {
    let begun = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    Ok(begun.start().await?)
}

/// `postgres://HOST:PORT/NAME`
fn name(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("postgres://{host}:{port}/{}", config.get_dbname().unwrap_or_default())
}

/// Trusts the site's authority and no other.
fn tls(authority: Option<&PathBuf>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = authority {
        let cannot = |reason: String| format!("the authority in {} cannot be used: {reason}", file.display());
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| cannot(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| cannot(error.to_string()))?;
            roots.add(certificate).map_err(|error| cannot(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(cannot("there is no certificate in it".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| error.to_string())?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}
