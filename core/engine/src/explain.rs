//! Why jobs wait, and how full the nodes are.

use std::collections::BTreeMap;

use berth_model::{AttemptName, Hold, JobId, JobState, Resources, UtcMs, WaitReason};

use crate::{
    ClosureView, Engine, NodeId, Spell,
    job::{Job, Kind},
    pools::Pools,
};

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What the engine knows of a live job beyond what is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveView {
    /// All reasons that it has not started, with their evidence; empty when it has.
    pub reasons: Vec<WaitReason>,
    /// When the last plan expects it to start.
    pub expected_start: Option<UtcMs>,
    /// What it has waited for while it might have started, oldest first; the last one goes on.
    pub spells: Vec<Spell>,
    /// Whether the scheduler policy may have more to say about it.
    pub ask_policy: bool,
}

/// A node and how full it is.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeView {
    /// Its executor's name in berth.toml.
    pub executor: String,
    /// Its name within the executor.
    pub name: String,
    /// What may be allocated.
    pub total: Resources,
    /// What is allocated.
    pub used: Resources,
    /// How many jobs hold something of it.
    pub jobs: u32,
    /// Whether new jobs may go there.
    pub open: bool,
    /// The executor's words, while it is away.
    pub away: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its named resources.
    pub named: Vec<NamedView>,
    /// What closes it, or will.
    pub closures: Vec<ClosureView>,
}

/// How much there is of a named resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedView {
    /// Its name.
    pub name: String,
    /// How much there is.
    pub total: u64,
    /// How much is held.
    pub used: u64,
}

/// A running job, as watchers are shown it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningView {
    /// Its number.
    pub id: JobId,
    /// The execution.
    pub attempt: AttemptName,
    /// The array and the index in it, for a task.
    pub task: Option<(JobId, u64)>,
    /// Its executor's name in berth.toml.
    pub executor: String,
    /// The node's name, `EXECUTOR/NODE`.
    pub node: String,
    /// Its owner.
    pub owner: String,
    /// Its project.
    pub project: String,
    /// What it has.
    pub needs: Resources,
    /// When it started.
    pub started: UtcMs,
    /// Since when it has run without a break: its start, or when it was resumed last.
    pub active_since: UtcMs,
    /// It is suspended.
    pub suspended: bool,
    /// The longest it may run, in milliseconds.
    pub time_limit_ms: Option<u64>,
    /// How many executions of it were over before this one.
    pub runs_over: u32,
}

/// A job that has a place.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchedView {
    /// Its number.
    pub id: JobId,
    /// The node's name, `EXECUTOR/NODE`.
    pub node: String,
    /// Its owner.
    pub owner: String,
    /// Its project.
    pub project: String,
    /// What it has.
    pub needs: Resources,
    /// The longest it may run, in milliseconds.
    pub time_limit_ms: Option<u64>,
}

impl Engine {
    /// The jobs that run or are suspended, in rising order.
    #[must_use]
    pub fn running(&self) -> Vec<RunningView> {
        let view = |id: JobId, job: &Job| {
            let (attempt, suspended) = match job.state {
                JobState::Running { attempt } => (attempt, false),
                JobState::Suspended { attempt } => (attempt, true),
                _ => return None,
            };
            let run = job.run.as_ref()?;
            let started = run.started?;
            let task = match job.kind {
                Kind::Task { array, position } => Some((array, self.index(array, position)?)),
                Kind::Plain | Kind::Array(_) => None,
            };
            Some(RunningView {
                id,
                attempt: self.attempt_name(id, attempt),
                task,
                executor: self.executor_of(id),
                node: self.node_name(run.node),
                owner: self.names.name(job.owner).to_owned(),
                project: self.names.name(job.project).to_owned(),
                needs: job.needs,
                started,
                active_since: run.resumed.map_or(started, |resumed| resumed.max(started)),
                suspended,
                time_limit_ms: job.time_limit_ms,
                runs_over: attempt.number.saturating_sub(1),
            })
        };
        let mut running: Vec<RunningView> = self.jobs.iter().filter_map(|(&id, job)| view(id, job)).collect();
        running.sort_unstable_by_key(|view| view.id);
        running
    }

    /// Jobs that have a place, in rising order.
    #[must_use]
    pub fn launched(&self) -> Vec<LaunchedView> {
        let mut launched: Vec<LaunchedView> =
            self.jobs.iter().filter_map(|(&id, job)| self.launched_view(id, job)).collect();
        launched.sort_unstable_by_key(|view| view.id);
        launched
    }

