//! The one stream of reports.

use std::sync::{Mutex, PoisonError};

use berth_executor_api::{AttemptReport, Node, Report};
use futures::{StreamExt, stream, stream::BoxStream};
use tokio::sync::mpsc;

/// Where reports go in.
#[derive(Clone, Debug)]
pub(crate) struct Reports(mpsc::UnboundedSender<Report>);

/// Where they come out, for the first who asks.
#[derive(Debug)]
pub(crate) struct ReportStream(Mutex<Option<mpsc::UnboundedReceiver<Report>>>);

impl Reports {
    pub fn new() -> (Self, ReportStream) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), ReportStream(Mutex::new(Some(receiver))))
    }

    pub fn tell(&self, report: AttemptReport) {
        self.send(Report::Attempt(report));
    }

    pub fn capacity(&self, nodes: Vec<Node>) {
        self.send(Report::Capacity(nodes));
    }

    pub fn away(&self, words: String) {
        self.send(Report::Away(words));
    }

    /// Whatever Berth knows is to be asked for anew.
    pub fn back(&self) {
        self.send(Report::Back);
    }

    fn send(&self, report: Report) {
        // Nobody may want them any more.
        let _ = self.0.send(report);
    }
}

impl ReportStream {
    /// For those who come later, one that stays silent.
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
