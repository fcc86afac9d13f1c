//! A whole site around the engine, naive and in memory: a store, a back end, a policy, and a network
//! between them that loses, doubles and delays what is said.

// Each test file uses its own part of it.
#![allow(dead_code, unused_imports)]
// A test that stops here has failed, and should.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

mod back_end;
mod policy;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use berth_engine::{
    Abilities, Answer, Change, Choice, Command as Order, Effect, Engine, Input, LaunchOrder, Measured,
    NodeInfo, Outcome, QuotaSettings, Refusal, Settings, StartAnswer, Token,
};
use berth_model::{
    AccountKind, AccountTerms, Attempt, AttemptName, Closure, ClosureKind, Command, Dependency, EventKind,
    Grant, Identity, JobEventRecord, JobId, JobSpec, NamedAmounts, NamedGrant, Resources, StateKind, Stock,
    StopCause, Submission, UtcMs,
};

pub use self::{
    back_end::BackEnd,
    policy::{Manner, Policy},
    store::Stored,
};

pub const CLUSTER: &str = "test";
pub const EXECUTOR: &str = "fake";

/// The site.
pub struct Site {
    pub engine: Engine,
    pub store: Stored,
    pub back_end: BackEnd,
    pub policy: Policy,
    /// What is on its way to the engine.
    pub inbox: Vec<Input>,
    pub now: UtcMs,
    pub acknowledged: Vec<JobId>,
    pub answers: BTreeMap<Token, Result<Answer, Refusal>>,
    pub breaches: Vec<String>,
    /// How often the policy was made to misbehave.
    pub misbehaved: usize,
    /// What each attempt was launched with.
    pub granted: BTreeMap<(JobId, u32), Vec<NamedGrant>>,
    /// Why each job that was asked to end was; kept to check ends against.
    pub stops_asked: BTreeMap<JobId, u32>,
    /// What the site sets about quotas.
    pub quotas: QuotaSettings,
    /// Whether jobs are asked about before they start, and how many were.
    pub asks: bool,
    asked: u32,
    /// Those that were let start and of which no release was heard.
    pub let_in: BTreeSet<JobId>,
    /// Directories that the engine wants measured: after which execution.
    pub to_measure: Vec<(JobId, u32)>,
    /// Whether limits are only ever set before anything is used.
    pub limits_are_old: bool,
    /// How nodes are chosen that plans leave open.
    choice: Choice,
    nodes: Vec<NodeInfo>,
    next_token: Token,
}

fn submission(user: &str, spec: JobSpec) -> Arc<Submission> {
    Arc::new(Submission {
        spec,
        owner: Identity {
            user: user.into(),
            uid: 1000,
            gid: 1000,
            groups: vec![],
            home: None,
            email: None,
            roles: vec![],
        },
        grant: Grant::default(),
        executor: EXECUTOR.into(),
    })
}

impl Site {
    /// A site with one node of so many CPUs and these quotas.
    pub fn with_quotas(cpus: u64, quotas: QuotaSettings) -> Self {
        let mut site = Self::with(&[cpus], BackEnd::default());
        site.set_quotas(quotas);
        site
    }

    /// Sets quotas before anything is used, and holds everybody to them from now on.
    pub fn set_quotas(&mut self, quotas: QuotaSettings) {
        self.limits_are_old = true;
        self.quotas = quotas.clone();
        self.feed(Input::Quotas(Box::new(quotas)));
    }

    /// Has somebody asked before jobs start who says no every now and then.
    pub fn ask_before_starts(&mut self) {
        self.asks = true;
        self.feed(Input::AskBeforeStarts(true));
    }

    /// A site with one node of so many CPUs, whose back end keeps what it has no room for.
    pub fn that_queues(cpus: u64) -> Self {
        let slots = usize::try_from(cpus).expect("a small number");
        Self::with(&[cpus], BackEnd::with_slots(slots))
    }

