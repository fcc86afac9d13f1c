//! What the thread of a scheduler policy does with what it is asked.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use berth_engine::PlanRequest;
use berth_model::UtcMs;

use super::{Answer, Ask, SchedulerEvent, Session};
use crate::{
    Fault, Loaded, contract,
    fallback::FirstCome,
    limits::timed,
    supervise::{Supervised, Supervisor},
};

/// So many requests declined one after the other are a strike: jobs would wait for ever.
const MOST_DECLINED: u32 = 10;
/// Of so many plans it is remembered which version made them.
const PLANS_REMEMBERED: usize = 64;

pub(super) struct SchedulerThread {
    supervisor: Arc<Mutex<Supervisor>>,
    on_event: Box<dyn FnMut(SchedulerEvent) + Send>,
    /// What the current version has been told; `None` until the next full state.
    session: Option<Session>,
    /// Decides while the policy is benched, once it knows everything.
    fallback: Option<FirstCome>,
    /// A new version that waits for a full state.
    candidate: Option<Loaded>,
    /// Which version made which plan: `(snapshot, generation)`, no generation for the fallback.
    made: VecDeque<(u64, Option<u64>)>,
    declined: u32,
    now: UtcMs,
}

impl SchedulerThread {
    pub(super) fn new(
        supervisor: Arc<Mutex<Supervisor>>,
        on_event: Box<dyn FnMut(SchedulerEvent) + Send>,
    ) -> Self {
        Self {
            supervisor,
            on_event,
            session: None,
            fallback: None,
            candidate: None,
            made: VecDeque::new(),
            declined: 0,
            now: UtcMs::default(),
        }
    }

