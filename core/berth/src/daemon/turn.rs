//! The loop: take what waits, step, write in one transaction, and only then let the effects out.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use berth_config::NamedResource;
use berth_engine::{Abilities, Answer, Change, Effect, Engine, Input, Outcome, Token};
use berth_executor_host::{HostEvent, Registry};
use berth_model::{AttemptName, UtcMs};
use berth_policy_host::SchedulerEvent;
use berth_store::{Batch, Store, StoreError, Unmeasured};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    feed::Feed,
    gate::{Gate, Question},
    launches::Launches,
    memberships::Memberships,
    message::{CommandError, Inbox, Message},
    policies::{Policies, log_supervised},
    translate,
};

/// The most that one turn takes in.
const MOST_PER_TURN: usize = 4096;

/// How long a step waits for a plan that might come at once.
const PLAN_AT_ONCE: Duration = Duration::from_millis(1);

/// How long changes may wait for others where nobody outside waits for them.
const HELD_AT_MOST: Duration = Duration::from_millis(1);

/// The same while jobs end all the time: the last two ends are no older than this. Who runs one job after
/// the other does not wait for it.
const HELD_IN_FLOW: Duration = Duration::from_millis(5);

/// How long to wait before a transaction that failed is tried again.
const WRITE_AGAIN: Duration = Duration::from_millis(500);

/// Who waits for the answer to a command.
type Waiting = oneshot::Sender<Result<Answer, CommandError>>;

/// Everything that the loop owns.
pub struct Turn {
    pub(super) engine: Engine,
    pub(super) store: Arc<dyn Store>,
    pub(super) registry: Arc<Registry>,
    pub(super) policies: Arc<Policies>,
    pub(super) launches: Launches,
    pub(super) gate: Gate,
    pub(super) feed: Feed,
    pub(super) memberships: Arc<Memberships>,
    pub(super) inbox: Inbox,
    pub(super) cluster: String,
    /// The named resources of nodes, as berth.toml has them.
    pub(super) resources: Vec<NamedResource>,
    pub(super) stall: watch::Sender<Option<String>>,
    pub(super) waiting: HashMap<Token, Waiting>,
    /// Commands that are done when the executor says so.
    pub(super) asked: HashMap<AttemptName, Vec<Waiting>>,
    pub(super) next_token: Token,
    /// From the scheduler policy.
    pub(super) plans: mpsc::UnboundedReceiver<SchedulerEvent>,
    /// When the plan under way was asked for.
    pub(super) asked_at: Option<Instant>,
    /// How long the last one took.
    pub(super) plan_took: Duration,
    /// Changes from which no effect follows yet: they go into the next transaction.
    pub(super) held: Vec<Change>,
    /// Until when they may wait, if there are any.
    pub(super) held_until: Option<Instant>,
    /// What executors may forget once the held changes are durable.
    pub(super) forgotten: BTreeMap<String, Vec<AttemptName>>,
    /// Whether directories are measured.
    pub(super) measures: watch::Sender<bool>,
    /// Jobs whose directory is to be measured once the held changes are durable.
    pub(super) to_measure: Vec<Unmeasured>,
    /// To those who measure.
    pub(super) unmeasured: mpsc::UnboundedSender<Unmeasured>,
    /// When the last two jobs ended, the later one first.
    pub(super) last_ends: [Option<Instant>; 2],
}

/// What a turn takes in.
enum Taken {
    Messages(Vec<Message>),
    Host(Vec<HostEvent>),
    Plan(SchedulerEvent),
    Due,
    /// Held changes have waited long enough.
    Write,
    Closed,
}

