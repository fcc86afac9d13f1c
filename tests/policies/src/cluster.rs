//! A cluster around the real engine, in which time passes from one event to the next.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use berth_engine::{
    Abilities, Answer, Choice, Command as Order, Effect, Engine, Input, LaunchAnswer, NodeInfo,
    QuotaSettings, Reported, ReportedState, Settings,
};
use berth_model::{Attempt, Command, Exit, Grant, Identity, JobId, JobSpec, Resources, Submission, UtcMs};

use crate::planners::Planner;

const EXECUTOR: &str = "virtual";

/// When a workload begins, in milliseconds.
pub const BEGIN: u64 = 1_000_000;

/// A node.
#[derive(Clone, Debug)]
pub struct Machine {
    pub cpus: u64,
    pub memory_gib: u64,
    pub gpus: u32,
    /// Its label `kind`.
    pub kind: &'static str,
}

/// A job of a workload. Times in seconds.
#[derive(Clone, Debug)]
pub struct Job {
    pub submitted: u64,
    pub cpus: u64,
    pub memory_gib: u64,
    pub gpus: u32,
    /// Runs only on nodes of this kind.
    pub kind: Option<&'static str>,
    pub limit: Option<u64>,
    pub runs: u64,
    pub priority: i32,
    pub tasks: u32,
}

impl Job {
    /// A plain job that keeps to its limit.
    pub fn new(submitted: u64, cpus: u64, limit: u64, runs: u64) -> Self {
        let (memory_gib, gpus, kind, priority, tasks) = (0, 0, None, 0, 1);
        Self { submitted, cpus, memory_gib, gpus, kind, limit: Some(limit), runs, priority, tasks }
    }
}

/// A start: which job of the workload, on which node, and when, in milliseconds since the beginning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Begun {
    pub job: usize,
    pub at_ms: u64,
    pub node: String,
}

/// Plays a workload to its end; all starts, in their order.
pub fn play(machines: &[Machine], jobs: &[Job], planner: &mut dyn Planner) -> Vec<Begun> {
    let mut cluster = Cluster::new(machines, jobs, planner);
    cluster.run();
    let tasks: u64 = jobs.iter().map(|job| u64::from(job.tasks)).sum();
    assert_eq!(cluster.begun.len() as u64, tasks, "every task starts once");
    cluster.begun
}

enum Event {
    Submission(usize),
    End(JobId, Attempt),
}

struct Cluster<'a> {
    engine: Engine,
    planner: &'a mut dyn Planner,
    jobs: &'a [Job],
    now: u64,
    /// At one instant, submissions come first, then ends, each by itself.
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    wake_at: Option<UtcMs>,
    inbox: VecDeque<Vec<Input>>,
    numbers: BTreeMap<JobId, usize>,
    begun: Vec<Begun>,
}

impl<'a> Cluster<'a> {
    fn new(machines: &[Machine], jobs: &'a [Job], planner: &'a mut dyn Planner) -> Self {
        let quotas = QuotaSettings::default();
        let settings = Settings {
            cluster: "test".into(),
            starts_per_plan: 1000,
            choice: Choice::FirstFit,
            has_network_policy: false,
            asks_before_starts: false,
            quotas,
            site_resources: BTreeMap::new(),
        };
        let mut engine = Engine::new(settings);
        engine.add_executor(EXECUTOR);
        let node = |(number, machine): (usize, &Machine)| NodeInfo {
            name: format!("n{number}"),
            total: resources(machine.cpus, machine.memory_gib, machine.gpus),
            labels: BTreeMap::from([("kind".to_owned(), machine.kind.to_owned())]),
            named: BTreeMap::new(),
            usable: true,
        };
        let nodes = machines.iter().enumerate().map(node).collect();
        let abilities = Abilities {
            suspend: false,
            signal: false,
            time_limit: true,
            new_time_limit: false,
            queues: false,
        };
        let capacity = Input::Capacity { executor: EXECUTOR.into(), abilities, nodes };
        let submission = |(number, job): (usize, &Job)| {
            ((BEGIN + job.submitted * 1000, number as u64), Event::Submission(number))
        };
        Self {
            engine,
            planner,
            jobs,
            now: BEGIN,
            events: jobs.iter().enumerate().map(submission).collect(),
            next_event: jobs.len() as u64,
            wake_at: None,
            inbox: VecDeque::from([vec![capacity]]),
            numbers: BTreeMap::new(),
            begun: Vec::new(),
        }
    }