    pub(crate) fn launched_view(&self, id: JobId, job: &Job) -> Option<LaunchedView> {
        let run = job.run.as_ref().filter(|_| job.state.attempt().is_some())?;
        Some(LaunchedView {
            id,
            node: self.node_name(run.node),
            owner: self.names.name(job.owner).to_owned(),
            project: self.names.name(job.project).to_owned(),
            needs: job.needs,
            time_limit_ms: job.time_limit_ms,
        })
    }

    /// How many jobs, arrays and expanded tasks are live.
    #[must_use]
    pub fn live_jobs(&self) -> usize {
        self.jobs.len()
    }

    /// What is known of a live job; `None` for one that is not, or a task that is not a job yet.
    #[must_use]
    pub fn view(&self, id: JobId) -> Option<LiveView> {
        let job = self.jobs.get(&id)?;
        let reasons = self.reasons(id, job);
        let ask_policy = match (&job.kind, &job.state) {
            (_, JobState::Pending) => true,
            (Kind::Array(array), JobState::Running { .. }) => array.startable() > 0,
            _ => false,
        };
        let waits = match (&job.kind, &job.state) {
            (_, JobState::Pending) => true,
            (Kind::Array(array), JobState::Running { .. }) => array.peek().is_some(),
            _ => false,
        };
        let spells = if waits { self.spells(job) } else { Vec::new() };
        let expected_start = self.telling.expected.get(&id).copied();
        Some(LiveView { reasons, expected_start, spells, ask_policy })
    }

    fn reasons(&self, id: JobId, job: &Job) -> Vec<WaitReason> {
        let mut reasons = Vec::new();
        match &job.state {
            JobState::Held { holds } => {
                for hold in holds.iter() {
                    self.hold_reasons(job, hold, &mut reasons);
                }
            }
            JobState::Pending => self.pending_reasons(id, job, &mut reasons),
            JobState::Running { .. } if job.array().is_some_and(|array| array.peek().is_some()) => {
                self.pending_reasons(id, job, &mut reasons);
            }
            _ => {}
        }
        reasons
    }

    fn hold_reasons(&self, job: &Job, hold: Hold, reasons: &mut Vec<WaitReason>) {
        let rare = job.rare.as_deref();
        match hold {
            Hold::BeginTime => {
                reasons.extend(rare.and_then(|rare| rare.begin).map(|begin| WaitReason::BeginTime { begin }));
            }
            Hold::Dependency => {
                for dependency in rare.into_iter().flat_map(|rare| &rare.dependencies) {
                    let state = self.jobs.get(&dependency.on).map(|job| job.state.kind());
                    let kind = dependency.kind.as_str().to_owned();
                    reasons.push(WaitReason::Dependency { on: dependency.on, state, kind });
                }
            }
            Hold::User | Hold::Administrator | Hold::Inputs => reasons.push(WaitReason::Held { hold }),
        }
    }

    fn pending_reasons(&self, id: JobId, job: &Job, reasons: &mut Vec<WaitReason>) {
        let executor = self.nodes.executor_of(job.placement);
        let name = || self.names.name(executor).to_owned();
        match self.nodes.executor(executor) {
            Some(state) if !state.known => reasons.push(WaitReason::Unreachable {
                executor: name(),
                words: state.away.clone().unwrap_or_else(|| "it has not reported its nodes yet".into()),
            }),
            Some(state) => {
                let away = state.away.clone();
                reasons.extend(away.map(|words| WaitReason::Unreachable { executor: name(), words }));
            }
            None => {}
        }
        if let Some((account, words)) = self.quota_reason(job, id) {
            reasons.push(WaitReason::Quota { account, words });
        }
        if let Some(words) = job.rare.as_ref().and_then(|rare| rare.given_back.clone()) {
            reasons.push(WaitReason::GivenBack { words });
        }
        if let Some(array) = job.array()
            && let Some(at_once) = array.range.at_once().filter(|_| array.startable() == 0)
        {
            reasons.push(WaitReason::ArrayBound { at_once });
        }
        let closed = self.closed_reasons(job);
        let all_closed = self.nodes.taking(job.placement).next().is_none();
        let has_closed = !closed.is_empty();
        reasons.extend(closed);
        let avoided = self.nodes.wish_of(job.placement).map_or(&[][..], |wish| &wish.avoids);
        if !avoided.is_empty() {
            let nodes: Vec<String> = avoided.iter().map(|&node| self.node_name(node)).collect();
            reasons.push(WaitReason::Avoids { nodes });
        }
        match self.shortage(job).filter(|_| !(all_closed && (has_closed || !avoided.is_empty()))) {
            Some(evidence) => reasons.push(WaitReason::NoRoom { evidence }),
            None if job.told.pending == 0 && reasons.is_empty() => reasons.push(WaitReason::NotPlannedYet),
            None => {}
        }
    }