impl Turn {
    /// Turns until `messages` is closed or `stop` says so.
    pub async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut host: mpsc::Receiver<HostEvent>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut wake_at = self.turn(Vec::new()).await;
        loop {
            let taken = tokio::select! {
                taken = take(&mut messages) => taken,
                taken = take_host(&mut host) => taken,
                Some(event) = self.plans.recv() => Taken::Plan(event),
                () = until(wake_at) => Taken::Due,
                () = held_long_enough(self.held_until) => Taken::Write,
                _ = stop.wait_for(|stop| *stop) => Taken::Closed,
            };
            let mut inputs: Vec<Input> = match taken {
                Taken::Messages(messages) => {
                    messages.into_iter().flat_map(|message| self.take(message)).collect()
                }
                Taken::Host(events) => events.into_iter().flat_map(|event| self.take_event(event)).collect(),
                Taken::Plan(event) => self.take_plan(event).into_iter().collect(),
                Taken::Due => vec![Input::Tick],
                Taken::Write => Vec::new(),
                Taken::Closed => return self.write_held().await,
            };
            self.take_what_waits(&mut inputs, &mut messages, &mut host);
            if inputs.is_empty() {
                if self.has_held_enough() {
                    self.write_held().await;
                }
            } else {
                wake_at = self.turn(inputs).await;
            }
        }
    }

    /// Adds what has arrived meanwhile, wherever from: one turn for all of it costs less than one for each.
    fn take_what_waits(
        &mut self,
        inputs: &mut Vec<Input>,
        messages: &mut mpsc::Receiver<Message>,
        host: &mut mpsc::Receiver<HostEvent>,
    ) {
        while inputs.len() < MOST_PER_TURN
            && let Ok(event) = host.try_recv()
        {
            inputs.extend(self.take_event(event));
        }
        while inputs.len() < MOST_PER_TURN
            && let Ok(message) = messages.try_recv()
        {
            inputs.extend(self.take(message));
        }
    }

    /// One step with all that follows from it; the instant at which the next one is due.
    ///
    /// A plan changes nothing outside, so it is asked for before the step is written; one that comes at
    /// once is taken into the same transaction. That saves a commit where jobs follow each other. So does it
    /// to hold changes from which nothing follows but that the back end may forget something: that a job
    /// runs, or has ended. The back end keeps that until it is told, and is asked about it after a crash.
    async fn turn(&mut self, inputs: Vec<Input>) -> Option<UtcMs> {
        let mut outcome = self.engine.step(now(), inputs);
        if self.ask_for_plan(&mut outcome)
            && let Some(input) = self.plan_at_once().await
        {
            let second = self.engine.step(now(), [input]);
            outcome.changes.extend(second.changes);
            outcome.effects.extend(second.effects);
            outcome.wake_at = second.wake_at;
            self.ask_for_plan(&mut outcome);
        }
        let measures = self.engine.measures_directories();
        self.measures.send_if_modified(|now| std::mem::replace(now, measures) != measures);
        let Outcome { changes, effects, wake_at } = outcome;
        let mut at_once = Vec::new();
        for effect in effects {
            match effect {
                Effect::Forget { executor, attempts } => {
                    self.forgotten.entry(executor).or_default().extend(attempts);
                }
                Effect::Measure { job, task, owner, project, after } => {
                    self.to_measure.push(Unmeasured { job, task, owner, project, after });
                }
                effect => at_once.push(effect),
            }
        }
        if !changes.is_empty() || !self.forgotten.is_empty() || !self.to_measure.is_empty() {
            self.hold();
            self.remember(&changes);
            self.held.extend(changes);
        }
        if !at_once.is_empty() || self.has_held_enough() {
            self.write_held().await;
        }
        for effect in at_once {
            self.carry_out(effect);
        }
        wake_at
    }

    /// Sets how long what is held may wait, where it is not set yet.
    fn hold(&mut self) {
        let now = Instant::now();
        let [_, last_but_one] = self.last_ends;
        let in_flow = last_but_one.is_some_and(|at| now.duration_since(at) <= HELD_IN_FLOW);
        let longest = if in_flow { HELD_IN_FLOW } else { HELD_AT_MOST };
        self.held_until.get_or_insert(now + longest);
    }

    fn has_held_enough(&self) -> bool {
        self.held_until.is_some_and(|until| until <= Instant::now())
    }

    /// Passes a request for a plan on; whether there was one that may start something.
    fn ask_for_plan(&mut self, outcome: &mut Outcome) -> bool {
        let asked = outcome.effects.iter().position(|effect| matches!(effect, Effect::AskPlan(_)));
        let Some(asked) = asked else { return false };
        let Effect::AskPlan(request) = outcome.effects.remove(asked) else { return false };
        let has_room = request.room.iter().any(|room| room.free.cpu_millis > 0);
        self.asked_at = Some(Instant::now());
        self.policies.scheduler.plan(*request);
        has_room
    }

    /// Waits a moment for the plan, unless the last one took longer than that.
    async fn plan_at_once(&mut self) -> Option<Input> {
        if self.plan_took > PLAN_AT_ONCE {
            return None;
        }
        let event = tokio::time::timeout(PLAN_AT_ONCE, self.plans.recv()).await.ok()??;
        self.take_plan(event)
    }

    fn take_plan(&mut self, event: SchedulerEvent) -> Option<Input> {
        if !matches!(event, SchedulerEvent::Supervised(_)) {
            self.plan_took = self.asked_at.take().map_or(self.plan_took, |at| at.elapsed());
        }
        scheduler_input(event)
    }

    fn remember(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Added { job, submission } => self.launches.remember(job.id, submission),
                Change::Altered { job, submission } => self.launches.remember(*job, submission),
                Change::Updated { job, now } if now.state.kind().is_end() => {
                    self.launches.forget(*job);
                    let [last, _] = self.last_ends;
                    self.last_ends = [Some(Instant::now()), last];
                }
                _ => {}
            }
        }
    }

    async fn write_held(&mut self) {
        self.held_until = None;
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.write(Batch::from(held)).await;
        }
        for job in self.to_measure.drain(..) {
            // Whoever measures is on its way out when it no longer listens.
            let _ = self.unmeasured.send(job);
        }
        for (executor, attempts) in std::mem::take(&mut self.forgotten) {
            if let Some(executor) = self.registry.get(&executor) {
                executor.remove(&attempts);
            }
        }
    }

    /// Writes until it is written: what the engine has decided cannot be taken back, and nothing of it
    /// may be acted upon before it is durable.
    async fn write(&mut self, batch: Batch) {
        let batch = Arc::new(batch);
        loop {
            match self.store.commit(Arc::clone(&batch)).await {
                Ok(committed) => {
                    self.stall.send_if_modified(|stall| stall.take().is_some());
                    self.feed.tell(&batch, committed);
                    return;
                }
                Err(error) => self.on_write_failed(&error).await,
            }
        }
    }

    async fn on_write_failed(&mut self, error: &StoreError) {
        if let StoreError::StandsBy { .. } = error {
            // Never again: this process begins anew as a stand-by.
            self.stall.send_replace(Some(error.to_string()));
            std::future::pending::<()>().await;
        }
        let words = format!("nothing can be stored at the moment: {error}");
        let first = self.stall.borrow().as_ref() != Some(&words);
        if first {
            tracing::error!(error = %error, "cannot write to the store; Berth waits until it can");
            self.stall.send_replace(Some(words));
        }
        tokio::time::sleep(WRITE_AGAIN).await;
    }

    fn take(&mut self, message: Message) -> Vec<Input> {
        match message {
            Message::Command { command, reply } => {
                self.next_token += 1;
                self.waiting.insert(self.next_token, reply);
                vec![Input::Command { token: self.next_token, command }]
            }
            Message::AskBeforeStarts(asks) => vec![Input::AskBeforeStarts(asks)],
            Message::Attached { job, attempt, answer } => vec![Input::Attached { job, attempt, answer }],
            Message::NotLaunched { job, attempt, words } => {
                let answer = berth_engine::LaunchAnswer::NoRoom(words);
                vec![Input::LaunchAnswered { job, attempt, answer }]
            }
            Message::Quotas(quotas) => vec![Input::Quotas(quotas)],
            Message::Look(look) => {
                look(&self.engine);
                Vec::new()
            }
        }
    }

    fn take_event(&mut self, event: HostEvent) -> Vec<Input> {
        if let HostEvent::ControlAnswered { attempt, answer, .. } = &event {
            self.on_control_answered(
                attempt,
                answer.as_ref().err().map(berth_executor_host::CallError::words),
            );
        }
        let registry = &self.registry;
        let abilities = |name: &str| {
            let executor = registry.get(name);
            executor.map_or_else(Abilities::default, |executor| {
                translate::abilities(&executor.description().capabilities)
            })
        };
        translate::inputs(&self.cluster, abilities, &self.resources, event)
    }

    fn on_control_answered(&mut self, attempt: &AttemptName, error: Option<String>) {
        let Some(waiting) = self.asked.get_mut(attempt) else { return };
        // Orders about one attempt are answered in the order that they were given in.
        let reply = (!waiting.is_empty()).then(|| waiting.remove(0));
        if waiting.is_empty() {
            self.asked.remove(attempt);
        }
        if let Some(reply) = reply {
            let _ = reply.send(error.map_or(Ok(Answer::Done), |words| Err(CommandError::Executor(words))));
        }
    }

    pub(super) fn reply(&mut self, token: Token, answer: Result<Answer, berth_engine::Refusal>) {
        if answer == Ok(Answer::Asked) {
            // The control effect of the same token has put it where the executor's answer finds it.
            return;
        }
        if let Some(reply) = self.waiting.remove(&token) {
            let _ = reply.send(answer.map_err(CommandError::Refused));
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { token, answer } => self.reply(token, answer),
            // Asked for before the step was written.
            Effect::AskPlan(_) => {}
            Effect::AccountSet { kind, name, terms, .. } => {
                self.memberships.set(kind, &name, terms.map(|terms| *terms));
            }
            Effect::Breach { snapshot, words } => self.policies.scheduler.breach(snapshot, words),
            Effect::AskStart { job, attempt, array, network } => {
                self.gate.ask(Question { job: *job, attempt, array, network });
            }
            Effect::ReleaseStart { job } => self.gate.release(job),
            Effect::Launch { executor, orders } => self.launch(&executor, orders),
            Effect::Control { executor, attempt, action, token } => {
                self.control(&executor, attempt, action, token);
            }
            Effect::Reconcile { executor, attempts } => self.reconcile(&executor, &attempts),
            Effect::List { executor } => {
                if let Some(executor) = self.registry.get(&executor) {
                    executor.list();
                }
            }
            // Held until the ends are durable.
            Effect::Forget { .. } | Effect::Measure { .. } => {}
        }
    }
}

