//! What a plan costs: 1,000 changes a tick with many jobs pending, the same policy as WebAssembly and
//! natively, each on a thread of its own.

mod native;

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use berth_engine::{NodeTold, PendingTold, PlacementTold, PlanRequest, Room, Told};
use berth_model::{JobId, Resources, UtcMs};
use berth_policy_host::{
    HostSettings, PolicyHost, PolicyKind, PolicySource, PolicySpec, SchedulerEvent, SchedulerPolicy,
};

use crate::{
    figures,
    site::World,
    table::{Table, Target, ms},
};

const TICKS: u64 = 60;
/// So many jobs go and as many come with each tick.
const CHANGES: u64 = 500;
/// At 1,000,000 pending.
const AT_MOST: Duration = Duration::from_millis(5);
const CPU: Resources = Resources { cpu_millis: 1000, memory_bytes: 1 << 30, gpus: 0 };
const NODE: Resources = Resources { cpu_millis: 500_000, memory_bytes: 500 << 30, gpus: 0 };

/// Someone who answers requests for plans with the jobs that start.
trait Planner {
    fn plan(&mut self, request: PlanRequest) -> Result<Vec<JobId>>;
}

/// How long each tick took.
struct Ticks(Vec<Duration>);

/// Adds the lines about plans.
pub fn measure(world: &World, table: &mut Table) -> Result<()> {
    let host = PolicyHost::new(HostSettings::default())?;
    for pending in [100_000, 1_000_000] {
        let mut guest = Guest::start(&host, world)?;
        let wasm = ticks(&mut guest, pending)?;
        let memory_bytes = guest.policy.status().memory_bytes;
        drop(guest);
        let native = ticks(&mut native::Native::start(), pending)?;
        let (took, beside) = (figures::median(&wasm.0), figures::median(&native.0));
        let times = figures::ratio(took, beside);
        let many = crate::table::whole(pending as f64);
        let longest = wasm.0.iter().max().copied().unwrap_or_default();
        let target = match pending {
            1_000_000 => Target::of("< 5 ms", took < AT_MOST),
            _ => Target::None,
        };
        let compared = format!("{} natively", ms(beside));
        let what = format!("plan, fifo in WASM, {many} pending, 1,000 changes: median");
        table.row(&what, ms(took), &compared, Some(times), target);
        let what = format!("the same policy, WASM by native, {many} pending");
        table.row(&what, format!("{times:.2} ×"), "native", None, Target::of("≤ 1.4 ×", times <= 1.4));
        table.note(format!(
            "a plan at {many} pending took {} at most; the policy keeps {} bytes a job",
            ms(longest),
            memory_bytes / pending
        ));
    }
    Ok(())
}

fn ticks(planner: &mut impl Planner, pending: u64) -> Result<Ticks> {
    let mut started = planner.plan(request(1, full(pending), pending))?;
    let (mut known, mut next) = (pending, pending + 1);
    let mut ticks = Vec::new();
    for snapshot in 2..TICKS + 2 {
        let withdrawn: Vec<JobId> = started.into_iter().take(usize::try_from(CHANGES)?).collect();
        known = known + CHANGES - withdrawn.len() as u64;
        let told = Told { withdrawn, pending: (next..next + CHANGES).map(job).collect(), ..Told::default() };
        next += CHANGES;
        let request = request(snapshot, told, known);
        let begun = Instant::now();
        started = planner.plan(request)?;
        ticks.push(begun.elapsed());
    }
    Ok(Ticks(ticks))
}

fn request(snapshot: u64, told: Told, pending_known: u64) -> PlanRequest {
    PlanRequest {
        snapshot,
        now: UtcMs(10_000_000 + snapshot),
        told,
        room: (0..2).map(|node| Room { node, free: NODE }).collect(),
        most: 1000,
        pending_known,
    }
}

fn full(pending: u64) -> Told {
    Told {
        full: true,
        names: (0..100).map(|name| format!("name-{name}")).collect(),
        nodes: (0..2).map(|id| NodeTold { id, name: 0, executor: 0, total: NODE, usable: true }).collect(),
        placements: vec![PlacementTold { id: 0, nodes: vec![0, 1] }],
        pending: (1..=pending).map(job).collect(),
        ..Told::default()
    }
}

fn job(id: u64) -> PendingTold {
    PendingTold {
        id: JobId(id),
        owner: (id % 100) as u32,
        project: (id % 10) as u32,
        placement: 0,
        count: 1,
        needs: CPU,
        submitted: UtcMs(id),
        eligible: UtcMs(id),
        time_limit_ms: Some(3_600_000),
        priority: (id % 7) as i32,
    }
}

/// The policy as Berth runs it.
struct Guest {
    policy: SchedulerPolicy,
    events: mpsc::Receiver<SchedulerEvent>,
}

impl Guest {
    fn start(host: &PolicyHost, world: &World) -> Result<Self> {
        let source = PolicySource::File(world.fifo.clone());
        let mut spec = PolicySpec::new("measured", PolicyKind::Scheduler, source);
        spec.grants.log = true;
        let (sender, events) = mpsc::channel();
        let policy = SchedulerPolicy::spawn(host, spec, move |event| {
            // The receiver lives until the end of the measurement.
            let _ = sender.send(event);
        })?;
        Ok(Self { policy, events })
    }
}

impl Planner for Guest {
    fn plan(&mut self, request: PlanRequest) -> Result<Vec<JobId>> {
        self.policy.plan(request);
        match self.events.recv().context("the policy's thread has ended")? {
            SchedulerEvent::Planned(plan) => Ok(plan.starts.iter().map(|start| start.job).collect()),
            other => bail!("no plan: {other:?}"),
        }
    }
}
