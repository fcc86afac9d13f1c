//! The library's side: calls come in, the executor answers, and a panic is the answer of the call that it was in.

use std::{
    any::Any,
    ffi::c_void,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use futures::FutureExt;
use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::{Builder, Runtime};

use super::{
    Bytes, Complete, Status,
    streams::Streams,
    wire::{Batch, Message, Settings, Words, kind_of, method},
};
use crate::{AttemptName, ExecutorError, SharedExecutor};

/// What is told when the executor was not made.
const NOT_MADE: &str = "the executor was not made";
/// At the end, what is under way has this long.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Who is told what became of calls.
struct Host {
    context: *mut c_void,
    complete: Complete,
    /// False once it must not be told anything any more.
    listens: RwLock<bool>,
}

// SAFETY: the interface lets a library complete calls from any thread, several at once; what the pointer points to
// is Berth's, and is not touched here.
#[allow(unsafe_code, reason = "this is the border")]
unsafe impl Send for Host {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "this is the border")]
unsafe impl Sync for Host {}

impl Host {
    #[allow(unsafe_code, reason = "this is the border")]
    fn complete(&self, call: u64, answer: Answer) {
        let Answer { status, json, body } = answer;
        let listens = self.listens.read().unwrap_or_else(PoisonError::into_inner);
        if *listens {
            // SAFETY: Berth passed this function and this pointer for that, and `berth_executor_destroy` has not
            // returned, since it takes the lock.
            unsafe { (self.complete)(self.context, call, status.code(), Bytes::of(&json), Bytes::of(&body)) };
        }
    }
}

/// What became of a call.
struct Answer {
    status: Status,
    json: Vec<u8>,
    body: Vec<u8>,
}

impl Answer {
    fn broken(words: String) -> Self {
        let json = serde_json::to_vec(&Words { words }).unwrap_or_default();
        Self { status: Status::Broken, json, body: Vec::new() }
    }

    fn of_error(error: &ExecutorError) -> Self {
        let Some(error) = kind_of(error) else { return Self::broken(error.to_string()) };
        let json = serde_json::to_vec(&error).unwrap_or_default();
        Self { status: Status::Error, json, body: Vec::new() }
    }
}

type Answered = Result<(Vec<u8>, Vec<u8>), ExecutorError>;

/// One executor, as Berth holds it.
pub(super) struct Served {
    /// Empty once it has ended.
    runtime: Option<Runtime>,
    inner: Arc<Inner>,
}

struct Inner {
    executor: OnceLock<SharedExecutor>,
    streams: Streams,
    host: Host,
}

impl Served {
    /// Makes the executor on a runtime of its own and tells, as call 0, what it is. `None` where there can be no
    /// runtime, which is told, too.
    pub(super) fn start<F>(
        settings: &[u8],
        context: *mut c_void,
        complete: Complete,
        make: impl FnOnce(Settings) -> F + Send + 'static,
    ) -> Option<Box<Self>>
    where
        F: Future<Output = Result<SharedExecutor, ExecutorError>> + Send + 'static,
    {
        let host = Host { context, complete, listens: RwLock::new(true) };
        let inner = Arc::new(Inner { executor: OnceLock::new(), streams: Streams::default(), host });
        let runtime = match Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                inner.host.complete(0, Answer::broken(format!("no threads for it: {error}")));
                return None;
            }
        };
        let (settings, making) = (settings.to_vec(), Arc::clone(&inner));
        let work = async move {
            let executor = make(read(&settings)?).await?;
            let description = json(&executor.describe());
            // Nobody else sets it.
            let _ = making.executor.set(executor);
            Ok((description?, Vec::new()))
        };
        answer(&runtime, &inner, 0, work);
        Some(Box::new(Self { runtime: Some(runtime), inner }))
    }

    pub(super) fn call(&self, call: u64, method: &[u8], request: &[u8], body: &[u8]) {
        let Some(runtime) = &self.runtime else { return };
        let (method, request) = (String::from_utf8_lossy(method).into_owned(), request.to_vec());
        let (body, inner) = (body.to_vec(), Arc::clone(&self.inner));
        answer(runtime, &self.inner, call, async move { inner.answer(&method, &request, &body).await });
    }

    /// Nothing is told once this has returned.
    pub(super) fn end(mut self) {
        *self.inner.host.listens.write().unwrap_or_else(PoisonError::into_inner) = false;
        self.inner.streams.close_all();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(LAST_WAIT);
        }
    }
}