fn scheduler_input(event: SchedulerEvent) -> Option<Input> {
    match event {
        SchedulerEvent::Planned(plan) => Some(Input::Planned(plan)),
        SchedulerEvent::Declined { snapshot, words } => {
            tracing::warn!(policy = "scheduler", reason = words.as_str(), "no plan");
            Some(Input::PlanFailed { snapshot })
        }
        SchedulerEvent::NeedsFullState { .. } => Some(Input::PolicyRebuilt),
        SchedulerEvent::Supervised(became) => {
            log_supervised("scheduler", &became);
            None
        }
    }
}

async fn take(messages: &mut mpsc::Receiver<Message>) -> Taken {
    let mut all = Vec::new();
    match messages.recv_many(&mut all, MOST_PER_TURN).await {
        0 => Taken::Closed,
        _ => Taken::Messages(all),
    }
}

async fn take_host(events: &mut mpsc::Receiver<HostEvent>) -> Taken {
    let mut all = Vec::new();
    match events.recv_many(&mut all, MOST_PER_TURN).await {
        // No executor can say anything any more; the loop goes on for those who ask.
        0 => std::future::pending().await,
        _ => Taken::Host(all),
    }
}

async fn held_long_enough(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<UtcMs>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(now())).await,
        None => std::future::pending().await,
    }
}

/// The present instant.
pub fn now() -> UtcMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UtcMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
