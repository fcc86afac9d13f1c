//! A site of many users around the real engine: they keep jobs waiting all the time, in virtual time, and the
//! engine can be killed between two instants and restored from what is durable.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use berth_engine::{
    Abilities, Answer, Change, Choice, Command as Order, Effect, Engine, Input, LaunchAnswer, LiveJob,
    NodeInfo, QuotaSettings, Reconciled, Reported, ReportedState, Restored, Settings, StoredAccount,
};
use berth_model::{
    AccountKind, AccountTerms, Attempt, Command, Exit, Grant, Identity, JobId, JobSpec, Resources,
    Submission, Used, UtcMs,
};

use crate::planners::Planner;

const EXECUTOR: &str = "virtual";
const HOUR_MS: u64 = 3_600_000;

/// When the site begins, in milliseconds.
pub const BEGIN: u64 = 1_000_000 * 3600;

/// A user in a project.
#[derive(Clone, Debug)]
pub struct Person {
    pub user: String,
    pub project: String,
}

/// A job that somebody submits.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub cpus: u64,
    pub memory_gib: u64,
    /// In milliseconds.
    pub runs: u64,
}

/// What a site is like.
pub struct Plot {
    pub nodes: Vec<u64>,
    /// What administrators set.
    pub accounts: Vec<(AccountKind, String, AccountTerms)>,
    pub quotas: QuotaSettings,
    pub people: Vec<Person>,
    /// How many jobs each has waiting, as long as there are any left to submit.
    pub waiting: usize,
    /// How many jobs there are in all.
    pub jobs: usize,
    /// The job that somebody submits as their so-and-so-manieth.
    pub work: fn(person: usize, job: usize) -> Work,
}

/// A start: who, which of their jobs by its number, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    pub person: usize,
    pub job: JobId,
    pub at_ms: u64,
}

/// What is durable.
#[derive(Default)]
struct Durable {
    next_id: JobId,
    live: BTreeMap<JobId, LiveJob>,
    hours: BTreeMap<(AccountKind, String), BTreeMap<u64, Used>>,
    terms: BTreeMap<(AccountKind, String), (u64, AccountTerms)>,
}

impl Durable {
    fn write(&mut self, change: Change) {
        match change {
            Change::Added { job, .. } => {
                self.live.insert(job.id, *job);
            }
            Change::Updated { job, now } => {
                if now.state.kind().is_end() {
                    self.live.remove(&job);
                } else {
                    self.live.get_mut(&job).unwrap().moving = *now;
                }
            }
            Change::Charged { kind, name, hour, used } => {
                self.hours.entry((kind, name)).or_default().insert(hour, used);
            }
            Change::Account { kind, name, version, terms } => {
                self.terms.insert((kind, name), (version, *terms.unwrap()));
            }
            Change::NextId(next) => self.next_id = next,
            Change::Event(_) => {}
            other => panic!("nobody here asks for {other:?}"),
        }
    }

    fn restored(&self) -> Restored {
        let whose = self.hours.keys().chain(self.terms.keys()).cloned();
        let whose: std::collections::BTreeSet<_> = whose.collect();
        let account = |(kind, name): (AccountKind, String)| {
            let key = (kind, name.clone());
            let hours =
                self.hours.get(&key).into_iter().flatten().map(|(&hour, &used)| (hour, used)).collect();
            StoredAccount { kind, name, terms: self.terms.get(&key).cloned(), hours }
        };
        Restored {
            next_id: self.next_id,
            live: self.live.values().cloned().collect(),
            accounts: whose.into_iter().map(account).collect(),
            ..Restored::default()
        }
    }

    /// What somebody has used within the period, and what their jobs may still use.
    fn used_and_kept(&self, kind: AccountKind, name: &str, now: u64, period_ms: u64) -> Used {
        let hours = self.hours.get(&(kind, name.to_owned())).into_iter().flatten();
        let used = hours.filter(|(hour, _)| (*hour + 1) * HOUR_MS + period_ms > now).map(|(_, used)| *used);
        let whose = |job: &&LiveJob| match kind {
            AccountKind::User => job.owner == name,
            _ => job.project == name,
        };
        let active = self.live.values().filter(whose).filter(|job| job.moving.state.attempt().is_some());
        let most = active.map(|job| Used::of(&job.needs, job.time_limit_ms.unwrap() + job.grace_ms));
        used.chain(most).sum()
    }
}

/// The site.
pub struct Site<'a> {
    plot: &'a Plot,
    engine: Engine,
    planner: Box<dyn Planner + 'a>,
    durable: Durable,
    now: u64,
    ends: BTreeMap<(u64, JobId), Attempt>,
    running: BTreeMap<JobId, Attempt>,
    inbox: VecDeque<Input>,
    wake_at: Option<UtcMs>,
    owners: BTreeMap<JobId, (usize, u64)>,
    submitted: Vec<usize>,
    left: usize,
    pub begun: Vec<Begun>,
    /// Core-milliseconds of each person, by when they ended.
    pub used: Vec<Vec<(u64, u64)>>,
}