/// Has the call worked on, and completed however that goes.
fn answer(
    runtime: &Runtime,
    inner: &Arc<Inner>,
    call: u64,
    work: impl Future<Output = Answered> + Send + 'static,
) {
    let inner = Arc::clone(inner);
    runtime.spawn(async move {
        let answer = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok((json, body))) => Answer { status: Status::Ok, json, body },
            Ok(Err(error)) => Answer::of_error(&error),
            Err(panic) => Answer::broken(words_of(&*panic)),
        };
        inner.host.complete(call, answer);
    });
}

pub(super) fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it gave no reason".into())
}

impl Inner {
    async fn answer(&self, called: &str, request: &[u8], body: &[u8]) -> Answered {
        let executor = self.executor.get().ok_or_else(|| refused(NOT_MADE))?;
        if called == method::LAUNCH {
            let batch: Batch = read(request)?;
            let launches = batch.launches().ok_or_else(|| refused("a launch without its spec"))?;
            return plain(&executor.launch(&launches).await?);
        }
        let message: Message = read(request)?;
        match called {
            method::CAPACITY => plain(&executor.capacity().await?),
            method::RECONCILE => plain(&executor.reconcile(&message.attempts).await?),
            method::ATTEMPTS => plain(&executor.attempts().await?),
            method::CONTROL => {
                let action = message.action.ok_or_else(|| refused("no action"))?;
                plain(&executor.control(&attempt(&message)?, action).await?)
            }
            method::STATS => plain(&executor.stats(&attempt(&message)?).await?),
            method::REMOVE => plain(&executor.remove(&message.attempts).await?),
            method::CLEANUP => plain(&executor.cleanup(message.dry_run).await?),
            _ => self.of_streams(executor, called, &message, body).await,
        }
    }

    async fn of_streams(
        &self,
        executor: &SharedExecutor,
        called: &str,
        message: &Message,
        body: &[u8],
    ) -> Answered {
        let streams = &self.streams;
        let stream = || message.stream.ok_or_else(|| refused("no stream is named"));
        match called {
            method::REPORTS => plain(&streams.reports(executor.reports())),
            method::LOGS => {
                let query = message.query.ok_or_else(|| refused("no query"))?;
                plain(&streams.log(executor.logs(&attempt(message)?, query).await?))
            }
            method::EXEC => {
                let session = executor.exec(&attempt(message)?, &message.argv, message.terminal).await?;
                plain(&streams.session(session))
            }
            method::CONNECT => {
                let port = message.port.ok_or_else(|| refused("no port"))?;
                plain(&streams.connection(executor.connect(&attempt(message)?, port).await?))
            }
            method::NEXT => {
                let (next, bytes) = streams.next(stream()?).await?;
                Ok((json(&next)?, bytes))
            }
            method::WRITE => plain(&streams.write(stream()?, body).await?),
            method::SHUT => plain(&streams.shut(stream()?).await?),
            method::EXIT => plain(&streams.exit(stream()?).await?),
            method::RESIZE => {
                let size = message.size.ok_or_else(|| refused("no size"))?;
                plain(&streams.resize(stream()?, size).await?)
            }
            method::CLOSE => {
                streams.close(stream()?);
                plain(&())
            }
            _ => Err(ExecutorError::Unsupported {
                backend: "library".into(),
                what: "do what a newer Berth asks",
            }),
        }
    }
}

fn attempt(message: &Message) -> Result<AttemptName, ExecutorError> {
    message.attempt.clone().ok_or_else(|| refused("no attempt is named"))
}

fn plain<T: Serialize>(answer: &T) -> Answered {
    Ok((json(answer)?, Vec::new()))
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, ExecutorError> {
    serde_json::to_vec(value).map_err(|error| broken(format!("its answer cannot be written: {error}")))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ExecutorError> {
    serde_json::from_slice(bytes).map_err(|error| broken(format!("what Berth says cannot be read: {error}")))
}

fn broken(words: String) -> ExecutorError {
    ExecutorError::Broken { backend: "library".into(), words }
}

fn refused(reason: &str) -> ExecutorError {
    ExecutorError::Refused { backend: "library".into(), reason: reason.to_owned() }
}