    /// What is short on the node that comes nearest; `None` when some node has room.
    fn shortage(&self, job: &Job) -> Option<String> {
        let nodes: Vec<NodeId> = self.nodes.taking(job.placement).collect();
        let frees = || nodes.iter().filter_map(|&id| self.nodes.node(id).map(|node| (id, node.free())));
        if nodes.iter().any(|&id| self.nodes.fits(id, job.placement, &job.needs)) {
            return None;
        }
        let needs = &job.needs;
        let missing = |free: &Resources| needs.saturating_sub(free);
        let nearest = frees().min_by_key(|(_, free)| {
            let missing = missing(free);
            (missing.gpus, missing.cpu_millis, missing.memory_bytes)
        });
        Some(match nearest {
            Some((id, free)) => {
                let usual = (!needs.fits_in(&free)).then(|| {
                    let total = self.nodes.node(id).map(|node| node.total).unwrap_or_default();
                    let node = self.node_name(id);
                    format!("it needs {needs}; {node} comes nearest and has {free} free of {total}")
                });
                let parts: Vec<String> = usual.into_iter().chain(self.named_shortage(id, job)).collect();
                parts.join("; ")
            }
            None => "no node that it may run on takes jobs at the moment".into(),
        })
    }

    /// What is short of named resources for a job on a node, and who has it, in general terms.
    fn named_shortage(&self, id: NodeId, job: &Job) -> Vec<String> {
        let Some(node) = self.nodes.node(id) else { return Vec::new() };
        let short = self.nodes.named_of(job.placement).iter().filter_map(|&(name, asked)| {
            let free = self.nodes.free_named(node, name);
            (asked > free).then_some((name, asked, free))
        });
        short
            .map(|(name, asked, free)| {
                let site = self.nodes.site.has(name);
                let pool = if site { self.nodes.site.get(name) } else { node.pools.get(name) };
                let place = if site { "the whole site".to_owned() } else { self.node_name(id) };
                let (total, (jobs, users)) = pool.map_or((0, (0, 0)), |pool| (pool.total(), pool.holders()));
                let name = self.names.name(name);
                let by = format!("{} of {}", counted(jobs as usize, "job"), counted(users, "user"));
                format!(
                    "it needs {asked} of {name}; {place} has {free} free of {total}, the rest is held by {by}"
                )
            })
            .collect()
    }

    /// How much there is of each named resource, and how much of it is held.
    fn named_views(&self, pools: &Pools) -> Vec<NamedView> {
        let view = |(name, pool): (crate::NameId, &crate::pools::Pool)| NamedView {
            name: self.names.name(name).to_owned(),
            total: pool.total(),
            used: pool.held(),
        };
        let mut views: Vec<NamedView> = pools.iter().map(view).collect();
        views.sort_by(|one, other| one.name.cmp(&other.name));
        views
    }

    /// The named resources that belong to no node.
    #[must_use]
    pub fn site_resources(&self) -> Vec<NamedView> {
        self.named_views(&self.nodes.site)
    }

    /// The last plan's reasons for passing jobs over, each with the number of jobs.
    #[must_use]
    pub fn passed_over(&self) -> &[(String, u64)] {
        &self.telling.passed_over
    }

    /// All nodes.
    #[must_use]
    pub fn node_views(&self) -> Vec<NodeView> {
        self.nodes
            .all()
            .map(|(id, node)| NodeView {
                executor: self.names.name(node.executor).to_owned(),
                name: node.name.clone(),
                total: node.total,
                used: node.used,
                jobs: node.jobs,
                open: self.nodes.is_open(id),
                away: self.nodes.executor(node.executor).and_then(|state| state.away.clone()),
                labels: node.labels.clone(),
                named: self.named_views(&node.pools),
                closures: self.closures_of(id),
            })
            .collect()
    }
}