impl<'a> Site<'a> {
    pub fn new(plot: &'a Plot, planner: Box<dyn Planner + 'a>) -> Self {
        let mut site = Self {
            plot,
            engine: Engine::new(settings(plot)),
            planner,
            durable: Durable::default(),
            now: BEGIN,
            ends: BTreeMap::new(),
            running: BTreeMap::new(),
            inbox: VecDeque::new(),
            wake_at: None,
            owners: BTreeMap::new(),
            submitted: vec![0; plot.people.len()],
            left: plot.jobs,
            begun: Vec::new(),
            used: vec![Vec::new(); plot.people.len()],
        };
        site.announce();
        for (kind, name, terms) in &plot.accounts {
            let (name, terms) = (name.clone(), Some(Box::new(terms.clone())));
            let command = Order::SetAccount { kind: *kind, name, by: "root".into(), version: 0, terms };
            site.inbox.push_back(Input::Command { token: u64::MAX, command });
        }
        site.settle();
        for _ in 0..plot.waiting {
            for person in 0..plot.people.len() {
                site.submit(person);
            }
        }
        site.settle();
        site
    }

    fn announce(&mut self) {
        self.engine.add_executor(EXECUTOR);
        let node = |(number, &cpus): (usize, &u64)| NodeInfo {
            name: format!("n{number}"),
            total: resources(cpus, 4 * cpus),
            labels: BTreeMap::new(),
            named: BTreeMap::new(),
            usable: true,
        };
        let nodes = self.plot.nodes.iter().enumerate().map(node).collect();
        let abilities = Abilities {
            suspend: false,
            signal: false,
            time_limit: true,
            new_time_limit: false,
            queues: false,
        };
        self.inbox.push_back(Input::Capacity { executor: EXECUTOR.into(), abilities, nodes });
    }

    /// Plays on as long as everybody has jobs waiting, who after that no longer ask for their share.
    pub fn run_while_all_wait(&mut self) {
        self.run_while(|site| site.left > 0);
    }

    /// Plays on until this instant.
    pub fn run_until(&mut self, until_ms: u64) {
        self.run_while(|site| site.left > 0 && site.next().is_some_and(|at| at < until_ms));
    }

    fn next(&self) -> Option<u64> {
        let end = self.ends.first_key_value().map(|(&(at, _), _)| at);
        end.into_iter().chain(self.wake_at.map(|at| at.0)).min()
    }

    fn run_while(&mut self, goes_on: impl Fn(&Self) -> bool) {
        while goes_on(self) {
            let Some(at) = self.next() else { return };
            self.now = self.now.max(at);
            let mut over = Vec::new();
            while let Some(entry) = self.ends.first_entry().filter(|entry| entry.key().0 <= at) {
                let ((_, job), attempt) = entry.remove_entry();
                over.push((job, attempt));
            }
            if over.is_empty() {
                self.inbox.push_back(Input::Tick);
            }
            for (job, attempt) in over {
                self.running.remove(&job);
                let (person, core_ms) = self.owners[&job];
                self.used[person].push((self.now, core_ms));
                let exit = Exit { code: Some(0), at: UtcMs(self.now), before_stop: true, ..Exit::default() };
                self.inbox.push_back(self.report(job, attempt, ReportedState::Exited(exit)));
                self.submit(person);
            }
            self.settle();
        }
    }

    /// Kills the engine and the policy, and goes on with new ones.
    pub fn crash(&mut self, planner: Box<dyn Planner + 'a>) {
        self.planner = planner;
        self.inbox.clear();
        self.engine = Engine::restore(settings(self.plot), self.durable.restored(), &[]);
        self.announce();
        self.settle();
    }

    /// How much of what each account may use it has used and may still use, where it has a limit on CPU time.
    fn check_quotas(&self) {
        for (kind, name, terms) in &self.plot.accounts {
            let Some(limit) = terms.limits.cpu_ms else { continue };
            let used = self.durable.used_and_kept(*kind, name, self.now, self.plot.quotas.period_ms);
            assert!(used.cpu_ms <= limit, "{kind} {name} has {} of {limit}", used.cpu_ms);
        }
    }

