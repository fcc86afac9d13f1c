//! A scheduler policy on a thread of its own: plans are work for a processor and hold nobody else up.

mod session;
mod thread;

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread as threads,
};

use berth_engine::{Plan, PlanRequest};
use berth_model::{JobId, UtcMs};

pub(crate) use self::session::{Answer, Session};
use self::thread::SchedulerThread;
use crate::{
    LoadError, Loaded, PluginStatus, PolicyHost, PolicySpec,
    supervise::{Supervised, Supervisor},
};

/// What a scheduler policy reports. Each [`PlanRequest`] is answered by exactly one of `Planned`,
/// `Declined` and `NeedsFullState` that carries its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchedulerEvent {
    /// A plan. It still has to be checked against the books.
    Planned(Plan),
    /// The policy has no plan for this request, in its words. What it was told, it knows.
    Declined {
        /// The request.
        snapshot: u64,
        /// Why.
        words: String,
    },
    /// The next request has to tell everything there is: the instance that is to answer it knows nothing.
    NeedsFullState {
        /// The request that gets no plan because of that; `None` when none was under way.
        snapshot: Option<u64>,
    },
    /// Something became of the policy.
    Supervised(Supervised),
}

/// An answer to [`SchedulerPolicy::explain`].
pub type Explained = Box<dyn FnOnce(Option<String>) + Send>;

enum Ask {
    Plan(Box<PlanRequest>),
    Explain { now: UtcMs, job: JobId, explained: Explained },
    Breach { snapshot: u64, words: String },
    Try(Loaded),
}

/// A scheduler policy that is running. Its thread ends when this is dropped.
#[derive(Debug)]
pub struct SchedulerPolicy {
    asks: mpsc::Sender<Ask>,
    supervisor: Arc<Mutex<Supervisor>>,
}

impl SchedulerPolicy {
    /// Loads the policy, tries its settings, and starts its thread. `on_event` is called on that thread
    /// and must not wait. The first request has to tell the full state.
    ///
    /// # Errors
    /// When the policy cannot be loaded or refuses its settings.
    pub fn spawn(
        host: &PolicyHost,
        spec: PolicySpec,
        on_event: impl FnMut(SchedulerEvent) + Send + 'static,
    ) -> Result<Self, LoadError> {
        let loaded = load_tried(host, spec)?;
        let name = loaded.spec().name.clone();
        let supervisor = Arc::new(Mutex::new(Supervisor::new(loaded)));
        let (asks, asked) = mpsc::channel();
        let mut thread = SchedulerThread::new(Arc::clone(&supervisor), Box::new(on_event));
        threads::Builder::new()
            .name("policy-scheduler".to_owned())
            .spawn(move || {
                for ask in asked {
                    thread.on_ask(ask);
                }
            })
            .map_err(|source| LoadError::NoThread { policy: name, source })?;
        Ok(Self { asks, supervisor })
    }

    /// Asks for a plan; it comes as an event.
    pub fn plan(&self, request: PlanRequest) {
        self.ask(Ask::Plan(Box::new(request)));
    }

    /// Asks why a job has not started. `explained` is called on the policy's thread, with `None` when
    /// the policy has nothing to say.
    pub fn explain(&self, now: UtcMs, job: JobId, explained: impl FnOnce(Option<String>) + Send + 'static) {
        self.ask(Ask::Explain { now, job, explained: Box::new(explained) });
    }

    /// Says that a plan broke the contract, judged against the snapshot that it answers. Counts against
    /// the version that made the plan, if it still decides.
    pub fn breach(&self, snapshot: u64, words: impl Into<String>) {
        self.ask(Ask::Breach { snapshot, words: words.into() });
    }

    /// Loads a version anew and tries it with the next full state, for which it asks by
    /// [`SchedulerEvent::NeedsFullState`]; until then, and if it fails, the present version decides. Takes
    /// the time of a compilation.
    ///
    /// # Errors
    /// When it cannot be loaded or refuses its settings. Nothing has changed then.
    pub fn reload(&self, host: &PolicyHost, spec: PolicySpec) -> Result<(), LoadError> {
        let loaded = load_tried(host, spec)?;
        self.ask(Ask::Try(loaded));
        Ok(())
    }

    /// The spec of the version that decides, as a start for [`SchedulerPolicy::reload`].
    #[must_use]
    pub fn spec(&self) -> PolicySpec {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).current().spec().clone()
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> PluginStatus {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).status()
    }

    fn ask(&self, ask: Ask) {
        // The thread only ends with this handle, or by a panic that `on_event` has caused.
        if self.asks.send(ask).is_err() {
            tracing::error!("the scheduler policy's thread is gone");
        }
    }
}

/// Loads a policy and shows it its settings once, so that bad ones are refused at once.
fn load_tried(host: &PolicyHost, spec: PolicySpec) -> Result<Loaded, LoadError> {
    let loaded = host.load(spec)?;
    Session::open(&loaded).map_err(|fault| crate::reload::refused(&loaded, fault))?;
    Ok(loaded)
}
