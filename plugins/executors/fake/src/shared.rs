//! The simulated back end among the tasks that use it: one lock, one timer, one clock.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use berth_executor_api::{ExecutorError, Report, UtcMs};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::{BACKEND, cluster::Cluster, config::FakeConfig};

/// What all handles of one simulated back end share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Tells the timer that there is something earlier to wait for.
    wake: Arc<Notify>,
    /// Tells those who follow logs that something has moved.
    pub changed: Notify,
    frozen: watch::Sender<bool>,
    begun: (Instant, UtcMs),
}

/// What the lock protects.
pub(crate) struct State {
    pub cluster: Cluster,
    pub away: Option<String>,
    pub dropping: bool,
    listener: Option<UnboundedSender<Vec<Report>>>,
    timer: Option<JoinHandle<()>>,
    /// What the timer waits for.
    timer_at: Option<UtcMs>,
}

impl Shared {
    pub(crate) fn new(config: FakeConfig) -> Result<Arc<Self>, String> {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let begun = (Instant::now(), UtcMs(0).after(since_epoch));
        let state = State {
            cluster: Cluster::new(config, begun.1)?,
            away: None,
            dropping: false,
            listener: None,
            timer: None,
            timer_at: None,
        };
        let (wake, changed, frozen) = (Arc::default(), Notify::new(), watch::Sender::new(false));
        Ok(Arc::new(Self { state: Mutex::new(state), wake, changed, frozen, begun }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> UtcMs {
        self.begun.1.after(self.begun.0.elapsed())
    }

    fn instant_of(&self, at: UtcMs) -> Instant {
        self.begun.0 + at.since(self.begun.1)
    }

    /// Lets time pass up to now, does something, and sends out what there is to tell.
    pub(crate) fn with<T>(
        self: &Arc<Self>,
        act: impl FnOnce(&mut State, UtcMs) -> T,
    ) -> Result<T, ExecutorError> {
        let mut state = self.lock();
        let now = self.now();
        state.cluster.run_due(now);
        let answer = act(&mut state, now);
        let written = state.cluster.write();
        let reports = state.cluster.world.out.take();
        if !reports.is_empty() {
            state.send(reports);
            self.changed.notify_waiters();
        }
        if let Some(next) = state.cluster.world.out.next_time() {
            self.tend_timer(&mut state, next);
        }
        drop(state);
        match written {
            Ok(()) => Ok(answer),
            Err(error) => Err(ExecutorError::Unusable {
                backend: BACKEND.into(),
                reason: format!("its state file cannot be written: {error}"),
            }),
        }
    }

    /// Waits while frozen, and fails while away.
    pub(crate) async fn reach(&self) -> Result<(), ExecutorError> {
        let mut frozen = self.frozen.subscribe();
        // An error would mean that the sender is gone, and it lives in `self`.
        let _ = frozen.wait_for(|frozen| !frozen).await;
        match self.lock().away.clone() {
            None => Ok(()),
            Some(words) => Err(unreachable(words)),
        }
    }

    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    pub(crate) fn listen(&self) -> UnboundedReceiver<Vec<Report>> {
        let (sender, receiver) = unbounded();
        self.lock().listener = Some(sender);
        receiver
    }

    /// There is one timer for all attempts, and none while nothing is to come.
    fn tend_timer(self: &Arc<Self>, state: &mut State, next: UtcMs) {
        if state.timer.as_ref().is_none_or(JoinHandle::is_finished) {
            let Ok(runtime) = Handle::try_current() else { return };
            state.timer = Some(runtime.spawn(run_timer(Arc::downgrade(self), Arc::clone(&self.wake))));
        } else if state.timer_at.is_none_or(|at| next < at) {
            self.wake.notify_one();
        }
    }
}

impl State {
    /// What cannot be sent is lost, as it would be with a real back end.
    pub(crate) fn send(&self, reports: Vec<Report>) {
        if let Some(listener) = self.listener.as_ref().filter(|_| self.away.is_none() && !self.dropping) {
            let _ = listener.unbounded_send(reports);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

pub(crate) fn unreachable(words: String) -> ExecutorError {
    ExecutorError::Unreachable { backend: BACKEND.into(), waited: Duration::ZERO, source: words.into() }
}

async fn run_timer(shared: Weak<Shared>, wake: Arc<Notify>) {
    loop {
        let Some(strong) = shared.upgrade() else { return };
        // A state file that cannot be written fails the next call, which has someone to tell.
        let _ = strong.with(|_, _| ());
        let next = {
            let mut state = strong.lock();
            state.timer_at = state.cluster.world.out.next_time();
            state.timer_at.map(|at| strong.instant_of(at))
        };
        drop(strong);
        match next {
            None => wake.notified().await,
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = wake.notified() => {}
            },
        }
    }
}
