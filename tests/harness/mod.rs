//! A Berth of its own for each test: the real program, started as a person would, with a state folder, a
//! socket and job directories that go when the test does.

#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "only tests use it")]

mod containers;
mod daemon;
mod http;
mod issuer;
mod jobs;
mod people;
mod policies;
mod processes;
mod receiver;
mod said;
mod setup;
mod terminal;

use std::{
    fs,
    future::Future,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use berth_api::{Client, ClientError, Target};

pub use self::{
    containers::{Containers, in_container},
    daemon::Daemon,
    http::{Answer, free_port, over_tcp, over_tcp_with},
    issuer::{Asked, StandIn},
    jobs::{argv, is_over, sh},
    people::{ANN, BOB, People},
    policies::bad_policy,
    processes::{Process, is_root},
    receiver::{Called, Does, Receiver},
    said::{Said, said, said_with},
    setup::Setup,
    terminal::Terminal,
};

/// Whatever is waited for comes long before that, or never.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// How long a process has to end by itself when the test is over.
const PATIENCE: Duration = Duration::from_secs(10);

/// A site with one Berth.
pub struct Berth {
    folder: tempfile::TempDir,
    daemon: Option<Daemon>,
    client: Option<Client>,
    /// State that is not in the folder, and has to be looked through for processes, too.
    also: Vec<PathBuf>,
}

impl Berth {
    /// A Berth that serves, with four CPUs of this machine.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// One with something special in its configuration.
    pub async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut berth = Self::set_up(change);
        berth.start_again().await;
        berth
    }

    /// One that does not serve yet.
    pub fn set_up(change: impl FnOnce(&mut Setup)) -> Self {
        let mut berth = Self::without_server();
        let mut setup = Setup::new(berth.folder.path());
        change(&mut setup);
        berth.also.push(setup.state.clone());
        fs::create_dir(berth.path("jobs")).unwrap();
        fs::write(berth.config(), setup.text()).unwrap();
        policies::bring(&setup.state);
        berth
    }

    /// A home folder in which nobody has ever run anything.
    pub fn without_server() -> Self {
        // A socket's path is short, and its folder is for every user.
        let folder = tempfile::Builder::new().prefix("bt").tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        Self { folder, daemon: None, client: None, also: Vec::new() }
    }

    /// Starts the server, and comes back when it answers.
    ///
    /// # Panics
    /// When it ends instead, with its words.
    pub async fn start_again(&mut self) {
        self.try_start().await.unwrap_or_else(|words| panic!("berth serve has ended:\n{words}"));
    }

    /// Starts the server, and comes back when it answers, or with its words when it ends instead.
    pub async fn try_start(&mut self) -> Result<(), String> {
        self.spawn_server();
        let ready = self.ready().await;
        if ready.is_err() {
            self.kill_dash_9();
        }
        ready
    }

    /// Starts the server, and does not wait for it.
    pub fn spawn_server(&mut self) {
        assert!(self.daemon.is_none(), "it is running already");
        self.daemon = Some(Daemon::start(&self.config(), &self.path("serve.log"), &self.path("home")));
    }

    /// Waits until the server that was started answers, or gives its words when it ends instead.
    pub async fn ready(&mut self) -> Result<(), String> {
        let target = self.target();
        let daemon = self.daemon.as_mut().unwrap();
        let wait = async {
            loop {
                if let Ok(client) = Client::connect(target.clone()).await
                    && matches!(client.info().await, Ok(_) | Err(ClientError::Refused(_)))
                {
                    return Ok(client);
                }
                if daemon.has_ended() {
                    return Err(daemon.words());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ready = tokio::time::timeout(DEADLINE, wait).await;
        let ready = ready.unwrap_or_else(|_| panic!("berth serve is not ready:\n{}", self.server_log()));
        self.client = Some(ready?);
        policies::keep(&self.state());
        Ok(())
    }

    /// Ends the server as a power cut would, for all that it knows.
    pub fn kill_dash_9(&mut self) {
        self.client = None;
        if let Some(daemon) = self.daemon.take() {
            daemon.kill_dash_9();
        }
    }

    /// Asks the server to end and waits until it has.
    pub async fn stop(&mut self) {
        self.client = None;
        self.daemon.take().unwrap().terminate().await;
    }

    /// The server as a process.
    pub fn process(&self) -> Process {
        Process(self.daemon.as_ref().unwrap().pid())
    }

    /// What the server has logged.
    pub fn server_log(&self) -> String {
        fs::read_to_string(self.path("serve.log")).unwrap_or_default()
    }

    /// A client of this test's user.
    pub fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// Where the server listens.
    pub fn target(&self) -> Target {
        Target::Unix(self.path("s"))
    }

    /// A path in the site's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("berth.toml")
    }

    /// The folder of the server's state.
    pub fn state(&self) -> PathBuf {
        self.also.first().cloned().unwrap_or_else(|| self.path("state"))
    }

    /// Writes a file into the site's folder.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A folder in which jobs may write, whoever's they are.
    pub fn open_folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
        path
    }

    /// All processes that belong to this site.
    pub fn processes(&self) -> Vec<Process> {
        processes::of(&[self.folder.path()])
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        self.kill_dash_9();
        let mut places: Vec<&Path> = vec![self.folder.path()];
        places.extend(self.also.iter().map(PathBuf::as_path));
        processes::end_all(&places, PATIENCE);
    }
}

/// Waits until something holds.
///
/// # Panics
/// When it never does.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}
