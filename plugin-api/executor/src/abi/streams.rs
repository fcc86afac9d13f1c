//! The streams that a library has open, each read and written by calls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Mutex as Turn, watch},
};

use super::wire::{Exited, Next, Opened, Size};
use crate::{Connection, ExecSession, ExecutorError, LogStream, Report, Terminal, TerminalSize};

/// So many reports at most are one answer.
const REPORTS_AT_ONCE: usize = 256;
/// So many bytes at most are one answer.
const BYTES_AT_ONCE: usize = 64 * 1024;

/// What comes out of a stream.
enum Source {
    Reports(futures::stream::ReadyChunks<BoxStream<'static, Report>>),
    Log(LogStream),
    Bytes(Box<dyn AsyncRead + Send + Unpin>),
}

/// What goes into one.
type Sink = Box<dyn AsyncWrite + Send + Unpin>;
type Exit = BoxFuture<'static, Result<i32, ExecutorError>>;

struct Stream {
    source: Turn<Source>,
    /// Empty where nothing goes in, and when its end was told.
    sink: Turn<Option<Sink>>,
    /// Empty where there is no process, and when its end was asked for.
    exit: Mutex<Option<Exit>>,
    terminal: Option<Box<dyn Terminal>>,
    /// Becomes true when nobody wants it any more.
    closed: watch::Sender<bool>,
}

impl Stream {
    fn of(source: Source) -> Self {
        Self {
            source: Turn::new(source),
            sink: Turn::new(None),
            exit: Mutex::new(None),
            terminal: None,
            closed: watch::Sender::new(false),
        }
    }
}

/// All streams of one executor.
#[derive(Default)]
pub(super) struct Streams {
    open: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: u64,
    streams: HashMap<u64, Arc<Stream>>,
}

impl Streams {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, stream: Stream) -> Opened {
        let terminal = stream.terminal.is_some();
        let mut table = self.table();
        table.last += 1;
        let number = table.last;
        table.streams.insert(number, Arc::new(stream));
        Opened { stream: number, terminal }
    }

    pub(super) fn reports(&self, reports: BoxStream<'static, Report>) -> Opened {
        self.add(Stream::of(Source::Reports(reports.ready_chunks(REPORTS_AT_ONCE))))
    }

    pub(super) fn log(&self, log: LogStream) -> Opened {
        self.add(Stream::of(Source::Log(log)))
    }

    pub(super) fn session(&self, session: ExecSession) -> Opened {
        let ExecSession { input, output, exit, terminal } = session;
        let stream = Stream::of(Source::Bytes(output));
        self.add(Stream { sink: Turn::new(Some(input)), exit: Mutex::new(Some(exit)), terminal, ..stream })
    }

    pub(super) fn connection(&self, connection: Connection) -> Opened {
        let Connection { input, output } = connection;
        self.add(Stream { sink: Turn::new(Some(input)), ..Stream::of(Source::Bytes(output)) })
    }

    fn get(&self, number: u64) -> Result<Arc<Stream>, ExecutorError> {
        self.table().streams.get(&number).cloned().ok_or_else(|| refused("there is no such stream"))
    }

    /// What comes next, with its bytes; also when the stream is closed meanwhile.
    pub(super) async fn next(&self, number: u64) -> Result<(Next, Vec<u8>), ExecutorError> {
        let stream = self.get(number)?;
        let mut closed = stream.closed.subscribe();
        let Ok(mut source) = stream.source.try_lock() else {
            return Err(refused("somebody else waits for what comes next"));
        };
        tokio::select! {
            next = source.next() => next,
            _ = closed.wait_for(|closed| *closed) => Ok((Next { end: true, ..Next::default() }, Vec::new())),
        }
    }

    pub(super) async fn write(&self, number: u64, bytes: &[u8]) -> Result<(), ExecutorError> {
        let stream = self.get(number)?;
        let mut closed = stream.closed.subscribe();
        let mut sink = stream.sink.lock().await;
        let Some(sink) = sink.as_mut() else { return Err(refused("nothing goes into this stream")) };
        let write = async {
            sink.write_all(bytes).await?;
            sink.flush().await
        };
        tokio::select! {
            written = write => written.map_err(|error| refused(&error.to_string())),
            _ = closed.wait_for(|closed| *closed) => Ok(()),
        }
    }

    /// Tells the end of the input. Once more is no error.
    pub(super) async fn shut(&self, number: u64) -> Result<(), ExecutorError> {
        let stream = self.get(number)?;
        match stream.sink.lock().await.take() {
            Some(mut sink) => sink.shutdown().await.map_err(|error| refused(&error.to_string())),
            None => Ok(()),
        }
    }

    pub(super) async fn exit(&self, number: u64) -> Result<Exited, ExecutorError> {
        let stream = self.get(number)?;
        let exit = stream.exit.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut closed = stream.closed.subscribe();
        let Some(exit) = exit else { return Err(refused("the exit was asked for, or there is no process")) };
        tokio::select! {
            code = exit => Ok(Exited { code: code? }),
            _ = closed.wait_for(|closed| *closed) => Err(refused("the stream was closed")),
        }
    }

    pub(super) async fn resize(&self, number: u64, size: Size) -> Result<(), ExecutorError> {
        let stream = self.get(number)?;
        let Size { columns, rows } = size;
        match &stream.terminal {
            Some(terminal) => terminal.resize(TerminalSize { columns, rows }).await,
            None => Err(refused("there is no terminal whose size could change")),
        }
    }

    /// Gives it up. One that is not there is no error.
    pub(super) fn close(&self, number: u64) {
        let stream = self.table().streams.remove(&number);
        if let Some(stream) = stream {
            stream.closed.send_replace(true);
        }
    }

    pub(super) fn close_all(&self) {
        let streams = std::mem::take(&mut self.table().streams);
        for stream in streams.values() {
            stream.closed.send_replace(true);
        }
    }
}

impl Source {
    async fn next(&mut self) -> Result<(Next, Vec<u8>), ExecutorError> {
        let end = || (Next { end: true, ..Next::default() }, Vec::new());
        match self {
            Self::Reports(reports) => Ok(match reports.next().await {
                Some(reports) => (Next { reports, end: false }, Vec::new()),
                None => end(),
            }),
            Self::Log(log) => loop {
                match log.next().await.transpose()? {
                    // No bytes are no news.
                    Some(bytes) if bytes.is_empty() => {}
                    Some(bytes) => return Ok((Next::default(), bytes)),
                    None => return Ok(end()),
                }
            },
            Self::Bytes(output) => {
                let mut bytes = vec![0; BYTES_AT_ONCE];
                let count = output.read(&mut bytes).await.map_err(|error| refused(&error.to_string()))?;
                bytes.truncate(count);
                Ok(if count == 0 { end() } else { (Next::default(), bytes) })
            }
        }
    }
}

fn refused(reason: &str) -> ExecutorError {
    ExecutorError::Refused { backend: "library".into(), reason: reason.to_owned() }
}
