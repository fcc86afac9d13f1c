//! The task of one executor: it takes orders, makes calls, watches whether the back end is there.

mod reach;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use berth_executor_api::{
    Action, AttemptName, Capabilities, ExecutorError, Launched, Node, Report, SharedExecutor, Truth, UtcMs,
};
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    CallError, HostEvent, Limits, MayAct, Reach, Supervised,
    backoff::Backoff,
    call::Caller,
    queue::{Order, Queue, Ticket},
};

/// So many reports at most go into one event.
const REPORTS_AT_ONCE: usize = 1024;

/// What a call has brought.
enum Done {
    Launched(Ticket, Result<Vec<Launched>, CallError>),
    Reconciled(Ticket, Result<Vec<Truth>, CallError>),
    Listed(Ticket, Result<Vec<AttemptName>, CallError>),
    Told(Ticket, Result<(), CallError>),
    /// Of which probe.
    Probed(u64, Result<Vec<Node>, CallError>),
}

/// The back end is not there.
struct Away {
    since: UtcMs,
    words: String,
}

/// The reports on their way from the plugin.
struct Listening {
    chunks: mpsc::Receiver<Vec<Report>>,
    /// Gives the plugin's stream up when it is dropped.
    _pump: AbortOnDropHandle<()>,
}

/// Asked where the call itself begins: between an order and that a process may have been stopped.
struct Acting {
    may_act: MayAct,
    executor: Arc<str>,
}

impl Acting {
    fn check(&self) -> Result<(), ExecutorError> {
        if (self.may_act)() {
            return Ok(());
        }
        // Nothing was done, and it is not the back end that is away.
        let reason = "this Berth no longer leads, or cannot be sure that it does".to_owned();
        Err(ExecutorError::Refused { backend: self.executor.to_string(), reason })
    }
}

/// The task's state.
pub(crate) struct Supervisor {
    executor: SharedExecutor,
    capabilities: Capabilities,
    limits: Limits,
    may_act: MayAct,
    caller: Caller,
    faults: Arc<AtomicU64>,
    orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::Sender<HostEvent>,
    reach: watch::Sender<Reach>,
    queue: Queue,
    calls: FuturesUnordered<BoxFuture<'static, Done>>,
    launches_under_way: usize,
    others_under_way: usize,
    /// What is tried again, and when.
    again: Vec<(Instant, Ticket)>,
    away: Option<Away>,
    reachable_since: Instant,
    /// The probe under way.
    probing: Option<u64>,
    probes: u64,
    probe_at: Option<Instant>,
    probe_waits: Backoff,
    listening: Option<Listening>,
    listen_at: Option<Instant>,
    listen_waits: Backoff,
    outgoing: Vec<HostEvent>,
}

impl Supervisor {
    pub(crate) fn new(
        handle: &Supervised,
        orders: mpsc::UnboundedReceiver<Order>,
        reach: watch::Sender<Reach>,
        events: mpsc::Sender<HostEvent>,
        may_act: MayAct,
    ) -> Self {
        let (executor, limits, caller, faults) = handle.parts();
        let waits = Backoff::new(limits.first_wait, limits.longest_wait);
        Self {
            executor: Arc::clone(executor),
            capabilities: handle.description().capabilities.clone(),
            limits: *limits,
            may_act,
            caller: caller.clone(),
            faults: Arc::clone(faults),
            orders,
            events,
            reach,
            queue: Queue::default(),
            calls: FuturesUnordered::new(),
            launches_under_way: 0,
            others_under_way: 0,
            again: Vec::new(),
            away: None,
            reachable_since: Instant::now(),
            probing: None,
            probes: 0,
            probe_at: None,
            probe_waits: waits.clone(),
            listening: None,
            listen_at: None,
            listen_waits: waits,
            outgoing: Vec::new(),
        }
    }