    fn run(&mut self) {
        for _ in 0..1_000_000 {
            while let Some(inputs) = self.inbox.pop_front() {
                self.step(inputs);
            }
            let next = self.events.first_key_value().map(|(&(at, _), _)| at);
            let Some(at) = next.into_iter().chain(self.wake_at.map(|at| at.0)).min() else { return };
            self.now = self.now.max(at);
            match self.events.first_entry().filter(|event| event.key().0 == at) {
                Some(event) => {
                    let input = match event.remove() {
                        Event::Submission(number) => self.submission(number),
                        Event::End(job, attempt) => self.end(job, attempt),
                    };
                    self.inbox.push_back(vec![input]);
                }
                None => self.inbox.push_back(vec![Input::Tick]),
            }
        }
        panic!("the workload does not come to its end");
    }

    fn step(&mut self, inputs: Vec<Input>) {
        let outcome = self.engine.step(UtcMs(self.now), inputs);
        self.wake_at = outcome.wake_at;
        for effect in outcome.effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { token, answer } => match answer {
                Ok(Answer::Submitted(id)) => {
                    self.numbers.insert(id, usize::try_from(token).unwrap());
                }
                other => panic!("job {token} was not taken: {other:?}"),
            },
            Effect::AskPlan(request) => {
                let plan = self.planner.plan(*request);
                self.inbox.push_back(vec![Input::Planned(plan)]);
            }
            Effect::Breach { words, .. } => panic!("a breach of contract: {words}"),
            Effect::Launch { orders, .. } => {
                for order in orders {
                    let id = order.task.map_or(order.job, |(array, _)| array);
                    self.launch(self.numbers[&id], order.job, order.attempt, order.node);
                }
            }
            _ => {}
        }
    }

    fn launch(&mut self, number: usize, job: JobId, attempt: Attempt, node: String) {
        self.begun.push(Begun { job: number, at_ms: self.now - BEGIN, node });
        let answer = LaunchAnswer::Taken;
        let running = self.report(job, attempt, ReportedState::Running);
        self.inbox.push_back(vec![Input::LaunchAnswered { job, attempt, answer }, running]);
        self.next_event += 1;
        let end = self.now + self.jobs[number].runs * 1000;
        self.events.insert((end, self.next_event), Event::End(job, attempt));
    }

    fn submission(&self, number: usize) -> Input {
        let spec = spec(number, &self.jobs[number]);
        let owner = Identity {
            user: "ada".into(),
            uid: 1000,
            gid: 1000,
            groups: vec![],
            home: None,
            email: None,
            roles: vec![],
        };
        let executor = EXECUTOR.to_owned();
        let submission = Arc::new(Submission { spec, owner, grant: Grant::default(), executor });
        let command = Order::Submit { submission, ended: vec![], by: "ada".into(), notes: vec![] };
        Input::Command { token: number as u64, command }
    }

    fn end(&self, job: JobId, attempt: Attempt) -> Input {
        let exit = Exit { code: Some(0), at: UtcMs(self.now), before_stop: true, ..Exit::default() };
        self.report(job, attempt, ReportedState::Exited(exit))
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

fn resources(cpus: u64, memory_gib: u64, gpus: u32) -> Resources {
    Resources { cpu_millis: cpus * 1000, memory_bytes: memory_gib << 30, gpus }
}

fn spec(number: usize, job: &Job) -> JobSpec {
    let kinds = job.kind.map(|kind| ("kind".to_owned(), kind.to_owned()));
    JobSpec {
        name: format!("job{number}"),
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
        resources: resources(job.cpus, job.memory_gib, job.gpus),
        named: BTreeMap::new(),
        asked_cpus: false,
        exclusive_cpus: false,
        time_limit: job.limit.map(Duration::from_secs),
        grace: Duration::from_secs(3600),
        array: (job.tasks > 1).then(|| format!("1-{}", job.tasks).parse().unwrap()),
        dependencies: vec![],
        hold: false,
        begin: None,
        priority: job.priority,
        volumes: vec![],
        ports: vec![],
        network: None,
        constraints: kinds.into_iter().collect(),
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
