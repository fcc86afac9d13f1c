//! The writer's thread, and the one that empties the write-ahead log behind it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use rusqlite::{Connection, hooks::Wal};
use tokio::sync::oneshot;

use super::{fault::Fault, open::open_checkpointer, write::Writer};
use crate::{Committed, SharedBatch, StoreError};

/// So many pages of 4 KiB in the log are moved into the database while commits go on.
const CHECKPOINT_PAGES: u32 = 4_096;

/// At so many the writer itself moves the rest, so that the log begins anew: 64 MiB.
const FULL_LOG_PAGES: u32 = 16_384;

type Work = Box<dyn FnOnce(&mut Writer<'_>) + Send>;

enum Order {
    Commit(SharedBatch, oneshot::Sender<Result<Committed, StoreError>>),
    Other(Work),
}

/// Where writes are sent to.
#[derive(Debug)]
pub(super) struct WriterHandle {
    path: Arc<Path>,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl WriterHandle {
    /// Starts the writer on its connection.
    pub(super) fn start(path: Arc<Path>, mut connection: Connection) -> Result<Self, Fault> {
        let log = Arc::new(Log::default());
        let watched = Arc::clone(&log);
        connection.wal_hook(Some(move |_: &mut Wal, pages: std::ffi::c_int| {
            watched.pages.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        // What cannot be prepared is found out here, not on the thread.
        Writer::new(&connection)?;
        let checkpointer = Checkpointer::start(&path, Arc::clone(&log))?;
        let (orders, inbox) = mpsc::channel();
        let of_thread = Arc::clone(&path);
        let thread = std::thread::Builder::new()
            .name("berth-store".into())
            .spawn(move || {
                write(&of_thread, &connection, &inbox, &log, &checkpointer);
                // First the other connection, then this one, so that this one empties the log.
                drop(checkpointer);
            })
            .map_err(|error| cannot_start(&path, error))?;
        Ok(Self { path, orders: Some(orders), thread: Some(thread) })
    }

    /// Writes a batch, and returns when it is durable.
    pub(super) async fn commit(&self, batch: SharedBatch) -> Result<Committed, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Commit(batch, reply))?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// Runs `work` in a transaction of its own.
    pub(super) async fn transaction<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let path = Arc::clone(&self.path);
        self.send(Order::Other(Box::new(move |writer| {
            let done = writer.in_transaction(|writer| work(writer.connection()));
            // Whoever asked may have gone.
            let _ = reply.send(done.map_err(|fault| fault.about(&path, "written")));
        })))?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// Moves all of the log into the database, after what was written before. Who still reads may keep it from
    /// that; nothing is lost then.
    pub(super) async fn empty_log(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let path = Arc::clone(&self.path);
        self.send(Order::Other(Box::new(move |writer| {
            let emptied = writer.connection().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            let _ = reply.send(emptied.map_err(|error| Fault::from(error).about(&path, "written")));
        })))?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    fn send(&self, order: Order) -> Result<(), StoreError> {
        self.orders.as_ref().and_then(|orders| orders.send(order).ok()).ok_or(StoreError::Stopped)
    }
}

impl Drop for WriterHandle {
    /// Lets the writer finish what it was given.
    fn drop(&mut self) {
        drop(self.orders.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer had panicked");
        }
    }
}

fn write(
    path: &Path,
    connection: &Connection,
    inbox: &mpsc::Receiver<Order>,
    log: &Log,
    checkpointer: &Checkpointer,
) {
    let mut writer = match Writer::new(connection) {
        Ok(writer) => writer,
        Err(fault) => {
            tracing::error!(error = %fault.about(path, "opened"), "the store's writer cannot begin");
            return;
        }
    };
    while let Ok(order) = inbox.recv() {
        match order {
            Order::Commit(batch, reply) => {
                let done = writer.commit(&batch).map_err(|fault| fault.about(path, "written"));
                // Whoever asked may have gone; the batch is durable all the same.
                let _ = reply.send(done);
            }
            Order::Other(work) => work(&mut writer),
        }
        let pages = log.pages.load(Ordering::Relaxed);
        if pages >= FULL_LOG_PAGES {
            checkpoint(connection, path, log);
        } else if pages.saturating_sub(log.moved(pages)) >= CHECKPOINT_PAGES {
            checkpointer.wake();
        }
    }
}

/// The state of the write-ahead log, in pages.
#[derive(Debug, Default)]
struct Log {
    pages: AtomicU32,
    moved: AtomicU32,
}

impl Log {
    /// How many of its pages are in the database already. It began anew if it is shorter than that.
    fn moved(&self, pages: u32) -> u32 {
        let moved = self.moved.load(Ordering::Relaxed);
        if moved > pages { 0 } else { moved }
    }
}

/// Moves what was committed into the database, without waiting for anybody.
fn checkpoint(connection: &Connection, path: &Path, log: &Log) {
    // The mode's type has no public name; passive is its default.
    match connection.wal_checkpoint_v2(Some(c"main"), Default::default()) {
        Ok((_, moved)) => log.moved.store(u32::try_from(moved).unwrap_or(0), Ordering::Relaxed),
        // Nothing is lost by it, and it is tried again; on a full disk the next commit says so itself.
        Err(error) => tracing::warn!(path = %path.display(), %error, "the log could not be emptied"),
    }
}

struct Checkpointer {
    wakes: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    fn start(path: &Arc<Path>, log: Arc<Log>) -> Result<Self, Fault> {
        let connection = open_checkpointer(path)?;
        let of_thread = Arc::clone(path);
        let (wakes, inbox) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("berth-checkpoint".into())
            .spawn(move || {
                while inbox.recv().is_ok() {
                    checkpoint(&connection, &of_thread, &log);
                }
            })
            .map_err(|error| cannot_start(path, error))?;
        Ok(Self { wakes: Some(wakes), thread: Some(thread) })
    }

    /// Has it look at the log; it may be at that already.
    fn wake(&self) {
        if let Some(wakes) = &self.wakes {
            let _ = wakes.try_send(());
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.wakes.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's checkpoint thread had panicked");
        }
    }
}

fn cannot_start(path: &Path, error: std::io::Error) -> StoreError {
    StoreError::Io { path: PathBuf::from(path), verb: "opened", source: error.into() }
}
