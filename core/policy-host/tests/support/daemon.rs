//! Stands where the daemon would: keeps a queue, answers `NeedsFullState`, and collects events.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use berth_engine::{NodeTold, PendingTold, PlacementTold, Plan, PlanRequest, Room, RunningTold, Told};
use berth_model::{JobId, Resources, UtcMs};
use berth_policy_host::{PolicyHost, PolicySpec, SchedulerEvent, SchedulerPolicy, Supervised};

pub const CPU: Resources = Resources { cpu_millis: 1000, memory_bytes: 0, gpus: 0 };

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Daemon {
    pub policy: SchedulerPolicy,
    pub host: PolicyHost,
    events: Receiver<SchedulerEvent>,
    pub became: Vec<Supervised>,
    pub pending: BTreeMap<u64, PendingTold>,
    cpus: u64,
    snapshot: u64,
    full: bool,
    told: Told,
    pub fulls: u32,
}

/// How a request was answered.
#[derive(Debug, PartialEq)]
pub enum Answered {
    Plan(Plan),
    Declined(String),
    NeedsFullState,
}

pub fn job(id: u64) -> PendingTold {
    PendingTold {
        id: JobId(id),
        owner: 0,
        project: 0,
        placement: 0,
        count: 1,
        needs: CPU,
        submitted: UtcMs(id),
        eligible: UtcMs(id),
        time_limit_ms: None,
        priority: 0,
    }
}

impl Daemon {
    pub fn start(host: &PolicyHost, spec: PolicySpec) -> Self {
        let (sender, events) = channel();
        let policy = SchedulerPolicy::spawn(host, spec, move |event| {
            let _ = sender.send(event);
        })
        .unwrap();
        Self {
            policy,
            host: host.clone(),
            events,
            became: Vec::new(),
            pending: BTreeMap::new(),
            cpus: 2,
            snapshot: 0,
            full: true,
            told: Told::default(),
            fulls: 0,
        }
    }

    /// Jobs become pending.
    pub fn submit(&mut self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            self.pending.insert(id, job(id));
            self.told.pending.push(job(id));
        }
    }

    /// Takes jobs back.
    pub fn withdraw(&mut self, id: u64) {
        self.pending.remove(&id);
        self.told.withdrawn.push(JobId(id));
    }

    pub fn set_cpus(&mut self, cpus: u64) {
        self.cpus = cpus;
    }

    fn everything(&self) -> Told {
        let total = Resources { cpu_millis: self.cpus * 1000, ..CPU };
        Told {
            full: true,
            names: vec!["name".to_owned()],
            nodes: vec![NodeTold { id: 0, name: 0, executor: 0, total, usable: true }],
            placements: vec![PlacementTold { id: 0, nodes: vec![0] }],
            pending: self.pending.values().copied().collect(),
            started: Vec::<RunningTold>::new(),
            ..Told::default()
        }
    }

    /// The next request, with what changed or with everything.
    pub fn request(&mut self) -> PlanRequest {
        self.snapshot += 1;
        let changed = std::mem::take(&mut self.told);
        let told = if self.full { self.everything() } else { changed };
        self.fulls += u32::from(self.full);
        self.full = false;
        let free = Resources { cpu_millis: self.cpus * 1000, ..CPU };
        PlanRequest {
            snapshot: self.snapshot,
            now: UtcMs(1_000_000 + self.snapshot),
            told,
            room: vec![Room { node: 0, free }],
            most: 100,
            pending_known: self.pending.len() as u64,
        }
    }

    /// Asks for one plan and waits for what becomes of the request.
    pub fn ask(&mut self) -> Answered {
        let request = self.request();
        self.policy.plan(request);
        self.answer()
    }

    /// Waits for the answer to the last request.
    pub fn answer(&mut self) -> Answered {
        loop {
            match self.next_event() {
                SchedulerEvent::Planned(plan) => {
                    assert_eq!(plan.snapshot, self.snapshot);
                    return Answered::Plan(plan);
                }
                SchedulerEvent::Declined { snapshot, words } => {
                    assert_eq!(snapshot, self.snapshot);
                    return Answered::Declined(words);
                }
                SchedulerEvent::NeedsFullState { snapshot: Some(snapshot) } => {
                    assert_eq!(snapshot, self.snapshot);
                    self.full = true;
                    return Answered::NeedsFullState;
                }
                SchedulerEvent::NeedsFullState { snapshot: None } => self.full = true,
                SchedulerEvent::Supervised(became) => self.became.push(became),
            }
        }
    }

    fn next_event(&mut self) -> SchedulerEvent {
        self.events.recv_timeout(PATIENCE).expect("the policy reports something")
    }

    /// Asks until there is a plan, and gives the jobs that it starts.
    pub fn starts(&mut self) -> Vec<u64> {
        for _ in 0..50 {
            if let Answered::Plan(plan) = self.ask() {
                return plan.starts.iter().map(|start| start.job.0).collect();
            }
        }
        panic!("no plan after 50 requests; {:?}", self.became);
    }

    /// Reports a breach and waits until the policy has taken note.
    pub fn breach(&mut self, snapshot: u64, words: &str) {
        self.policy.breach(snapshot, words);
        self.settle();
    }

    /// Loads another version, and waits until the policy knows that it is there.
    pub fn reload(&mut self, spec: PolicySpec) {
        self.policy.reload(&self.host.clone(), spec).unwrap();
        self.settle();
    }

    /// Waits until everything that was asked is done.
    pub fn settle(&mut self) {
        let _ = self.explain(0);
    }

    /// Asks why a job waits, and takes in the events up to then.
    pub fn explain(&mut self, job: u64) -> Option<String> {
        let (sender, words) = channel();
        self.policy.explain(UtcMs(1_000_000 + self.snapshot), JobId(job), move |words| {
            let _ = sender.send(words);
        });
        let words = words.recv_timeout(PATIENCE).unwrap();
        while let Ok(event) = self.events.try_recv() {
            match event {
                SchedulerEvent::Supervised(became) => self.became.push(became),
                SchedulerEvent::NeedsFullState { .. } => self.full = true,
                other => panic!("unexpected {other:?}"),
            }
        }
        words
    }

    pub fn snapshot(&self) -> u64 {
        self.snapshot
    }

    /// What became of the policy, by name.
    pub fn story(&self) -> Vec<&'static str> {
        let name = |became: &Supervised| match became {
            Supervised::Struck { .. } => "struck",
            Supervised::Benched { .. } => "benched",
            Supervised::Reloaded { .. } => "reloaded",
            Supervised::ReloadFailed { .. } => "reload failed",
            Supervised::RolledBack { .. } => "rolled back",
        };
        self.became.iter().map(name).collect()
    }

    /// The words of the last strike.
    pub fn last_words(&self) -> &str {
        let words = self.became.iter().rev().find_map(|became| match became {
            Supervised::Struck { words, .. } | Supervised::ReloadFailed { words, .. } => Some(words.as_str()),
            _ => None,
        });
        words.unwrap_or("no strike")
    }
}
