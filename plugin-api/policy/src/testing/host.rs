//! The host's part in the conversation with a scheduler policy.

use std::collections::BTreeMap;

use super::{Breach, JobBuilder, books::Books};
use crate::{
    Error, Held, InstantMs, JobId, NameId, NodeId, NodeRoom, PendingJob, Scheduler, Setting,
    scheduler::{Node, Placement, Plan, RunningJob},
};

/// Tasks get numbers from here on when they start.
const FIRST_TASK: JobId = 1 << 40;

/// Drives one policy as Berth would: tells what changes, asks for plans, and carries them out.
#[derive(Debug)]
pub struct Host<S> {
    policy: Held<S>,
    settings: Vec<Setting>,
    names: Vec<String>,
    books: Books,
    next_task: JobId,
    /// How many tasks a plan may start.
    pub most: u32,
}

/// What a plan led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// The plan.
    pub plan: Plan,
    /// What runs since: the number of the job or task, that of the job or array, and the node.
    pub running: Vec<(JobId, JobId, NodeId)>,
}

impl Started {
    /// The jobs of which something starts, most urgent first.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobId> {
        self.plan.starts.iter().map(|start| start.job).collect()
    }

    /// How many jobs were passed over.
    #[must_use]
    pub fn passed_over(&self) -> u64 {
        self.plan.passed_over.iter().map(|class| class.jobs).sum()
    }
}

impl<S: Scheduler> Host<S> {
    /// A policy with these settings.
    ///
    /// # Errors
    /// What it says against them.
    pub fn new(settings: &[(&str, &str)]) -> Result<Self, Error> {
        let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
        let settings: Vec<Setting> = settings.iter().map(setting).collect();
        let policy = Held::new();
        policy.configure(settings.clone(), S::configure)?;
        let (names, books) = (Vec::new(), Books::default());
        Ok(Self { policy, settings, names, books, next_task: FIRST_TASK, most: 10_000 })
    }

    fn tell(&self, told: impl FnOnce(&mut S)) {
        self.policy.ask(told).expect("the policy is configured");
    }

