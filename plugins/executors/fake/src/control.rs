//! What tests and demonstrations do to the simulated back end.

use std::sync::Arc;

use berth_executor_api::{AttemptName, NodeState, Report, Truth};

use crate::{executor::FakeExecutor, journal::Runs, shared::Shared};

/// Makes things happen in a simulated back end, whichever executor uses it.
#[derive(Clone)]
pub struct FakeControl {
    shared: Arc<Shared>,
}

impl FakeControl {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Another executor on the same back end: what a restarted Berth finds. The reports go to
    /// whichever asked for them last.
    #[must_use]
    pub fn executor(&self) -> FakeExecutor {
        FakeExecutor::on(Arc::clone(&self.shared))
    }

    /// The back end cannot be reached from now on, and the executor says so. Attempts go on.
    pub fn away(&self, words: &str) {
        let mut state = self.shared.lock();
        state.send(vec![Report::Away(words.to_owned())]);
        state.away = Some(words.to_owned());
    }

    /// The back end cannot be reached from now on, and nobody says so.
    pub fn cut(&self) {
        self.shared.lock().away = Some("cut off".to_owned());
    }

    /// The back end can be reached again, and the executor says so.
    pub fn back(&self) {
        let _ = self.shared.with(|_, _| ());
        let mut state = self.shared.lock();
        state.away = None;
        state.send(vec![Report::Back]);
    }

    /// Calls are not answered from now on; [`Self::thaw`] answers them all.
    pub fn freeze(&self) {
        self.shared.freeze(true);
    }

    /// See [`Self::freeze`].
    pub fn thaw(&self) {
        self.shared.freeze(false);
    }

    /// From now on no report is sent, or all are again. What was not sent stays lost.
    pub fn drop_reports(&self, dropping: bool) {
        // What has happened until now still goes by the old rule.
        let _ = self.shared.with(|_, _| ());
        self.shared.lock().dropping = dropping;
    }

    /// The next launch calls are done and their answers lost.
    pub fn lose_replies(&self, calls: u32) {
        self.shared.lock().cluster.lose_replies = calls;
    }

    /// The node goes down, and what runs on it is gone. Whether there is such a node.
    #[must_use]
    pub fn lose_node(&self, name: &str) -> bool {
        self.set_node(name, NodeState::Down)
    }

    /// The node takes this state. Whether there is such a node.
    #[must_use]
    pub fn set_node(&self, name: &str, state: NodeState) -> bool {
        self.shared.with(|inner, now| inner.cluster.set_node(name, state, now)).unwrap_or(false)
    }

    /// Whether this attempt exists can no longer be said.
    pub fn blur(&self, attempt: &AttemptName) {
        self.shared.lock().cluster.blurred.insert(attempt.clone());
    }

    /// How often the attempt was run; `None` unless runs are counted.
    #[must_use]
    pub fn runs(&self, attempt: &AttemptName) -> Option<Runs> {
        self.shared.lock().cluster.runs(attempt)
    }

    /// The attempts that the back end has, ended ones included.
    #[must_use]
    pub fn attempts(&self) -> Vec<AttemptName> {
        self.shared.lock().cluster.names()
    }

    /// What the back end would say of an attempt if it could be reached.
    #[must_use]
    pub fn truth(&self, attempt: &AttemptName) -> Option<Truth> {
        self.shared.with(|state, _| state.cluster.truth(attempt)).ok()
    }
}
