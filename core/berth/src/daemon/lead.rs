//! Where the state is kept, and who leads: Berths that share a database stand by until it is their turn.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use berth_config::Config;
use berth_store::{Instance, PostgresOptions, PostgresStore, SqliteOptions, SqliteStore, Store, StoreError};

/// How many reads of a database may be under way at once.
const READERS: usize = 8;

/// How long to wait before a database that is away is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where the state is kept.
pub enum Opened {
    /// Where nobody else can write.
    Alone(Arc<dyn Store>),
    /// In a database that others may share: this Berth stands by until it leads.
    Shared(Shared),
}

/// A database that others may share.
pub struct Shared {
    pub store: Arc<PostgresStore>,
    /// Held as long as this process: no other has the same name.
    _instance: Instance,
}

/// Opens the store. A database that is away is waited for.
///
/// # Errors
/// When it cannot be used as it is configured.
pub async fn open(config: &Config) -> anyhow::Result<Opened> {
    super::prepare_directories(config)?;
    let cluster = config.cluster.name.clone();
    match config.store.clone() {
        berth_config::Store::Sqlite { path } => {
            let options = SqliteOptions::default();
            let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path, &cluster, &options));
            Ok(Opened::Alone(Arc::new(opened.await??)))
        }
        berth_config::Store::Postgres { url, password_file, tls_ca, lease } => {
            let instance = Instance::take(&config.cluster.state)?;
            let options = PostgresOptions {
                url,
                password_file,
                tls_ca,
                lease,
                instance: instance.name().to_owned(),
                leader: known_as(config),
                readers: READERS,
            };
            let store = Arc::new(open_shared(&options, &cluster).await?);
            Ok(Opened::Shared(Shared { store, _instance: instance }))
        }
        _ => anyhow::bail!("this kind of store is not built in"),
    }
}

async fn open_shared(options: &PostgresOptions, cluster: &str) -> Result<PostgresStore, StoreError> {
    let mut told = false;
    loop {
        match PostgresStore::open(options.clone(), cluster).await {
            Err(error) if error.may_pass() => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!(error = %error, "the database is away; Berth waits for it, and jobs go on");
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            opened => return opened,
        }
    }
}

/// What people are told of this Berth when another one is asked.
fn known_as(config: &Config) -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine = machine.trim();
    let addresses = config.server.listen.iter().map(ToString::to_string);
    let doors: Vec<String> =
        addresses.chain([Path::new(&config.server.socket).display().to_string()]).collect();
    format!("the Berth on {machine} ({})", doors.join(", "))
}

/// Begins this program anew, in this very process: whatever was under way in it ends without another step. For
/// a Berth that led and was replaced, which knows nothing for sure any more.
///
/// # Errors
/// When that is not possible; otherwise it does not return.
pub fn begin_anew() -> anyhow::Result<std::convert::Infallible> {
    use std::os::unix::process::CommandExt;
    let mut arguments = std::env::args_os();
    let mut program = std::process::Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    Err(program.args(arguments).exec()).context("the program cannot begin anew")
}
