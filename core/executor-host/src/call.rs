//! One call to a plugin: bounded in time, and a panic in it is an error.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use berth_executor_api::{ExecutorError, LogStream};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::CallError;

/// Where the calls to one plugin run, and what it is called.
#[derive(Clone)]
pub(crate) struct Caller {
    pub executor: Arc<str>,
    pub runtime: Handle,
}

impl Caller {
    /// Begins the call at once on the plugin's runtime. Dropping the future gives the call up.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        call: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<T, ExecutorError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, CallError>> {
        let task = AbortOnDropHandle::new(self.runtime.spawn(work));
        let executor = Arc::clone(&self.executor);
        let wait = async move {
            match tokio::time::timeout(limit, task).await {
                Ok(Ok(Ok(answer))) => Ok(answer),
                Ok(Ok(Err(ExecutorError::Broken { words, .. }))) => {
                    Err(CallError::BrokeDown { executor, call, words })
                }
                Ok(Ok(Err(source))) => Err(CallError::Executor { executor, source }),
                Ok(Err(ended)) => {
                    let words = ended
                        .try_into_panic()
                        .map_or("its runtime has ended".into(), |panic| words_of(&*panic));
                    Err(CallError::BrokeDown { executor, call, words })
                }
                Err(_) => Err(CallError::TimedOut { executor, call, waited: limit }),
            }
        };
        wait.boxed()
    }

    /// A call that may not wait.
    pub(crate) fn now<T>(&self, work: impl FnOnce() -> T) -> Result<T, String> {
        let _inside = self.runtime.enter();
        std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panic| words_of(&*panic))
    }

    /// The log with an error at its end where the plugin would panic.
    pub(crate) fn guard(&self, log: LogStream) -> LogStream {
        let backend = self.executor.to_string();
        let guarded = AssertUnwindSafe(log).catch_unwind().map(move |part| {
            part.unwrap_or_else(|panic| {
                let reason = format!("the plugin broke down: {}", words_of(&*panic));
                Err(ExecutorError::Unusable { backend: backend.clone(), reason })
            })
        });
        guarded.boxed()
    }
}

pub(crate) fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it gave no reason".into())
}
