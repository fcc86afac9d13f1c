//! A small cluster in which a scheduler policy plays through a sample of jobs.

use std::collections::BTreeMap;

use berth_engine::{
    AccountTold, Faded, NodeId, NodeTold, PendingTold, PlacementTold, Plan, PlanRequest, Room, RunningTold,
    Told, WhoseTold,
};
use berth_model::{JobId, Resources, Used, UtcMs};

use super::CheckReport;
use crate::{
    Fault, Loaded, contract,
    scheduler::{Answer, Session},
};

const JOBS: u64 = 300;
const MOST_ROUNDS: u64 = 1000;
/// So many rounds without a start and with an empty cluster, and it is taken for stuck.
const PATIENCE_ROUNDS: u32 = 20;
const FIRST_TASK: u64 = 1_000_000;

pub(super) fn check(loaded: &Loaded, report: &mut CheckReport) {
    if let Err(fault) = Session::open(loaded) {
        return report.problem(format!("it failed at its settings: {fault}"));
    }
    let first = match play(loaded) {
        Ok(played) => played,
        Err(fault) => return report.problem(format!("it failed among {JOBS} sample jobs: {fault}")),
    };
    report.ok(format!(
        "it kept its contract for {} rounds and started {} tasks of {} jobs",
        first.plans.len(),
        first.started,
        JOBS - first.left
    ));
    match first.left {
        0 => report.ok("no job was left over"),
        left => report.problem(format!("{left} jobs never started, though the cluster was empty")),
    }
    report.found(match play(loaded) {
        Ok(second) if second.plans == first.plans => Ok("the same inputs gave the same plans".to_owned()),
        Ok(_) => Err("the same inputs gave other plans the second time".to_owned()),
        Err(fault) => Err(format!("it failed when it was asked the same again: {fault}")),
    });
    report.found(strangers(loaded));
}

/// It is asked and told about jobs that it does not know.
fn strangers(loaded: &Loaded) -> Result<String, String> {
    let unknown = || vec![JobId(u64::MAX), JobId(0)];
    let told = Told { full: true, withdrawn: unknown(), ended: unknown(), ..Told::default() };
    let mut session = Session::open(loaded).map_err(|fault| fault.to_string())?;
    let heard = session.tell(&told, 0).and_then(|()| session.explain(UtcMs(1), JobId(u64::MAX))).map(|_| ());
    match heard {
        Ok(()) => Ok("jobs that it does not know are no trouble".to_owned()),
        Err(fault) => Err(format!("it failed at a job that it does not know: {fault}")),
    }
}

struct Played {
    plans: Vec<Plan>,
    started: u64,
    left: u64,
}

fn play(loaded: &Loaded) -> Result<Played, Fault> {
    let mut session = Session::open(loaded)?;
    let mut cluster = Cluster::sample();
    let mut played = Played { plans: Vec::new(), started: 0, left: JOBS };
    let mut told = cluster.everything();
    let mut idle = 0;
    for round in 1..=MOST_ROUNDS {
        let request = cluster.request(round, told);
        session.tell(&request.told, request.pending_known)?;
        if round == 1 {
            session.explain(request.now, JobId(1))?;
        }
        let plan = match session.plan(&request)? {
            Answer::Plan(plan) => plan,
            Answer::Declined(words) => {
                return Err(Fault::Breach { words: format!("it has no plan: {words}") });
            }
        };
        let full = PlanRequest { told: cluster.everything(), ..request };
        contract::judge(&full, &plan).map_err(|words| Fault::Breach { words })?;
        idle = if plan.starts.is_empty() && cluster.running.is_empty() { idle + 1 } else { 0 };
        told = cluster.carry_out(&plan, full.now);
        played.started += plan.starts.iter().map(|start| u64::from(start.count)).sum::<u64>();
        played.plans.push(plan);
        cluster.end_oldest(&mut told);
        let done = cluster.pending.is_empty() && cluster.running.is_empty();
        if done || idle == PATIENCE_ROUNDS {
            break;
        }
    }
    played.left = cluster.pending.len() as u64;
    Ok(played)
}

/// Accounts of the two users and the two projects, of which one of each has used more.
fn sample_accounts() -> Vec<AccountTold> {
    let account = |whose, hours: u64| AccountTold {
        whose,
        priority: 50,
        shares: 1,
        group: None,
        used: Used::of(&Resources { cpu_millis: 2000, memory_bytes: 4 << 30, gpus: 0 }, hours * 3_600_000),
        faded: Faded { jobs: 1.0, wall_s: 1800.0, cpu_s: 3600.0, memory_gib_s: 7200.0 },
    };
    vec![
        account(WhoseTold::User(2), 1),
        account(WhoseTold::User(3), 50),
        account(WhoseTold::Project(4), 1),
        account(WhoseTold::Project(5), 50),
    ]
}

/// A cluster in which time passes with the rounds.
struct Cluster {
    nodes: Vec<NodeTold>,
    placements: Vec<PlacementTold>,
    pending: BTreeMap<JobId, PendingTold>,
    running: BTreeMap<JobId, RunningTold>,
    free: BTreeMap<NodeId, Resources>,
    tasks: u64,
}