    /// A site whose back end holds attempts to their time limit, and perhaps takes up another one of what runs.
    pub fn that_limits(cpus: u64, takes_new_ones: bool) -> Self {
        Self::with(&[cpus], BackEnd::that_limits(takes_new_ones))
    }

    /// A site with nodes of these many CPUs.
    pub fn with_nodes(cpus: &[u64]) -> Self {
        Self::with(cpus, BackEnd::default())
    }

    /// Likewise, where each job goes to the node that is chosen so.
    pub fn that_chooses(choice: Choice, cpus: &[u64]) -> Self {
        Self::made(cpus, BackEnd::default(), choice)
    }

    fn with(cpus: &[u64], back_end: BackEnd) -> Self {
        Self::made(cpus, back_end, Choice::FirstFit)
    }

    fn made(cpus: &[u64], back_end: BackEnd, choice: Choice) -> Self {
        let node = |(number, &cpus): (usize, &u64)| NodeInfo {
            name: format!("n{number}"),
            total: Resources { cpu_millis: cpus * 1000, memory_bytes: 64 << 30, gpus: 0 },
            labels: BTreeMap::new(),
            named: node_resources(),
            usable: true,
        };
        let quotas = QuotaSettings::default();
        let mut engine = Engine::new(Settings { choice, ..settings(&quotas) });
        engine.add_executor(EXECUTOR);
        let mut site = Self {
            engine,
            store: Stored::default(),
            back_end,
            policy: Policy::default(),
            inbox: Vec::new(),
            now: UtcMs(1_000_000),
            acknowledged: Vec::new(),
            answers: BTreeMap::new(),
            breaches: Vec::new(),
            misbehaved: 0,
            granted: BTreeMap::new(),
            stops_asked: BTreeMap::new(),
            quotas,
            asks: false,
            asked: 0,
            let_in: BTreeSet::new(),
            to_measure: Vec::new(),
            limits_are_old: false,
            choice,
            nodes: cpus.iter().enumerate().map(node).collect(),
            next_token: 0,
        };
        site.announce();
        site.settle_all();
        site
    }

    fn announce(&mut self) {
        let queues = self.back_end.slots.is_some();
        let abilities = Abilities {
            suspend: true,
            signal: true,
            time_limit: self.back_end.takes_limits.is_some(),
            new_time_limit: self.back_end.takes_limits != Some(false),
            queues,
        };
        let nodes = self.nodes.clone();
        self.feed(Input::Capacity { executor: EXECUTOR.into(), abilities, nodes });
    }

    /// One input goes in, its changes become durable, its effects are carried out.
    pub fn feed(&mut self, input: Input) {
        let outcome = self.engine.step(self.now, [input]);
        self.settle(outcome, usize::MAX);
    }