    fn settle(&mut self) {
        while !self.inbox.is_empty() {
            let outcome = self.engine.step(UtcMs(self.now), self.inbox.drain(..));
            for change in outcome.changes {
                self.durable.write(change);
            }
            self.wake_at = outcome.wake_at;
            for effect in outcome.effects {
                self.carry_out(effect);
            }
        }
        self.check_quotas();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { token, answer } => match answer {
                Ok(Answer::Submitted(id)) => {
                    let (person, number) = (token as usize >> 32, token as usize & 0xFFFF_FFFF);
                    let work = (self.plot.work)(person, number);
                    self.owners.insert(id, (person, work.cpus * work.runs));
                }
                Ok(_) => {}
                other => panic!("refused: {other:?}"),
            },
            Effect::AskPlan(request) => {
                let plan = self.planner.plan(*request);
                self.inbox.push_back(Input::Planned(plan));
            }
            Effect::Breach { words, .. } => panic!("a breach of contract: {words}"),
            Effect::Launch { orders, .. } => {
                for order in orders {
                    self.launch(order.job, order.attempt);
                }
            }
            Effect::Reconcile { attempts, .. } => {
                for (job, attempt) in attempts {
                    assert_eq!(self.running.get(&job), Some(&attempt), "only what runs is looked for");
                    let Input::Reported(truth) = self.report(job, attempt, ReportedState::Running) else {
                        unreachable!("a report is one");
                    };
                    let truth = Reconciled::Known(truth);
                    self.inbox.push_back(Input::Reconciled { job, attempt, truth });
                }
            }
            Effect::List { executor } => {
                let attempts = self.running.iter().map(|(&job, &attempt)| (job, attempt)).collect();
                self.inbox.push_back(Input::Listed { executor, attempts });
            }
            _ => {}
        }
    }

    fn launch(&mut self, job: JobId, attempt: Attempt) {
        let (person, _) = self.owners[&job];
        self.begun.push(Begun { person, job, at_ms: self.now });
        let answer = LaunchAnswer::Taken;
        self.inbox.push_back(Input::LaunchAnswered { job, attempt, answer });
        self.inbox.push_back(self.report(job, attempt, ReportedState::Running));
        self.running.insert(job, attempt);
        let runs = self.durable.live[&job].time_limit_ms.unwrap();
        self.ends.insert((self.now + runs, job), attempt);
    }

    fn submit(&mut self, person: usize) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let number = self.submitted[person];
        self.submitted[person] += 1;
        let work = (self.plot.work)(person, number);
        let who = &self.plot.people[person];
        let owner = Identity {
            user: who.user.clone(),
            uid: 1000,
            gid: 1000,
            groups: vec![],
            home: None,
            email: None,
            roles: vec![],
        };
        let spec = spec(&who.project, work);
        let grant = Grant::default();
        let submission = Arc::new(Submission { spec, owner, grant, executor: EXECUTOR.to_owned() });
        let command = Order::Submit { submission, ended: vec![], by: who.user.clone(), notes: vec![] };
        let token = (person as u64) << 32 | number as u64;
        self.inbox.push_back(Input::Command { token, command });
    }

    fn report(&self, job: JobId, attempt: Attempt, state: ReportedState) -> Input {
        let (executor, at) = (EXECUTOR.to_owned(), UtcMs(self.now));
        let (cpu_micros, memory_peak_bytes, message) = (None, None, None);
        Input::Reported(Reported {
            executor,
            job,
            attempt,
            state,
            at,
            cpu_micros,
            memory_peak_bytes,
            message,
        })
    }
}

fn settings(plot: &Plot) -> Settings {
    let quotas = plot.quotas.clone();
    Settings {
        cluster: "test".into(),
        starts_per_plan: 1000,
        choice: Choice::FirstFit,
        has_network_policy: false,
        asks_before_starts: false,
        quotas,
        site_resources: BTreeMap::new(),
    }
}

fn resources(cpus: u64, memory_gib: u64) -> Resources {
    Resources { cpu_millis: cpus * 1000, memory_bytes: memory_gib << 30, gpus: 0 }
}

fn spec(project: &str, work: Work) -> JobSpec {
    JobSpec {
        name: "job".into(),
        description: String::new(),
        tags: vec![],
        project: project.into(),
        class: None,
        executor: None,
        image: None,
        command: Command::Argv(vec!["true".into()]),
        env: BTreeMap::new(),
        workdir: None,
        output: None,
        error: None,
        resources: resources(work.cpus, work.memory_gib),
        named: BTreeMap::new(),
        asked_cpus: false,
        exclusive_cpus: false,
        time_limit: Some(Duration::from_millis(work.runs)),
        grace: Duration::ZERO,
        array: None,
        dependencies: vec![],
        hold: false,
        begin: None,
        priority: 0,
        volumes: vec![],
        ports: vec![],
        network: None,
        constraints: BTreeMap::new(),
        labels: BTreeMap::new(),
        scratch_bytes: 0,
        files: vec![],
        interactive: false,
        root: false,
        retry_on_node_failure: 0,
        avoid_failed_nodes: false,
        notices: None,
        extensions: BTreeMap::new(),
    }
}
