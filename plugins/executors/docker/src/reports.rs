//! Where reports go.

use std::sync::{Mutex, PoisonError};

use berth_executor_api::{AttemptReport, Report};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc;

/// The one stream of reports.
pub(crate) struct Reports {
    sender: mpsc::UnboundedSender<Report>,
    receiver: Mutex<Option<mpsc::UnboundedReceiver<Report>>>,
}

impl Reports {
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }

    pub fn tell(&self, report: AttemptReport) {
        self.send(Report::Attempt(report));
    }

    pub fn send(&self, report: Report) {
        // Nobody may want them any more.
        let _ = self.sender.send(report);
    }

    /// The stream for the first who asks; for others one that stays silent.
    pub fn take(&self) -> BoxStream<'static, Report> {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
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