    pub(super) fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Plan(request) => self.on_plan(&request),
            Ask::Explain { now, job, explained } => {
                self.now = self.now.max(now);
                let words = self.explain(now, job);
                explained(words);
            }
            Ask::Breach { snapshot, words } => self.on_breach(snapshot, &words),
            Ask::Try(candidate) => {
                self.candidate = Some(candidate);
                self.tell(SchedulerEvent::NeedsFullState { snapshot: None });
            }
        }
    }

    fn on_plan(&mut self, request: &PlanRequest) {
        self.now = self.now.max(request.now);
        if request.told.full {
            // A full state is for an instance that knows nothing.
            self.session = None;
            self.fallback = None;
            if let Some(candidate) = self.candidate.take()
                && self.try_candidate(candidate, request)
            {
                return;
            }
        }
        if self.lock().benched().is_some() {
            self.fall_back(request);
        } else {
            self.ask_policy(request);
        }
    }

    fn ask_policy(&mut self, request: &PlanRequest) {
        let (answer, took) = timed(|| self.current_answer(request));
        match answer {
            Ok(None) => self.tell(SchedulerEvent::NeedsFullState { snapshot: Some(request.snapshot) }),
            Ok(Some(answer)) => self.on_answer(request.snapshot, answer, took),
            Err(fault) => {
                self.lock().called(took);
                self.on_fault(&fault, Some(request.snapshot));
            }
        }
    }

    /// `None` when there is nobody who knows enough to answer.
    fn current_answer(&mut self, request: &PlanRequest) -> Result<Option<Answer>, Fault> {
        if request.told.full {
            let loaded = self.lock().current().clone();
            self.session = Some(Session::open(&loaded)?);
        }
        let Some(session) = &mut self.session else { return Ok(None) };
        session.tell(&request.told, request.pending_known)?;
        session.plan(request).map(Some)
    }

    fn on_answer(&mut self, snapshot: u64, answer: Answer, took: Duration) {
        let memory_bytes = self.session.as_ref().map_or(0, Session::memory_bytes);
        match answer {
            Answer::Plan(plan) => {
                self.declined = 0;
                let generation = {
                    let mut supervisor = self.lock();
                    supervisor.answered(took, memory_bytes);
                    supervisor.generation()
                };
                self.remember(snapshot, Some(generation));
                self.tell(SchedulerEvent::Planned(plan));
            }
            Answer::Declined(words) => {
                self.lock().called(took);
                self.declined += 1;
                if self.declined < MOST_DECLINED {
                    self.tell(SchedulerEvent::Declined { snapshot, words });
                } else {
                    let words = format!("it had no plan {MOST_DECLINED} times in a row: {words}");
                    self.on_fault(&Fault::Breach { words }, Some(snapshot));
                }
            }
        }
    }

    /// The policy failed; `snapshot` is the request that gets no plan because of it.
    fn on_fault(&mut self, fault: &Fault, snapshot: Option<u64>) {
        self.session = None;
        self.declined = 0;
        if let Fault::Host { words } = fault {
            tracing::error!(words, "a call of the scheduler policy could not be served");
        } else {
            let now = self.now;
            let became = self.lock().strike(now, &fault.to_string());
            self.tell_all(became);
        }
        self.tell(SchedulerEvent::NeedsFullState { snapshot });
    }

    fn on_breach(&mut self, snapshot: u64, words: &str) {
        let generation = self.lock().generation();
        let made = self.made.iter().find(|(made, _)| *made == snapshot).map(|(_, by)| *by);
        match made {
            Some(Some(by)) if by == generation => {
                self.on_fault(&Fault::Breach { words: words.to_owned() }, None);
            }
            Some(None) => tracing::error!(snapshot, words, "the built-in order broke the contract"),
            _ => tracing::debug!(snapshot, words, "breach by a version that decides no more"),
        }
    }

    /// The built-in order answers in the place of a benched policy.
    fn fall_back(&mut self, request: &PlanRequest) {
        if request.told.full {
            self.fallback = Some(FirstCome::default());
        }
        let Some(fallback) = &mut self.fallback else {
            self.tell(SchedulerEvent::NeedsFullState { snapshot: Some(request.snapshot) });
            return;
        };
        fallback.tell(&request.told);
        let plan = fallback.plan(request);
        self.remember(request.snapshot, None);
        self.tell(SchedulerEvent::Planned(plan));
    }

    /// Shows a new version everything and asks it for one plan. Whether that plan answers the request.
    fn try_candidate(&mut self, candidate: Loaded, request: &PlanRequest) -> bool {
        let (tried, took) = timed(|| {
            let mut session = Session::open(&candidate)?;
            session.tell(&request.told, request.pending_known)?;
            let plan = match session.plan(request)? {
                Answer::Plan(plan) => plan,
                Answer::Declined(words) => {
                    return Err(Fault::Breach { words: format!("it has no plan: {words}") });
                }
            };
            contract::judge(request, &plan).map_err(|words| Fault::Breach { words })?;
            Ok((session, plan))
        });
        match tried {
            Ok((session, plan)) => {
                let became = self.lock().swap(candidate);
                self.session = Some(session);
                self.declined = 0;
                self.tell(SchedulerEvent::Supervised(became));
                self.on_answer(request.snapshot, Answer::Plan(plan), took);
                true
            }
            Err(fault) => {
                let became = self.lock().refuse(&candidate, &fault.to_string());
                self.tell(SchedulerEvent::Supervised(became));
                false
            }
        }
    }

    fn explain(&mut self, now: UtcMs, job: berth_model::JobId) -> Option<String> {
        if let Some(words) = self.lock().benched() {
            return Some(format!(
                "jobs start in order of arrival, since the scheduler policy is benched: {words}"
            ));
        }
        let session = self.session.as_mut()?;
        match session.explain(now, job) {
            Ok(words) => words,
            Err(fault) => {
                self.on_fault(&fault, None);
                None
            }
        }
    }

    fn remember(&mut self, snapshot: u64, by: Option<u64>) {
        if self.made.len() == PLANS_REMEMBERED {
            self.made.pop_front();
        }
        self.made.push_back((snapshot, by));
    }

    fn tell(&mut self, event: SchedulerEvent) {
        (self.on_event)(event);
    }

    fn tell_all(&mut self, became: Vec<Supervised>) {
        for became in became {
            self.tell(SchedulerEvent::Supervised(became));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Supervisor> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
