//! Policies whose calls are independent of each other: one or more instances, each on a thread of its
//! own, behind one queue. A call that loops or waits holds up its own thread and nobody else.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

use berth_model::UtcMs;
use tokio::sync::oneshot;
use wasmtime::Store;

use crate::{
    Fault, LoadError, Loaded, PluginStatus, PolicyHost, PolicySpec,
    instance::{Guest, Instance},
    limits::timed,
    supervise::{Supervised, Supervisor},
    worlds::World,
};

/// Told what becomes of a policy. Called on the policy's threads; must not wait.
pub type OnSupervised = Arc<dyn Fn(Supervised) + Send + Sync>;

/// Tells a fresh instance what it has to know before it is asked anything.
pub(crate) type Prepare<W> = Arc<dyn Fn(&mut Instance<W>) -> Result<(), Fault> + Send + Sync>;

/// Why a call was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswered {
    /// The policy is benched.
    #[error("policy {policy} is benched: {words}")]
    Benched {
        /// The policy.
        policy: String,
        /// Its last strike.
        words: String,
    },
    /// The policy failed in this call.
    #[error("policy {policy} failed")]
    Failed {
        /// The policy.
        policy: String,
        /// How.
        #[source]
        fault: Fault,
    },
    /// The policy's threads are gone.
    #[error("policy {policy} has ended")]
    Gone {
        /// The policy.
        policy: String,
    },
}

type Task<W> = Box<dyn FnOnce(&mut Worker<W>) + Send>;

/// The instances of one policy. Their threads end when this is dropped.
pub(crate) struct Workers<W> {
    tasks: mpsc::Sender<Task<W>>,
    shared: Arc<Shared<W>>,
}

struct Shared<W> {
    supervisor: Mutex<Supervisor>,
    prepare: Prepare<W>,
    on_supervised: OnSupervised,
}

impl<W> Shared<W> {
    fn lock(&self) -> MutexGuard<'_, Supervisor> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, became: impl IntoIterator<Item = Supervised>) {
        became.into_iter().for_each(|became| (self.on_supervised)(became));
    }
}

struct Worker<W> {
    shared: Arc<Shared<W>>,
    /// The instance, and the version that it is of.
    instance: Option<(u64, Instance<W>)>,
}

impl<W: World> Workers<W> {
    pub(crate) fn spawn(
        host: &PolicyHost,
        spec: PolicySpec,
        instances: usize,
        prepare: Prepare<W>,
        on_supervised: OnSupervised,
    ) -> Result<Self, LoadError> {
        let loaded = load_tried(host, spec, &prepare)?;
        let name = loaded.spec().name.clone();
        let kind = loaded.spec().kind;
        let shared =
            Arc::new(Shared { supervisor: Mutex::new(Supervisor::new(loaded)), prepare, on_supervised });
        let (tasks, queue) = mpsc::channel::<Task<W>>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..instances.max(1) {
            let mut worker = Worker { shared: Arc::clone(&shared), instance: None };
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(format!("policy-{kind}"))
                .spawn(move || {
                    while let Some(task) = next(&queue) {
                        task(&mut worker);
                    }
                })
                .map_err(|source| LoadError::NoThread { policy: name.clone(), source })?;
        }
        Ok(Self { tasks, shared })
    }

    /// Calls an instance. What `call` answers within is a breach of the contract, in words.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        now: UtcMs,
        call: impl FnOnce(&mut Store<Guest>, &W) -> wasmtime::Result<Result<T, String>> + Send + 'static,
    ) -> Result<T, Unanswered> {
        let (answer, answered) = oneshot::channel();
        let task: Task<W> = Box::new(move |worker| {
            // Nobody waits any more if the caller was dropped.
            let _ = answer.send(worker.call(now, call));
        });
        let gone = || Unanswered::Gone { policy: self.name() };
        self.tasks.send(task).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Loads a version anew, tries it with its settings and what it has to know, and lets it take over.
    pub(crate) fn reload(&self, host: &PolicyHost, spec: PolicySpec) -> Result<(), LoadError> {
        let loaded = load_tried(host, spec, &self.shared.prepare)?;
        let became = self.shared.lock().swap(loaded);
        self.shared.tell([became]);
        Ok(())
    }

    pub(crate) fn spec(&self) -> PolicySpec {
        self.shared.lock().current().spec().clone()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.shared.lock().generation()
    }

    pub(crate) fn status(&self) -> PluginStatus {
        self.shared.lock().status()
    }

    pub(crate) fn name(&self) -> String {
        self.shared.lock().current().spec().name.clone()
    }
}

fn next<W>(queue: &Mutex<mpsc::Receiver<Task<W>>>) -> Option<Task<W>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn load_tried<W: World>(
    host: &PolicyHost,
    spec: PolicySpec,
    prepare: &Prepare<W>,
) -> Result<Loaded, LoadError> {
    let loaded = host.load(spec)?;
    open(&loaded, prepare).map_err(|fault| crate::reload::refused(&loaded, fault))?;
    Ok(loaded)
}

fn open<W: World>(loaded: &Loaded, prepare: &Prepare<W>) -> Result<Instance<W>, Fault> {
    let mut instance = loaded.instantiate::<W>()?;
    instance.configure(&loaded.spec().settings)?;
    prepare(&mut instance)?;
    Ok(instance)
}

impl<W: World> Worker<W> {
    fn call<T>(
        &mut self,
        now: UtcMs,
        call: impl FnOnce(&mut Store<Guest>, &W) -> wasmtime::Result<Result<T, String>>,
    ) -> Result<T, Unanswered> {
        let (generation, loaded, policy) = {
            let supervisor = self.shared.lock();
            let policy = supervisor.current().spec().name.clone();
            if let Some(words) = supervisor.benched() {
                self.instance = None;
                return Err(Unanswered::Benched { policy, words: words.to_owned() });
            }
            (supervisor.generation(), supervisor.current().clone(), policy)
        };
        let (answer, took) = timed(|| {
            let instance = self.instance_of(generation, &loaded)?;
            let answer = instance.call(call)?.map_err(|words| Fault::Breach { words })?;
            Ok((answer, instance.memory_bytes()))
        });
        match answer {
            Ok((answer, memory_bytes)) => {
                self.shared.lock().answered(took, memory_bytes);
                Ok(answer)
            }
            Err(fault) => {
                self.instance = None;
                self.on_fault(now, generation, &fault, took);
                Err(Unanswered::Failed { policy, fault })
            }
        }
    }

    /// An instance of the version that decides now.
    fn instance_of(&mut self, generation: u64, loaded: &Loaded) -> Result<&mut Instance<W>, Fault> {
        let kept = self.instance.take().filter(|(of, _)| *of == generation);
        let (_, instance) = match kept {
            Some(kept) => self.instance.insert(kept),
            None => self.instance.insert((generation, open(loaded, &self.shared.prepare)?)),
        };
        Ok(instance)
    }

    fn on_fault(&self, now: UtcMs, generation: u64, fault: &Fault, took: std::time::Duration) {
        let mut supervisor = self.shared.lock();
        supervisor.called(took);
        // A version that decides no more is not to harm the one that does.
        if supervisor.generation() != generation {
            return;
        }
        if let Fault::Host { words } = fault {
            let policy = supervisor.current().spec().name.clone();
            tracing::error!(policy, words, "a call of a policy could not be served");
            return;
        }
        let became = supervisor.strike(now, &fault.to_string());
        drop(supervisor);
        self.shared.tell(became);
    }
}
