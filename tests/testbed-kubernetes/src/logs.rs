//! What containers have written, with times.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

#[derive(Debug, Default)]
struct Pieces {
    pieces: Vec<(jiff::Timestamp, Vec<u8>)>,
    closed: bool,
    ended: bool,
}

/// The log of one container.
#[derive(Debug)]
pub(crate) struct Log {
    pieces: Mutex<Pieces>,
    more: watch::Sender<()>,
}

impl Log {
    fn new() -> Self {
        Self { pieces: Mutex::default(), more: watch::channel(()).0 }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Pieces) -> T) -> T {
        act(&mut self.pieces.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, act: impl FnOnce(&mut Pieces)) {
        self.with(act);
        self.more.send_replace(());
    }

    pub fn write(&self, bytes: &[u8]) {
        self.change(|all| all.pieces.push((jiff::Timestamp::now(), bytes.to_vec())));
    }

    /// Nobody has the other end any more.
    pub fn close(&self) {
        self.change(|all| all.closed = true);
    }

    /// The container is over; what it still has to say comes within `longest`.
    pub async fn end(&self, longest: Duration) {
        let mut more = self.more.subscribe();
        let closed = async { while !self.with(|all| all.closed) && more.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(longest, closed).await;
        self.change(|all| all.ended = true);
    }

    /// What was written from a time on, after so many pieces; and whether there will be more.
    pub fn read(&self, since: Option<jiff::Timestamp>, known: usize) -> (Vec<u8>, usize, bool) {
        self.with(|all| {
            let new = all.pieces.get(known..).unwrap_or_default();
            let wanted = new.iter().filter(|(at, _)| since.is_none_or(|since| *at >= since));
            (wanted.flat_map(|(_, bytes)| bytes.clone()).collect(), all.pieces.len(), !all.ended)
        })
    }

    pub fn changes(&self) -> watch::Receiver<()> {
        self.more.subscribe()
    }
}

/// The logs of all containers.
#[derive(Debug, Default)]
pub(crate) struct Logs(Mutex<HashMap<String, Arc<Log>>>);

impl Logs {
    pub fn begin(&self, uid: &str) -> Arc<Log> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(uid.to_owned()).or_insert_with(|| Arc::new(Log::new())))
    }

    pub fn of(&self, uid: &str) -> Option<Arc<Log>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }
}
