//! Where reports go.

use std::sync::{Mutex, PoisonError};

use berth_executor_api::Report;
use futures::{StreamExt, stream, stream::BoxStream};
use tokio::sync::mpsc;

/// The sending end.
#[derive(Clone, Debug)]
pub(crate) struct Reports(mpsc::UnboundedSender<Report>);

impl Reports {
    /// With the stream that they come out of.
    pub fn new() -> (Self, ReportStream) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), ReportStream(Mutex::new(Some(receiver))))
    }

    pub fn send(&self, report: Report) {
        // Nobody may want them any more.
        let _ = self.0.send(report);
    }
}

/// The receiving end, until somebody takes it.
#[derive(Debug)]
pub(crate) struct ReportStream(Mutex<Option<mpsc::UnboundedReceiver<Report>>>);

impl ReportStream {
    /// The stream for the first who asks; for others one that stays silent.
    pub fn take(&self) -> BoxStream<'static, Report> {
        let receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match receiver {
            Some(receiver) => stream::unfold(receiver, |mut receiver| async move {
                let report = receiver.recv().await?;
                Some((report, receiver))
            })
            .boxed(),
            None => stream::pending().boxed(),
        }
    }
}
