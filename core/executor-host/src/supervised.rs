//! The handle of one executor: orders that return at once, and questions that are waited for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use berth_executor_api::{
    Action, AttemptName, Connection, Description, ExecSession, ExecutorError, Launch, LogQuery, LogStream,
    SharedExecutor, Usage,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};

use crate::{
    CallError, HostEvent, Limits, MayAct, Reach, RegistryError, call::Caller, queue::Order,
    supervise::Supervisor,
};

/// An executor under supervision. A copy is another handle to the same one.
#[derive(Clone)]
pub struct Supervised {
    description: Arc<Description>,
    executor: SharedExecutor,
    limits: Limits,
    caller: Caller,
    orders: mpsc::UnboundedSender<Order>,
    reach: watch::Receiver<Reach>,
    faults: Arc<AtomicU64>,
}

/// Takes an executor under supervision.
pub(crate) fn begin(
    name: Arc<str>,
    executor: SharedExecutor,
    limits: Limits,
    runtime: Handle,
    events: mpsc::Sender<HostEvent>,
    may_act: MayAct,
) -> Result<Supervised, RegistryError> {
    let caller = Caller { executor: Arc::clone(&name), runtime };
    let begun = caller.now(|| (executor.describe(), executor.reports()));
    let broke_down = |words| RegistryError::BrokeDown { name: name.to_string(), words };
    let (description, reports) = begun.map_err(broke_down)?;
    let (orders, incoming) = mpsc::unbounded_channel();
    let (reach_of, reach) = watch::channel(Reach::Reachable);
    let supervised = Supervised {
        description: Arc::new(description),
        executor,
        limits,
        caller,
        orders,
        reach,
        faults: Arc::default(),
    };
    let supervisor = Supervisor::new(&supervised, incoming, reach_of, events, may_act);
    tokio::spawn(supervisor.run(reports));
    Ok(supervised)
}

impl Supervised {
    /// The name that the site gave it.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.caller.executor
    }

    /// What it is and can do.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Whether its back end can be reached.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.reach.borrow().clone()
    }

    /// How often its plugin broke down or gave an answer that cannot be one.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Launches attempts, in batches of bounded size, each answered by [`HostEvent::LaunchAnswered`].
    /// While the back end is away the answer comes at once, and nothing has been asked.
    pub fn launch(&self, launches: Vec<Launch>) {
        let mut launches = launches.into_iter();
        loop {
            let batch: Vec<_> = launches.by_ref().take(self.limits.batch.max(1)).collect();
            if batch.is_empty() {
                return;
            }
            self.order(Order::Launch(Arc::new(batch)));
        }
    }

    /// Asks for the truth, in batches of bounded size, each answered by [`HostEvent::Reconciled`] as
    /// soon as the back end can be asked.
    pub fn reconcile(&self, attempts: &[AttemptName]) {
        for batch in attempts.chunks(self.limits.batch.max(1)) {
            self.order(Order::Reconcile(Arc::new(batch.to_vec())));
        }
    }

    /// Asks which attempts the back end has, answered by [`HostEvent::Listed`] as soon as it can be asked.
    pub fn list(&self) {
        self.order(Order::List);
    }

    /// Asks something of an attempt, answered by [`HostEvent::ControlAnswered`]. While the back end is
    /// away a termination waits; everything else is answered at once.
    pub fn control(&self, attempt: AttemptName, action: Action) {
        self.order(Order::Control(attempt, action));
    }

    /// Has ended attempts forgotten, in batches of bounded size, each answered by
    /// [`HostEvent::Removed`] as soon as the back end can be asked.
    pub fn remove(&self, attempts: &[AttemptName]) {
        for batch in attempts.chunks(self.limits.batch.max(1)) {
            self.order(Order::Remove(Arc::new(batch.to_vec())));
        }
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            // Only when the daemon's end of the events is gone, and with it whoever would hear of it.
            tracing::debug!(executor = %self.name(), "order after the end");
        }
    }

    /// What the attempt has written.
    ///
    /// # Errors
    /// [`CallError`]; `Unsupported` where the executor does not offer it.
    pub async fn logs(&self, attempt: AttemptName, query: LogQuery) -> Result<LogStream, CallError> {
        self.needs(self.description.capabilities.logs, "show logs")?;
        if query.since.is_some() {
            self.needs(self.description.capabilities.logs_since, "show logs from a time on")?;
        }
        let executor = Arc::clone(&self.executor);
        let ask = async move { executor.logs(&attempt, query).await };
        Ok(self.caller.guard(self.ask("logs", self.limits.call, ask).await?))
    }

    /// What the attempt uses now.
    ///
    /// # Errors
    /// [`CallError`]; `Unsupported` where the executor does not offer it.
    pub async fn stats(&self, attempt: AttemptName) -> Result<Usage, CallError> {
        self.needs(self.description.capabilities.stats, "tell usage")?;
        let executor = Arc::clone(&self.executor);
        self.ask("stats", self.limits.call, async move { executor.stats(&attempt).await }).await
    }

    /// Starts a process beside the attempt's own.
    ///
    /// # Errors
    /// [`CallError`]; `Unsupported` where the executor does not offer it.
    pub async fn exec(
        &self,
        attempt: AttemptName,
        argv: Vec<String>,
        terminal: bool,
    ) -> Result<ExecSession, CallError> {
        self.needs(self.description.capabilities.exec, "start processes beside a job")?;
        let executor = Arc::clone(&self.executor);
        let ask = async move { executor.exec(&attempt, &argv, terminal).await };
        self.ask("exec", self.limits.call, ask).await
    }

    /// Connects with a port of the attempt.
    ///
    /// # Errors
    /// [`CallError`]; `Unsupported` where the executor does not offer it.
    pub async fn connect(&self, attempt: AttemptName, port: u16) -> Result<Connection, CallError> {
        self.needs(self.description.capabilities.connect, "connect to ports of jobs")?;
        let executor = Arc::clone(&self.executor);
        let ask = async move { executor.connect(&attempt, port).await };
        self.ask("connect", self.limits.call, ask).await
    }

    /// Removes everything of this cluster from the back end, or only says what that would be.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn cleanup(&self, dry_run: bool) -> Result<Vec<String>, CallError> {
        let executor = Arc::clone(&self.executor);
        self.ask("cleanup", self.limits.cleanup, async move { executor.cleanup(dry_run).await }).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        call: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<T, ExecutorError>> + Send + 'static,
    ) -> Result<T, CallError> {
        if let Reach::Away { words, next_try, .. } = self.reach() {
            return Err(CallError::Away { executor: Arc::clone(self.name()), words, next_try });
        }
        let answer = self.caller.call(call, limit, work).await;
        if matches!(answer, Err(CallError::BrokeDown { .. })) {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// What is not offered is never called.
    pub(crate) fn needs(&self, offered: bool, what: &'static str) -> Result<(), CallError> {
        if offered {
            return Ok(());
        }
        let source = ExecutorError::Unsupported { backend: self.description.name.clone(), what };
        Err(CallError::Executor { executor: Arc::clone(self.name()), source })
    }

    pub(crate) fn parts(&self) -> (&SharedExecutor, &Limits, &Caller, &Arc<AtomicU64>) {
        (&self.executor, &self.limits, &self.caller, &self.faults)
    }
}
