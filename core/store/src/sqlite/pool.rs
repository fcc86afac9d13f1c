//! A few connections that read, each by one caller at a time, off the async threads.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{fault::Fault, open::open_reader};
use crate::StoreError;

/// Connections that read. They are opened as they are needed and then kept.
#[derive(Debug)]
pub(super) struct Pool {
    path: Arc<Path>,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(path: Arc<Path>, readers: usize) -> Self {
        Self { path, idle: Arc::default(), permits: Arc::new(Semaphore::new(readers.max(1))) }
    }

    /// Runs `work` on a connection, in one transaction, so that it sees one instant.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Stopped)?;
        let (path, idle) = (Arc::clone(&self.path), Arc::clone(&self.idle));
        let done = tokio::task::spawn_blocking(move || {
            // Freed by the thread that reads, however early the caller goes away.
            let _permit = permit;
            read_on(&path, &idle, work).map_err(|fault| fault.about(&path, "read"))
        });
        done.await.map_err(|_| StoreError::Stopped)?
    }
}

fn read_on<T>(
    path: &Path,
    idle: &Mutex<Vec<Connection>>,
    work: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut connection = match kept {
        Some(connection) => connection,
        None => open_reader(path)?,
    };
    let transaction = connection.transaction()?;
    let done = work(&transaction);
    transaction.finish()?;
    if done.is_ok() {
        idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
    done
}