const NAMES: [&str; 6] = ["node", "local", "ann", "bob", "physics", "biology"];

impl Cluster {
    fn sample() -> Self {
        let node = |id: NodeId, cpus: u64| NodeTold {
            id,
            name: 0,
            executor: 1,
            total: Resources { cpu_millis: cpus * 1000, memory_bytes: cpus << 31, gpus: id % 2 },
            // The last one is drained.
            usable: id < 3,
        };
        let nodes: Vec<_> = [8, 16, 32, 64].into_iter().zip(0..).map(|(cpus, id)| node(id, cpus)).collect();
        let usable = nodes.iter().filter(|node| node.usable);
        Self {
            free: usable.map(|node| (node.id, node.total)).collect(),
            nodes,
            placements: vec![
                PlacementTold { id: 0, nodes: vec![0, 1, 2] },
                PlacementTold { id: 1, nodes: vec![1] },
            ],
            pending: (1..=JOBS).map(|id| (JobId(id), sample_job(id))).collect(),
            running: BTreeMap::new(),
            tasks: FIRST_TASK,
        }
    }

    fn everything(&self) -> Told {
        Told {
            full: true,
            first_name: 0,
            names: NAMES.map(str::to_owned).to_vec(),
            accounts: sample_accounts(),
            nodes: self.nodes.clone(),
            placements: self.placements.clone(),
            pending: self.pending.values().copied().collect(),
            started: self.running.values().copied().collect(),
            ..Told::default()
        }
    }

    fn request(&self, round: u64, told: Told) -> PlanRequest {
        PlanRequest {
            snapshot: round,
            now: UtcMs(1_700_000_000_000 + round * 60_000),
            told,
            room: self.free.iter().map(|(node, free)| Room { node: *node, free: *free }).collect(),
            most: 50,
            pending_known: self.pending.len() as u64,
        }
    }

    /// Starts and refuses what a plan says, which was judged to be possible, and tells of it.
    fn carry_out(&mut self, plan: &Plan, now: UtcMs) -> Told {
        let mut told = Told::default();
        for start in &plan.starts {
            let Some(mut job) = self.pending.remove(&start.job) else { continue };
            for _ in 0..start.count {
                self.start_task(&job, start.node, now, &mut told);
            }
            job.count -= start.count;
            if job.count == 0 {
                told.withdrawn.push(job.id);
            } else {
                self.pending.insert(job.id, job);
                told.pending.push(job);
            }
        }
        for (job, _) in &plan.rejections {
            self.pending.remove(job);
            told.withdrawn.push(*job);
        }
        told
    }

    fn start_task(&mut self, job: &PendingTold, chosen: Option<NodeId>, now: UtcMs, told: &mut Told) {
        let nodes = self.placements.iter().find(|placement| placement.id == job.placement);
        let nodes: Vec<NodeId> = match chosen {
            Some(node) => vec![node],
            None => nodes.map(|placement| placement.nodes.clone()).unwrap_or_default(),
        };
        let Some(node) = contract::take_lowest(&mut self.free, &nodes, &job.needs) else { return };
        self.tasks += 1;
        let running = RunningTold {
            id: JobId(self.tasks),
            array: (job.count > 1).then_some(job.id),
            owner: job.owner,
            project: job.project,
            node,
            needs: job.needs,
            started: now,
            ends: job.time_limit_ms.map(|limit| UtcMs(now.0 + limit)),
        };
        self.running.insert(running.id, running);
        told.started.push(running);
    }

    /// A third of what runs comes to its end, the oldest first; at least one.
    fn end_oldest(&mut self, told: &mut Told) {
        for _ in 0..self.running.len().div_ceil(3) {
            let Some((id, ended)) = self.running.pop_first() else { break };
            if let Some(free) = self.free.get_mut(&ended.node) {
                *free = free.plus(&ended.needs);
            }
            // Started and ended before anybody was told: nobody hears of it.
            let unheard = told.started.iter().position(|started| started.id == id);
            match unheard {
                Some(at) => {
                    told.started.remove(at);
                }
                None => told.ended.push(id),
            }
        }
    }
}

/// Jobs of all sorts, the same every time.
fn sample_job(id: u64) -> PendingTold {
    let odd = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let pick = |shift: u64, of: u64| (odd >> shift) % of;
    let whom = u32::try_from(pick(0, 2)).unwrap_or(0);
    PendingTold {
        id: JobId(id),
        owner: 2 + whom,
        project: 4 + whom,
        placement: u32::from(pick(1, 8) == 0),
        count: if pick(2, 10) == 0 { 12 } else { 1 },
        needs: Resources {
            cpu_millis: 500 * (1 + pick(3, 16)),
            memory_bytes: (1 + pick(5, 8)) << 29,
            gpus: 0,
        },
        submitted: UtcMs(1_700_000_000_000 - id * 1000),
        eligible: UtcMs(1_700_000_000_000 - id * 1000),
        time_limit_ms: (pick(6, 3) > 0).then(|| 60_000 * (1 + pick(7, 90))),
        priority: i32::try_from(pick(9, 5)).unwrap_or(0) - 2,
    }
}