    /// Names that are new; the first one ever has the number 0.
    pub fn names<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let first = NameId::try_from(self.names.len()).expect("fewer names than that");
        self.names.extend(names.iter().cloned());
        self.tell(|policy| policy.names(first, names));
    }

    /// Nodes that are new or have changed. Placement 0 stands for all of them.
    pub fn nodes(&mut self, nodes: impl IntoIterator<Item = Node>) {
        let nodes: Vec<Node> = nodes.into_iter().collect();
        self.books.nodes.extend(nodes.iter().map(|node| (node.id, node.clone())));
        self.tell(|policy| policy.nodes(nodes));
        let all: Vec<NodeId> = self.books.nodes.keys().copied().collect();
        self.placement(0, all);
    }

    /// The nodes that jobs with this placement may run on.
    pub fn placement(&mut self, id: u32, nodes: impl IntoIterator<Item = NodeId>) {
        let nodes: Vec<NodeId> = nodes.into_iter().collect();
        self.books.placements.insert(id, nodes.clone());
        self.tell(|policy| policy.placements(vec![Placement { id, nodes }]));
    }

    /// Jobs that became eligible or changed.
    pub fn submit(&mut self, jobs: impl IntoIterator<Item = JobBuilder>) {
        let jobs: Vec<_> = jobs.into_iter().map(JobBuilder::build).collect();
        self.books.pending.extend(jobs.iter().map(|job| (job.id, *job)));
        self.tell(|policy| policy.pending(jobs));
    }

    /// Jobs that are held, or have ended without a start.
    pub fn withdraw(&mut self, jobs: impl IntoIterator<Item = JobId>) {
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        for job in &jobs {
            self.books.pending.remove(job);
        }
        self.tell(|policy| policy.withdrawn(jobs));
    }

    /// Running jobs or tasks that end.
    pub fn end(&mut self, jobs: impl IntoIterator<Item = JobId>) {
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        for job in &jobs {
            self.books.running.remove(job);
        }
        self.tell(|policy| policy.ended(jobs));
    }

    /// All jobs that wait, as they were told last, in the order of their numbers.
    pub fn waiting(&self) -> impl Iterator<Item = &PendingJob> {
        self.books.pending.values()
    }

    /// The numbers of all jobs and tasks that run.
    #[must_use]
    pub fn running(&self) -> Vec<JobId> {
        self.books.running.keys().copied().collect()
    }

    /// What is free on every usable node.
    #[must_use]
    pub fn room(&self) -> Vec<NodeRoom> {
        self.books.room()
    }

    /// Why a job has not started, as the policy tells its user.
    pub fn explain(&self, now_ms: InstantMs, job: JobId) -> Option<String> {
        self.policy.ask(|policy| policy.explain(now_ms, job)).flatten()
    }

    /// Asks for a plan, checks it, and carries it out.
    ///
    /// # Errors
    /// How the plan breaks the contract. Nothing is carried out then.
    pub fn turn(&mut self, now_ms: InstantMs) -> Result<Started, Breach> {
        let plan = self.ask(&self.policy, now_ms)?;
        let placed = self.books.place(&plan, self.most)?;
        for rejection in &plan.rejections {
            self.withdraw([rejection.job]);
        }
        let mut running = Vec::new();
        let mut taken: BTreeMap<JobId, u32> = BTreeMap::new();
        for (job, node) in placed {
            *taken.entry(job).or_default() += 1;
            running.push(self.start(now_ms, job, node));
        }
        for (job, tasks) in taken {
            self.take(job, tasks);
        }
        Ok(Started { plan, running })
    }

    fn ask(&self, policy: &Held<S>, now_ms: InstantMs) -> Result<Plan, Breach> {
        let are = self.books.pending.len() as u64;
        let says = policy.ask(S::known).unwrap_or_default();
        if says != are {
            return Err(Breach::Len { says, are });
        }
        policy.try_ask(|policy| policy.plan(now_ms, self.room(), self.most)).map_err(|error| match error {
            Error::BadSettings(words) | Error::Other(words) => Breach::NoPlan(words),
        })
    }

    fn start(&mut self, now_ms: InstantMs, job: JobId, node: NodeId) -> (JobId, JobId, NodeId) {
        let Some(told) = self.books.pending.get(&job) else { return (job, job, node) };
        // A plain job keeps its number; a task gets one.
        let is_array = told.count > 1 || self.books.running.values().any(|other| other.array == Some(job));
        let id = if is_array { self.next_task } else { job };
        self.next_task += u64::from(is_array);
        let running = RunningJob {
            id,
            array: is_array.then_some(job),
            owner: told.owner,
            project: told.project,
            node,
            needs: told.needs,
            started_ms: now_ms,
            ends_ms: told.time_limit_ms.map(|limit| now_ms.saturating_add(limit)),
        };
        self.books.running.insert(id, running);
        self.tell(|policy| policy.started(vec![running]));
        (id, job, node)
    }

    fn take(&mut self, job: JobId, tasks: u32) {
        let Some(told) = self.books.pending.get_mut(&job) else { return };
        told.count -= tasks;
        if told.count == 0 {
            self.withdraw([job]);
        } else {
            let told = *told;
            self.tell(|policy| policy.pending(vec![told]));
        }
    }

    /// Checks that a fresh instance, told the full state, plans the same. A policy that keeps nothing but a
    /// cache passes.
    ///
    /// # Errors
    /// [`Breach::Forgetful`], or how one of the two plans breaks the contract.
    pub fn check_fresh(&self, now_ms: InstantMs) -> Result<(), Breach> {
        let fresh = Held::new();
        fresh.configure(self.settings.clone(), S::configure).map_err(|_| Breach::Forgetful)?;
        let books = self.books.clone();
        let placements = books.placements.into_iter().map(|(id, nodes)| Placement { id, nodes });
        fresh.ask(|policy: &mut S| {
            policy.names(0, self.names.clone());
            policy.nodes(books.nodes.into_values().collect());
            policy.placements(placements.collect());
            policy.pending(books.pending.into_values().collect());
            policy.started(books.running.into_values().collect());
        });
        let (told, known) = (self.ask(&fresh, now_ms)?, self.ask(&self.policy, now_ms)?);
        if told == known { Ok(()) } else { Err(Breach::Forgetful) }
    }
}