    /// Writes the changes, and carries out the first `effects` of the effects.
    fn settle(&mut self, outcome: Outcome, effects: usize) {
        let mut starts = Vec::new();
        for change in outcome.changes {
            if let Change::Event(JobEventRecord { job, kind: EventKind::Starting { node, .. }, .. }) = &change
            {
                starts.push((*job, node.clone()));
            }
            self.store.write(change);
        }
        for (job, node) in starts {
            self.store.check_start(job, &node, self.now);
        }
        self.check_books();
        for effect in outcome.effects.into_iter().take(effects) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { token, answer } => {
                if let Ok(Answer::Submitted(id)) = answer {
                    self.acknowledged.push(id);
                }
                self.answers.insert(token, answer);
            }
            Effect::AccountSet { .. } => {}
            Effect::Measure { job, after, .. } => self.to_measure.push((job, after)),
            Effect::AskPlan(request) => {
                self.misbehaved += usize::from(self.policy.manner != Manner::Good);
                self.inbox.push(self.policy.plan(*request));
            }
            Effect::Breach { words, .. } => {
                self.breaches.push(words);
                self.inbox.push(Input::PolicyRebuilt);
            }
            Effect::Launch { orders, .. } => {
                for order in orders {
                    self.check_order(&order);
                    self.inbox.extend(self.back_end.launch(order.job, order.attempt, self.now));
                }
            }
            Effect::Control { attempt, action, .. } => {
                self.inbox.extend(self.back_end.control(&attempt, action, self.now));
            }
            Effect::Reconcile { attempts, .. } => {
                for (job, attempt) in attempts {
                    self.inbox.push(self.back_end.reconcile(job, attempt, self.now));
                }
            }
            Effect::List { executor } => {
                self.inbox.push(Input::Listed { executor, attempts: self.back_end.attempts() });
            }
            Effect::Forget { attempts, .. } => {
                for attempt in attempts {
                    self.check_may_be_forgotten(&attempt);
                    self.back_end.forget(&attempt);
                }
            }
            Effect::AskStart { job, attempt, .. } => {
                assert!(self.asks, "job {} is asked about, and nobody wants it", job.id);
                self.asked += 1;
                let answer = match self.asked % 4 {
                    0 => StartAnswer::NotNow("not now".into()),
                    _ => {
                        self.let_in.insert(job.id);
                        StartAnswer::Yes(None)
                    }
                };
                self.inbox.push(Input::Attached { job: job.id, attempt, answer });
            }
            Effect::ReleaseStart { job } => {
                self.let_in.remove(&job);
            }
        }
    }

    /// The engine is killed after it has taken in `input`: with its changes written and `effects` of the
    /// effects carried out, or with nothing written at all. Then it begins again from what is durable.
    pub fn crash(&mut self, input: Option<Input>, written: bool, effects: usize) {
        let outcome = self.engine.step(self.now, input);
        if written {
            self.settle(outcome, effects);
        }
        // What was on its way to the dead process is gone with it.
        self.inbox.clear();
        self.policy = Policy::default();
        let settings =
            Settings { asks_before_starts: self.asks, choice: self.choice, ..settings(&self.quotas) };
        self.engine = Engine::restore(settings, self.store.restore(), &self.store.ends());
        // Releases may have been lost with the process; the daemon begins with those that have a place.
        self.let_in = self.engine.launched().iter().map(|job| job.id).filter(|_| self.asks).collect();
        self.engine.add_executor(EXECUTOR);
        self.announce();
    }

    /// Delivers what is on its way until nothing is, oldest first.
    pub fn settle_all(&mut self) {
        for _ in 0..100_000 {
            if self.inbox.is_empty() {
                return;
            }
            let input = self.inbox.remove(0);
            self.feed(input);
        }
        panic!("the site does not come to rest; {} inputs are on their way", self.inbox.len());
    }

    /// Lets time pass and everything that is due happen.
    pub fn advance(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.feed(Input::Tick);
        self.settle_all();
    }

    /// Lets everything that runs end with `code`, until nothing runs or can start.
    pub fn run_dry(&mut self, code: i32) {
        for _ in 0..10_000 {
            self.settle_all();
            let reports = self.back_end.finish_all(code, self.now);
            if reports.is_empty() {
                self.advance(Duration::from_secs(120));
                if self.back_end.running().is_empty() {
                    return;
                }
            }
            self.inbox.extend(reports);
        }
        panic!("the site does not run dry");
    }

    pub fn command(&mut self, command: Order) -> Result<Answer, Refusal> {
        self.next_token += 1;
        let token = self.next_token;
        self.feed(Input::Command { token, command });
        self.answers.remove(&token).expect("a command is answered in its own step")
    }

    /// Closes nodes, or opens them again, over whatever version there is.
    pub fn close(
        &mut self,
        kind: ClosureKind,
        name: &str,
        terms: Option<Closure>,
    ) -> Result<Answer, Refusal> {
        let version = self.store.closures.get(&(kind, name.to_owned())).map_or(0, |(version, _)| *version);
        let (name, by) = (name.to_owned(), "root".to_owned());
        self.command(Order::SetClosure { kind, name, by, version, terms: terms.map(Box::new) })
    }

    /// Has nothing new start on a node.
    pub fn drain(&mut self, node: &str, until: Option<UtcMs>) {
        let closure = Closure { until, ..closure(&[node]) };
        self.close(ClosureKind::Drain, node, Some(closure)).expect("a drain is taken");
    }

    /// Why a job waits, in words.
    pub fn reasons(&self, job: JobId) -> Vec<String> {
        let view = self.engine.view(job).expect("a live job");
        view.reasons.iter().map(ToString::to_string).collect()
    }

    /// Where a job runs, or ran last.
    pub fn node(&self, job: JobId) -> Option<String> {
        self.store.job(job).expect("a job that is stored").moving.node
    }

    /// Ends a running job by itself.
    pub fn ends(&mut self, job: JobId, code: i32) {
        let reports = self.back_end.finish(&name(job, self.store.attempt(job)), code, self.now);
        self.inbox.extend(reports);
        self.settle_all();
    }

    /// Its node goes with what ran there.
    pub fn loses_its_node(&mut self, job: JobId) {
        let reports = self.back_end.lose(&name(job, self.store.attempt(job)), self.now);
        self.inbox.extend(reports);
        self.settle_all();
    }

    /// Sets an account over whatever version there is.
    pub fn set_account(
        &mut self,
        kind: AccountKind,
        name: &str,
        terms: Option<AccountTerms>,
    ) -> Result<Answer, Refusal> {
        let version = self.store.terms.get(&(kind, name.to_owned())).map_or(0, |(version, _)| *version);
        let (name, by) = (name.to_owned(), "root".to_owned());
        self.command(Order::SetAccount { kind, name, by, version, terms: terms.map(Box::new) })
    }

    pub fn try_submit(&mut self, job: JobSpec) -> Result<JobId, Refusal> {
        self.try_submit_as("ada", job)
    }

    pub fn try_submit_as(&mut self, user: &str, job: JobSpec) -> Result<JobId, Refusal> {
        let submission = submission(user, job);
        let ended = self.store.ends();
        match self.command(Order::Submit { submission, ended, by: user.into(), notes: vec![] })? {
            Answer::Submitted(id) => Ok(id),
            other => panic!("unexpected answer {other:?}"),
        }
    }

    pub fn submit_as(&mut self, user: &str, job: JobSpec) -> JobId {
        self.try_submit_as(user, job).expect("the job is accepted")
    }

    pub fn submit(&mut self, job: JobSpec) -> JobId {
        self.try_submit(job).expect("the job is accepted")
    }

    pub fn kill(&mut self, job: JobId) -> Result<Answer, Refusal> {
        *self.stops_asked.entry(job).or_default() += 1;
        self.command(Order::Kill { job, cause: StopCause::User { name: "ada".into() } })
    }

    pub fn rerun(&mut self, job: JobId) -> Result<Answer, Refusal> {
        *self.stops_asked.entry(job).or_default() += 1;
        let stored = self.store.job(job).map(Box::new);
        self.command(Order::Rerun { job, stored, altered: None, by: "ada".into(), notes: vec![] })
    }

    /// Runs an ended job again with something changed.
    pub fn rerun_with(&mut self, job: JobId, change: impl FnOnce(&mut JobSpec)) -> Result<Answer, Refusal> {
        let altered = Some(self.altered(job, change));
        let stored = self.store.job(job).map(Box::new);
        self.command(Order::Rerun { job, stored, altered, by: "ada".into(), notes: vec![] })
    }

    /// Tells what a job's directory takes, measured after this execution of it.
    pub fn measured(&mut self, job: JobId, after: u32, bytes: u64) {
        let stored = self.store.job(job).expect("a job that is stored");
        let (owner, project) = (stored.owner, stored.project);
        let sizes = vec![Measured { job, owner, project, after, bytes }];
        self.command(Order::Measured { sizes }).expect("measurements are taken");
    }

    /// Changes a job that waits.
    pub fn alter(&mut self, job: JobId, change: impl FnOnce(&mut JobSpec)) -> Result<Answer, Refusal> {
        let before = self.altered(job, |_| ());
        self.alter_what_was(job, before, change)
    }

    /// Changes what a job was when somebody looked at it.
    pub fn alter_what_was(
        &mut self,
        job: JobId,
        before: Arc<Submission>,
        change: impl FnOnce(&mut JobSpec),
    ) -> Result<Answer, Refusal> {
        let mut submission = (*before).clone();
        change(&mut submission.spec);
        let submission = Arc::new(submission);
        self.command(Order::Alter { job, before, submission, by: "ada".into(), notes: vec![] })
    }

    /// What a job asks for, with something changed.
    pub fn altered(&self, job: JobId, change: impl FnOnce(&mut JobSpec)) -> Arc<Submission> {
        let live = self.store.job(job).expect("a job that is stored");
        let mut spec = JobSpec {
            project: live.project,
            class: live.class,
            resources: live.needs,
            named: live.named,
            avoid_failed_nodes: live.avoid_failed_nodes,
            time_limit: live.time_limit_ms.map(Duration::from_millis),
            grace: Duration::from_millis(live.grace_ms),
            priority: live.moving.priority,
            array: live.array,
            ..self::job()
        };
        change(&mut spec);
        submission(&live.owner, spec)
    }

    /// Where a job stands, by what is durable.
    pub fn state(&self, job: JobId) -> StateKind {
        self.store.state(job).expect("the job is stored").kind()
    }

    /// What is durable never allocates more than there is.
    fn check_books(&self) {
        // Where the back end keeps a line, it is the one that holds to the room; an end may be reported
        // behind the start that it made room for.
        for node in self.nodes.iter().filter(|_| self.back_end.slots.is_none()) {
            let name = format!("{EXECUTOR}/{}", node.name);
            let used = self.store.allocated_on(&name);
            assert!(used.fits_in(&node.total), "{name} has {} and {used} is allocated", node.total);
        }
        for node in &self.nodes {
            self.store.check_named(&format!("{EXECUTOR}/{}", node.name), &node.named);
        }
        self.store.check_shared(&site_resources());
        self.store.check_array_bounds();
        let known: Vec<_> = self.engine.closures().into_iter().map(|view| view.closure).collect();
        assert_eq!(known, self.store.closures());
        self.check_in_use();
        if self.limits_are_old {
            self.store.check_quotas(self.now, &self.quotas);
        }
    }

    /// What the engine has in its books is what is durable, but for what waits in a back end's line.
    fn check_in_use(&self) {
        let mut names: BTreeSet<(AccountKind, String)> = BTreeSet::new();
        for job in self.store.jobs() {
            names.insert((AccountKind::User, job.owner.clone()));
            names.insert((AccountKind::Project, job.project.clone()));
            if let Some(class) = &job.class {
                names.insert((AccountKind::Class, class.clone()));
                names.insert((AccountKind::ClassUser, format!("{class}/{}", job.owner)));
            }
        }
        for (kind, name) in names {
            let (durable, known) = (self.store.in_use(kind, &name), self.engine.standing(kind, &name).in_use);
            match self.back_end.slots {
                None => assert_eq!(known, durable, "{kind} {name}"),
                Some(_) => assert_eq!(known.disk_bytes, durable.disk_bytes, "{kind} {name}"),
            }
        }
    }

    /// What is launched has the very units that are durable, with their devices.
    fn check_order(&mut self, order: &LaunchOrder) {
        let job = self.store.job(order.job).expect("only stored jobs are launched");
        let bare = |grant: &NamedGrant| NamedGrant { devices: Vec::new(), ..grant.clone() };
        let told: Vec<NamedGrant> = order.granted.iter().map(bare).collect();
        assert_eq!(told, job.moving.granted, "job {} is launched with other units than it has", order.job);
        for grant in order.granted.iter().filter(|grant| grant.name == GPU) {
            let devices: Vec<String> = grant.units.iter().map(|unit| format!("/dev/gpu{unit}")).collect();
            assert_eq!(grant.devices, devices);
        }
        self.granted.insert((order.job, order.attempt.number), order.granted.clone());
    }

    /// A back end may only forget what is over for good, by what is durable.
    fn check_may_be_forgotten(&self, name: &AttemptName) {
        let (job, attempt) = AttemptName::parse(CLUSTER, name.as_str()).expect("an attempt's name");
        let state = self.store.state(job).expect("only stored jobs have attempts");
        assert!(
            state.attempt() != Some(attempt),
            "attempt {name} is to be forgotten while its job is {state:?}"
        );
    }
}

