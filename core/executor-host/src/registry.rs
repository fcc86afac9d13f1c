//! The configured executors by name.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use berth_executor_api::SharedExecutor;
use tokio::{runtime::Handle, sync::mpsc};

use crate::{HostEvent, RegistryError, Supervised, supervised};

/// How long an executor may take and how much it gets at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest that one launch of a batch may take.
    pub launch: Duration,
    /// The longest that one reconcile of a batch may take.
    pub reconcile: Duration,
    /// The longest that any other call may take.
    pub call: Duration,
    /// The longest that a clean-up may take.
    pub cleanup: Duration,
    /// The most attempts in one call.
    pub batch: usize,
    /// The most launch calls under way.
    pub launches_at_once: usize,
    /// The most other calls under way.
    pub calls_at_once: usize,
    /// How often a termination is tried before its error is told.
    pub terminate_tries: u32,
    /// The first wait before a back end that is away is looked for again.
    pub first_wait: Duration,
    /// The longest such wait.
    pub longest_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            launch: Duration::from_secs(60),
            reconcile: Duration::from_secs(30),
            call: Duration::from_secs(30),
            cleanup: Duration::from_secs(600),
            batch: 500,
            launches_at_once: 4,
            calls_at_once: 32,
            terminate_tries: 10,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(30),
        }
    }
}

/// Whether anything may be done at all now. Asked right before each call that changes something.
pub type MayAct = Arc<dyn Fn() -> bool + Send + Sync>;

/// All executors of this Berth.
pub struct Registry {
    may_act: MayAct,
    executors: BTreeMap<Arc<str>, Supervised>,
    events: mpsc::Sender<HostEvent>,
}

impl Registry {
    /// An empty registry, and where everything comes out. When so many events wait to be taken,
    /// executors wait with theirs; orders are taken nevertheless.
    #[must_use]
    pub fn new(waiting_events: usize) -> (Self, mpsc::Receiver<HostEvent>) {
        let (events, receiver) = mpsc::channel(waiting_events.max(1));
        (Self { may_act: Arc::new(|| true), executors: BTreeMap::new(), events }, receiver)
    }

    /// Holds to this from the next executor on: while it says no, nothing is launched, controlled or removed,
    /// and whoever orders that is told so. For a Berth that may have been replaced while it was stopped.
    #[must_use]
    pub fn acting_while(self, may_act: MayAct) -> Self {
        Self { may_act, ..self }
    }

    /// Takes an executor under supervision and asks it for its nodes. Must be called in a runtime,
    /// which the supervision runs on.
    ///
    /// The plugin's own calls run on `runtime`. Where that is not the daemon's, not even a plugin that
    /// blocks its thread, against the contract, can hold up anything but itself.
    ///
    /// # Errors
    /// When the name is taken or the plugin panics.
    pub fn add(
        &mut self,
        name: &str,
        executor: SharedExecutor,
        limits: Limits,
        runtime: Handle,
    ) -> Result<&Supervised, RegistryError> {
        let name: Arc<str> = name.into();
        match self.executors.entry(Arc::clone(&name)) {
            std::collections::btree_map::Entry::Occupied(_) => {
                Err(RegistryError::Duplicate { name: name.to_string() })
            }
            std::collections::btree_map::Entry::Vacant(place) => {
                let supervised = {
                    let (events, may_act) = (self.events.clone(), Arc::clone(&self.may_act));
                    supervised::begin(name, executor, limits, runtime, events, may_act)?
                };
                Ok(place.insert(supervised))
            }
        }
    }

    /// Stops supervising an executor. What runs on its back end goes on. Whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.executors.remove(name).is_some()
    }

    /// The executor of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Supervised> {
        self.executors.get(name)
    }

    /// All executors, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Supervised> {
        self.executors.values()
    }
}
