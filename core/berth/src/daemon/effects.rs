//! What the engine wants done outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use berth_engine::{ControlAction, LaunchOrder, Token};
use berth_executor_api::{Action, Launch};
use berth_model::{Attempt, AttemptName, JobId};
use futures::{StreamExt, stream};

use super::{launches::submission_of, message::Message, turn::Turn};

/// How many submissions are read at once.
const READ_AT_ONCE: usize = 8;

impl Turn {
    /// Launches what is remembered at once, and the rest when it has been read.
    pub(super) fn launch(&mut self, executor: &str, orders: Vec<LaunchOrder>) {
        let Some(target) = self.registry.get(executor) else { return };
        let mut launches: Vec<Launch> = Vec::with_capacity(orders.len());
        let mut unknown = Vec::new();
        for order in orders {
            match self.launches.recall(submission_of(&order)) {
                Some(shared) => launches.push(self.launches.launch(&order, &shared)),
                None => unknown.push(order),
            }
        }
        if !launches.is_empty() {
            target.launch(launches);
        }
        if !unknown.is_empty() {
            self.launch_unknown(executor, unknown);
        }
    }

    /// Reads what was submitted and launches then, beside the loop.
    fn launch_unknown(&self, executor: &str, orders: Vec<LaunchOrder>) {
        let (store, inbox, registry) =
            (Arc::clone(&self.store), self.inbox.clone(), Arc::clone(&self.registry));
        let launches = self.launches.apart();
        let executor = executor.to_owned();
        tokio::spawn(async move {
            let wanted: BTreeSet<JobId> = orders.iter().map(submission_of).collect();
            let read = stream::iter(wanted).map(|id| {
                let store = Arc::clone(&store);
                async move { (id, store.submission(id).await) }
            });
            let read: BTreeMap<JobId, _> = read.buffer_unordered(READ_AT_ONCE).collect().await;
            let mut ready = Vec::with_capacity(orders.len());
            for order in orders {
                let words = match read.get(&submission_of(&order)) {
                    Some(Ok(Some(submission))) => {
                        ready.push(launches.launch(&order, &launches.shared(submission)));
                        continue;
                    }
                    Some(Err(error)) => format!("what was submitted cannot be read: {error}"),
                    _ => "what was submitted is not stored any more".to_owned(),
                };
                inbox.tell(Message::NotLaunched { job: order.job, attempt: order.attempt, words }).await;
            }
            if let Some(target) = registry.get(&executor) {
                target.launch(ready);
            }
        });
    }

    pub(super) fn control(
        &mut self,
        executor: &str,
        attempt: AttemptName,
        action: ControlAction,
        token: Option<Token>,
    ) {
        let Some(target) = self.registry.get(executor) else { return };
        let action = match action {
            ControlAction::Suspend => Action::Suspend,
            ControlAction::Resume => Action::Resume,
            ControlAction::Signal(signal) => Action::Signal(signal),
            ControlAction::Terminate { grace } => Action::Terminate { grace },
            ControlAction::TimeLimit { limit } => Action::TimeLimit { limit },
        };
        if let Some(reply) = token.and_then(|token| self.waiting.remove(&token)) {
            self.asked.entry(attempt.clone()).or_default().push(reply);
        }
        target.control(attempt, action);
    }

    pub(super) fn reconcile(&self, executor: &str, attempts: &[(JobId, Attempt)]) {
        let names: Vec<AttemptName> =
            attempts.iter().map(|&(job, attempt)| AttemptName::new(&self.cluster, job, attempt)).collect();
        if let Some(target) = self.registry.get(executor) {
            target.reconcile(&names);
        }
    }
}