    /// Until the handle or the daemon's end of the events is dropped.
    pub(crate) async fn run(mut self, reports: BoxStream<'static, Report>) {
        self.listen_to(reports);
        self.probe();
        loop {
            let wake = self.next_time();
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.on_order(order),
                    None => return,
                },
                Some(done) = self.calls.next() => self.on_done(done),
                chunk = next_chunk(&mut self.listening) => self.on_reports(chunk),
                () = sleep_until(wake) => self.on_time(),
            }
            self.start_what_may();
            for event in std::mem::take(&mut self.outgoing) {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
        }
    }

    fn name(&self) -> Arc<str> {
        Arc::clone(&self.caller.executor)
    }

    /// Takes all orders that wait, so that a burst of them is one turn.
    fn on_order(&mut self, first: Order) {
        self.queue.accept(first);
        while let Ok(order) = self.orders.try_recv() {
            self.queue.accept(order);
        }
    }

    fn start_what_may(&mut self) {
        while self.away.is_some() || self.launches_under_way < self.limits.launches_at_once.max(1) {
            let Some(ticket) = self.queue.next_launch() else { break };
            self.start(ticket);
        }
        while self.away.is_some() || self.others_under_way < self.limits.calls_at_once.max(1) {
            let Some(ticket) = self.queue.next_other() else { break };
            self.start(ticket);
        }
        // An order that was answered at once may have let a launch through.
        if self.away.is_some() {
            while let Some(ticket) = self.queue.next_launch() {
                self.start(ticket);
            }
        }
    }

    fn start(&mut self, ticket: Ticket) {
        if let Some(error) = self.not_offered(&ticket.order) {
            return self.answer_error(ticket, error);
        }
        if let Some(away) = &self.away {
            let (words, next_try) = (away.words.clone(), self.utc_of(self.probe_at));
            if ticket.order.is_patient() {
                self.again.push((Instant::now(), ticket));
            } else {
                self.answer_error(ticket, CallError::Away { executor: self.name(), words, next_try });
            }
            return;
        }
        let executor = Arc::clone(&self.executor);
        let acting = Acting { may_act: Arc::clone(&self.may_act), executor: self.name() };
        let Limits { launch, reconcile, call, .. } = self.limits;
        let work = match ticket.order.clone() {
            Order::Launch(batch) => {
                self.launches_under_way += 1;
                let work = self.caller.call("launch", launch, async move {
                    acting.check()?;
                    executor.launch(&batch).await
                });
                work.map(|answer| Done::Launched(ticket, answer)).boxed()
            }
            Order::Reconcile(attempts) => {
                self.others_under_way += 1;
                let ask = async move { executor.reconcile(&attempts).await };
                let work = self.caller.call("reconcile", reconcile, ask);
                work.map(|answer| Done::Reconciled(ticket, answer)).boxed()
            }
            Order::List => {
                self.others_under_way += 1;
                let ask = async move { executor.attempts().await };
                self.caller
                    .call("attempts", reconcile, ask)
                    .map(|answer| Done::Listed(ticket, answer))
                    .boxed()
            }
            Order::Control(attempt, action) => {
                self.others_under_way += 1;
                let ask = async move {
                    acting.check()?;
                    executor.control(&attempt, action).await
                };
                self.caller.call("control", call, ask).map(|answer| Done::Told(ticket, answer)).boxed()
            }
            Order::Remove(attempts) => {
                self.others_under_way += 1;
                let ask = async move {
                    acting.check()?;
                    executor.remove(&attempts).await
                };
                self.caller.call("remove", call, ask).map(|answer| Done::Told(ticket, answer)).boxed()
            }
        };
        self.calls.push(work);
    }

    /// What is not offered is never called.
    fn not_offered(&self, order: &Order) -> Option<CallError> {
        let (offered, what) = match order {
            Order::Control(_, Action::Suspend | Action::Resume) => {
                (self.capabilities.suspend, "suspend jobs")
            }
            Order::Control(_, Action::Signal(_)) => (self.capabilities.signal, "send signals"),
            _ => return None,
        };
        let source = ExecutorError::Unsupported { backend: self.name().to_string(), what };
        (!offered).then(|| CallError::Executor { executor: self.name(), source })
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Probed(probe, answer) => self.on_probed(probe, answer),
            Done::Launched(ticket, answer) => {
                self.launches_under_way -= 1;
                let answer = self.checked("launch", ticket.attempts.len(), answer);
                self.note(answer.as_ref().err());
                self.queue.finish(&ticket);
                let executor = self.name();
                self.outgoing.push(HostEvent::LaunchAnswered { executor, attempts: ticket.attempts, answer });
            }
            Done::Reconciled(ticket, answer) => {
                self.others_under_way -= 1;
                let answer = self.checked("reconcile", ticket.attempts.len(), answer);
                self.note(answer.as_ref().err());
                match answer {
                    Err(error) => self.retry_or_answer(ticket, error),
                    Ok(truths) => {
                        self.queue.finish(&ticket);
                        let (executor, attempts) = (self.name(), ticket.attempts);
                        self.outgoing.push(HostEvent::Reconciled { executor, attempts, answer: Ok(truths) });
                    }
                }
            }
            Done::Listed(ticket, answer) => {
                self.others_under_way -= 1;
                self.note(answer.as_ref().err());
                match answer {
                    Err(error) => self.retry_or_answer(ticket, error),
                    Ok(attempts) => {
                        self.queue.finish(&ticket);
                        self.outgoing.push(HostEvent::Listed { executor: self.name(), answer: Ok(attempts) });
                    }
                }
            }
            Done::Told(ticket, answer) => {
                self.others_under_way -= 1;
                self.note(answer.as_ref().err());
                match answer {
                    Err(error) => self.retry_or_answer(ticket, error),
                    Ok(()) => self.answer_told(ticket, Ok(())),
                }
            }
        }
    }

    /// One part per attempt, or nothing of it is believed.
    fn checked<T>(
        &self,
        call: &'static str,
        asked: usize,
        answer: Result<Vec<T>, CallError>,
    ) -> Result<Vec<T>, CallError> {
        let parts = answer?;
        let got = parts.len();
        match got == asked {
            true => Ok(parts),
            false => Err(CallError::WrongAnswer { executor: self.name(), call, asked, got }),
        }
    }

    /// Draws the conclusions from a call that failed.
    fn note(&mut self, error: Option<&CallError>) {
        let Some(error) = error else { return };
        match error {
            CallError::BrokeDown { .. } | CallError::WrongAnswer { .. } => {
                self.faults.fetch_add(1, Ordering::Relaxed);
                tracing::error!(executor = %self.name(), %error, "executor at fault");
            }
            // One call may hang by itself; whether the back end is there is another question.
            CallError::TimedOut { .. } => self.probe(),
            _ if error.is_unreachable() => self.go_away(error.words()),
            _ => {}
        }
    }

    fn retry_or_answer(&mut self, mut ticket: Ticket, error: CallError) {
        ticket.tries += 1;
        let tries = match ticket.order {
            Order::Control(..) => self.limits.terminate_tries,
            _ => u32::MAX,
        };
        if error.is_unreachable() && ticket.order.is_patient() && ticket.tries < tries {
            let wait = Backoff::new(self.limits.first_wait, self.limits.longest_wait).after(ticket.tries);
            self.again.push((Instant::now() + wait, ticket));
        } else {
            self.answer_error(ticket, error);
        }
    }

    fn answer_error(&mut self, ticket: Ticket, error: CallError) {
        let executor = self.name();
        match ticket.order {
            Order::Control(..) | Order::Remove(_) => self.answer_told(ticket, Err(error)),
            Order::List => {
                self.queue.finish(&ticket);
                self.outgoing.push(HostEvent::Listed { executor, answer: Err(error) });
            }
            Order::Launch(_) => {
                self.queue.finish(&ticket);
                let (attempts, answer) = (ticket.attempts, Err(error));
                self.outgoing.push(HostEvent::LaunchAnswered { executor, attempts, answer });
            }
            Order::Reconcile(_) => {
                self.queue.finish(&ticket);
                let (attempts, answer) = (ticket.attempts, Err(error));
                self.outgoing.push(HostEvent::Reconciled { executor, attempts, answer });
            }
        }
    }

    fn answer_told(&mut self, ticket: Ticket, answer: Result<(), CallError>) {
        self.queue.finish(&ticket);
        let executor = self.name();
        self.outgoing.push(match ticket.order {
            Order::Control(attempt, action) => {
                HostEvent::ControlAnswered { executor, attempt, action, answer }
            }
            _ => HostEvent::Removed { executor, attempts: ticket.attempts, answer },
        });
    }
}

/// Waits for ever where nobody is listened to.
async fn next_chunk(listening: &mut Option<Listening>) -> Option<Vec<Report>> {
    match listening {
        Some(listening) => listening.chunks.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