/// A resource of which each node has two units.
pub const GPU: &str = "gpu_10.5";
/// A resource of which each node has three, all alike.
pub const SCRATCH: &str = "scratch";
/// A resource of which there are two for all nodes.
pub const LICENCE: &str = "licence";

fn node_resources() -> BTreeMap<String, Stock> {
    let units = (0..2).map(|unit| (unit, vec![format!("/dev/gpu{unit}")])).collect();
    BTreeMap::from([(GPU.to_owned(), Stock::Units(units)), (SCRATCH.to_owned(), Stock::Sum(3))])
}

fn site_resources() -> NamedAmounts {
    BTreeMap::from([(LICENCE.to_owned(), 2)])
}

/// A job of one CPU that needs named resources, too.
pub fn with_named(named: &[(&str, u64)]) -> JobSpec {
    let named = named.iter().map(|&(name, amount)| (name.to_owned(), amount)).collect();
    JobSpec { named, ..job() }
}

fn settings(quotas: &QuotaSettings) -> Settings {
    let cluster = CLUSTER.into();
    Settings {
        cluster,
        starts_per_plan: 100,
        choice: Choice::FirstFit,
        has_network_policy: false,
        asks_before_starts: false,
        quotas: quotas.clone(),
        site_resources: site_resources(),
    }
}

