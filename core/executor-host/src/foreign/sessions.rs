//! The streams of an executor in a library: read by asking for what comes next, and closed when they are dropped.

use std::{io, sync::Arc, time::Instant};

use async_trait::async_trait;
use berth_executor_api::{
    Connection, ExecSession, ExecutorError, LogStream, Report, Terminal, TerminalSize,
    abi::{Exited, Message, Next, Opened, Size, Status, method},
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, duplex};
use tokio_util::io::StreamReader;

use super::{Calls, read};

/// So many bytes wait on their way in.
const ON_THEIR_WAY: usize = 64 * 1024;

/// An open stream; dropped, the library is told that nobody wants it any more.
struct Open {
    calls: Arc<Calls>,
    stream: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.calls.tell(method::CLOSE, &self.message());
    }
}

impl Open {
    fn message(&self) -> Message {
        Message { stream: Some(self.stream), ..Message::default() }
    }

    /// What comes next, with its bytes.
    async fn next(&self) -> Result<(Next, Vec<u8>), ExecutorError> {
        let asked = Instant::now();
        let mut answer = self.calls.answer(method::NEXT, &self.message(), Vec::new()).await?;
        let body = std::mem::take(&mut answer.body);
        Ok((read(&self.calls.name, asked.elapsed(), answer)?, body))
    }

    /// The bytes of it, until its end.
    fn bytes(self: Arc<Self>) -> BoxStream<'static, Result<Vec<u8>, ExecutorError>> {
        let parts = futures::stream::unfold(Some(self), async |open| {
            let open = open?;
            match open.next().await {
                Ok((Next { end: true, .. }, _)) => None,
                Ok((_, bytes)) => Some((Ok(bytes), Some(open))),
                Err(error) => Some((Err(error), None)),
            }
        });
        parts.boxed()
    }
}

/// The reports, which end when the library fails.
pub(super) fn reports(calls: Arc<Calls>) -> BoxStream<'static, Report> {
    let opened = async move {
        let opened: Result<Opened, _> = calls.ask(method::REPORTS, &Message::default()).await;
        let opened = opened.inspect_err(|error| tracing::error!(executor = calls.name, %error, "no reports"));
        opened.ok().map(|opened| Open { calls: Arc::clone(&calls), stream: opened.stream })
    };
    let chunks = futures::stream::once(opened).filter_map(async |open| open).flat_map(|open| {
        futures::stream::unfold(open, async |open| match open.next().await {
            Ok((Next { end: true, .. }, _)) => None,
            Ok((next, _)) => Some((futures::stream::iter(next.reports), open)),
            Err(error) => {
                tracing::error!(executor = open.calls.name, %error, "reports have ended");
                None
            }
        })
    });
    chunks.flatten().boxed()
}

pub(super) fn log(calls: Arc<Calls>, stream: u64) -> LogStream {
    Arc::new(Open { calls, stream }).bytes()
}

pub(super) fn connection(calls: &Arc<Calls>, stream: u64) -> Connection {
    let open = Arc::new(Open { calls: Arc::clone(calls), stream });
    Connection { input: input(&open), output: output(&open) }
}

pub(super) fn session(calls: &Arc<Calls>, opened: Opened) -> ExecSession {
    let open = Arc::new(Open { calls: Arc::clone(calls), stream: opened.stream });
    let of_exit = Arc::clone(&open);
    let exit = async move {
        let exited: Exited = of_exit.calls.ask(method::EXIT, &of_exit.message()).await?;
        Ok(exited.code)
    };
    let terminal: Option<Box<dyn Terminal>> =
        opened.terminal.then(|| Box::new(Resized(Arc::clone(&open))) as Box<dyn Terminal>);
    ExecSession { input: input(&open), output: output(&open), exit: exit.boxed(), terminal }
}

struct Resized(Arc<Open>);

#[async_trait]
impl Terminal for Resized {
    async fn resize(&self, size: TerminalSize) -> Result<(), ExecutorError> {
        let size = Some(Size { columns: size.columns, rows: size.rows });
        self.0.calls.ask(method::RESIZE, &Message { size, ..self.0.message() }).await
    }
}

fn output(open: &Arc<Open>) -> Box<dyn AsyncRead + Send + Unpin> {
    let bytes = Arc::clone(open).bytes().map(|part| part.map(Bytes::from).map_err(io::Error::other));
    Box::new(StreamReader::new(bytes))
}

/// What is written there goes in, part after part; dropped or shut down, the other side reads an end.
fn input(open: &Arc<Open>) -> Box<dyn AsyncWrite + Send + Unpin> {
    let (near, far) = duplex(ON_THEIR_WAY);
    tokio::spawn(pass_on(far, Arc::clone(open)));
    Box::new(near)
}

async fn pass_on(mut from: DuplexStream, open: Arc<Open>) {
    let mut bytes = vec![0; ON_THEIR_WAY];
    loop {
        let count = match from.read(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let part = bytes.get(..count).unwrap_or_default().to_vec();
        let written = open.calls.answer(method::WRITE, &open.message(), part).await;
        if !matches!(written, Ok(answer) if answer.status == Status::Ok) {
            // Who writes on is told by the pipe that nobody reads.
            return;
        }
    }
    let shut: Result<(), _> = open.calls.ask(method::SHUT, &open.message()).await;
    if let Err(error) = shut {
        tracing::debug!(executor = open.calls.name, %error, "the end of an input was not told");
    }
}
