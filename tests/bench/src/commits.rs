//! What a commit costs on this disk: SQLite by itself, as durable as Berth's.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use rusqlite::{Connection, params};

/// A database that takes one job and one event with each commit.
pub struct Bare {
    connection: Connection,
    next: i64,
}

impl Bare {
    /// A new one in this folder.
    pub fn open(folder: &Path) -> Result<Self> {
        let connection = Connection::open(folder.join("bare.db"))?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.execute_batch(
            "PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY, state TEXT, body TEXT);
             CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, job INTEGER, body TEXT);",
        )?;
        let next = connection.query_row("SELECT coalesce(max(id), 0) + 1 FROM jobs", [], |row| row.get(0))?;
        Ok(Self { connection, next })
    }

    /// One commit: a job of 300 bytes and an event.
    pub fn commit(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let transaction = self.connection.transaction()?;
        transaction
            .prepare_cached("INSERT INTO jobs (id, state, body) VALUES (?1, 'pending', ?2)")?
            .execute(params![self.next, "x".repeat(300)])?;
        transaction
            .prepare_cached("INSERT INTO events (job, body) VALUES (?1, ?2)")?
            .execute(params![self.next, "submitted by somebody"])?;
        transaction.commit()?;
        self.next += 1;
        Ok(begun.elapsed())
    }

    /// What `synchronous` is set to, as SQLite says it.
    pub fn synchronous(&self) -> Result<String> {
        let level: i64 = self.connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
        Ok(match level {
            2 => "FULL".to_owned(),
            other => format!("{other}"),
        })
    }
}
