//! Asks the site's servers, one after the other until one answers, over a connection that is kept.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use super::{
    Directory, Entry, Failure, Question, Settings, Unusable,
    connection::{Connection, Fault},
    filter::filter,
};
use crate::Password;

/// How long it is not tried again after no server has answered. What is asked meanwhile fails at once, so that
/// those who need no directory do not wait behind those who do.
const PAUSE: Duration = Duration::from_secs(2);

/// The site's directory. Its tasks end with it.
pub struct Client {
    shared: Arc<Shared>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

struct Shared {
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Connection>,
    /// The number of the server that has answered last.
    first: usize,
    /// When no server answered, and in which words.
    down: Option<(Instant, String)>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("servers", &self.shared.settings.servers).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes it ready. No server is asked yet. Blocks.
    ///
    /// # Errors
    /// When it cannot be used as it is configured.
    pub fn new(settings: Settings) -> Result<Self, Unusable> {
        settings.check()?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("ldap").enable_all().build();
        let runtime = Some(runtime.map_err(Unusable::NoThread)?);
        Ok(Self { shared: Arc::new(Shared { settings, state: Mutex::default() }), runtime })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped where nothing may wait.
            runtime.shutdown_background();
        }
    }
}

impl Directory for Client {
    fn search(&self, question: &Question, patience: Duration) -> Result<Vec<Entry>, Failure> {
        let filter = filter(question)?;
        let (shared, question) = (Arc::clone(&self.shared), question.clone());
        self.answer(patience, async move { shared.ask(&question, &filter).await })
    }

    fn bind(&self, dn: &str, password: &Password, patience: Duration) -> Result<bool, Failure> {
        let (shared, dn, password) = (Arc::clone(&self.shared), dn.to_owned(), password.clone());
        self.answer(patience, async move { shared.bind(&dn, &password).await })
    }
}

impl Client {
    /// Has something done on the thread that connections live on, and waits for it.
    fn answer<T: Send + 'static>(
        &self,
        patience: Duration,
        ask: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let Some(runtime) = &self.runtime else {
            return Err(Failure::Unavailable("the directory is not asked any more".to_owned()));
        };
        let (answer, answered) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            // Nobody waits any more when the time is up. What was found out about servers is kept all the same.
            let _ = answer.send(ask.await);
        });
        answered.recv_timeout(patience).unwrap_or_else(|error| {
            let words = match error {
                mpsc::RecvTimeoutError::Timeout => format!("no LDAP server has answered within {patience:?}"),
                // The library gives up on what is no LDAP at all.
                mpsc::RecvTimeoutError::Disconnected => "an LDAP server's answer made no sense".to_owned(),
            };
            self.shared.give_up(words.clone());
            Err(Failure::Unavailable(words))
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to begin with: the connection that is kept, and the number of the server that has answered last.
    fn begin(&self) -> Result<(Option<Connection>, usize), Failure> {
        let state = self.lock();
        match state.down.as_ref().filter(|(since, _)| since.elapsed() < PAUSE) {
            Some((_, words)) => Err(Failure::Unavailable(words.clone())),
            None => Ok((state.kept.clone(), state.first)),
        }
    }

    /// Over a connection of its own, which is somebody else's afterwards and is not kept.
    async fn bind(&self, dn: &str, password: &Password) -> Result<bool, Failure> {
        let (_, first) = self.begin()?;
        let within = self.settings.answer_within;
        let mut words = Vec::new();
        let servers = &self.settings.servers;
        for server in servers.iter().skip(first).chain(servers.iter().take(first)) {
            if !self.settings.keeps_secrets(server) {
                words.push(format!("{server}: no password is sent there without encryption"));
                continue;
            }
            let asked = timeout(within, Connection::lets_in(&self.settings, server, dn, password)).await;
            let late = |_| Fault::Server(format!("it did not answer within {within:?}"));
            match asked.map_err(late).and_then(|answer| answer) {
                Ok(is_in) => return Ok(is_in),
                Err(Fault::Answered(failure)) => return Err(failure),
                Err(Fault::Server(reason)) => {
                    tracing::warn!(server = server.as_str(), reason, "LDAP server does not answer");
                    words.push(format!("{server}: {reason}"));
                }
            }
        }
        Err(Failure::Unavailable(format!("no LDAP server answers ({})", words.join("; "))))
    }

    async fn ask(&self, question: &Question, filter: &str) -> Result<Vec<Entry>, Failure> {
        let (kept, first) = self.begin()?;
        if let Some(kept) = kept {
            let within = self.settings.answer_within;
            match kept.search(&self.settings, question, filter, within).await {
                Ok(entries) => return Ok(entries),
                Err(Fault::Answered(Failure::TooMany)) => {
                    // More of it may still be on its way.
                    self.let_go(&kept);
                    return Err(Failure::TooMany);
                }
                Err(Fault::Answered(failure)) => return Err(failure),
                // A server may close what was not used for long; that is no news.
                Err(Fault::Server(reason)) => {
                    tracing::debug!(reason, "connection to an LDAP server given up");
                    self.let_go(&kept);
                }
            }
        }
        self.ask_in_turn(first, question, filter).await
    }

    async fn ask_in_turn(
        &self,
        first: usize,
        question: &Question,
        filter: &str,
    ) -> Result<Vec<Entry>, Failure> {
        let mut words = Vec::new();
        let servers = self.settings.servers.iter().enumerate();
        for (number, server) in servers.clone().skip(first).chain(servers.take(first)) {
            match self.ask_anew(number, server, question, filter).await {
                Ok(entries) => return Ok(entries),
                Err(Fault::Answered(failure)) => return Err(failure),
                Err(Fault::Server(reason)) => {
                    tracing::warn!(server = server.as_str(), reason, "LDAP server does not answer");
                    words.push(format!("{server}: {reason}"));
                }
            }
        }
        let words = format!("no LDAP server answers ({})", words.join("; "));
        self.give_up(words.clone());
        Err(Failure::Unavailable(words))
    }

    async fn ask_anew(
        &self,
        number: usize,
        server: &str,
        question: &Question,
        filter: &str,
    ) -> Result<Vec<Entry>, Fault> {
        let within = self.settings.answer_within;
        let until = Instant::now() + within;
        let opened = timeout(within, Connection::open(&self.settings, server)).await;
        let late = |_| Fault::Server(format!("it did not answer within {within:?}"));
        let connection = opened.map_err(late)??;
        let left = until.saturating_duration_since(Instant::now());
        let answer = connection.search(&self.settings, question, filter, left).await;
        if !matches!(answer, Err(Fault::Server(_) | Fault::Answered(Failure::TooMany))) {
            let mut state = self.lock();
            state.kept = Some(connection);
            state.first = number;
            state.down = None;
        }
        answer
    }

    fn let_go(&self, connection: &Connection) {
        let mut state = self.lock();
        if state.kept.as_ref().is_some_and(|kept| kept.is(connection)) {
            state.kept = None;
        }
    }

    fn give_up(&self, words: String) {
        self.lock().down = Some((Instant::now(), words));
    }
}
