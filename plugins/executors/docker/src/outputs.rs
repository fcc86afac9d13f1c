//! What a job writes, from the engine's log into its files.

use std::fs::File;

use berth_docker_engine::{Cursor, EngineError, Frame, Logs};
use berth_executor_api::Stream;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

/// A job's output files, and how far the log was written into them.
pub(crate) struct Outputs {
    stdout: tokio::fs::File,
    /// `None` where both are one.
    stderr: Option<tokio::fs::File>,
    pub cursor: Cursor,
    /// Why not everything is in the files; the engine's log has it.
    pub trouble: Option<String>,
}

impl Outputs {
    /// New, empty files.
    pub fn new(stdout: File, stderr: Option<File>) -> Self {
        Self {
            stdout: tokio::fs::File::from_std(stdout),
            stderr: stderr.map(tokio::fs::File::from_std),
            cursor: Cursor::default(),
            trouble: None,
        }
    }

    /// Files that have so much of the log already.
    pub fn continued(stdout: File, out_bytes: u64, stderr: File, err_bytes: u64) -> Self {
        let cursor = Cursor::after_bytes(out_bytes, err_bytes);
        Self { cursor, ..Self::new(stdout, Some(stderr)) }
    }

    /// Writes a log into the files until it ends or breaks, or `enough` says so. Dropped half-way, a piece
    /// could be missing; with another reading of the log it goes on.
    pub async fn pump(&mut self, mut logs: Logs, enough: CancellationToken) -> Result<(), EngineError> {
        loop {
            let next = tokio::select! {
                frame = logs.next() => frame,
                () = enough.cancelled() => None,
            };
            match next {
                Some(frame) => self.write(&frame?).await,
                None => return Ok(()),
            }
        }
    }

    async fn write(&mut self, frame: &Frame) {
        let fresh = self.cursor.fresh(frame);
        if fresh.is_empty() || self.trouble.is_some() {
            return;
        }
        let file = match (frame.output, &mut self.stderr) {
            (Stream::Stderr, Some(stderr)) => stderr,
            _ => &mut self.stdout,
        };
        let written = async {
            file.write_all(&fresh).await?;
            file.flush().await
        };
        if let Err(error) = written.await {
            self.trouble = Some(format!("its output files could not be written to their ends: {error}"));
        }
    }
}