/// A job of one CPU.
pub fn job() -> JobSpec {
    JobSpec {
        name: "job".into(),
        description: String::new(),
        tags: vec![],
        project: "default".into(),
        class: None,
        executor: None,
        image: None,
        command: Command::Argv(vec!["true".into()]),
        env: BTreeMap::new(),
        workdir: None,
        output: None,
        error: None,
        resources: Resources { cpu_millis: 1000, memory_bytes: 0, gpus: 0 },
        named: BTreeMap::new(),
        asked_cpus: false,
        exclusive_cpus: false,
        time_limit: None,
        grace: Duration::from_secs(10),
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

/// What closes these nodes to everybody for ever.
pub fn closure(nodes: &[&str]) -> Closure {
    Closure {
        nodes: nodes.iter().map(|node| node.parse().expect("a pattern")).collect(),
        from: None,
        until: None,
        users: BTreeSet::new(),
        projects: BTreeSet::new(),
        reason: "new disks".into(),
        by: "root".into(),
    }
}

pub fn cpus(count: u64) -> JobSpec {
    JobSpec { resources: Resources { cpu_millis: count * 1000, memory_bytes: 0, gpus: 0 }, ..job() }
}

pub fn array(range: &str) -> JobSpec {
    JobSpec { array: Some(range.parse().expect("a range")), ..job() }
}

pub fn after(dependencies: Vec<Dependency>) -> JobSpec {
    JobSpec { dependencies, ..job() }
}

pub fn name(job: JobId, attempt: Attempt) -> AttemptName {
    AttemptName::new(CLUSTER, job, attempt)
}
